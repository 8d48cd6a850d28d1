"""OpenAI's Chat Completions API, which many servers speak."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Thinking
from aof_nb.models.batches import BatchApi, read_whole
from aof_nb.models.compatible import OPENAI, Endpoint, endpoint_named
from aof_nb.models.history import exact_id, fitting_id
from aof_nb.models.openai import connect, is_reasoning, json_schema, structured_output
from aof_nb.models.openai_chat_decoding import ChatDecoder
from aof_nb.models.schema_dialects import OPENAI_SCHEMAS, without_keywords
from aof_nb.models.timeouts import Timeouts, timeouts
from aof_nb.models.transport import EncodeOnce, EncodeSchema, EncodeTools, stream_response
from aof_nb.ports import ModelRequest, OutputSchema, StructuredOutput, ToolSpec
from aof_nb.tool_names import safe_name


class OpenAIChatModel:
    """A model behind the Chat Completions API.

    Args:
        model: Its name there, such as ``gpt-4o``.
        api_key: The key; from ``OPENAI_API_KEY`` if None.
        base_url: The address; from ``OPENAI_BASE_URL`` if None.
        timeout: Seconds after which a request is given up, one number or `Timeouts`; from
            ``AOF_MODEL_TIMEOUT`` if None.
        output_limit: The name of the parameter that bounds the output; compatible servers
            want ``max_tokens``, OpenAI's reasoning models ``max_completion_tokens``.
        endpoint: The provider, as `aof_nb.models.compatible` names it.
        structured: How it is held to an output schema: ``native`` if it takes a
            ``response_format``, ``tool`` or ``prompt``; by the endpoint and the model's name if
            None.
    """

    schema_dialect = OPENAI_SCHEMAS

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = None,
        output_limit: str | None = None,
        endpoint: str = OPENAI.name,
        structured: StructuredOutput | None = None,
    ) -> None:
        self._endpoint = endpoint_named(endpoint)
        self._model = model
        self._api_key = api_key
        self._base_url = base_url
        self._timeouts = timeouts(timeout)
        self._output_limit = (
            output_limit
            or self._endpoint.output_limit
            or ("max_completion_tokens" if is_reasoning(model) else "max_tokens")
        )
        self.structured_output = structured or self._endpoint.structured or structured_output(model)
        self.schema_beside_tools = self._endpoint.schema_beside_tools
        self._encoded = EncodeOnce(functools.partial(encode_message, endpoint=self._endpoint))
        self._tools = EncodeTools(functools.partial(_declaration, endpoint=self._endpoint))
        self._format = EncodeSchema(_format)

    @property
    def name(self) -> str:
        """The provider's and the model's name, such as ``openai-chat:gpt-4o``."""
        return f"{self._endpoint.name}:{self._model}"

    @property
    def _path(self) -> str:
        return "/chat/completions"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response."""
        return stream_response(
            request,
            connect=self._connect,
            encode=self._body,
            provider=self._endpoint.name,
            path=self._path,
            decoder=ChatDecoder(self.name, self._endpoint),
            limits=self._timeouts,
            remedies=self._endpoint.remedies(self._model),
        )

    def batches(self) -> BatchApi | None:
        """The account's batches, for many requests at once; only OpenAI's own endpoint has them."""
        if self._endpoint is not OPENAI:
            return None
        from aof_nb.models.openai_batches import OpenAIBatches

        return OpenAIBatches(
            "/v1/chat/completions", encode=self._body, read=self._read, connect=self._connect
        )

    def _read(self, body: bytes) -> ModelResponse:
        whole = msgspec.json.decode(body)
        for choice in whole.get("choices") or ():
            choice["delta"] = message = choice.pop("message", None) or {}
            for place, each in enumerate(message.get("tool_calls") or ()):
                each["index"] = place
        return read_whole(ChatDecoder(self.name, self._endpoint), [whole])

    async def _connect(self) -> tuple[Any, Any]:
        if self._endpoint is OPENAI:
            return await connect(self._api_key, self._base_url, self._timeouts)
        key, address = self._endpoint.credentials(self._api_key, self._base_url)
        return await connect(key, address, self._timeouts, foreign=True)

    def _body(self, request: ModelRequest) -> bytes:
        sampling = request.sampling
        head: dict[str, Any] = {"model": self._model, "stream": True}
        if self._endpoint.stream_options:
            head["stream_options"] = {"include_usage": True}
        if sampling.max_tokens is not None:
            head[self._output_limit] = sampling.max_tokens
        if not is_reasoning(self._model):
            if sampling.temperature is not None:
                head["temperature"] = sampling.temperature
            if sampling.top_p is not None:
                head["top_p"] = sampling.top_p
        if sampling.thinking_tokens and self._endpoint.thinking:
            head |= self._endpoint.thinks_for(sampling.thinking_tokens)
            if self._output_limit in head:
                least = sampling.thinking_tokens + _ANSWER_TOKENS
                head[self._output_limit] = max(head[self._output_limit], least)
        elif sampling.reasoning_effort:
            head["reasoning_effort"] = sampling.reasoning_effort
        if sampling.stop:
            head["stop"] = sampling.stop
        refused = self._endpoint.refused
        if sampling.reasoning_effort or _reasons(self._model):
            refused |= self._endpoint.refused_by_reasoning
        for name in refused:
            head.pop(name, None)
        if request.output_schema is not None:
            head["response_format"] = self._format(request.output_schema)
        if request.tools:
            head["tools"] = self._tools(request.tools)
            if request.tool_choice == "none" and self._endpoint.withholds:
                head["tool_choice"] = "none"
        messages = [encoded for message in request.messages if (encoded := self._encoded(message))]
        if request.system:
            system = {"role": "system", "content": request.system}
            messages.insert(0, msgspec.json.encode(system))
        return b"%s,%s}" % (
            msgspec.json.encode(head)[:-1],
            b'"messages":[' + b",".join(messages) + b"]",
        )


_ANSWER_TOKENS = 1024
_REASONING = re.compile(r"(?:^|/)grok-(?:3-mini|[4-9])")


def _reasons(model: str) -> bool:
    return _REASONING.search(model) is not None


def _format(wanted: OutputSchema) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": json_schema(wanted)}


def _declaration(tool: ToolSpec, endpoint: Endpoint) -> dict[str, Any]:
    dropped = endpoint.schema_dropped
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": without_keywords(tool.input_schema, dropped)
            if dropped
            else tool.input_schema,
        },
    }


def encode_message(message: Message, endpoint: Endpoint = OPENAI) -> bytes:
    """A message as JSON objects joined by commas; empty if nothing of it can be sent."""
    provider = endpoint.name
    fit = exact_id if endpoint.exact_call_id else fitting_id
    if message.role == "tool":
        results = [
            {
                "role": "tool",
                "tool_call_id": fit(result.call_id, endpoint.longest_call_id),
                "content": result.content or "(no output)",
            }
            for result in message.tool_results
        ]
        return msgspec.json.encode(results)[1:-1]
    encoded: dict[str, Any] = {"role": message.role}
    text = message.text
    if message.role == "user":
        return msgspec.json.encode(encoded | {"content": text})
    calls = message.tool_calls
    if not calls and not text:
        return b""
    encoded["content"] = text or None
    for part in message.parts:
        if isinstance(part, Thinking) and part.provider == provider:
            # Servers that show their reasoning want it back while tools are being used, and
            # reject it elsewhere; OpenRouter wants its details, Gemini its signature always.
            whole = bool(calls) and endpoint.reasoning_back == "calls"
            encoded |= {
                key: part.opaque[key] for key in part.opaque if whole or key in _ALWAYS_BACK
            }
    if calls:
        encoded["tool_calls"] = [
            {
                "id": fit(call.id, endpoint.longest_call_id),
                "type": "function",
                "function": {
                    "name": safe_name(call.name),
                    "arguments": "{}"
                    if call.arguments is None
                    else msgspec.json.encode(call.arguments).decode(),
                },
                **(call.opaque.get(provider) or _stand_in(message, place, provider)),
            }
            for place, call in enumerate(calls)
        ]
    return msgspec.json.encode(encoded)


_ALWAYS_BACK = ("reasoning_details", "extra_content")


def _stand_in(message: Message, place: int, provider: str) -> dict[str, Any]:
    """What Gemini wants instead of a signature with the first of another model's calls.

    Source: Gemini API, "Thought signatures".
    """
    if provider != "google" or place or (message.model or "").startswith("google:"):
        return {}
    return {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
