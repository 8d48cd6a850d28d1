"""Anthropic's Message Batches.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from datetime import datetime
from typing import Any

import msgspec

from aof_nb.errors import ModelError, ServerError
from aof_nb.events import ModelResponse
from aof_nb.models.anthropic_decoding import MessagesDecoder
from aof_nb.models.batches import Progress, read_whole
from aof_nb.models.exchanges import Connect, call, read_lines
from aof_nb.models.failures import classify
from aof_nb.ports import ModelRequest

_PROVIDER = "anthropic"
_PATH = "/v1/messages/batches"
_CLOCKS_DIFFER = 300.0


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _ErrorResponse(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)
    request_id: str | None = None


class _Result(msgspec.Struct):
    type: str = ""
    message: dict[str, Any] | None = None
    error: _ErrorResponse | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


class _Batch(msgspec.Struct):
    id: str
    processing_status: str = ""
    created_at: datetime | None = None
    request_counts: dict[str, int] = msgspec.field(default_factory=dict)


class _Page(msgspec.Struct):
    data: list[_Batch]


class AnthropicBatches:
    """The batches of a model's account.

    Args:
        model: The full name of the model that is asked.
        encode: Makes a request's JSON, as it would be streamed.
        connect: Gives the SDK's module and its async client.
    """

    most_requests = 100_000
    most_bytes = 256_000_000
    finds_by_key = False

    def __init__(
        self, model: str, *, encode: Callable[[ModelRequest], bytes], connect: Connect
    ) -> None:
        self._model = model
        self._encode = encode
        self._connect = connect

    def encode(self, request_id: str, request: ModelRequest) -> bytes:
        """See `BatchApi`."""
        body = msgspec.json.decode(self._encode(request), type=dict[str, msgspec.Raw])
        del body["stream"]
        return msgspec.json.encode({"custom_id": request_id, "params": body})

    async def submit(self, key: str, lines: Collection[bytes]) -> str:
        """See `BatchApi`. The API keeps no name of ours: the requests' ids have to do."""
        content = b'{"requests":[' + b",".join(lines) + b"]}"
        response = await self._call("post", _PATH, content=content)
        return msgspec.json.decode(response, type=_Batch).id

    async def candidates(self, key: str, size: int, since: float) -> list[str]:
        """See `BatchApi`: those of the same size that were made since."""
        response = await self._call("get", f"{_PATH}?limit=100")
        return [
            batch.id
            for batch in msgspec.json.decode(response, type=_Page).data
            if batch.created_at is not None
            and batch.created_at.timestamp() > since - _CLOCKS_DIFFER
            and sum(batch.request_counts.values()) == size
        ]

    async def progress(self, batch_id: str) -> Progress:
        """See `BatchApi`."""
        response = await self._call("get", f"{_PATH}/{batch_id}")
        batch = msgspec.json.decode(response, type=_Batch)
        done = sum(batch.request_counts.values()) - batch.request_counts.get("processing", 0)
        return Progress(batch.processing_status == "ended", done)

    async def results(
        self, batch_id: str
    ) -> AsyncGenerator[tuple[str, ModelResponse | ModelError], None]:
        """See `BatchApi`."""
        path = f"{_PATH}/{batch_id}/results"
        async for data in read_lines(path, connect=self._connect, provider=_PROVIDER):
            line = msgspec.json.decode(data, type=_Line)
            yield line.custom_id, self._read(line.result)

    def _read(self, result: _Result) -> ModelResponse | ModelError:
        if result.message is not None:
            try:
                return read_whole(MessagesDecoder(self._model), list(_streamed(result.message)))
            except ModelError as error:
                return error
        if result.error is not None:
            said = result.error.error
            return classify(
                _PROVIDER,
                said.message or said.type,
                words=(said.type,),
                request_id=result.error.request_id,
            )
        return ServerError(
            f"{_PROVIDER}: the request was {result.type or 'not answered'} with its batch",
            provider=_PROVIDER,
            remedy="run it again",
        )

    async def _call(self, method: str, path: str, content: bytes | None = None) -> bytes:
        return await call(method, path, connect=self._connect, provider=_PROVIDER, content=content)


def _streamed(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events in which a message would have been streamed."""
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message.get("content") or ()):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": message.get("stop_reason")}
    yield {"type": "message_delta", "delta": delta, "usage": message.get("usage")}
    yield {"type": "message_stop"}
