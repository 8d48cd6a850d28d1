"""Anthropic's Messages API."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

from aof_nb.errors import MissingCredential
from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.importing import imported
from aof_nb.loop_clients import shared_client
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
    stop_reason,
    string,
    tool_call,
)
from aof_nb.models.batches import BatchApi
from aof_nb.models.counting import count_at
from aof_nb.models.failures import classify
from aof_nb.models.history import fitting_id, sent_parts
from aof_nb.models.schema_dialects import ANTHROPIC_SCHEMAS
from aof_nb.models.timeouts import Timeouts, timeouts
from aof_nb.models.transport import (
    EncodeOnce,
    EncodeSchema,
    EncodeTools,
    sdk_timeout,
    stream_response,
)
from aof_nb.ports import ModelRequest, OutputSchema, StructuredOutput, ToolSpec
from aof_nb.tool_names import safe_name

_PROVIDER = "anthropic"
_DEFAULT_MAX_TOKENS = 8192
_LONGEST_ID = 64
_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
_CACHE_CONTROL = {"cache_control": {"type": "ephemeral"}}
_MARK = b"," + msgspec.json.encode(_CACHE_CONTROL)[1:]
# Models before 4.5 know no output_config.format.
_WITHOUT_SCHEMAS = re.compile(r"claude-(?:\d|instant|[a-z]+-4(?:-[01])?(?:-\d{8}|@|$))")
_COUNTED = frozenset(
    ("messages", "model", "system", "tools", "tool_choice", "thinking", "output_config")
)
_STOP = {
    "end_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
}


class AnthropicModel:
    """A model of Anthropic's.

    Args:
        model: Its name there, such as ``claude-sonnet-5``.
        api_key: The key; from ``ANTHROPIC_API_KEY`` (or what else the SDK looks at) if None.
        base_url: The address; from ``ANTHROPIC_BASE_URL`` if None.
        timeout: Seconds after which a request is given up, one number or `Timeouts`; from
            ``AOF_MODEL_TIMEOUT`` if None.
        cache: Whether the provider is told to cache what the next request will repeat: the tools,
            the instructions and the conversation (`cache_control`, for five minutes).
    """

    schema_dialect = ANTHROPIC_SCHEMAS

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = None,
        cache: bool = True,
    ) -> None:
        self._model = model
        self._api_key = api_key
        self._base_url = base_url
        self._timeouts = timeouts(timeout)
        self._cache = cache
        self._encoded = EncodeOnce(encode_message)
        self._tools = EncodeTools(_declaration)
        self._format = EncodeSchema(_format)

    @property
    def structured_output(self) -> StructuredOutput:
        """How it is held to a schema: by ``output_config``, or a tool where it has none."""
        return "tool" if _WITHOUT_SCHEMAS.search(self._model) else "native"

    @property
    def name(self) -> str:
        """``anthropic:`` and the model's name."""
        return f"{_PROVIDER}:{self._model}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response."""
        return stream_response(
            request,
            connect=self._connect,
            encode=self._body,
            provider=_PROVIDER,
            path="/v1/messages",
            decoder=MessagesDecoder(self.name),
            limits=self._timeouts,
        )

    async def count_tokens(self, request: ModelRequest) -> int:
        """A request's input tokens, as the API counts them."""
        return await count_at(
            "/v1/messages/count_tokens",
            self._body(request),
            keep=_COUNTED,
            connect=self._connect,
            provider=_PROVIDER,
        )

    def batches(self) -> BatchApi:
        """The account's batches, for many requests at once."""
        from aof_nb.models.anthropic_batches import AnthropicBatches

        return AnthropicBatches(self.name, encode=self._body, connect=self._connect)

    async def _connect(self) -> tuple[Any, Any]:
        anthropic = await imported("anthropic")
        # A key that was wrong can be set right without a new kernel.
        given = map(os.environ.get, _VARIABLES)
        key = (_PROVIDER, self._api_key, self._base_url, self._timeouts, *given)
        return anthropic, await shared_client(key, self._client)

    def _client(self) -> Any:
        import anthropic

        try:
            client = anthropic.AsyncAnthropic(
                api_key=self._api_key,
                base_url=self._base_url,
                timeout=sdk_timeout(anthropic, self._timeouts),
                max_retries=0,
                open_telemetry=False,
                http_client=anthropic.DefaultAioHttpClient(),
            )
        except anthropic.AnthropicError as error:
            raise MissingCredential("Anthropic", "ANTHROPIC_API_KEY") from error
        if not (client.api_key or client.auth_token or client.credentials):
            raise MissingCredential("Anthropic", "ANTHROPIC_API_KEY")
        return client

    def _body(self, request: ModelRequest) -> bytes:
        # temperature and top_p are not sent: API version 2026-10-21 refuses them.
        sampling = request.sampling
        head: dict[str, Any] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens or _DEFAULT_MAX_TOKENS,
            "stream": True,
        }
        if sampling.thinking_tokens and _may_think(request.messages):
            head["thinking"] = {"type": "enabled", "budget_tokens": sampling.thinking_tokens}
            head["max_tokens"] = max(head["max_tokens"], sampling.thinking_tokens + 1024)
        config: dict[str, Any] = {}
        if sampling.reasoning_effort:
            config["effort"] = sampling.reasoning_effort
        if request.output_schema is not None:
            config["format"] = self._format(request.output_schema)
        if config:
            head["output_config"] = config
        if sampling.stop:
            head["stop_sequences"] = sampling.stop
        if request.system:
            head["system"] = request.system
            if self._cache:
                head["system"] = [{"type": "text", "text": request.system} | _CACHE_CONTROL]
        fields = [msgspec.json.encode(head)[1:-1]]
        if request.tools:
            tools = bytes(self._tools(request.tools))
            if self._cache:
                tools = tools[:-2] + _MARK + b"]"
            fields.append(b'"tools":' + tools)
            if request.tool_choice == "none":
                fields.append(b'"tool_choice":{"type":"none"}')
        fields.append(b'"messages":[' + b",".join(self._turns(request.messages)) + b"]")
        return b"{" + b",".join(fields) + b"}"

    def _turns(self, messages: tuple[Message, ...]) -> list[bytes]:
        """Messages as turns that alternate: neighbours of one role are joined."""
        turns = list[tuple[str, list[bytes]]]()
        for message in messages:
            encoded = self._encoded(message)
            if not encoded:
                continue
            speaker = "assistant" if message.role == "assistant" else "user"
            if not turns or turns[-1][0] != speaker:
                turns.append((speaker, []))
            turns[-1][1].append(encoded)
        if self._cache:
            _mark(turns)
        return [_turn(role, blocks) for role, blocks in turns]


def _mark(turns: list[tuple[str, list[bytes]]]) -> None:
    """Marks the ends of the last two of the user's turns for caching.

    The one is where this request writes; the other is where the one before wrote. It is named
    since the API, from a mark, looks only 20 blocks back for what it has, and many calls in one
    turn make more. With the tools and the instructions these are the four marks it takes.
    """
    spoken = [blocks for role, blocks in turns[-3:] if role == "user"]
    for blocks in spoken[-2:]:
        blocks[-1] = blocks[-1][:-1] + _MARK


def _format(wanted: OutputSchema) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "schema": ANTHROPIC_SCHEMAS.strict(wanted.schema) or wanted.schema,
    }


def _turn(role: str, blocks: list[bytes]) -> bytes:
    return b'{"role":"%s","content":[%s]}' % (role.encode(), b",".join(blocks))


def encode_message(message: Message) -> bytes:
    """A message's content blocks as JSON, without the brackets; empty if there are none."""
    blocks = [block for part in sent_parts(message) if (block := _block(part)) is not None]
    return msgspec.json.encode(blocks)[1:-1]


def _block(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text):
            return {"type": "text", "text": text} if text.strip() else None
        case Thinking(provider=provider, opaque=block) | Opaque(provider=provider, block=block):
            return block if provider == _PROVIDER else None
        case ToolCall():
            return {
                "type": "tool_use",
                "id": fitting_id(part.id, _LONGEST_ID, plain=True),
                "name": safe_name(part.name),
                "input": part.arguments or {},
            }
        case ToolResult():
            block = {
                "type": "tool_result",
                "tool_use_id": fitting_id(part.call_id, _LONGEST_ID, plain=True),
                "content": part.content or "(no output)",
            }
            return block | {"is_error": True} if part.is_error else block


def _may_think(messages: tuple[Message, ...]) -> bool:
    """Whether thinking may be asked for.

    Where tools were being used, the API takes it only if that turn began with thinking, which
    one that another model wrote has not.
    """
    place, answered = len(messages), False
    while place and messages[place - 1].role != "assistant":
        place -= 1
        answered = answered or messages[place].role == "tool"
    if not answered:
        return True
    while place and messages[place - 1].role == "assistant":
        place -= 1
    parts = messages[place].parts
    return next((isinstance(part, Thinking) for part in parts if _block(part)), False)


def _declaration(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
    }


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


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


class _Block:
    """A content block while it is being streamed."""

    __slots__ = ("json", "signature", "start", "texts")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.texts: list[str] = []
        self.json: list[str] = []
        self.signature = ""

    def part(self) -> Part:
        kind = self.start.get("type")
        if kind == "text":
            return Text(string(self.start.get("text")) + "".join(self.texts))
        if kind == "tool_use":
            raw = "".join(self.json)
            given = self.start.get("input")
            if not raw and given:
                raw = msgspec.json.encode(given).decode()
            return tool_call(str(self.start.get("id")), str(self.start.get("name")), raw)
        block = dict(self.start)
        if self.json:
            # Input of a server-side tool: it goes back parsed, as the API wants it.
            block["input"] = tool_call("", "", "".join(self.json)).arguments or {}
        if kind == "thinking":
            block["thinking"] = string(block.get("thinking")) + "".join(self.texts)
            block["signature"] = self.signature or string(block.get("signature"))
            return Thinking(block["thinking"], _PROVIDER, block)
        if kind == "redacted_thinking":
            return Thinking("", _PROVIDER, block)
        return Opaque(_PROVIDER, block)


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
                self._grow(block, index, event.delta)
        elif event.type == "content_block_start":
            block = self._blocks[index] = _Block(event.content_block or {})
            if block.start.get("type") == "text" and string(block.start.get("text")):
                self._deltas.text(block.start["text"])
            elif block.start.get("type") == "tool_use":
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
                _PROVIDER,
                failure.message or failure.type or "no message",
                words=(failure.type,),
                request_id=event.request_id,
            )

    def _grow(self, block: _Block, index: int, delta: _Delta) -> None:
        if delta.text is not None:
            block.texts.append(delta.text)
            if delta.text:
                self._deltas.text(delta.text)
        elif delta.partial_json is not None:
            block.json.append(delta.partial_json)
            if delta.partial_json and block.start.get("type") == "tool_use":
                self._deltas.tool_call(index, str(block.start.get("name")), delta.partial_json)
        elif delta.thinking is not None:
            block.texts.append(delta.thinking)
            if delta.thinking:
                self._deltas.thinking(delta.thinking)
        elif delta.signature is not None:
            block.signature += delta.signature

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
        return Usage(
            input_tokens=(self._usage.input_tokens or 0) + read + written,
            output_tokens=self._usage.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )

    def response(self) -> ModelResponse:
        """The whole response."""
        model = f"{_PROVIDER}:{self._message.model}" if self._message.model else self._asked
        parts = tuple(self._blocks[index].part() for index in sorted(self._blocks))
        return ModelResponse(
            message=Message("assistant", parts, model=model),
            stop_reason=stop_reason(self._stop, _STOP),
            usage=self.usage(),
            model=model,
            response_id=self._message.id or "",
        )

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived: text as far as it came, other blocks only if they are whole."""
        parts = [
            block.part()
            for index, block in sorted(self._blocks.items())
            if index in self._finished or block.start.get("type") == "text"
        ]
        return interrupted(parts, self._asked), self.usage()
