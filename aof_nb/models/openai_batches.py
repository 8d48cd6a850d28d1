"""OpenAI's Batch API, for Responses and for Chat Completions.

Source: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import Any

import msgspec

from aof_nb.errors import ModelError, ServerError
from aof_nb.events import ModelResponse
from aof_nb.models.batches import Progress
from aof_nb.models.exchanges import Connect, call, read_lines, upload
from aof_nb.models.failures import classify, from_response
from aof_nb.ports import ModelRequest

_PROVIDER = "openai"
_OVER = frozenset(("completed", "failed", "expired", "cancelled"))
_KEY = "aof_batch"
_STREAMED = ("stream", "stream_options")
_PAGE = 100


class _Said(msgspec.Struct):
    message: str | None = None
    code: str | None = None


class _Errors(msgspec.Struct):
    data: list[_Said] | None = None


class _Counts(msgspec.Struct):
    completed: int = 0
    failed: int = 0


class _Batch(msgspec.Struct):
    id: str
    status: str = ""
    created_at: float = 0
    output_file_id: str | None = None
    error_file_id: str | None = None
    metadata: dict[str, str] | None = None
    errors: _Errors | None = None
    request_counts: _Counts | None = None


class _Page(msgspec.Struct):
    data: list[_Batch]
    has_more: bool = False


class _Answer(msgspec.Struct):
    status_code: int = 0
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Answer | None = None
    error: _Said | None = None


class OpenAIBatches:
    """The batches of an account.

    Args:
        url: The endpoint that the requests are for, such as ``/v1/responses``.
        encode: Makes a request's JSON, as it would be streamed.
        read: Makes a response of an answer's JSON.
        connect: Gives the SDK's module and its async client.
    """

    most_requests = 50_000
    most_bytes = 200_000_000
    finds_by_key = True

    def __init__(
        self,
        url: str,
        *,
        encode: Callable[[ModelRequest], bytes],
        read: Callable[[bytes], ModelResponse],
        connect: Connect,
    ) -> None:
        self._url = url
        self._encode = encode
        self._read = read
        self._connect = connect

    def encode(self, request_id: str, request: ModelRequest) -> bytes:
        """See `BatchApi`."""
        body = msgspec.json.decode(self._encode(request), type=dict[str, msgspec.Raw])
        for name in _STREAMED:
            body.pop(name, None)
        return msgspec.json.encode(
            {"custom_id": request_id, "method": "POST", "url": self._url, "body": body}
        )

    async def submit(self, key: str, lines: Collection[bytes]) -> str:
        """See `BatchApi`."""
        file_id = await upload(
            f"{key}.jsonl",
            b"\n".join(lines) + b"\n",
            purpose="batch",
            connect=self._connect,
            provider=_PROVIDER,
        )
        order = {
            "input_file_id": file_id,
            "endpoint": self._url,
            "completion_window": "24h",
            "metadata": {_KEY: key},
        }
        response = await self._call("post", "/batches", content=msgspec.json.encode(order))
        return msgspec.json.decode(response, type=_Batch).id

    async def candidates(self, key: str, size: int, since: float) -> list[str]:
        """See `BatchApi`: the one that was given the key."""
        after = ""
        while True:
            response = await self._call("get", f"/batches?limit={_PAGE}{after}")
            page = msgspec.json.decode(response, type=_Page)
            for batch in page.data:
                if (batch.metadata or {}).get(_KEY) == key:
                    return [batch.id]
            if not page.has_more or not page.data or page.data[-1].created_at < since - 300:
                return []
            after = f"&after={page.data[-1].id}"

    async def progress(self, batch_id: str) -> Progress:
        """See `BatchApi`."""
        batch = await self._batch(batch_id)
        counts = batch.request_counts or _Counts()
        failure = None
        if batch.status == "failed":
            said = next(iter((batch.errors or _Errors()).data or ()), _Said())
            message = said.message or "the batch was refused"
            failure = classify(_PROVIDER, message, words=(said.code,), status=400)
        return Progress(batch.status in _OVER, counts.completed + counts.failed, failure)

    async def results(
        self, batch_id: str
    ) -> AsyncGenerator[tuple[str, ModelResponse | ModelError], None]:
        """See `BatchApi`."""
        batch = await self._batch(batch_id)
        for file_id in (batch.output_file_id, batch.error_file_id):
            if not file_id:
                continue
            path = f"/files/{file_id}/content"
            async for data in read_lines(path, connect=self._connect, provider=_PROVIDER):
                line = msgspec.json.decode(data, type=_Line)
                yield line.custom_id, self._answer(line)

    def _answer(self, line: _Line) -> ModelResponse | ModelError:
        answer = line.response
        if answer is None or (line.error is not None and not answer.status_code):
            said = line.error or _Said()
            return ServerError(
                f"{_PROVIDER}: {said.message or said.code or 'the request was not answered'}",
                provider=_PROVIDER,
                remedy="run it again",
            )
        if answer.status_code != 200:
            headers: Mapping[str, Any] = {"x-request-id": answer.request_id}
            return from_response(_PROVIDER, answer.status_code, headers, bytes(answer.body))
        try:
            return self._read(bytes(answer.body))
        except ModelError as error:
            return error

    async def _batch(self, batch_id: str) -> _Batch:
        response = await self._call("get", f"/batches/{batch_id}")
        return msgspec.json.decode(response, type=_Batch)

    async def _call(self, method: str, path: str, content: bytes | None = None) -> bytes:
        return await call(method, path, connect=self._connect, provider=_PROVIDER, content=content)
