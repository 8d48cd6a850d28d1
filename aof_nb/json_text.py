"""JSON in what a model wrote: alone, in a Markdown fence, or among words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)
_START = re.compile(r"[{\[]")
_MOST_STARTS = 200


def json_values(text: str) -> Iterator[Any]:
    """The JSON values in a text, the likeliest answer first.

    The whole text if it is JSON; else what is fenced, and then the objects and arrays among the
    words, from the end backwards: a model says its answer last.

    Example:
        >>> list(json_values('I found {"a": 1}, so: {"a": 2}.'))
        [{'a': 2}, {'a': 1}]
    """
    whole = _decoded(text)
    if whole is not _NONE:
        yield whole
        return
    for fenced in reversed(_FENCE.findall(text)):
        value = _decoded(fenced)
        if value is not _NONE:
            yield value
    yield from reversed(_scattered(text))


def _decoded(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError):
        return _NONE


def _scattered(text: str) -> list[Any]:
    found: list[Any] = []
    place = 0
    for _ in range(_MOST_STARTS):
        start = _START.search(text, place)
        if start is None:
            break
        try:
            value, place = _decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            place = start.end()
        else:
            found.append(value)
    return found


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_NONE = object()
_decoder = json.JSONDecoder(parse_constant=_not_json, strict=False)
