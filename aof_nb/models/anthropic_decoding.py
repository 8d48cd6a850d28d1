"""The stream of the Messages API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Opaque, Part, StopReason, Text, Thinking, Usage
from aof_nb.models.assembly import (
    Deltas,
    interrupted,
    is_known,
    objects,
    stop_reason,
    string,
    tool_call,
)
from aof_nb.models.failures import classify

PROVIDER = "anthropic"
_STOP = {
    "end_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE,
    "compaction": StopReason.PAUSE,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
}
_CUT = frozenset({StopReason.MAX_TOKENS, StopReason.REFUSAL, StopReason.CONTEXT_FULL})


def without_open_calls(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts without calls of server-side tools whose results did not come.

    The API refuses such a call, but at the end of a turn that is to go on.
    """
    if not any(isinstance(part, Opaque) for part in parts):
        return parts
    own = [part.block for part in parts if isinstance(part, Opaque) and part.provider == PROVIDER]
    answered = {block.get("tool_use_id") for block in own}
    return tuple(
        part
        for part in parts
        if not isinstance(part, Opaque)
        or not str(part.block.get("type")).endswith("tool_use")
        or part.block.get("id") in answered
    )


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Any = None
    stop_reason: str | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _Failure(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: _Failure | None = None
    request_id: str | None = None


_decode = msgspec.json.Decoder(_Event).decode
_KINDS = frozenset(
    (
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "error",
        "message_delta",
        "message_start",
    )
)


class _Odd(msgspec.Struct):
    delta: dict[str, Any] = {}


_decode_odd = msgspec.json.Decoder(_Odd).decode
_OURS = frozenset(("redacted_thinking", "text", "thinking", "tool_use"))
_OWN_CALL = frozenset(("id", "input", "name", "type"))
_CALLED_DIRECTLY = {"type": "direct"}


class _Block:
    """A content block while it is being streamed."""

    __slots__ = ("citations", "json", "kind", "signature", "start", "texts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.kind = string(start.get("type"))
        self.texts: list[str] = []
        self.json: list[str] = []
        self.citations = objects(start.get("citations"))
        self.signature = ""

    def absorb(self, delta: dict[str, Any]) -> None:
        """Takes a delta of a kind, or for a kind of block, that we do not know."""
        for key, value in delta.items():
            known = self.start.get(key)
            if key == "type" or value is None:
                continue
            joined = isinstance(known, str | list) and isinstance(value, type(known))
            self.start = self.start | {key: known + value if joined else value}

    def part(self) -> Part:
        if self.kind == "text":
            about = {PROVIDER: {"citations": self.citations}} if self.citations else {}
            return Text(string(self.start.get("text")) + "".join(self.texts), about)
        if self.kind == "tool_use":
            raw = "".join(self.json)
            given = self.start.get("input")
            if not raw and given:
                raw = msgspec.json.encode(given).decode()
            return tool_call(
                str(self.start.get("id")), str(self.start.get("name")), raw, self._of_call()
            )
        block = dict(self.start)
        if self.json:
            # Input of a server-side tool: it goes back parsed, as the API wants it.
            block["input"] = tool_call("", "", "".join(self.json)).arguments or {}
        if self.kind == "thinking":
            block["thinking"] = string(block.get("thinking")) + "".join(self.texts)
            block["signature"] = self.signature or string(block.get("signature"))
            return Thinking(block["thinking"], PROVIDER, block)
        if self.kind == "redacted_thinking":
            return Thinking("", PROVIDER, block)
        return Opaque(PROVIDER, block)

    def _of_call(self) -> dict[str, Any]:
        """What a call says of itself besides, such as the code that made it."""
        more = {
            key: value
            for key, value in self.start.items()
            if key not in _OWN_CALL and value is not None and value != _CALLED_DIRECTLY
        }
        return {PROVIDER: more} if more else {}


class MessagesDecoder:
    """Decodes the stream of the Messages API.

    Args:
        model: The model's full name, until the response says which one answered.
    """

    def __init__(self, model: str) -> None:
        self._asked = model
        self._message = _Message()
        self._usage = _Usage(0, 0, 0, 0)
        self._blocks: dict[int, _Block] = {}
        self._finished: set[int] = set()
        self._stop: str | None = None
        self._deltas = Deltas()
        self.complete = False

    def feed(self, payload: bytes) -> None:
        """Takes one event; unknown ones, and unknown fields, are skipped."""
        try:
            event = _decode(payload)
        except msgspec.ValidationError:
            if is_known(payload, _KINDS):
                raise
            return
        index = event.index or 0
        if event.type == "content_block_delta":
            block = self._blocks.get(index)
            if block is not None and event.delta is not None:
                self._grow(block, index, event.delta, payload)
        elif event.type == "content_block_start":
            block = self._blocks[index] = _Block(event.content_block or {})
            if block.kind == "text" and string(block.start.get("text")):
                self._deltas.text(block.start["text"])
            elif block.kind == "tool_use":
                self._deltas.tool_call(index, str(block.start.get("name")), "")
        elif event.type == "content_block_stop":
            self._finished.add(index)
        elif event.type == "message_start" and event.message is not None:
            self._message = event.message
            self._count(event.message.usage)
        elif event.type == "message_delta":
            if event.delta is not None and event.delta.stop_reason:
                self._stop = event.delta.stop_reason
                self.complete = True
            self._count(event.usage)
        elif event.type == "message_stop":
            # Gateways may leave the reason out.
            self.complete = self.complete or bool(self._blocks)
        elif event.type == "error":
            failure = event.error or _Failure()
            raise classify(
                PROVIDER,
                failure.message or failure.type or "no message",
                words=(failure.type,),
                request_id=event.request_id,
            )

    def _grow(self, block: _Block, index: int, delta: _Delta, payload: bytes) -> None:
        kind = block.kind
        if delta.text is not None and kind == "text":
            block.texts.append(delta.text)
            if delta.text:
                self._deltas.text(delta.text)
        elif delta.partial_json is not None:
            block.json.append(delta.partial_json)
            if delta.partial_json and kind == "tool_use":
                self._deltas.tool_call(index, str(block.start.get("name")), delta.partial_json)
        elif delta.thinking is not None and kind == "thinking":
            block.texts.append(delta.thinking)
            if delta.thinking:
                self._deltas.thinking(delta.thinking)
        elif delta.signature is not None and kind == "thinking":
            block.signature += delta.signature
        elif kind == "text":
            block.citations += objects([delta.citation])
        elif kind not in _OURS:
            block.absorb(_decode_odd(payload).delta)

    def _count(self, usage: _Usage | None) -> None:
        if usage is None:
            return
        for field in _Usage.__struct_fields__:
            value = getattr(usage, field)
            if value is not None:
                setattr(self._usage, field, value)

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens counted so far; cached ones count as input."""
        read = self._usage.cache_read_input_tokens or 0
        written = self._usage.cache_creation_input_tokens or 0
        details = self._usage.output_tokens_details or _OutputDetails()
        return Usage(
            input_tokens=(self._usage.input_tokens or 0) + read + written,
            output_tokens=self._usage.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=details.thinking_tokens or 0,
        )

    def response(self) -> ModelResponse:
        """The whole response."""
        model = f"{PROVIDER}:{self._message.model}" if self._message.model else self._asked
        parts = tuple(self._blocks[index].part() for index in sorted(self._blocks))
        stop = stop_reason(self._stop, _STOP)
        if stop in _CUT:
            parts = without_open_calls(parts)
        return ModelResponse(
            message=Message("assistant", parts, model=model),
            stop_reason=stop,
            usage=self.usage(),
            model=model,
            response_id=self._message.id or "",
        )

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: text as far as it came, other blocks only if they are whole."""
        parts = [
            block.part()
            for index, block in sorted(self._blocks.items())
            if index in self._finished or block.kind == "text"
        ]
        return interrupted(parts, self._asked), self.usage()
