"""Anthropic's prompt cache, as its documentation describes it.

A mark writes what comes before it, itself included, in the order tools, system, messages; a later
request reads the longest prefix that was written and lies at most 20 blocks before one of its own
marks. The marks themselves are not part of what is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tests.fakes.rules import InvalidRequestError
from tests.fakes.sse import dumps

LOOK_BACK = 20
MOST_MARKS = 4
_NO_MARKS = ("thinking", "redacted_thinking")


def blocks(request: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A request's blocks in the cache's order, each with what else it depends on."""
    system = request.get("system") or []
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    found = [("tools", block) for block in request.get("tools") or []]
    found += [("system", block) for block in system]
    how = dumps([request.get("tool_choice"), request.get("thinking")])
    for message in request["messages"]:
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        found += [(message["role"] + how, block) for block in content]
    return found


def check_marks(request: Mapping[str, Any]) -> None:
    """Refuses marks the API refuses."""
    marked = [block for _, block in blocks(request) if "cache_control" in block]
    if len(marked) > MOST_MARKS:
        raise InvalidRequestError(
            f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. "
            f"Found {len(marked)}."
        )
    for block in marked:
        if block.get("type") in _NO_MARKS:
            raise InvalidRequestError("cache_control: Extra inputs are not permitted")
        if block.get("type") == "text" and not block["text"]:
            raise InvalidRequestError("cache_control cannot be set for empty text blocks")


class PromptCache:
    """What was written, for one organisation.

    Args:
        minimum: Tokens below which nothing is cached.
    """

    def __init__(self, minimum: int = 1024) -> None:
        self._minimum = minimum
        self._written: set[str] = set()

    def count(self, request: Mapping[str, Any]) -> tuple[int, int, int]:
        """The input tokens of a request, how many of them are read and how many written."""
        tokens, prefix, marks = 0, hashlib.sha256(str(request["model"]).encode()), list[int]()
        prefixes = list[tuple[str, int]]()
        for place, (depends, block) in enumerate(blocks(request)):
            plain = dumps({key: block[key] for key in block if key != "cache_control"})
            tokens += len(plain) // 4 + 1
            prefix.update(f"{depends}{plain}\n".encode())
            prefixes.append((prefix.hexdigest(), tokens))
            if "cache_control" in block:
                marks.append(place)
        near = {place for mark in marks for place in range(max(0, mark - LOOK_BACK), mark + 1)}
        hits = [prefixes[place][1] for place in near if prefixes[place][0] in self._written]
        read = max(hits, default=0)
        writes = [prefixes[mark] for mark in marks if prefixes[mark][1] >= self._minimum]
        self._written.update(digest for digest, _ in writes)
        written = max([size for _, size in writes], default=0)
        return tokens, read, max(0, written - read)
