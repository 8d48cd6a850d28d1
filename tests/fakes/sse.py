"""Server-sent events as bytes, in the forms servers really use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def dumps(value: Any) -> str:
    """JSON as the providers write it: compact, UTF-8 not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame(data: str, event: str | None = None) -> bytes:
    """One event."""
    name = f"event: {event}\n" if event is not None else ""
    return f"{name}data: {data}\n\n".encode()


def crlf(frames: Sequence[bytes]) -> list[bytes]:
    """The same events with CRLF line ends."""
    return [f.replace(b"\n", b"\r\n") for f in frames]


def cr(frames: Sequence[bytes]) -> list[bytes]:
    """The same events with lone CR line ends, which the specification allows."""
    return [f.replace(b"\n", b"\r") for f in frames]


def tight(frames: Sequence[bytes]) -> list[bytes]:
    """The same events without the space after the colon."""
    return [f.replace(b"data: ", b"data:", 1).replace(b"event: ", b"event:", 1) for f in frames]


def with_comments(frames: Sequence[bytes], comment: str = "ping") -> list[bytes]:
    """The same events, a keep-alive comment before each."""
    return [f": {comment}\n\n".encode() + f for f in frames]


def multiline(frames: Sequence[bytes]) -> list[bytes]:
    """The same events, each JSON document spread over several `data:` lines."""
    spread = []
    for f in frames:
        *head, data = f.decode().removesuffix("\n\n").split("\n")
        payload = data.removeprefix("data: ")
        if payload.startswith("{"):
            payload = json.dumps(json.loads(payload), ensure_ascii=False, indent=1)
        lines = [*head, *(f"data: {line}" for line in payload.split("\n"))]
        spread.append(("\n".join(lines) + "\n\n").encode())
    return spread
