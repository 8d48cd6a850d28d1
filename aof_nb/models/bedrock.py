"""Amazon Bedrock: the models of many makers behind its Converse API."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from aof_nb.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigurationError,
    MissingExtra,
    ModelError,
)
from aof_nb.events import ModelEvent
from aof_nb.importing import imported
from aof_nb.models.assembly import broken, with_partial
from aof_nb.models.bedrock_client import client_key, forget, shared
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.bedrock_encoding import declaration, encode_body, encode_message
from aof_nb.models.bedrock_failures import NO_STREAMED_TOOLS, PROVIDER, from_boto
from aof_nb.models.bedrock_families import family_of
from aof_nb.models.bedrock_transport import Exchange
from aof_nb.models.event_stream import DamagedStream
from aof_nb.models.failures import not_an_answer
from aof_nb.models.schema_dialects import ANTHROPIC_SCHEMAS
from aof_nb.models.timeouts import Timeouts, struck, timeouts
from aof_nb.models.transport import EncodeOnce, EncodeTools, Pace
from aof_nb.ports import ModelRequest, ToolSpec

_REQUEST_ID = "x-amzn-requestid"
_STREAM_TYPE = "application/vnd.amazon.eventstream"


class BedrockModel:
    """A model on Amazon Bedrock.

    Credentials are found as boto3 finds them: the environment, a profile, a role.

    Args:
        model: Its id, or that or the ARN of an inference profile, such as
            ``us.anthropic.claude-sonnet-4-5-20250929-v1:0``.
        api_key: A Bedrock API key; from ``AWS_BEARER_TOKEN_BEDROCK`` if None.
        base_url: The address; from ``AWS_ENDPOINT_URL_BEDROCK_RUNTIME`` or the region if None.
        timeout: Seconds after which a request is given up, one number or `Timeouts`; from
            ``AOF_MODEL_TIMEOUT`` if None.
        region: The AWS region; from ``AWS_REGION`` or the profile if None.
        profile: The profile in ``~/.aws``; from ``AWS_PROFILE`` if None.
        cache: Whether to mark the stable beginning of a request for the prompt cache, where the
            model takes such marks.
        family: What the model is, where its id does not tell: a model's id, such as
            ``anthropic.claude-sonnet-4-6``, for an application inference profile.

    Example:
        >>> BedrockModel("amazon.nova-lite-v1:0", region="eu-west-1").name
        'bedrock:amazon.nova-lite-v1:0'
    """

    schema_dialect = ANTHROPIC_SCHEMAS

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = None,
        region: str | None = None,
        profile: str | None = None,
        cache: bool = True,
        family: str | None = None,
    ) -> None:
        self._model = model
        self._timeouts = timeouts(timeout)
        self._given = (region, profile, base_url, api_key, self._timeouts)
        self._cache = cache
        self._family = family_of(family or model)
        self.structured_output = self._family.structured
        self._streams_tools = self._family.streams_tools
        self._encoded = EncodeOnce(functools.partial(encode_message, family=self._family))
        self._tools = EncodeTools(functools.partial(declaration, family=self._family))

    @property
    def name(self) -> str:
        """``bedrock:`` and the model's id."""
        return f"{PROVIDER}:{self._model}"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response.

        Raises:
            ModelError: Classified; with what had arrived, if the stream had begun.
            MissingExtra: If boto3 is not installed.
            MissingCredential: If boto3 finds no credentials.
        """
        body = encode_body(request, self._family, self._encoded, self._declared, cache=self._cache)
        streamed = self._streams_tools or b'"toolConfig":' not in body
        for streams in (True, False) if streamed else (False,):
            try:
                async with contextlib.aclosing(self._ask(body, streams=streams)) as events:
                    async for event in events:
                        yield event
            except BadRequest as error:
                if not (streams and NO_STREAMED_TOOLS.search(error.message)):
                    raise
                self._streams_tools = False
            else:
                return

    async def _piece(self, exchange: Exchange, *, begun: bool) -> bytes:
        which = "silence" if begun else "first_byte"
        seconds = getattr(self._timeouts, which)
        try:
            # The longer of the two is boto3's own.
            async with asyncio.timeout(seconds if seconds < self._timeouts.longest else None) as at:
                return await exchange.take()
        except TimeoutError:
            if not at.expired():
                raise
            raise struck(which, seconds, PROVIDER) from None

    def _declared(self, tools: tuple[ToolSpec, ...]) -> bytes:
        return bytes(self._tools(tools))

    async def _ask(self, body: bytes, *, streams: bool) -> AsyncGenerator[ModelEvent, None]:
        try:
            await imported("boto3")
        except ImportError as error:
            raise MissingExtra("bedrock:", "bedrock") from error
        key = client_key(*self._given)
        if self._timeouts.first_byte < self._timeouts.silence:
            # A first client takes a second to make, in which no answer is waited for.
            await asyncio.to_thread(shared, key)
        decoder = ConverseDecoder(self.name)
        exchange = Exchange(functools.partial(_send, key, self._model, streams), body)
        pace = Pace(asyncio.get_running_loop().time)
        failure: ModelError | None = None
        try:
            while data := await self._piece(exchange, begun=decoder.request_id is not None):
                if decoder.request_id is None:
                    decoder.request_id = exchange.headers.get(_REQUEST_ID, "")
                    _check_type(exchange.headers, data, streams=streams)
                if streams:
                    decoder.feed(data)
                else:
                    decoder.feed_whole(data)
                for event in decoder.events():
                    yield event
                if pace.is_close(len(data)) and not decoder.complete:
                    await pace.gather()
        except ModelError as error:
            failure = error
        except (DamagedStream, msgspec.DecodeError) as error:
            failure = broken(decoder, PROVIDER, f"what came is not valid: {error}")
        except ConfigurationError:
            raise
        except Exception as error:
            failure = from_boto(error, self._timeouts) or _cut(decoder, error, self._timeouts)
            if failure is None:
                raise
        finally:
            await exchange.close()
        for event in decoder.events():
            yield event
        if decoder.complete:
            yield decoder.response()
            return
        if isinstance(failure, AuthenticationFailed):
            forget(key)
        failure = failure or broken(decoder, PROVIDER, "it ended too early")
        failure.request_id = failure.request_id or exchange.headers.get(_REQUEST_ID)
        raise with_partial(decoder, failure)


def _send(key: tuple[Any, ...], model: str, streams: bool) -> Any:
    client = shared(key)
    call = client.converse_stream if streams else client.converse
    return call(modelId=model, messages=[])["body"]


def _check_type(headers: Mapping[str, str], data: bytes, *, streams: bool) -> None:
    """Tells a page that a proxy has sent from an answer."""
    found = headers.get("content-type", "")
    if not found.startswith(_STREAM_TYPE if streams else "application/json"):
        raise not_an_answer(PROVIDER, headers, data)


def _cut(decoder: ConverseDecoder, error: Exception, limits: Timeouts) -> ModelError | None:
    """The typed error for a stream that broke while it was being read."""
    import urllib3

    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        late = struck("silence", limits.silence, PROVIDER)
        late.request_id = decoder.request_id
        return late
    if isinstance(error, urllib3.exceptions.HTTPError | OSError | http.client.HTTPException):
        return broken(decoder, PROVIDER, f"{type(error).__name__}: {error}")
    return None
