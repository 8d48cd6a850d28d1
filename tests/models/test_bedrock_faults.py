"""What goes wrong between Bedrock and us ends in one clear error, and loses nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from typing import Any

import pytest

from aof_nb import errors
from aof_nb.events import TextDelta
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.bedrock_transport import Exchange, current
from tests.fakes import (
    Failure,
    FakeBedrock,
    Raw,
    Reply,
    Request,
    StreamError,
    Wire,
    bedrock_events,
    odd,
)
from tests.fakes import ToolCall as Call
from tests.fakes.bedrock import event, message
from tests.models.bedrock import (
    answer,
    ask,
    aws_credentials,
    collect,
    no_thread_left,
    served,
)

pytestmark = pytest.mark.usefixtures(aws_credentials.__name__, no_thread_left.__name__)

LONG = "Input is too long for requested model."
ERRORS: list[tuple[Failure, type[errors.ModelError]]] = [
    (Failure(400), errors.BadRequest),
    (Failure(400, LONG), errors.ContextTooLong),
    (
        Failure(
            400,
            "The model returned the following errors: input length and `max_tokens` exceed context "
            "limit: 198000 + 8192 > 200000",
        ),
        errors.ContextTooLong,
    ),
    (
        Failure(400, "The model returned the following errors: prompt is too long: 2 > 1 maximum"),
        errors.ContextTooLong,
    ),
    (Failure(400, "The provided model identifier is invalid."), errors.ModelNotFound),
    (Failure(400, type="ServiceQuotaExceededException"), errors.QuotaExceeded),
    (Failure(403), errors.PermissionDenied),
    (Failure(403, type="ExpiredTokenException"), errors.AuthenticationFailed),
    (Failure(403, type="UnrecognizedClientException"), errors.AuthenticationFailed),
    (Failure(403, type="InvalidSignatureException"), errors.AuthenticationFailed),
    (
        Failure(403, "Authentication failed: Please make sure your API Key is valid."),
        errors.AuthenticationFailed,
    ),
    (Failure(404), errors.ModelNotFound),
    (Failure(408), errors.ModelTimeout),
    (Failure(413, body=b"", type="x"), errors.ContextTooLong),
    (Failure(424), errors.ServerError),
    (Failure(429, retry_after=7), errors.RateLimited),
    (Failure(429, "Too many tokens, please wait before trying again."), errors.RateLimited),
    (Failure(429, "Too many tokens per day, please wait."), errors.QuotaExceeded),
    (Failure(429, "Not ready", type="ModelNotReadyException"), errors.Overloaded),
    (Failure(500), errors.ServerError),
    (Failure(503), errors.Overloaded),
    (
        Failure(502, body=b"<html>Bad Gateway</html>", content_type="text/html"),
        errors.ServerError,
    ),
    (Failure(200, body=b"<html>Sign in</html>", content_type="text/html"), errors.ServerError),
]


@pytest.mark.parametrize(("failure", "expected"), ERRORS)
async def test_each_error_is_classified_once(
    failure: Failure, expected: type[errors.ModelError]
) -> None:
    async with FakeBedrock() as fake:
        fake.reply(failure)
        with pytest.raises(errors.ModelError) as caught:
            await collect(served(fake), ask())
        assert len(fake.requests) == 1, "boto3's own retries must be off"
    error = caught.value
    assert type(error) is expected
    assert error.provider == "bedrock"
    assert error.request_id
    assert error.remedy or expected is errors.BadRequest
    if failure.status != 200:
        assert error.status == failure.status
    if failure.retry_after:
        assert error.retry_after == failure.retry_after


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("throttlingException", "Too many tokens", errors.RateLimited),
        ("modelStreamErrorException", "The model failed", errors.ServerError),
        ("internalServerException", "Try again", errors.ServerError),
        ("serviceUnavailableException", "Too many connections", errors.Overloaded),
        ("modelTimeoutException", "Timed out", errors.ModelTimeout),
        ("validationException", LONG, errors.ContextTooLong),
        ("validationException", "No.", errors.BadRequest),
        ("exceptionOfTomorrow", "Hm", errors.ServerError),
    ],
)
async def test_an_error_inside_a_stream_keeps_what_had_arrived(
    kind: str, said: str, expected: type[errors.ModelError]
) -> None:
    error = StreamError(kind, said, after=5)
    text = "The lock is held by reports"
    shown: list[str] = []
    async with FakeBedrock() as fake:
        fake.reply(Reply(text, delta=4, error=error))
        with pytest.raises(expected) as caught:
            async for event in served(fake).stream(ask()):
                if isinstance(event, TextDelta):
                    shown.append(event.text)
    assert said in caught.value.message
    assert caught.value.request_id
    partial = caught.value.partial
    assert partial is not None
    assert partial.interrupted
    assert partial.text == "".join(shown) == text[:16]


# A reset at once would take with it what the sender's kernel still holds.
@pytest.mark.parametrize(
    ("reset", "delay"), [(False, 0), (False, 0.01), (True, 0.003), (True, 0.01)]
)
async def test_a_break_loses_nothing_of_what_came_before(reset: bool, delay: float) -> None:
    wire = Wire(cut_at=9000, reset=reset, delay=delay)
    reply = Reply("x" * 4000, wire=wire)
    reply.token = "same"
    async with FakeBedrock() as fake:
        fake.reply(reply)
        shown: list[str] = []
        with pytest.raises(errors.BrokenStream) as caught:
            async for event in served(fake).stream(ask()):
                if isinstance(event, TextDelta):
                    shown.append(event.text)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "".join(shown)
    assert len("".join(shown)) == arrived(reply, 9000)


def arrived(reply: Reply, end: int) -> int:
    decoder = ConverseDecoder("asked")
    decoder.feed(bedrock_events(reply)[:end])
    partial, _ = decoder.partial()
    return len(partial.text) if partial is not None else 0


async def test_damage_on_the_way_is_a_broken_stream() -> None:
    body = bytearray(bedrock_events(Reply("x" * 400)))
    body[2000] ^= 1
    async with FakeBedrock() as fake:
        fake.reply(bytes(body))
        with pytest.raises(errors.BrokenStream, match="checksum") as caught:
            await collect(served(fake), ask())
    assert caught.value.partial is not None


async def test_a_whole_response_needs_no_end_of_the_connection() -> None:
    body = bedrock_events(Reply("ok"))
    async with FakeBedrock() as fake:
        fake.reply(Raw(body, Wire(cut_at=len(body))))
        assert (await answer(served(fake), ask())).message.text == "ok"


async def test_bytes_split_at_random_over_the_socket() -> None:
    chance = random.Random(7)
    call = Call("read_log", {"lines": 1})
    async with FakeBedrock() as fake:
        for _ in range(10):
            fake.reply(Reply(odd.TEXT, call, wire=Wire(split=chance)))
        for _ in range(10):
            message = (await answer(served(fake), ask())).message
            assert message.text == odd.TEXT
            assert message.tool_calls[0].arguments == {"lines": 1}


async def test_closing_the_stream_closes_the_connection_at_once() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply("x" * 4000, wire=Wire(stall_at=3000)), "ok")
        model = served(fake)
        stream = model.stream(ask())
        async with asyncio.timeout(10):
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
            while fake.requests[0].body_sent < 3000:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # the thread now waits for more
            began = asyncio.get_running_loop().time()
            await stream.aclose()
            assert asyncio.get_running_loop().time() - began < 0.5
            await fake.requests[0].hung_up.wait()
            assert (await answer(model, ask())).message.text == "ok"


@pytest.mark.parametrize("silent", [True, False])
async def test_cancelling_while_waiting_closes_the_connection(silent: bool) -> None:
    """Before a byte has come, the status line included, and after the headers."""
    never = asyncio.Event()
    gone = asyncio.Event()

    async def respond(request: Request) -> Reply:
        try:
            await never.wait()
        finally:
            gone.set()
        return Reply("x")

    async with FakeBedrock() as fake:
        if silent:
            fake.respond = respond
        else:
            fake.reply(Reply("x", wire=Wire(stall_at=0)))
        waiting = asyncio.create_task(collect(served(fake), ask()))
        async with asyncio.timeout(10):
            while not fake.requests:
                await asyncio.sleep(0.01)
            waiting.cancel()
            began = asyncio.get_running_loop().time()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert asyncio.get_running_loop().time() - began < 0.5
            if not silent:
                await fake.requests[0].hung_up.wait()


async def test_a_connection_that_another_stream_has_by_now_is_not_hung_up() -> None:
    class Connection:
        exchange: Any = None
        used_socket, other_end = socket.socketpair()

    over, connection = threading.Event(), Connection()

    def send() -> bytes:
        current().watch(connection)  # type: ignore[union-attr]
        over.wait(10)
        return b""

    first = Exchange(send, b"")
    while connection.exchange is not first:
        await asyncio.sleep(0.01)
    second = Exchange(send, b"")
    while connection.exchange is not second:
        await asyncio.sleep(0.01)
    closing = asyncio.create_task(first.close())
    await asyncio.sleep(0.05)
    connection.used_socket.send(b"still open")
    over.set()
    await closing
    await second.close()
    connection.used_socket.close()
    connection.other_end.close()


async def test_many_streams_at_once_and_one_client() -> None:
    async with FakeBedrock() as fake:
        for number in range(30):
            fake.reply(Reply(f"answer {number} " + "x" * 500, wire=Wire(delay=0.002)))
        model = served(fake)
        answers = await asyncio.gather(*(answer(model, ask()) for _ in range(30)))
        assert {a.message.text.split()[1] for a in answers} == {str(n) for n in range(30)}
        fake.reply("ok", "ok")
        before = fake.accepted
        await answer(model, ask())
        await answer(served(fake), ask())
        assert fake.accepted == before, "connections are used again"


async def test_streams_that_are_cancelled_do_no_harm_to_others() -> None:
    """A connection that one stream hangs up may be another's a moment later."""
    chance = random.Random(3)

    def respond(request: Request) -> Reply:
        return Reply("x" * 300, wire=Wire(delay=0.0005))

    async with FakeBedrock() as fake:
        fake.respond = respond
        model = served(fake)
        await answer(model, ask())
        patient, hurried = [], []
        for number in range(80):
            task = asyncio.create_task(answer(model, ask()))
            (hurried if number % 2 else patient).append(task)
        for task in hurried:
            await asyncio.sleep(chance.random() * 0.02)
            task.cancel()
        answers = await asyncio.gather(*patient)
        await asyncio.gather(*hurried, return_exceptions=True)
        async with asyncio.timeout(10):
            while any(thread.name == "aof-bedrock" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)
    assert {response.message.text for response in answers} == {"x" * 300}


async def test_a_slow_reader_holds_the_stream_up_and_loses_nothing() -> None:
    text = "".join(map(str, range(60_000)))
    async with FakeBedrock() as fake:
        fake.reply(Reply(text, delta=2000))
        shown = ""
        async for event in served(fake).stream(ask()):
            if isinstance(event, TextDelta):
                shown += event.text
                await asyncio.sleep(0.05 if len(shown) < 20_000 else 0)
    assert shown == text


async def test_nobody_at_the_address() -> None:
    async with FakeBedrock() as fake:
        model = served(fake)
    with pytest.raises(errors.ConnectionFailed) as caught:
        await collect(model, ask())
    assert "127.0.0.1" in caught.value.message


@pytest.mark.parametrize("after", [0, 3000])
async def test_a_provider_that_says_nothing_is_a_timeout(after: int) -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply("x" * 4000, wire=Wire(stall_at=after)))
        with pytest.raises(errors.ModelTimeout) as caught:
            await collect(served(fake, timeout=0.3), ask())
    assert (caught.value.partial is not None) is (after > 0)


async def test_an_event_that_is_no_json_is_a_broken_stream() -> None:
    body = event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Half"})
    headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
    async with FakeBedrock() as fake:
        fake.reply(body + message(headers, b'{"delta": {"te'))
        with pytest.raises(errors.BrokenStream, match="not valid") as caught:
            await collect(served(fake), ask())
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Half"


async def test_an_error_in_the_stream_that_is_no_json_is_still_that_error() -> None:
    headers = {":exception-type": "throttlingException", ":message-type": "exception"}
    async with FakeBedrock() as fake:
        fake.reply(message(headers, b"slow down"))
        with pytest.raises(errors.RateLimited, match="slow down"):
            await collect(served(fake), ask())
