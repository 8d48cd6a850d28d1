"""Durations as people write them."""

from __future__ import annotations

import math
import re

_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def duration(text: str) -> float:
    """A duration in seconds, such as ``30``, ``30s``, ``2m``, ``1.5h``, ``3d`` or ``2w``.

    Raises:
        ValueError: If it is none.

    Example:
        >>> duration("2m"), duration("3d")
        (120.0, 259200.0)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration")
    return float(match[1]) * _UNITS[match[2] or "s"]


def time_limit(text: str | float) -> float:
    """A duration in seconds that something may take; ``inf`` for no limit.

    Args:
        text: The duration as `duration` takes it, or seconds.

    Raises:
        ValueError: If it is none, or nothing.

    Example:
        >>> time_limit("5m"), time_limit("inf")
        (300.0, inf)
    """
    infinite = isinstance(text, str) and text.strip().lower() == "inf"
    limit = math.inf if infinite else duration(text) if isinstance(text, str) else float(text)
    if not limit > 0:
        raise ValueError(f"{text!r} is no time at all")
    return limit
