"""``${VAR}`` and ``${VAR:-default}`` in configuration read the environment."""

from __future__ import annotations

import os
import re

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class Unset(LookupError):
    """A variable without a default is not set.

    Args:
        name: The variable.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def interpolate(text: str) -> str:
    """Fills in variables.

    Raises:
        Unset: If one is not set and has no default.

    Example:
        >>> interpolate("http://${NO_SUCH_HOST:-localhost}:9090")
        'http://localhost:9090'
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"])
        if found:
            return found
        if match["default"] is not None:
            return match["default"]
        if found is None:
            raise Unset(match["name"])
        return found

    return _VARIABLE.sub(value, text)
