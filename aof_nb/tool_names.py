"""Tool names that every provider takes, and that nobody shares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from aof_nb.errors import ConfigurationError
from aof_nb.ports import ToolSpec

MAX_LENGTH = 64
_DIGEST_LENGTH = 8
_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_-]")


def safe_name(name: str) -> str:
    """A name that fits ``^[a-zA-Z0-9_-]{1,64}$``: the same one for the same name, always.

    Other characters become ``_``. A name that is too long keeps its beginning and ends with a
    hash of the whole.

    Example:
        >>> safe_name("docs.example__search")
        'docs_example__search'
    """
    safe = _NOT_ALLOWED.sub("_", name) or "_"
    if len(safe) <= MAX_LENGTH:
        return safe
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{safe[: MAX_LENGTH - _DIGEST_LENGTH - 1]}_{digest}"


def check_unique(specs: Iterable[ToolSpec]) -> None:
    """Checks that no two tools of a run have the same name.

    Raises:
        ConfigurationError: Naming the tool and where both come from.
    """
    seen: dict[str, ToolSpec] = {}
    for spec in specs:
        if (other := seen.get(spec.name)) is not None:
            raise ConfigurationError(
                f"two tools are called {spec.name!r}: one from {_origin(other)}, "
                f"one from {_origin(spec)}",
                remedy="rename one of them, or leave one of them out",
            )
        seen[spec.name] = spec


def _origin(spec: ToolSpec) -> str:
    return spec.source or "a source without a name"
