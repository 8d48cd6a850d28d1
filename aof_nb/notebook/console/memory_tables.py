"""What a memory holds, as rows of tables."""

from __future__ import annotations

import msgspec

from aof_nb.errors import AofError
from aof_nb.memory import Memory, SessionInfo
from aof_nb.notebook.console.table import Column, TableRow
from aof_nb.readable import local_time

MOST = 1_000
"""Sessions, and facts, that are looked at of one memory."""

_VALUE_CHARS = 300
_KILO, _MEGA = 1_000, 1_000_000
SESSIONS = (
    Column("session", "Session"),
    Column("messages", "Messages", number=True),
    Column("updated", "Last message"),
    Column("size", "Size", number=True),
    Column("found", "What was found", wide=True),
)
FACTS = (
    Column("namespace", "Namespace"),
    Column("key", "Key"),
    Column("value", "Value", wide=True),
    Column("expires", "Gone at"),
)


async def fact_rows(store: Memory) -> list[TableRow]:
    """The facts of a memory; those that can be read, where some cannot."""
    rows: list[TableRow] = []
    try:
        for namespace in (await store.namespaces())[:MOST]:
            for fact in await store.facts(namespace):
                value = msgspec.json.encode(fact.value).decode()
                at = local_time(fact.expires.timestamp()) if fact.expires else ""
                rows.append(
                    TableRow(
                        id=f"{namespace}\n{fact.key}",
                        cells={
                            "namespace": namespace,
                            "key": fact.key,
                            "value": value[:_VALUE_CHARS],
                            "expires": at,
                        },
                    )
                )
                if len(rows) >= MOST:
                    return rows
    except AofError:
        # Facts that cannot be read must not hide the conversations.
        return rows
    return rows


def session_row(info: SessionInfo, found: str) -> TableRow:
    """A session's row.

    Args:
        info: What is known of it.
        found: The text around what was searched for.
    """
    updated = info.updated.timestamp()
    return TableRow(
        id=info.session,
        cells={
            "session": info.session,
            "messages": f"{info.messages:,}",
            "updated": local_time(updated),
            "size": size(info.size),
            "found": found,
        },
        sort={"messages": info.messages, "size": info.size, "updated": updated},
    )


def size(count: int) -> str:
    """Bytes, as people read them.

    Example:
        >>> size(1_500)
        '1.5 kB'
    """
    if count < _KILO:
        return f"{count} B"
    return f"{count / _KILO:.1f} kB" if count < _MEGA else f"{count / _MEGA:.1f} MB"
