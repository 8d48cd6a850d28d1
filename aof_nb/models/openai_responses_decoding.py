"""The stream of the Responses API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Opaque, Part, StopReason, Text, Thinking, ToolCall, Usage
from aof_nb.models.assembly import Deltas, interrupted, is_known, objects, string, tool_call
from aof_nb.models.openai import Failure

PROVIDER = "openai"
# What stands between the paragraphs of a summary.
_BETWEEN = "\n\n"
# What a call says of itself besides: its tool's namespace, the program that made it.
_OF_CALL = ("namespace", "caller")
_CALLED_DIRECTLY = {"type": "direct"}


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[Any] | None = None
    usage: _Usage | None = None
    error: Failure | None = None
    incomplete_details: _Incomplete | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    delta: Any = None
    output_index: int | None = None
    summary_index: Any = None
    item: dict[str, Any] | None = None
    response: _Response | None = None
    message: str | None = None
    code: str | int | None = None
    error: Failure | None = None


_decode = msgspec.json.Decoder(_Event).decode
_KINDS = frozenset(
    (
        "error",
        "response.completed",
        "response.created",
        "response.failed",
        "response.function_call_arguments.delta",
        "response.in_progress",
        "response.incomplete",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.refusal.delta",
    )
)


class ResponsesDecoder:
    """Decodes the stream of the Responses API.

    Args:
        model: The model's full name, until the response says which one answered.
    """

    def __init__(self, model: str) -> None:
        self._asked = model
        self._response = _Response()
        self._items: dict[int, dict[str, Any]] = {}
        self._names: dict[int, str] = {}
        self._texts: dict[int, list[str]] = {}
        self._deltas = Deltas()
        self.complete = False

    def feed(self, payload: bytes) -> None:
        """Takes one event; unknown ones, and unknown fields, are skipped."""
        if payload == b"[DONE]":
            return
        try:
            event = _decode(payload)
        except msgspec.ValidationError:
            if is_known(payload, _KINDS):
                raise
            return
        index = event.output_index or 0
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                if isinstance(event.delta, str):
                    self._deltas.text(event.delta)
                    self._texts.setdefault(index, []).append(event.delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._deltas.thinking(string(event.delta))
            case "response.reasoning_summary_part.added" if event.summary_index:
                self._deltas.thinking(_BETWEEN)
            case "response.function_call_arguments.delta":
                self._deltas.tool_call(index, self._names.get(index, ""), string(event.delta))
            case "response.output_item.added" if event.item is not None:
                if event.item.get("type") == "function_call":
                    name = self._names[index] = str(event.item.get("name"))
                    self._deltas.tool_call(index, name, "")
            case "response.output_item.done" if event.item is not None:
                self._items[index] = event.item
            case "response.created" | "response.in_progress" if event.response is not None:
                self._response = event.response
            case "response.completed" | "response.incomplete" if event.response is not None:
                self._response = event.response
                self.complete = True
            case "response.failed" if event.response is not None:
                self._response = event.response
                raise (event.response.error or Failure()).typed(PROVIDER)
            case "error":
                failure = event.error or Failure(message=event.message, code=event.code)
                raise failure.typed(PROVIDER)

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens as the response counts them."""
        usage = self._response.usage or _Usage()
        cache = usage.input_tokens_details or _InputDetails()
        return Usage(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cache_read_tokens=cache.cached_tokens or 0,
            cache_write_tokens=cache.cache_write_tokens or 0,
            reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).reasoning_tokens
            or 0,
        )

    def response(self) -> ModelResponse:
        """The whole response."""
        items = [item for _, item in sorted(self._items.items())]
        output = objects(self._response.output)
        if len(output) > len(items):
            items = output
        parts = [part for item in items for part in _parts(item)]
        if not any(isinstance(part, Text) for part in parts):
            # Gateways may leave out the items whose deltas they have sent.
            texts = ("".join(pieces) for _, pieces in sorted(self._texts.items()))
            parts += [Text(text) for text in texts if text]
        model = f"{PROVIDER}:{self._response.model}" if self._response.model else self._asked
        return ModelResponse(
            message=Message("assistant", tuple(parts), model=model),
            stop_reason=self._stop_reason(items, parts),
            usage=self.usage(),
            model=model,
            response_id=self._response.id or "",
        )

    def _stop_reason(self, items: list[dict[str, Any]], parts: list[Part]) -> StopReason:
        if self._response.status == "incomplete":
            reason = (self._response.incomplete_details or _Incomplete()).reason
            if reason == "content_filter":
                return StopReason.REFUSAL
            return StopReason.MAX_TOKENS if reason == "max_output_tokens" else StopReason.OTHER
        if any(isinstance(part, ToolCall) for part in parts):
            return StopReason.TOOL_USE
        refused = any(
            piece.get("type") == "refusal"
            for item in items
            for piece in objects(item.get("content"))
        )
        return StopReason.REFUSAL if refused else StopReason.END_TURN

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: whole items, and text as far as it came."""
        parts: list[Part] = []
        for index in sorted(self._items.keys() | self._texts.keys()):
            if index in self._items:
                parts += _parts(self._items[index])
            else:
                parts.append(Text("".join(self._texts[index])))
        return interrupted(parts, self._asked), self.usage()


def _parts(item: dict[str, Any]) -> list[Part]:
    match item.get("type"):
        case "message":
            phase = {"phase": item["phase"]} if item.get("phase") else {}
            texts = (_text(piece, phase) for piece in objects(item.get("content")))
            return [text for text in texts if text.text]
        case "function_call":
            call_id = str(item.get("call_id") or item.get("id"))
            about = {key: item[key] for key in _OF_CALL if item.get(key)}
            if about.get("caller") == _CALLED_DIRECTLY:
                del about["caller"]
            raw = str(item.get("arguments") or "")
            own = {PROVIDER: about} if about else None
            return [tool_call(call_id, str(item.get("name")), raw, own)]
        case "reasoning":
            pieces = [*objects(item.get("summary")), *objects(item.get("content"))]
            text = _BETWEEN.join(str(piece.get("text") or "") for piece in pieces)
            return [Thinking(text, PROVIDER, item)]
        case _:
            return [Opaque(PROVIDER, item)]


def _text(piece: dict[str, Any], phase: dict[str, Any]) -> Text:
    cited = objects(piece.get("annotations"))
    about = phase | ({"annotations": cited} if cited else {})
    text = str(piece.get("text") or piece.get("refusal") or "")
    return Text(text, {PROVIDER: about} if about else {})
