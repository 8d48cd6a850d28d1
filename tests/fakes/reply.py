"""What a fake provider answers: the content, independent of the wire protocol, and how it is "
"sent."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_ALPHABET = string.digits + string.ascii_letters
_serial = itertools.count(1)


def token(seed: object, length: int = 22) -> str:
    """A reproducible alphanumeric string that looks like a provider's id."""
    number = int.from_bytes(hashlib.sha512(str(seed).encode()).digest(), "big")
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def seal(text: str, size: int = 96) -> str:
    """An opaque value only the fake can make from `text`: a signature, encrypted content.

    It contains `+`, `/` and `=` now and then, as the real ones do.
    """
    return base64.b64encode(
        hashlib.shake_256(b"fake-provider" + text.encode()).digest(size)
    ).decode()


def pieces(text: str, size: int) -> list[str]:
    """`text` cut into deltas of `size` characters."""
    return [text[i : i + size] for i in range(0, len(text), size)]


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text; `deltas` says how it is cut, if it matters."""

    text: str
    deltas: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning: a thinking block, a reasoning item's summary, or a chat delta's extra field.

    `signature` (Anthropic) and `encrypted` (Responses) default to what `seal` makes of the text.
    """

    text: str
    signature: str | None = None
    encrypted: str | None = None
    deltas: Sequence[str] | None = None

    @property
    def seal(self) -> str:
        """The signature this block is sent with."""
        return seal(self.text) if self.signature is None else self.signature


@dataclass(frozen=True, slots=True)
class RedactedThinking:
    """Anthropic's encrypted thinking block: it arrives whole, without deltas."""

    data: str = field(default_factory=lambda: seal("redacted"))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a client tool. `arguments` as text is sent as it is, so it may be broken JSON."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None
    deltas: Sequence[str] | None = None

    @property
    def json(self) -> str:
        """The arguments as they travel."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool the provider runs itself (Anthropic): its use and, unless paused, its result."""

    name: str = "web_search"
    input: Mapping[str, Any] = field(default_factory=lambda: {"query": "status"})
    result: Any = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The provider declines. OpenAI streams `text`; Anthropic says it in `stop_details`."""

    text: str = "I can't help with that."
    category: str | None = "cyber"


Part = Text | Thinking | RedactedThinking | ToolCall | ServerTool | Refusal


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens; `input` counts the cached ones and `output` the reasoning."""

    input: int = 25
    output: int = 15
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error event in a stream that began with status 200, sent after `after` events.

    `form` is for the Responses API: the `error` event with its fields `nested` under `error`, as
    the service sends it, or `flat`, as the reference has it, each followed by `response.failed`;
    or `failed`, that event alone.
    """

    type: str = "overloaded_error"
    message: str = "Overloaded"
    code: str | None = None
    after: int = 3
    form: Literal["nested", "flat", "failed"] = "nested"


@dataclass(frozen=True, slots=True)
class Wire:
    """How the body's bytes travel. Offsets count bytes of the body, before chunked framing.

    Args:
        split: where writes end: offsets, a fixed size, or a `random.Random` that chooses.
            By default each event is one write.
        delay: seconds before each write.
        cut_at: the connection is closed at this byte, without the last chunk.
        reset: a cut is a TCP reset instead of an orderly close.
        stall_at: from this byte on nothing is sent and nothing is closed.
        headers: added to the response's headers, or replacing them.
    """

    split: Sequence[int] | int | random.Random | None = None
    delay: float = 0.0
    cut_at: int | None = None
    reset: bool = False
    stall_at: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def writes(self, frames: Sequence[bytes]) -> list[bytes]:
        """The body as the pieces that are written one by one, up to where it breaks off."""
        body = b"".join(frames)
        breaks = [at for at in (self.cut_at, self.stall_at) if at is not None]
        end = min([len(body), *breaks])
        if self.split is None:
            bounds = list(itertools.accumulate(len(frame) for frame in frames))
        elif isinstance(self.split, int):
            bounds = list(range(self.split, len(body), self.split))
        elif isinstance(self.split, random.Random):
            count = self.split.randint(1, max(1, min(40, len(body) - 1)))
            bounds = sorted(self.split.randrange(1, max(2, len(body))) for _ in range(count))
        else:
            bounds = list(self.split)
        edges = [0, *sorted({b for b in bounds if 0 < b < end}), end]
        return [body[a:b] for a, b in itertools.pairwise(edges) if b > a]


class Reply:
    """One model response: what it says, why it stops, what it costs and how it is sent.

    Args:
        parts: the content, in order.
        stop: the provider's own stop reason, or one of `length`, `filter`, `pause`, `context`,
            which each protocol says in its words. By default what the content implies.
        usage: token counts.
        delta: characters in a delta, where a part does not say otherwise.
        error: an error event in the middle of the stream.
        interleave: parallel tool calls' argument deltas take turns (OpenAI chat).
        pings: `ping` events are mixed in (Anthropic).
        model: the model that answers; by default the one that was asked.
        wire: how the bytes travel.
    """

    def __init__(
        self,
        *parts: Part | str,
        stop: str | None = None,
        usage: Usage | None = None,
        delta: int = 8,
        error: StreamError | None = None,
        interleave: bool = False,
        pings: bool = True,
        model: str | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.parts: tuple[Part, ...] = tuple(Text(p) if isinstance(p, str) else p for p in parts)
        self.stop = stop
        self.usage = usage or Usage()
        self.delta = delta
        self.error = error
        self.interleave = interleave
        self.pings = pings
        self.model = model
        self.wire = wire or Wire()
        self.token = token(f"reply {next(_serial)}")

    def of(self, *kinds: type) -> list[Any]:
        """The parts of these kinds."""
        return [part for part in self.parts if isinstance(part, kinds)]

    def deltas(self, part: Text | Thinking | ToolCall | Refusal) -> list[str]:
        """The part's text as the deltas it is streamed in."""
        explicit = getattr(part, "deltas", None)
        if explicit is not None:
            return list(explicit)
        return pieces(part.json if isinstance(part, ToolCall) else part.text, self.delta)

    def call_id(self, call: ToolCall, prefix: str) -> str:
        """The id a tool call has on the wire."""
        index = next(i for i, part in enumerate(self.parts) if part is call)
        return call.id or prefix + token(f"{self.token} {index}", 24)


@dataclass(frozen=True, slots=True)
class Failure:
    """A response with an error status.

    Args:
        status: HTTP status; type, code and message default to the provider's own for it.
        retry_after: seconds, sent as `retry-after`.
        body: sent instead of the provider's error body, for a proxy's HTML page and the like.
    """

    status: int
    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    wire: Wire = field(default_factory=Wire)
