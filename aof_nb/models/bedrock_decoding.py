"""The stream of Bedrock's ConverseStream, and a whole response of Converse."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Opaque, Part, StopReason, Text, Thinking, ToolCall, Usage
from aof_nb.models.assembly import Deltas, interrupted, objects, stop_reason, string, tool_call
from aof_nb.models.bedrock_failures import PROVIDER, refusal
from aof_nb.models.event_stream import EventStreamFrames

_STOP = {
    "end_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "guardrail_intervened": StopReason.REFUSAL,
    "content_filtered": StopReason.REFUSAL,
    "refusal": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
}
_FAILED = frozenset(("malformed_model_output", "malformed_tool_use"))


class _Reasoning(msgspec.Struct, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Input(msgspec.Struct):
    input: str | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _Input | None = None
    reasoning_content: _Reasoning | None = None


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _Router(msgspec.Struct, rename="camel"):
    invoked_model_id: str | None = None


class _Trace(msgspec.Struct, rename="camel"):
    prompt_router: _Router | None = None


class _Event(msgspec.Struct, rename="camel"):
    content_block_index: int = 0
    start: dict[str, Any] | None = None
    delta: _Delta | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    trace: _Trace | None = None
    message: str | None = None


class _Odd(msgspec.Struct):
    delta: dict[str, Any] | None = None


class _Output(msgspec.Struct, frozen=True):
    message: dict[str, Any] = {}


class _Whole(msgspec.Struct, rename="camel"):
    output: _Output = _Output()
    stop_reason: str | None = None
    usage: _Usage | None = None
    trace: _Trace | None = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_odd = msgspec.json.Decoder(_Odd).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode


class _Block:
    """A content block while it is being streamed; text and reasoning have no start."""

    __slots__ = ("input", "odd", "redacted", "signature", "start", "texts", "thoughts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.signature = ""
        self.redacted: list[str] = []
        self.input: list[str] = []
        self.odd: list[dict[str, Any]] = []

    @property
    def called(self) -> str | None:
        """The name of the tool that is called, if it is one of ours."""
        found = self.start.get("toolUse")
        own = isinstance(found, dict) and not found.get("type")
        return str(found.get("name")) if own and found else None

    def parts(self) -> Iterator[Part]:
        """What the block amounts to."""
        if self.thoughts or self.signature:
            text = "".join(self.thoughts)
            block = {"text": text} | ({"signature": self.signature} if self.signature else {})
            yield Thinking(text, PROVIDER, {"reasoningContent": {"reasoningText": block}})
        if self.redacted:
            sealed = {"reasoningContent": {"redactedContent": _joined(self.redacted)}}
            yield Thinking("", PROVIDER, sealed)
        cited = [found for delta in self.odd if (found := delta.get("citation"))]
        if any(self.texts):
            text = "".join(self.texts)
            yield Text(text, _cited(text, cited) if cited else {})
        found = self.start.get("toolUse")
        if isinstance(found, dict):
            call = tool_call(
                str(found.get("toolUseId")), str(found.get("name")), "".join(self.input)
            )
            if self.called is not None:
                yield call
            else:
                yield Opaque(PROVIDER, {"toolUse": found | {"input": call.arguments or {}}})
        elif isinstance(found := self.start.get("toolResult"), dict):
            content = list(found.get("content") or [])
            content += (part for delta in self.odd for part in delta.get("toolResult") or [])
            yield Opaque(PROVIDER, {"toolResult": found | {"content": content}})
        elif unknown := [delta for delta in self.odd if "citation" not in delta]:
            yield Opaque(PROVIDER, {"start": self.start, "deltas": unknown})
        elif self.start:
            yield Opaque(PROVIDER, self.start)


def _cited(text: str, citations: list[Any]) -> dict[str, Any]:
    """What a text with citations is sent back as."""
    return {PROVIDER: {"citationsContent": {"content": [{"text": text}], "citations": citations}}}


def _joined(pieces: list[str]) -> str:
    """Pieces of Base64 as one."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except binascii.Error:
        return "".join(pieces)


class ConverseDecoder:
    """Decodes what Converse and ConverseStream answer.

    Args:
        model: The model's full name.
        request_id: AWS's id of the request, once it is known.
    """

    def __init__(self, model: str, request_id: str | None = None) -> None:
        self._model = model
        self.request_id = request_id
        self._frames = EventStreamFrames()
        self._usage = _Usage()
        self._blocks: dict[int, _Block] = {}
        self._finished: set[int] = set()
        self._stop: str | None = None
        self._deltas = Deltas()
        self.complete = False

    def feed(self, payload: bytes) -> None:
        """Takes more of the stream's bytes, cut anywhere.

        Raises:
            ModelError: If the provider reports an error in the stream.
            DamagedStream: If the bytes are not those that were sent.
            DecodeError: If an event is not valid.
        """
        for headers, body in self._frames.feed(payload):
            kind = headers.get(":message-type", "event")
            if kind == "event":
                self._take(headers.get(":event-type", ""), body)
            elif kind == "exception":
                code = headers.get(":exception-type", "")
                raise refusal(code, _said(body) or code, request_id=self.request_id)
            elif kind == "error":
                code = headers.get(":error-code", "")
                said = headers.get(":error-message")
                raise refusal(code, said or code, request_id=self.request_id)

    def _take(self, kind: str, body: bytes) -> None:
        if kind == "contentBlockDelta":
            event = _decode(body)
            if event.delta is not None:
                self._grow(event.content_block_index, event.delta, body)
        elif kind == "contentBlockStart":
            event = _decode(body)
            index = event.content_block_index
            block = self._blocks[index] = _Block(event.start or {})
            if block.called is not None:
                self._deltas.tool_call(index, block.called, "")
        elif kind == "contentBlockStop":
            self._finished.add(_decode(body).content_block_index)
        elif kind == "messageStop":
            self._end(_decode(body).stop_reason)
        elif kind == "metadata":
            event = _decode(body)
            self._note(event.usage, event.trace)

    def _grow(self, index: int, delta: _Delta, body: bytes) -> None:
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block({})
        if delta.text is not None:
            block.texts.append(delta.text)
            if delta.text:
                self._deltas.text(delta.text)
        elif delta.tool_use is not None:
            more = delta.tool_use.input or ""
            block.input.append(more)
            if more and block.called is not None:
                self._deltas.tool_call(index, block.called, more)
        elif (thought := delta.reasoning_content) is not None:
            if thought.text is not None:
                block.thoughts.append(thought.text)
                if thought.text:
                    self._deltas.thinking(thought.text)
            block.signature += thought.signature or ""
            if thought.redacted_content:
                block.redacted.append(thought.redacted_content)
        elif odd := _decode_odd(body).delta:
            block.odd.append(odd)

    def _end(self, stop: str | None) -> None:
        if stop in _FAILED:
            said = f"the response came to nothing ({stop})"
            raise refusal("modelStreamErrorException", said, request_id=self.request_id)
        self._stop, self.complete = stop, True

    def _note(self, usage: _Usage | None, trace: _Trace | None) -> None:
        if usage is not None:
            self._usage = usage
        router = trace.prompt_router if trace is not None else None
        if router is not None and router.invoked_model_id:
            self._model = f"{PROVIDER}:{router.invoked_model_id.rpartition('/')[2]}"

    def feed_whole(self, payload: bytes) -> None:
        """Takes the whole response of Converse, for models that cannot stream tool calls.

        Raises:
            ModelError: If it says that there is no answer.
            DecodeError: If it is not valid.
        """
        whole = _decode_whole(payload)
        content = whole.output.message.get("content")
        for index, found in enumerate(content if isinstance(content, list) else []):
            block = self._blocks[index] = _whole_block(found)
            self._finished.add(index)
            for text in block.thoughts:
                self._deltas.thinking(text)
            for text in filter(None, block.texts):
                self._deltas.text(text)
            if block.called is not None:
                self._deltas.tool_call(index, block.called, "".join(block.input))
        self._note(whole.usage, whole.trace)
        self._end(whole.stop_reason)

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens counted so far; cached ones count as input."""
        read = self._usage.cache_read_input_tokens or 0
        written = self._usage.cache_write_input_tokens or 0
        return Usage(
            input_tokens=(self._usage.input_tokens or 0) + read + written,
            output_tokens=self._usage.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )

    def response(self) -> ModelResponse:
        """The whole response."""
        parts = tuple(part for _, block in sorted(self._blocks.items()) for part in block.parts())
        stop = stop_reason(self._stop, _STOP)
        if stop is StopReason.END_TURN and any(isinstance(part, ToolCall) for part in parts):
            # Some families say end_turn whatever they do.
            stop = StopReason.TOOL_USE
        return ModelResponse(
            message=Message("assistant", parts, model=self._model),
            stop_reason=stop,
            usage=self.usage(),
            model=self._model,
            response_id=self.request_id or "",
        )

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: text as far as it came, other blocks only if they are whole."""
        parts = [
            part
            for index, block in sorted(self._blocks.items())
            for part in block.parts()
            if index in self._finished or isinstance(part, Text)
        ]
        return interrupted(parts, self._model), self.usage()


def _said(body: bytes) -> str:
    """The message of an error."""
    try:
        return _decode(body).message or ""
    except msgspec.DecodeError:
        return body[:300].decode(errors="replace")


def _whole_block(found: dict[str, Any]) -> _Block:
    """A content block of a whole response, as if it had been streamed."""
    if isinstance(use := found.get("toolUse"), dict):
        given = use.get("input")
        block = _Block({"toolUse": {key: use[key] for key in use if key != "input"}})
        block.input.append(given if isinstance(given, str) else msgspec.json.encode(given).decode())
    elif isinstance(text := found.get("text"), str):
        block = _Block({})
        block.texts.append(text)
    elif isinstance(cited := found.get("citationsContent"), dict):
        block = _Block({})
        block.texts += [string(piece.get("text")) for piece in objects(cited.get("content"))]
        block.odd += [{"citation": each} for each in objects(cited.get("citations"))]
    elif isinstance(thought := found.get("reasoningContent"), dict):
        block = _Block({})
        said = thought.get("reasoningText") or {}
        block.thoughts.append(said.get("text") or "")
        block.signature = said.get("signature") or ""
        if sealed := thought.get("redactedContent"):
            block.redacted.append(sealed)
            block.thoughts.clear()
    else:
        block = _Block(found)
    return block
