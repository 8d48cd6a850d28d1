"""The official SDKs' transport, with the response bytes decoded by us.

A request goes through the SDK's own client (its authentication, base URL, timeouts and
connection pool, over aiohttp) as bytes we have encoded, and comes back as raw bytes. What the
SDKs add above that, validated objects for each chunk and a new walk through the history for
each request, is most of the cost of a run and is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from aof_nb.errors import ConnectionFailed, ModelError
from aof_nb.events import ModelEvent
from aof_nb.messages import Message
from aof_nb.models.assembly import Decoder, broken, with_partial
from aof_nb.models.failures import from_response, not_an_answer, request_id_of
from aof_nb.models.sse import EventStream
from aof_nb.models.timeouts import Timeouts, struck
from aof_nb.ports import ModelRequest, OutputSchema, ToolSpec


async def stream_response(
    request: ModelRequest,
    *,
    connect: Callable[[], Awaitable[tuple[Any, Any]]],
    encode: Callable[[ModelRequest], bytes],
    provider: str,
    path: str,
    decoder: Decoder,
    limits: Timeouts,
    remedies: Mapping[type[ModelError], str] | None = None,
) -> AsyncGenerator[ModelEvent, None]:
    """Sends a request and streams what comes back.

    Args:
        request: What is asked.
        connect: Gives the SDK's module, for its exceptions, and its async client.
        encode: Makes the request JSON.
        provider: The provider's name, for errors.
        path: The endpoint's path.
        decoder: What makes sense of the stream.
        limits: When the provider is too slow; its client gives up at the longest of them.
        remedies: What to do about errors that mean something particular at this provider.

    Raises:
        ModelError: Classified; with what had arrived, if the stream had begun.
    """
    sdk, client = await connect()
    import httpx2

    body = encode(request)
    early = limits.first_byte if limits.first_byte < limits.silence else None
    try:
        async with asyncio.timeout(early) as begins:
            response = await client.post(
                _address(client, path),
                cast_to=httpx2.Response,
                content=body,
                options={"headers": {"content-type": "application/json"}},
                stream=True,
            )
    except TimeoutError:
        if not begins.expired():
            raise
        late = struck("first_byte", limits.first_byte, provider, str(client.base_url))
        raise late from None
    except sdk.APIStatusError as error:
        raise _with_remedy(refused(provider, error), remedies) from None
    except sdk.APIConnectionError as error:
        raise _with_remedy(unreachable(provider, error, client), remedies) from error
    events, pace = EventStream(), Pace(asyncio.get_running_loop().time)
    encoded = "content-encoding" in response.headers
    failure: Exception | None = None
    streams = response.headers.get("content-type", "").startswith("text/event-stream")
    begun = b""
    pieces = response.aiter_bytes() if encoded else response.aiter_raw()
    if limits.silence < limits.first_byte:
        pieces = _each_within(limits.silence, pieces)
    try:
        try:
            async for data in pieces:
                if not streams and len(begun) < _LONGEST_PLAIN:
                    begun += data
                for payload in events.feed(data):
                    decoder.feed(payload)
                for event in decoder.events():
                    yield event
                if pace.is_close(len(data)) and not decoder.complete:
                    await pace.gather()
            payloads = events.flush()
        except (httpx2.HTTPError, TimeoutError) as error:
            failure = error
            payloads = events.feed(b"" if encoded else _unread(response))
        for payload in payloads:
            decoder.feed(payload)
        if begun and failure is None and not decoder.complete:
            _take_plain(decoder, provider, response, begun)
        for event in decoder.events():
            yield event
    except ModelError as error:
        raise _named(with_partial(decoder, error), response) from None
    except msgspec.DecodeError as error:
        failed = broken(decoder, provider, f"an event that is not valid: {error}")
        raise _named(failed, response) from error
    finally:
        await response.aclose()
    if not decoder.complete:
        if failure is None:
            raise _named(broken(decoder, provider, "it ended too early"), response)
        if _is_late(failure):
            late = struck("silence", limits.silence, provider, str(client.base_url))
            raise _named(with_partial(decoder, late), response) from failure
        raise _named(broken(decoder, provider, _cause(failure)), response) from failure
    yield decoder.response()


def _take_plain(decoder: Decoder, provider: str, response: Any, body: bytes) -> None:
    """Takes what came in one piece, of a server that does not stream.

    Raises:
        ModelError: If it is no answer.
    """
    with contextlib.suppress(msgspec.DecodeError):
        decoder.feed(body)
    if not decoder.complete:
        raise not_an_answer(provider, response.headers, body)


_LONGEST_PLAIN = 1 << 20


def _named(error: ModelError, response: Any) -> ModelError:
    """An error with the provider's id of its request, if it does not have it yet."""
    error.request_id = error.request_id or request_id_of(response.headers)
    return error


class Pace:
    """Lets a fast stream's small pieces gather, so that one reading takes several of them.

    Most of what a piece costs is being woken for it. A stream of more than 200 pieces a second is
    read 60 times a second; a slower one, and what comes in large pieces, is read as it comes.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0.0
        self._close = 0

    def is_close(self, size: int) -> bool:
        """Whether a piece of this many bytes is one more in a row that came close together."""
        now = self._clock()
        near = now - self._last < _CLOSE and size < _SMALL
        self._close = self._close + 1 if near else 0
        self._last = now
        return self._close >= _IN_A_ROW

    async def gather(self) -> None:
        """Waits a moment that nobody sees."""
        await asyncio.sleep(_GATHER)
        self._last = self._clock()


_CLOSE = 0.005
_GATHER = 0.016
_IN_A_ROW = 4
_SMALL = 8192


def _unread(response: Any) -> bytes:
    """What had arrived when a connection broke, and which aiohttp does not hand out any more."""
    found = response.stream
    for name in ("_stream", "_aiohttp_response", "content", "_read_nowait"):
        found = getattr(found, name, None)
    return b"" if found is None else found(-1)


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_late(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__
    return False


async def _each_within(
    seconds: float, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The pieces of a stream; a `TimeoutError` where the next one takes too long."""
    async with contextlib.aclosing(pieces):
        while True:
            async with asyncio.timeout(seconds):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece


def sdk_timeout(sdk: Any, limits: Timeouts) -> Any:
    """Time-outs as a client of an SDK takes them.

    Args:
        sdk: The SDK's module.
        limits: When a request is given up.
    """
    return sdk.Timeout(limits.longest, connect=limits.connect)


_addresses: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()


def _address(client: Any, path: str) -> str:
    """An endpoint's whole address: the SDKs would put it together anew for each request."""
    known = _addresses.setdefault(client, {})
    if path not in known:
        base = client.base_url
        known[path] = path if base.query else f"{str(base).rstrip('/')}{path}"
    return known[path]


def _with_remedy(error: ModelError, remedies: Mapping[type[ModelError], str] | None) -> ModelError:
    error.remedy = (remedies or {}).get(type(error), error.remedy)
    return error


def refused(provider: str, error: Any) -> ModelError:
    """The typed error for an SDK's `APIStatusError`."""
    answer = error.response
    return from_response(provider, answer.status_code, answer.headers, answer.content)


def unreachable(provider: str, error: BaseException, client: Any) -> ModelError:
    """The typed error for an SDK's `APIConnectionError`."""
    if _is_late(error):
        connects = type(error.__cause__).__name__ == "ConnectTimeout"
        seconds = client.timeout.connect if connects else client.timeout.read
        which = "connect" if connects else "first_byte"
        return struck(which, seconds, provider, str(client.base_url))
    return ConnectionFailed(
        f"{provider} cannot be reached at {client.base_url} ({_cause(_root(error))})",
        provider=provider,
        remedy="check the network, the proxy and the base URL",
    )


class EncodeOnce:
    """Encodes each message once and keeps the bytes for as long as the message lives.

    A history's encoding need not be paid for again at each turn.
    """

    def __init__(self, encode: Callable[[Message], bytes]) -> None:
        self._encode = encode
        self._known: dict[int, tuple[weakref.ref[Message], bytes]] = {}

    def __call__(self, message: Message) -> bytes:
        """The message's bytes."""
        key = id(message)
        known = self._known.get(key)
        if known is not None and known[0]() is message:
            return known[1]
        data = self._encode(message)
        self._known[key] = (weakref.ref(message, lambda _: self._known.pop(key, None)), data)
        return data


class EncodeTools:
    """Encodes the tools once for all the requests of a run, which declare the same ones.

    Args:
        declare: How the provider wants a tool declared.
    """

    def __init__(self, declare: Callable[[ToolSpec], dict[str, Any]]) -> None:
        self._declare = declare
        self._tools: tuple[ToolSpec, ...] = ()
        self._encoded = msgspec.Raw(b"[]")

    def __call__(self, tools: tuple[ToolSpec, ...]) -> msgspec.Raw:
        """The tools' declarations as JSON."""
        if tools is not self._tools:
            declared = [self._declare(tool) for tool in tools]
            self._tools, self._encoded = tools, msgspec.Raw(msgspec.json.encode(declared))
        return self._encoded


class EncodeSchema:
    """Encodes an output schema once for all the requests of a run.

    Args:
        declare: How the provider wants it declared.
    """

    def __init__(self, declare: Callable[[OutputSchema], dict[str, Any]]) -> None:
        self._declare = declare
        self._schema: OutputSchema | None = None
        self._encoded = msgspec.Raw(b"null")

    def __call__(self, schema: OutputSchema) -> msgspec.Raw:
        """The schema's declaration as JSON."""
        if schema is not self._schema:
            self._schema = schema
            self._encoded = msgspec.Raw(msgspec.json.encode(self._declare(schema)))
        return self._encoded
