"""Responses kept on disk, keyed by the exact request: diskcache with JSON, never pickle."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import zlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from aof_nb.events import ModelEvent, ModelResponse, Notice, TextDelta
from aof_nb.json_disk import NEVER_A_FILE, strict_json_disk
from aof_nb.messages import Message, StopReason, ToolResult, Usage
from aof_nb.models.registry import FILES, providers
from aof_nb.paths import state_dir
from aof_nb.ports import Model, ModelRequest

if TYPE_CHECKING:
    from diskcache import Cache

MAX_BYTES = 500_000_000

_FORMAT = 1
_WHOLE = frozenset({StopReason.END_TURN, StopReason.TOOL_USE, StopReason.STOP_SEQUENCE})
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(ModelResponse).decode

T = TypeVar("T")


def cached(
    model: Model,
    *,
    directory: str | Path | None = None,
    ttl: float | None = None,
    max_bytes: int = MAX_BYTES,
    keyed_by: Model | None = None,
) -> Model:
    """A model that answers an exact request again as it did before, at no cost.

    Args:
        model: Who is asked what was not asked before; a scripted one is returned as it is.
        directory: Where responses are kept; in the state directory if None.
        ttl: Seconds for which they are; None for as long as there is room.
        max_bytes: What they may take on disk; the oldest go first.
        keyed_by: The model that is asked first, where `model` is a layer around it. What another
            one has answered in its place is not kept.

    Example:
        >>> from aof_nb.models import resolve_model
        >>> cached(resolve_model("openai:gpt-5", api_key="k"), directory="/tmp/c").name
        'openai:gpt-5'
    """
    if model.name.startswith(FILES):
        return model
    return CachedModel(model, directory, ttl, max_bytes, keyed_by or model)


class CachedModel:
    """See `cached`. Only whole responses are kept; one from the cache says so in a notice."""

    def __init__(
        self,
        model: Model,
        directory: str | Path | None,
        ttl: float | None,
        max_bytes: int,
        keyed_by: Model,
    ) -> None:
        self._model = model
        self._keyed_by = keyed_by
        self._directory = Path(directory).expanduser() if directory else None
        self._ttl = ttl
        self._max_bytes = max_bytes

    @property
    def name(self) -> str:
        """The model's own name."""
        return self._model.name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the response that is kept, or the model's own."""
        key = request_key(self._keyed_by, request)
        try:
            found = await self._with(lambda cache: cache.get(key, retry=True))
            response = None if found is None else _decode(found)
        except _FAILURES as error:
            yield Notice(f"the response cache cannot be read: {error}")
            response = None
        if response is not None:
            if response.message.text:
                yield TextDelta(response.message.text)
            yield Notice(f"{self.name} was not asked: the response is from the cache", "info")
            yield msgspec.structs.replace(response, usage=Usage())
            return
        async with contextlib.aclosing(self._model.stream(request)) as events:
            async for event in events:
                if isinstance(event, ModelResponse) and _to_be_kept(event):
                    try:
                        await self._keep(key, event)
                    except _FAILURES as error:
                        yield Notice(f"the response was not kept in the cache: {error}")
                yield event

    async def _keep(self, key: str, response: ModelResponse) -> None:
        data = msgspec.json.encode(response).decode()
        await self._with(lambda cache: cache.set(key, data, expire=self._ttl, retry=True))

    async def _with(self, operation: Callable[[Cache], T]) -> T:
        return await asyncio.to_thread(self._operate, operation)

    def _operate(self, operation: Callable[[Cache], T]) -> T:
        from diskcache import Cache, Timeout

        directory = self._directory or state_dir() / "responses"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with contextlib.closing(
                Cache(
                    str(directory),
                    disk=strict_json_disk(),
                    disk_min_file_size=NEVER_A_FILE,
                    size_limit=self._max_bytes,
                )
            ) as cache:
                return operation(cache)
        except Timeout as error:
            raise OSError("another process keeps it locked") from error


def _to_be_kept(response: ModelResponse) -> bool:
    return response.stop_reason in _WHOLE and not response.requested_model


_FAILURES = (OSError, sqlite3.Error, zlib.error, ValueError, TypeError)


def request_key(model: Model, request: ModelRequest) -> str:
    """What names a request: a hash of who is asked, where, and of all that is sent."""
    provider = providers().get(model.name.partition(":")[0])
    address = getattr(model, "_base_url", None)
    if address is None and provider is not None and provider.url_variable:
        address = os.environ.get(provider.url_variable)
    messages = tuple(_as_sent(message) for message in request.messages)
    request = msgspec.structs.replace(request, messages=messages)
    return hashlib.sha256(_encode([_FORMAT, model.name, address, request])).hexdigest()


def _as_sent(message: Message) -> Message:
    """Without the files in which whole outputs are kept, which are new in each run."""
    if not any(result.artifact for result in message.tool_results):
        return message
    parts = tuple(
        msgspec.structs.replace(part, artifact=None) if isinstance(part, ToolResult) else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)
