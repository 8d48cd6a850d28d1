"""Where an agent keeps its conversations, from AOF's ways of saying so."""

from __future__ import annotations

import re

from aof_nb.errors import ConfigurationError
from aof_nb.memory import REMEDY, open_memory
from aof_nb.resources.interpolation import Unset, interpolate
from aof_nb.resources.problems import Findings, Path
from aof_nb.resources.schema import MemorySpec

_IN_MEMORY = {"", "conversation", "in_memory", "in-memory", "inmemory", "memory"}
_REDIS = ("redis://", "rediss://", "unix://")
_MOST = re.compile(r"^(?P<place>.+):(?P<most>[1-9]\d*)$")


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
    nested = written.config
    said = written.url or (nested.url if nested else "") or written.persistence or written.type
    try:
        said = interpolate(said)
    except Unset as unset:
        findings.unset(path, unset.name)
        return None, None
    kind, _, place = said.partition(":")
    kind = kind.lower()
    place = place or written.path or (nested.path if nested else "")
    most = written.max_messages or (nested.max_messages if nested else None)
    ttl = written.ttl or (nested.ttl if nested else None)
    if kind.partition("?")[0] in _IN_MEMORY:
        url = f"in_memory{''.join(said.partition('?')[1:])}"
    elif said.startswith(_REDIS):
        url = said
    elif kind == "redis" and not place:
        url = "redis"
    elif kind.partition("?")[0] == "disk":
        url = f"disk:{place}" if place else said
    elif kind == "file":
        # AOF's file has the most that it keeps behind its name.
        if (match := _MOST.match(place)) is not None:
            place, most = match["place"], most or int(match["most"])
        url = f"file:{place.removesuffix('.json')}" if place else "file"
    else:
        findings.warn(path, f"there is no memory {said!r}, in_memory is used", REMEDY)
        url = "in_memory"
    if ttl is not None:
        url = f"{url}{'&' if '?' in url else '?'}ttl={ttl:.12g}"
    try:
        open_memory(url)
    except ConfigurationError as error:
        findings.add(path, error.message, error.remedy)
    return url, most
