"""OpenAI's Responses API, used without storing anything at OpenAI.

The reasoning comes back encrypted and is handed back verbatim with the next request, as the
guide to stateless use of reasoning models asks.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import (
    Message,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from aof_nb.models.batches import BatchApi, read_whole
from aof_nb.models.counting import count_at
from aof_nb.models.history import fitting_id, sent_parts
from aof_nb.models.openai import (
    connect,
    is_reasoning,
    json_schema,
    structured_output,
)
from aof_nb.models.openai_responses_decoding import PROVIDER, ResponsesDecoder
from aof_nb.models.schema_dialects import OPENAI_SCHEMAS
from aof_nb.models.timeouts import Timeouts, timeouts
from aof_nb.models.transport import EncodeOnce, EncodeSchema, EncodeTools, stream_response
from aof_nb.ports import ModelRequest, OutputSchema, ToolSpec
from aof_nb.tool_names import safe_name

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
        return f"{PROVIDER}:{self._model}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response."""
        return stream_response(
            request,
            connect=self._connect,
            encode=self._body,
            provider=PROVIDER,
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
            provider=PROVIDER,
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
        case Text(text, opaque):
            if not text:
                return None
            if role != "assistant":
                piece = {"type": "input_text", "text": text}
                return {"type": "message", "role": role, "content": [piece]}
            about = opaque.get(PROVIDER, {})
            piece = {"type": "output_text", "text": text}
            if cited := about.get("annotations"):
                piece["annotations"] = cited
            item: dict[str, Any] = {"type": "message", "role": role, "content": [piece]}
            return item | ({"phase": about["phase"]} if about.get("phase") else {})
        case Thinking(provider=provider, opaque=item) | Opaque(provider=provider, block=item):
            return item if provider == PROVIDER else None
        case ToolCall():
            arguments = msgspec.json.encode(part.arguments or {}).decode()
            return {
                "type": "function_call",
                "call_id": fitting_id(part.id, _LONGEST_ID),
                "name": safe_name(part.name),
                "arguments": arguments,
                **part.opaque.get(PROVIDER, {}),
            }
        case ToolResult():
            return {
                "type": "function_call_output",
                "call_id": fitting_id(part.call_id, _LONGEST_ID),
                "output": part.content or "(no output)",
            }
