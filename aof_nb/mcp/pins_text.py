"""What is known of servers' tools, in words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from aof_nb.markdown import revealed
from aof_nb.mcp.definition import difference
from aof_nb.mcp.findings import findings, in_words
from aof_nb.mcp.pins import Accepted, Pin, ServerPins
from aof_nb.readable import printable


def standing(pin: Pin) -> str:
    """How a tool stands: as it was first seen, accepted by a person, or left out."""
    if pin.changed is not None:
        return "changed, left out"
    return "accepted" if pin.accepted else "as first seen"


def shown(name: str) -> str:
    """A server's or a tool's name, as it can be printed."""
    return printable(revealed(name))


def notable(servers: Sequence[ServerPins]) -> list[str]:
    """A line for each finding in what servers offer, accepted or not."""
    return [
        f"{shown(pins.server)}: {shown(name)}: {in_words(finding)}"
        for pins in servers
        for name, pin in pins.tools.items()
        for finding in findings(pin.changed or pin.definition)
    ]


def changes(servers: Sequence[ServerPins], tool: str | None = None) -> str:
    """What servers offer otherwise than it holds, with what is to be looked at in it.

    Args:
        servers: Whose.
        tool: Only this tool.
    """
    parts = []
    for pins in servers:
        for name, pin in pins.changed.items():
            if pin.changed is None or tool not in (None, name):
                continue
            lines = [f"{shown(pins.server)} ({shown(pins.place)}): {shown(name)}"]
            lines += [f"look: {in_words(each)}" for each in findings(pin.changed)]
            lines.append(difference(pin.definition, pin.changed))
            command = f"aofctl mcp accept {shlex.quote(pins.server)} {shlex.quote(name)}"
            lines.append(f"to accept it: {shown(command)}")
            parts.append("\n".join(lines))
    return "\n\n".join(parts) or "No definition has changed."


def said_accepted(accepted: Sequence[Accepted]) -> str:
    """What a person has accepted."""
    if not accepted:
        return "There was nothing new to accept."
    return "\n".join(
        f"accepted: {shown(each.tool)}{' as changed' if each.changed else ''}" for each in accepted
    )
