"""Anthropic's Messages API."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from aof_nb.errors import MissingCredential
from aof_nb.events import ModelEvent
from aof_nb.importing import imported
from aof_nb.loop_clients import shared_client
from aof_nb.messages import (
    Message,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from aof_nb.models.anthropic_decoding import PROVIDER, MessagesDecoder, without_open_calls
from aof_nb.models.batches import BatchApi
from aof_nb.models.bedrock_families import ADAPTIVE, family_of
from aof_nb.models.counting import count_at
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

_DEFAULT_MAX_TOKENS = 8192
_ANSWER_TOKENS = 1024
_LEAST_THINKING = 1024
_LONGEST_ID = 64
_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL")
_CACHE_CONTROL = {"cache_control": {"type": "ephemeral"}}
_MARK = b"," + msgspec.json.encode(_CACHE_CONTROL)[1:]
_COUNTED = frozenset(
    ("messages", "model", "system", "tools", "tool_choice", "thinking", "output_config")
)


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
        # What other servers call their models says nothing about Claude.
        self._claude = family_of(model) if "claude" in model else None
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
        return "native" if self._claude is None else self._claude.structured

    @property
    def name(self) -> str:
        """``anthropic:`` and the model's name."""
        return f"{PROVIDER}:{self._model}"

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response."""
        return stream_response(
            request,
            connect=self._connect,
            encode=self._body,
            provider=PROVIDER,
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
            provider=PROVIDER,
        )

    def batches(self) -> BatchApi:
        """The account's batches, for many requests at once."""
        from aof_nb.models.anthropic_batches import AnthropicBatches

        return AnthropicBatches(self.name, encode=self._body, connect=self._connect)

    async def _connect(self) -> tuple[Any, Any]:
        anthropic = await imported("anthropic")
        # A key that was wrong can be set right without a new kernel.
        given = map(os.environ.get, _VARIABLES)
        key = (PROVIDER, self._api_key, self._base_url, self._timeouts, *given)
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
        if thinks := self._thinking(request):
            head["thinking"] = thinks
            least = (sampling.thinking_tokens or 0) + _ANSWER_TOKENS
            head["max_tokens"] = max(head["max_tokens"], least)
        config: dict[str, Any] = {}
        if sampling.reasoning_effort and (self._claude is None or self._claude.effort):
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

    def _thinking(self, request: ModelRequest) -> dict[str, Any]:
        budget = request.sampling.thinking_tokens
        how = "budget" if self._claude is None else self._claude.thinking
        if not budget or not how:
            return {}
        if how == "adaptive":
            return ADAPTIVE
        if not _may_think(request.messages):
            return {}
        return {"type": "enabled", "budget_tokens": max(budget, _LEAST_THINKING)}

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
    parts = sent_parts(message)
    if message.interrupted:
        parts = without_open_calls(parts)
    blocks = [block for part in parts if (block := _block(part)) is not None]
    return msgspec.json.encode(blocks)[1:-1]


def _block(part: Part) -> dict[str, Any] | None:
    match part:
        case Text(text):
            block = {"type": "text", "text": text}
            return block | part.opaque.get(PROVIDER, {}) if text.strip() else None
        case Thinking(provider=provider, opaque=block) | Opaque(provider=provider, block=block):
            return block if provider == PROVIDER else None
        case ToolCall():
            return {
                "type": "tool_use",
                "id": fitting_id(part.id, _LONGEST_ID, plain=True),
                "name": safe_name(part.name),
                "input": part.arguments or {},
                **part.opaque.get(PROVIDER, {}),
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
