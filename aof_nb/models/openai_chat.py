"""OpenAI's Chat Completions API, which many servers speak."""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import Message, Part, StopReason, Text, Thinking, Usage
from aof_nb.models.assembly import Deltas, interrupted, objects, stop_reason, tool_call
from aof_nb.models.batches import BatchApi, read_whole
from aof_nb.models.compatible import OPENAI, Endpoint, endpoint_named
from aof_nb.models.history import exact_id, fitting_id
from aof_nb.models.openai import Failure, connect, is_reasoning, json_schema, structured_output
from aof_nb.models.schema_dialects import OPENAI_SCHEMAS, without_keywords
from aof_nb.models.timeouts import Timeouts, timeouts
from aof_nb.models.transport import EncodeOnce, EncodeSchema, EncodeTools, stream_response
from aof_nb.ports import ModelRequest, OutputSchema, StructuredOutput, ToolSpec
from aof_nb.tool_names import safe_name

_STOP = {
    "stop": StopReason.END_TURN,
    "length": StopReason.MAX_TOKENS,
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "content_filter": StopReason.REFUSAL,
}


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
        if sampling.reasoning_effort:
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


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: dict[str, Any] | None = None


class _Piece(msgspec.Struct):
    text: str | None = None
    thinking: list[_Piece | None] | str | None = None


class _Delta(msgspec.Struct):
    content: str | list[_Piece | None] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[_CallDelta | None] | None = None
    extra_content: dict[str, Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    index: int | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice | None] | None = None
    usage: _Usage | None = None
    error: Failure | str | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _Call:
    """A tool call while it is being streamed."""

    __slots__ = ("arguments", "extra", "id", "name")

    def __init__(self) -> None:
        self.extra: dict[str, Any] = {}
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


def _is_whole(call: _Call) -> bool:
    try:
        msgspec.json.decode("".join(call.arguments))
    except msgspec.DecodeError:
        return False
    return True


class ChatDecoder:
    """Decodes the stream of the Chat Completions API.

    Args:
        model: The model's full name, until the response says which one answered.
        endpoint: The provider.
    """

    def __init__(self, model: str, endpoint: Endpoint = OPENAI) -> None:
        self._provider = endpoint.name
        self._whole_calls = endpoint.whole_calls
        self._extra: dict[str, Any] = {}
        self._asked = model
        self._answered: str | None = None
        self._id = ""
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._thinking_field = ""
        self._thinking_details: list[dict[str, Any]] = []
        self._calls: list[_Call] = []
        self._slots: dict[int, _Call] = {}
        self._refused = False
        self._finish: str | None = None
        self._usage = _Usage()
        self._deltas = Deltas()

    @property
    def complete(self) -> bool:
        """Whether a finish reason has come; the usage after it is welcome, not needed."""
        return self._finish is not None

    def feed(self, payload: bytes) -> None:
        """Takes one chunk; unknown fields are skipped."""
        if payload == b"[DONE]":
            return
        chunk = _decode(payload)
        if chunk.error is not None:
            failure = chunk.error
            raise (Failure(failure) if isinstance(failure, str) else failure).typed(self._provider)
        if chunk.id:
            self._id = chunk.id
        if chunk.model:
            self._answered = chunk.model
        if chunk.usage is not None:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            if choice is not None and not choice.index:
                if choice.delta is not None:
                    self._grow(choice.delta)
                elif choice.message is not None and not (self._texts or self._calls):
                    # A server that does not stream, or ends with the whole of it.
                    self._grow(choice.message)
                self._finish = choice.finish_reason or self._finish

    def _grow(self, delta: _Delta) -> None:
        if isinstance(delta.content, list):
            self._grow_pieces(delta.content)
        elif delta.content:
            self._texts.append(delta.content)
            self._deltas.text(delta.content)
        if delta.refusal:
            self._refused = True
            self._texts.append(delta.refusal)
            self._deltas.text(delta.refusal)
        thinking = delta.reasoning_content or delta.reasoning
        if thinking:
            self._thinking_field = "reasoning_content" if delta.reasoning_content else "reasoning"
            self._thinking.append(thinking)
            self._deltas.thinking(thinking)
        if delta.reasoning_details:
            self._thinking_details += objects(delta.reasoning_details)
        if delta.extra_content:
            self._extra |= delta.extra_content
        for piece in delta.tool_calls or ():
            if piece is not None:
                self._grow_call(piece)

    def _grow_pieces(self, pieces: list[_Piece | None]) -> None:
        # Mistral's models that reason stream their content as typed pieces.
        for piece in filter(None, pieces):
            thinking = piece.thinking or ""
            if isinstance(thinking, list):
                thinking = "".join(each.text or "" for each in filter(None, thinking))
            if thinking:
                self._thinking_field = "reasoning_content"
                self._thinking.append(thinking)
                self._deltas.thinking(thinking)
            if piece.text:
                self._texts.append(piece.text)
                self._deltas.text(piece.text)

    def _grow_call(self, piece: _CallDelta) -> None:
        function = piece.function or _Function()
        index = piece.index or 0
        call = self._slots.get(index)
        # Some compatible servers give every call the index 0, or none: a new id is a new call, and
        # so is a name without one where calls come whole, or where the call before is whole.
        if call is None or (function.name and self._begins_anew(call, piece)):
            call = self._slots[index] = _Call()
            self._calls.append(call)
        call.id = piece.id or call.id
        call.name = function.name or call.name
        if piece.extra_content:
            # Gemini's signature of the thoughts behind the call, without which it refuses it.
            call.extra = {"extra_content": piece.extra_content}
        arguments = function.arguments or ""
        if isinstance(arguments, dict):
            # Some servers give an object for the JSON of one.
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            call.arguments.append(arguments)
        self._deltas.tool_call(self._calls.index(call), call.name, arguments)

    def _begins_anew(self, call: _Call, piece: _CallDelta) -> bool:
        if piece.id and call.id:
            return piece.id != call.id
        if piece.id or not call.name:
            return False
        return self._whole_calls or (piece.index is None and _is_whole(call))

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        return iter(self._deltas.take())

    def usage(self) -> Usage:
        """The tokens as the last usage chunk counts them."""
        prompt = self._usage.prompt_tokens_details or _PromptDetails()
        completion = self._usage.completion_tokens_details or _CompletionDetails()
        asked, written = self._usage.prompt_tokens or 0, self._usage.completion_tokens or 0
        # Gemini and xAI count reasoning in the total alone.
        hidden = max(0, (self._usage.total_tokens or 0) - asked - written)
        return Usage(
            input_tokens=asked,
            output_tokens=written + hidden,
            cache_read_tokens=prompt.cached_tokens or 0,
            reasoning_tokens=completion.reasoning_tokens or hidden,
        )

    def _parts(self) -> list[Part]:
        parts: list[Part] = []
        if self._thinking or self._thinking_details or self._extra:
            thinking = "".join(self._thinking)
            opaque: dict[str, Any] = {self._thinking_field: thinking} if thinking else {}
            if self._thinking_details:
                opaque["reasoning_details"] = self._thinking_details
            if self._extra:
                opaque["extra_content"] = self._extra
            parts.append(Thinking(thinking, self._provider, opaque))
        if self._texts:
            parts.append(Text("".join(self._texts)))
        return parts

    def response(self) -> ModelResponse:
        """The whole response."""
        parts = self._parts()
        for place, call in enumerate(self._calls):
            call_id = call.id or f"call_{self._id or 'x'}_{place}"
            opaque = {self._provider: call.extra} if call.extra else None
            parts.append(tool_call(call_id, call.name, "".join(call.arguments), opaque))
        model = f"{self._provider}:{self._answered}" if self._answered else self._asked
        reason = StopReason.REFUSAL if self._refused else stop_reason(self._finish, _STOP)
        if self._calls and reason is StopReason.END_TURN:
            reason = StopReason.TOOL_USE
        return ModelResponse(
            message=Message("assistant", tuple(parts), model=model),
            stop_reason=reason,
            usage=self.usage(),
            model=model,
            response_id=self._id,
        )

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: text and thinking, without calls that may not be whole."""
        return interrupted(self._parts(), self._asked), self.usage()
