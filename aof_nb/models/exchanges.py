"""Requests to a provider besides the streamed ones, over the official SDKs' transport.

As in `aof_nb.models.transport`: the SDK's authentication, address, time-outs and connections, our
bytes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec

from aof_nb.errors import BrokenStream
from aof_nb.models.transport import refused, unreachable

Connect: TypeAlias = Callable[[], Awaitable[tuple[Any, Any]]]
"""Gives the SDK's module, for its exceptions, and its async client."""

_JSON = {"content-type": "application/json"}


class _File(msgspec.Struct):
    id: str


async def call(
    method: str, path: str, *, connect: Connect, provider: str, content: bytes | None = None
) -> bytes:
    """Sends a request and returns the response's body.

    Args:
        method: ``get`` or ``post``.
        path: The endpoint's path, with its query.
        connect: The SDK and its client.
        provider: The provider's name, for errors.
        content: The request's JSON, if it has one.

    Raises:
        ModelError: Classified.
    """
    sdk, client = await connect()
    import httpx2

    more = {} if content is None else {"content": content, "options": {"headers": _JSON}}
    with _classified(sdk, client, provider):
        response = await getattr(client, method)(path, cast_to=httpx2.Response, **more)
    body: bytes = response.content
    return body


async def upload(
    name: str, content: bytes, *, purpose: str, connect: Connect, provider: str
) -> str:
    """Uploads a file to OpenAI's Files API and returns its id.

    Args:
        name: The file's name.
        content: What is in it.
        purpose: What it is for, such as ``batch``.
        connect: The SDK and its client.
        provider: The provider's name, for errors.

    Raises:
        ModelError: Classified.
    """
    sdk, client = await connect()
    import httpx2

    with _classified(sdk, client, provider):
        response = await client.post(
            "/files",
            cast_to=httpx2.Response,
            body={"purpose": purpose},
            files=[("file", (name, content, "application/jsonl"))],
            options={"headers": {"content-type": "multipart/form-data"}},
        )
    return msgspec.json.decode(response.content, type=_File).id


async def read_lines(path: str, *, connect: Connect, provider: str) -> AsyncGenerator[bytes, None]:
    """Fetches a file of JSON lines, line by line.

    Args:
        path: The file's path.
        connect: The SDK and its client.
        provider: The provider's name, for errors.

    Raises:
        ModelError: Classified.
    """
    sdk, client = await connect()
    import httpx2

    with _classified(sdk, client, provider):
        response = await client.get(path, cast_to=httpx2.Response, stream=True)
    rest = b""
    try:
        async for data in response.aiter_bytes():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line
    except httpx2.HTTPError as error:
        raise BrokenStream(
            f"{provider}: {path} broke off ({type(error).__name__}: {error})",
            provider=provider,
            remedy="run it again",
        ) from error
    finally:
        await response.aclose()
    if rest.strip():
        yield rest


@contextmanager
def _classified(sdk: Any, client: Any, provider: str) -> Iterator[None]:
    try:
        yield
    except sdk.APIStatusError as error:
        raise refused(provider, error) from None
    except sdk.APIConnectionError as error:
        raise unreachable(provider, error, client) from error
