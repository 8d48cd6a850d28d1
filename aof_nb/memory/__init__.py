"""Memory: conversations that outlive a cell, and with ``disk`` a kernel.

The protocol, its implementations, and the URLs that name them live here. When a conversation
is loaded and kept is the agent's business.
"""

from __future__ import annotations

from aof_nb.errors import ConfigurationError
from aof_nb.memory.store import Memory as Memory

__all__ = ["Memory", "open_memory"]


def open_memory(url: str) -> Memory:
    """Opens the memory that a URL names.

    Args:
        url: ``in_memory``; ``disk``, in the state directory; or ``disk:PATH``.

    Raises:
        ConfigurationError: If there is no such memory.

    Example:
        >>> type(open_memory("in_memory")).__name__
        'InMemory'
    """
    kind, _, place = url.partition(":")
    if kind == "in_memory" and not place:
        from aof_nb.memory.in_memory import InMemory

        return InMemory()
    if kind == "disk":
        from aof_nb.memory.disk import DiskMemory
        from aof_nb.paths import state_dir

        return DiskMemory(place.removeprefix("//") or state_dir() / "memory")
    raise ConfigurationError(
        f"there is no memory {url!r}", remedy="use in_memory, disk or disk:PATH"
    )
