"""The fake providers: scripted replies behind the real paths, headers, checks and errors."""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from tests.fakes import (
    chat_completions,
    chat_rules,
    context_window,
    messages_api,
    messages_rules,
    responses_api,
    responses_rules,
)
from tests.fakes.batches import AnthropicBatches, OpenAIBatches, Outcome, as_failure
from tests.fakes.context_window import ContextWindow
from tests.fakes.http_server import HttpServer, Request, Response
from tests.fakes.prompt_cache import PromptCache, check_marks
from tests.fakes.reply import Failure, Reply, Wire, token
from tests.fakes.rules import InvalidRequestError
from tests.fakes.sse import dumps


@dataclass(frozen=True, slots=True)
class Raw:
    """A stream's body as it is to be sent, for what no `Reply` says."""

    body: bytes
    wire: Wire = field(default_factory=Wire)


Answer = Reply | Failure | Raw
Responder = Callable[[Request], Answer | Awaitable[Answer]]


class _FakeProvider(HttpServer):
    """What the fake providers share: the script and the request checks.

    `_counting` are the paths at which it counts a request's tokens.

    Args:
        api_key: the only key accepted; None accepts any.
        check: refuse, with the provider's own 400, a request the real API would refuse.
        tolerate: leave it to the test to look at `rejected`. Otherwise leaving the `async with`
            block fails if a request was refused, since a client may hide the 400.
    """

    _counting: tuple[str, ...] = ()

    def __init__(
        self, *, api_key: str | None = None, check: bool = True, tolerate: bool = False
    ) -> None:
        super().__init__()
        self.api_key = api_key
        self.check = check
        self.tolerate = tolerate
        self.respond: Responder | None = None
        self.context_window: ContextWindow | None = None
        self.counting: Failure | None = None
        self._script: deque[Answer] = deque()
        self._headers_of_batch: dict[str, str] = {}

    @property
    def generations(self) -> list[Request]:
        """The requests for a response, not those for a count of tokens."""
        return [each for each in self.requests if not self._counts(each)]

    @property
    def rejected(self) -> list[str]:
        """Why requests were refused by the checks, in order."""
        return [request.rejection for request in self.requests if request.rejection is not None]

    def reply(self, *answers: Answer | str | bytes) -> None:
        """Append to the script; text is a reply of that text, bytes are a stream's raw body."""
        for answer in answers:
            if isinstance(answer, str):
                self._script.append(Reply(answer))
            else:
                self._script.append(Raw(answer) if isinstance(answer, bytes) else answer)

    async def _next(self, request: Request) -> Answer:
        if self._script:
            return self._script.popleft()
        if self.respond is None:
            raise InvalidRequestError("the fake's script is over: no reply for this request")
        answer = self.respond(request)
        return await answer if inspect.isawaitable(answer) else answer

    async def _within_window(self, request: Request) -> Answer:
        """The next answer, or the refusal of a request that is too long for the model."""
        if self.context_window is None:
            return await self._next(request)
        used = self.context_window.count(request.json)
        if used > self.context_window.tokens:
            return self._too_long(request, used, self.context_window.tokens)
        answer = await self._next(request)
        if isinstance(answer, Reply):
            answer = copy.copy(answer)
            answer.usage = replace(answer.usage, input=used)
        return answer

    def _counts(self, request: Request) -> bool:
        return request.path.partition("?")[0] in self._counting

    def _count(self, request: Request) -> Response:
        window = self.context_window or ContextWindow(200_000)
        count = self._counted(window.count(request.json))
        headers = self._headers(self._request_id(), Reply("")) | {
            "content-type": "application/json"
        }
        return Response(200, headers, [dumps(count).encode()], Wire())

    async def _alone(self, path: str, body: Any) -> Outcome:
        """What comes of a request of a batch, which is as if it had come alone."""
        request = Request("POST", path, self._headers_of_batch, dumps(body).encode(), 0, body)
        try:
            self._admit(request)
            answer = await self._within_window(request)
        except InvalidRequestError as error:
            answer = error.failure
        if isinstance(answer, Failure):
            return as_failure(answer, self._error(answer, self._request_id()))
        assert isinstance(answer, Reply), "a batch is answered with replies and failures"
        return 200, self._whole(request, answer)

    async def _of_batches(self, request: Request) -> bytes | None:
        return None

    async def answer(self, request: Request) -> Response:
        """Check the request and take the next answer from the script."""
        request_id = self._request_id()
        try:
            self._headers_of_batch = request.headers
            if (body := await self._of_batches(request)) is not None:
                headers = self._headers(request_id, Reply("")) | {
                    "content-type": "application/json"
                }
                return Response(200, headers, [body], Wire())
            self._admit(request)
            if self._counts(request) and self.counting is None:
                return self._count(request)
            answer = self.counting if self._counts(request) else await self._within_window(request)
        except InvalidRequestError as error:
            if error.failure.status == 400:
                request.rejection = error.failure.message
            answer = error.failure
        headers = self._headers(request_id, answer)
        if isinstance(answer, Failure):
            if answer.retry_after is not None:
                headers["retry-after"] = f"{answer.retry_after:g}"
            body = answer.body if answer.body is not None else self._error(answer, request_id)
            headers["content-type"] = answer.content_type
            return Response(answer.status, headers, [body], answer.wire)
        if isinstance(answer, Raw):
            return Response(
                200, self._stream_headers(headers), [answer.body], answer.wire, streamed=True
            )
        if not self._streams(request):
            headers["content-type"] = "application/json"
            body = dumps(self._whole(request, answer)).encode()
            return Response(200, headers, [body], answer.wire)
        frames = self._frames(request, answer)
        return Response(200, self._stream_headers(headers), frames, answer.wire, streamed=True)

    def _stream_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return headers | {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
        }

    def _streams(self, request: Request) -> bool:
        return bool(request.json.get("stream"))

    def _request_id(self) -> str:
        raise NotImplementedError

    def _headers(self, request_id: str, answer: Answer) -> dict[str, str]:
        raise NotImplementedError

    def _admit(self, request: Request) -> None:
        raise NotImplementedError

    def _counted(self, tokens: int) -> dict[str, Any]:
        raise NotImplementedError

    def _error(self, failure: Failure, request_id: str) -> bytes:
        raise NotImplementedError

    def _too_long(self, request: Request, used: int, window: int) -> Failure:
        raise NotImplementedError

    def _whole(self, request: Request, reply: Reply) -> Mapping[str, Any]:
        raise NotImplementedError

    def _frames(self, request: Request, reply: Reply) -> list[bytes]:
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if kind is None and not self.tolerate:
            assert not self.rejected, f"requests the real API refuses: {self.rejected}"


class FakeAnthropic(_FakeProvider):
    """`POST /v1/messages` and `POST /v1/messages/count_tokens`.

    Args:
        prompt_cache: count input, cache reads and cache writes by what was sent, instead of as
            the script's replies say.

    Example:
        >>> async with FakeAnthropic() as fake:
        ...     fake.reply(Reply("hello"), Failure(529))
        ...     client = anthropic.AsyncAnthropic(base_url=fake.base_url, api_key="x")
    """

    _counting = ("/v1/messages/count_tokens",)

    def __init__(
        self,
        *,
        api_key: str | None = None,
        check: bool = True,
        tolerate: bool = False,
        prompt_cache: PromptCache | None = None,
    ) -> None:
        super().__init__(api_key=api_key, check=check, tolerate=tolerate)
        self._issued = messages_rules.Issued()
        self._prompt_cache = prompt_cache
        self.batches = AnthropicBatches(self._alone, lambda: self.base_url)

    async def _of_batches(self, request: Request) -> bytes | None:
        if not request.path.startswith("/v1/messages/batches"):
            return None
        self._authenticate(request)
        return await self.batches.answer(request.method, request.path, request.json)

    @property
    def base_url(self) -> str:
        """For `base_url` and `ANTHROPIC_BASE_URL`."""
        return f"http://127.0.0.1:{self.port}"

    def _request_id(self) -> str:
        return f"req_011{token((id(self), len(self.requests)), 21)}"

    def _headers(self, request_id: str, answer: Answer) -> dict[str, str]:
        reset = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {
            "date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "connection": "keep-alive",
            "request-id": request_id,
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "server": "cloudflare",
        }
        refused = isinstance(answer, Failure)
        if not refused or answer.status == 429:
            limits = (
                ("requests", 50),
                ("tokens", 60000),
                ("input-tokens", 50000),
                ("output-tokens", 10000),
            )
            for kind, limit in limits:
                headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
                headers[f"anthropic-ratelimit-{kind}-remaining"] = str(0 if refused else limit - 1)
                headers[f"anthropic-ratelimit-{kind}-reset"] = reset
        if refused:
            headers["x-should-retry"] = (
                "true" if answer.status in (408, 409, 429) or answer.status >= 500 else "false"
            )
        return headers

    def _admit(self, request: Request) -> None:
        path = request.path.partition("?")[0]
        if request.method != "POST" or path not in ("/v1/messages", *self._counting):
            raise InvalidRequestError("Not found", status=404)
        self._authenticate(request)
        messages_rules.check_headers(request.headers)
        if not isinstance(request.json, dict):
            raise InvalidRequestError("The request body is not valid JSON")
        if self.check:
            body = request.json
            if self._counts(request):
                body = messages_rules.as_generation(body)
            messages_rules.check(body, self._issued, request.headers["anthropic-version"])
            check_marks(body)

    def _authenticate(self, request: Request) -> None:
        key = request.headers.get("x-api-key")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not key and not bearer:
            raise InvalidRequestError("x-api-key header is required", status=401)
        if self.api_key is not None and (key or bearer) != self.api_key:
            raise InvalidRequestError(
                "invalid x-api-key" if key else "Invalid bearer token", status=401
            )

    def _counted(self, tokens: int) -> dict[str, Any]:
        return {"input_tokens": tokens}

    def _error(self, failure: Failure, request_id: str) -> bytes:
        return messages_api.error_body(failure, request_id)

    def _too_long(self, request: Request, used: int, window: int) -> Failure:
        return context_window.anthropic(used, window)

    def _whole(self, request: Request, reply: Reply) -> Mapping[str, Any]:
        message = messages_api.anthropic_message(reply, request.json)
        self._issued.record(message)
        return message

    def _frames(self, request: Request, reply: Reply) -> list[bytes]:
        if self._prompt_cache is not None:
            total, read, written = self._prompt_cache.count(request.json)
            spent = replace(reply.usage, input=total, cache_read=read, cache_write=written)
            reply = copy.copy(reply)
            reply.usage = spent
        self._issued.record(messages_api.anthropic_message(reply, request.json))
        return messages_api.anthropic_frames(reply, request.json)


class FakeOpenAI(_FakeProvider):
    """`POST /v1/chat/completions`, `POST /v1/responses` and `POST /v1/responses/input_tokens`.

    Args:
        dialect: how Chat Completions chunks differ from OpenAI's own.
        stateless: refuse Responses requests that would leave state with the provider, which is
            this project's rule and not the API's.
    """

    _counting = ("/v1/responses/input_tokens",)

    def __init__(
        self,
        *,
        dialect: chat_completions.Dialect = chat_completions.OPENAI,
        stateless: bool = True,
        api_key: str | None = None,
        check: bool = True,
        tolerate: bool = False,
    ) -> None:
        super().__init__(api_key=api_key, check=check, tolerate=tolerate)
        self.dialect = dialect
        self.stateless = stateless
        self._issued = responses_rules.Issued()
        self.batches = OpenAIBatches(self._alone)

    async def _of_batches(self, request: Request) -> bytes | None:
        if not request.path.startswith(("/v1/batches", "/v1/files")):
            return None
        self._authenticate(request)
        return await self.batches.answer(
            request.method,
            request.path,
            request.json,
            raw=request.body,
            content_type=request.headers.get("content-type", ""),
        )

    @property
    def base_url(self) -> str:
        """For `base_url` and `OPENAI_BASE_URL`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _request_id(self) -> str:
        return f"req_{token((id(self), len(self.requests)), 32).lower()}"

    def _headers(self, request_id: str, answer: Answer) -> dict[str, str]:
        headers = {
            "date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "connection": "keep-alive",
            "x-request-id": request_id,
            "openai-organization": "org-x",
            "openai-processing-ms": "312",
            "openai-version": "2020-10-01",
            "server": "cloudflare",
        }
        refused = isinstance(answer, Failure)
        if not refused or answer.status == 429:
            for kind, limit in (("requests", 500), ("tokens", 30000)):
                headers[f"x-ratelimit-limit-{kind}"] = str(limit)
                headers[f"x-ratelimit-remaining-{kind}"] = str(0 if refused else limit - 1)
                headers[f"x-ratelimit-reset-{kind}"] = "20s" if refused else "120ms"
        return headers

    def _admit(self, request: Request) -> None:
        path = request.path.partition("?")[0]
        known = ("/v1/chat/completions", "/v1/responses", *self._counting)
        if request.method != "POST" or path not in known:
            message = f"Invalid URL ({request.method} {path})"
            raise InvalidRequestError(message, status=404)
        self._authenticate(request)
        if not isinstance(request.json, dict):
            raise InvalidRequestError("We could not parse the JSON body of your request.")
        if not self.check:
            return
        if path == "/v1/responses":
            responses_rules.check(request.json, self._issued)
            if self.stateless:
                responses_rules.check_stateless(request.json)
        elif self._counts(request):
            responses_rules.check_counted(request.json, self._issued)
        else:
            chat_rules.check(request.json, own=self.dialect is chat_completions.OPENAI)

    def _authenticate(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key:
            message = (
                "You didn't provide an API key. You need to provide your API key in an "
                "Authorization "
                "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
            )
            raise InvalidRequestError(message, status=401)
        if self.api_key is not None and key != self.api_key:
            message = f"Incorrect API key provided: {key}."
            raise InvalidRequestError(message, status=401, code="invalid_api_key")

    def _counted(self, tokens: int) -> dict[str, Any]:
        return {"object": "response.input_tokens", "input_tokens": tokens}

    def _error(self, failure: Failure, request_id: str) -> bytes:
        return chat_completions.error_body(failure)

    def _too_long(self, request: Request, used: int, window: int) -> Failure:
        if request.path.startswith("/v1/responses"):
            return context_window.openai_responses()
        return context_window.openai_chat(used, window)

    def _whole(self, request: Request, reply: Reply) -> Mapping[str, Any]:
        if request.path.startswith("/v1/responses"):
            response = responses_api.response(reply, request.json)
            self._issued.record(response["output"])
            return response
        return chat_completions.chat_completion(reply, request.json)

    def _frames(self, request: Request, reply: Reply) -> list[bytes]:
        if request.path.startswith("/v1/responses"):
            self._issued.record(responses_api.response(reply, request.json)["output"])
            return responses_api.openai_responses_frames(reply, request.json)
        return chat_completions.openai_chat_frames(reply, request.json, self.dialect)
