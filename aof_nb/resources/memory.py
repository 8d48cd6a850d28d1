"""Where an agent keeps its conversations, from AOF's ways of saying so."""

from __future__ import annotations

from aof_nb.resources.problems import Findings, Path
from aof_nb.resources.schema import MemorySpec

_IN_MEMORY = {"", "conversation", "in_memory", "inmemory", "memory"}
_REMEDY = "use in_memory, disk or disk:PATH"


def memory_of(
    written: MemorySpec | None, findings: Findings, path: Path
) -> tuple[str | None, int | None]:
    """The memory's URL, and how many messages of the past a run is given.

    Args:
        written: What was written.
        findings: Takes the problems.
        path: Where it stands.
    """
    if written is None or not written.enabled:
        return None, None
    if written.ttl is not None:
        findings.warn((*path, "ttl"), "ttl has no effect: conversations are kept until deleted")
    said = written.url or written.persistence or written.type
    kind, _, place = said.partition(":")
    nested = written.config
    place = place or written.path or (nested.path if nested else "")
    most = written.max_messages or (nested.max_messages if nested else None)
    if kind.lower() in _IN_MEMORY:
        return "in_memory", most
    if kind == "disk":
        return (f"disk:{place}" if place else "disk"), most
    if kind.lower() == "file":
        folder = place.partition(".json")[0]
        url = f"disk:{folder}" if folder else "disk"
        findings.warn(path, f"AOF's file memory is kept as {url} here", _REMEDY)
        return url, most
    findings.warn(path, f"memory {said!r} is not supported yet, in_memory is used", _REMEDY)
    return "in_memory", most
