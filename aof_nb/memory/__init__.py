"""Memory: conversations and facts that outlive a cell and, but for ``in_memory``, a kernel.

The protocol, its implementations, and the URLs that name them live here. When a conversation
is loaded and kept is the agent's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aof_nb.errors import ConfigurationError
from aof_nb.memory.store import Conversation as Conversation
from aof_nb.memory.store import Fact as Fact
from aof_nb.memory.store import Memory as Memory
from aof_nb.memory.store import SessionInfo as SessionInfo

__all__ = ["Conversation", "Fact", "Memory", "SessionInfo", "open_memory"]

REMEDY = "use in_memory, file:PATH, disk, disk:PATH or redis://HOST:PORT/DATABASE"
"""What memories there are, for whoever has asked for another one."""

_LOCAL_REDIS = "redis://localhost:6379/0"


def open_memory(url: str) -> Memory:
    """Opens the memory that a URL names.

    Options go behind a ``?``: ``ttl``, the seconds after its last message at which a session is
    deleted; ``max_session_bytes``, what one may take; for Redis ``prefix`` and what redis-py takes.

    Args:
        url: ``in_memory``; ``file:PATH`` or ``disk:PATH``, a directory, which is in the state
            directory if none is named; ``redis://...``, or ``redis`` for the server that
            ``REDIS_URL`` names.

    Raises:
        ConfigurationError: If there is no such memory.

    Example:
        >>> type(open_memory("in_memory")).__name__
        'InMemory'
        >>> type(open_memory("file:/var/lib/aof/talks?ttl=604800")).__name__
        'FileMemory'
    """
    named, _, query = url.partition("?")
    kind, _, place = named.partition(":")
    place = place.removeprefix("//") if kind in {"file", "disk"} else place
    if kind in {"redis", "rediss", "unix"}:
        return _redis(named, query)
    if kind == "in_memory" and not place:
        from aof_nb.memory.in_memory import InMemory

        return InMemory(**_options(url, query))
    if kind == "file":
        from aof_nb.memory.file import FileMemory
        from aof_nb.paths import state_dir

        return FileMemory(place or state_dir() / "conversations", **_options(url, query))
    if kind == "disk":
        from aof_nb.memory.disk import DiskMemory
        from aof_nb.paths import state_dir

        return DiskMemory(place or state_dir() / "memory", **_options(url, query))
    raise ConfigurationError(f"there is no memory {_shown(url)!r}", remedy=REMEDY)


def _redis(named: str, query: str) -> Memory:
    from aof_nb.memory.redis import RedisMemory

    if named in {"redis", "redis:"}:
        named, _, more = os.environ.get("REDIS_URL", _LOCAL_REDIS).partition("?")
        query = "&".join(each for each in (more, query) if each)
    ours = {"ttl", "max_session_bytes", "prefix"}
    given = parse_qsl(query, keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in given if name not in ours])
    options = _options(named, urlencode([each for each in given if each[0] in ours]), prefix=str)
    return RedisMemory(f"{named}?{rest}" if rest else named, **options)


def _shown(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//...@", url)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e10:
        raise ValueError("it is no number of seconds")
    return seconds


def _bytes(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("it is no number of bytes")
    return number


def _options(url: str, query: str, **more: Callable[[str], Any]) -> dict[str, Any]:
    takes = {"ttl": _seconds, "max_session_bytes": _bytes, **more}
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in takes:
            raise ConfigurationError(
                f"the memory {_shown(url)!r} has no option {name!r}",
                remedy=f"there are {', '.join(takes)}",
            )
        try:
            options[name] = takes[name](value)
        except ValueError as error:
            raise ConfigurationError(
                f"{name}={value} of the memory {_shown(url)!r}: {error}",
                remedy="give a positive number",
            ) from error
    return options
