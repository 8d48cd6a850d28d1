"""OpenAI's Responses API, used without storing anything at OpenAI.

The reasoning comes back encrypted and is handed back verbatim with the next request, as the
guide to stateless use of reasoning models asks.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import (
    Message,
    Opaque,
    Part,
    StopReason,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from aof_nb.models.assembly import (
    Deltas,
    interrupted,
    is_known,
    objects,
    string,
    tool_call,
)
from aof_nb.models.batches import BatchApi, read_whole
from aof_nb.models.counting import count_at
from aof_nb.models.history import fitting_id, sent_parts
from aof_nb.models.openai import (
    Failure,
    connect,
    is_reasoning,
    json_schema,
    structured_output,
)
from aof_nb.models.schema_dialects import OPENAI_SCHEMAS
from aof_nb.models.timeouts import Timeouts, timeouts
from aof_nb.models.transport import EncodeOnce, EncodeSchema, EncodeTools, stream_response
from aof_nb.ports import ModelRequest, OutputSchema, ToolSpec
from aof_nb.tool_names import safe_name

_PROVIDER = "openai"
_LONGEST_ID = 64
_COUNTED = frozenset(
    ("input", "instructions", "model", "reasoning", "text", "tools", "tool_choice")
)


class OpenAIResponsesModel:
    """A model behind the Responses API.

    Args:
        model: Its name there, such as ``gpt-5``.
        api_key: The key; from ``OPENAI_API_KEY`` if None.
        base_url: The address; from ``OPENAI_BASE_URL`` if None.
        timeout: Seconds after which a request is given up, one number or `Timeouts`; from
            ``AOF_MODEL_TIMEOUT`` if None.
        reasoning_summary: ``auto``, ``concise`` or ``detailed`` to be shown the reasoning;
            OpenAI gives it to verified organisations only.
    """

    schema_dialect = OPENAI_SCHEMAS

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = None,
        reasoning_summary: str | None = None,
    ) -> None:
        self._model = model
        self._api_key = api_key
        self._base_url = base_url
        self._timeouts = timeouts(timeout)
        self._reasoning_summary = reasoning_summary
        self.structured_output = structured_output(model)
        self._encoded = EncodeOnce(functools.partial(encode_message, reasoning=is_reasoning(model)))
        self._tools = EncodeTools(_declaration)
        self._format = EncodeSchema(_format)

    @property
    def name(self) -> str:
        """``openai:`` and the model's name."""
        return f"{_PROVIDER}:{self._model}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response."""
        return stream_response(
            request,
            connect=self._connect,
            encode=self._body,
            provider=_PROVIDER,
            path="/responses",
            decoder=ResponsesDecoder(self.name),
            limits=self._timeouts,
        )

    async def count_tokens(self, request: ModelRequest) -> int:
        """A request's input tokens, as the API counts them."""
        return await count_at(
            "/responses/input_tokens",
            self._body(request),
            keep=_COUNTED,
            connect=self._connect,
            provider=_PROVIDER,
        )

    def batches(self) -> BatchApi:
        """The account's batches, for many requests at once."""
        from aof_nb.models.openai_batches import OpenAIBatches

        return OpenAIBatches(
            "/v1/responses", encode=self._body, read=self._read, connect=self._connect
        )

    def _read(self, body: bytes) -> ModelResponse:
        return read_whole(
            ResponsesDecoder(self.name),
            [{"type": "response.completed", "response": msgspec.Raw(body)}],
        )

    async def _connect(self) -> tuple[Any, Any]:
        return await connect(self._api_key, self._base_url, self._timeouts)

    def _body(self, request: ModelRequest) -> bytes:
        sampling = request.sampling
        head: dict[str, Any] = {"model": self._model, "stream": True, "store": False}
        if request.system:
            head["instructions"] = request.system
        if sampling.max_tokens is not None:
            head["max_output_tokens"] = sampling.max_tokens
        if is_reasoning(self._model):
            head["include"] = ["reasoning.encrypted_content"]
            reasoning = {"effort": sampling.reasoning_effort, "summary": self._reasoning_summary}
            wanted = {key: value for key, value in reasoning.items() if value}
            if wanted:
                head["reasoning"] = wanted
        else:
            if sampling.temperature is not None:
                head["temperature"] = sampling.temperature
            if sampling.top_p is not None:
                head["top_p"] = sampling.top_p
        if request.output_schema is not None:
            head["text"] = self._format(request.output_schema)
        if request.tools:
            head["tools"] = self._tools(request.tools)
            if request.tool_choice == "none":
                head["tool_choice"] = "none"
        items = [encoded for message in request.messages if (encoded := self._encoded(message))]
        return b"%s,%s}" % (
            msgspec.json.encode(head)[:-1],
            b'"input":[' + b",".join(items) + b"]",
        )


def _format(wanted: OutputSchema) -> dict[str, Any]:
    return {"format": {"type": "json_schema", **json_schema(wanted)}}


def _declaration(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.input_schema,
        "strict": False,
    }


def encode_message(message: Message, *, reasoning: bool = True) -> bytes:
    """A message's items as JSON, without the brackets; empty if there are none.

    Args:
        message: The message.
        reasoning: Whether the model takes what a reasoning model has thought, encrypted.
    """
    parts = sent_parts(message)
    items = [
        item
        for part in parts
        if (item := _item(message.role, part)) is not None
        and (reasoning or not item.get("encrypted_content"))
    ]
    return msgspec.json.encode(items)[1:-1]


def _item(role: str, part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text):
            if not text:
                return None
            kind = "output_text" if role == "assistant" else "input_text"
            return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        case Thinking(provider=provider, opaque=item) | Opaque(provider=provider, block=item):
            return item if provider == _PROVIDER else None
        case ToolCall():
            arguments = msgspec.json.encode(part.arguments or {}).decode()
            return {
                "type": "function_call",
                "call_id": fitting_id(part.id, _LONGEST_ID),
                "name": safe_name(part.name),
                "arguments": arguments,
            }
        case ToolResult():
            return {
                "type": "function_call_output",
                "call_id": fitting_id(part.call_id, _LONGEST_ID),
                "output": part.content or "(no output)",
            }


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


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
                raise (event.response.error or Failure()).typed(_PROVIDER)
            case "error":
                failure = event.error or Failure(message=event.message, code=event.code)
                raise failure.typed(_PROVIDER)

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens as the response counts them."""
        usage = self._response.usage or _Usage()
        return Usage(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cache_read_tokens=(usage.input_tokens_details or _InputDetails()).cached_tokens or 0,
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
        model = f"{_PROVIDER}:{self._response.model}" if self._response.model else self._asked
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
            pieces = objects(item.get("content"))
            texts = [str(piece.get("text") or piece.get("refusal") or "") for piece in pieces]
            return [Text(text) for text in texts if text]
        case "function_call":
            call_id = str(item.get("call_id") or item.get("id"))
            return [tool_call(call_id, str(item.get("name")), str(item.get("arguments") or ""))]
        case "reasoning":
            pieces = [*objects(item.get("summary")), *objects(item.get("content"))]
            text = "\n\n".join(str(piece.get("text") or "") for piece in pieces)
            return [Thinking(text, _PROVIDER, item)]
        case _:
            return [Opaque(_PROVIDER, item)]
