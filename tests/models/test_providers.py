"""The models over real HTTP, against servers that speak and refuse as the real ones do."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from aof_nb import errors
from aof_nb.events import ModelEvent, ModelResponse, TextDelta
from aof_nb.loop_clients import shared_client
from aof_nb.messages import Message, Outcome, StopReason, Text, Thinking, ToolCall, ToolResult
from aof_nb.models import resolve_model
from aof_nb.ports import Model, ModelRequest, Sampling, ToolSpec
from tests.fakes import (
    Failure,
    FakeAnthropic,
    FakeOpenAI,
    Refusal,
    Reply,
    StreamError,
    Usage,
    Wire,
)
from tests.fakes import Thinking as Thought
from tests.fakes import ToolCall as Call

Fake = FakeAnthropic | FakeOpenAI
PROVIDERS: dict[str, tuple[type[Fake], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-sonnet-5"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4o"),
}
every_provider = pytest.mark.parametrize("provider", PROVIDERS)
READ_LOG = ToolSpec(
    name="read_log",
    description="Reads a log.",
    input_schema={"type": "object", "properties": {"lines": {"type": "integer"}}},
)


def served(provider: str, fake: Fake, **options: Any) -> Model:
    return resolve_model(PROVIDERS[provider][1], base_url=fake.base_url, api_key="k", **options)


def ask(text: str = "why?", *more: Message, **options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message.user(text), *more), tools=(READ_LOG,), **options)


async def collect(model: Model, request: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.stream(request)]


async def answer(model: Model, request: ModelRequest) -> ModelResponse:
    last = (await collect(model, request))[-1]
    assert isinstance(last, ModelResponse)
    return last


@every_provider
async def test_text_streams_and_ends_in_a_response(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("checkout waits for payments", usage=Usage(input=9, output=4)))
        events = await collect(served(provider, fake), ask(system="be exact"))
    *deltas, response = events
    assert "".join(e.text for e in deltas if isinstance(e, TextDelta)) == response.message.text
    assert response.message.text == "checkout waits for payments"
    assert response.stop_reason is StopReason.END_TURN
    assert (response.usage.input_tokens, response.usage.output_tokens) == (9, 4)
    assert response.model.startswith(provider + ":")


@every_provider
async def test_parallel_calls_and_thinking_survive_tool_turns(provider: str) -> None:
    """The fake refuses a history whose thinking or call pairing is not what it sent."""
    calls = (Call("read_log", {"lines": 3}), Call("read_log", {"lines": 5}))
    thinking = [Thought("Two logs, then.")]
    sampling = Sampling(max_tokens=4096)
    if provider == "anthropic":
        sampling = Sampling(max_tokens=4096, thinking_tokens=2048)
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply(*thinking, "Looking.", *calls), Reply(*thinking, "It is the lock."))
        model = served(provider, fake)
        first = await answer(model, ask(sampling=sampling))
        assert first.stop_reason is StopReason.TOOL_USE
        assert [c.arguments for c in first.message.tool_calls] == [{"lines": 3}, {"lines": 5}]
        results = tuple(
            ToolResult(call.id, call.name, "locked", outcome)
            for call, outcome in zip(
                first.message.tool_calls, (Outcome.OK, Outcome.ERROR), strict=True
            )
        )
        second = await answer(
            model, ask("why?", first.message, Message("tool", results), sampling=sampling)
        )
    assert second.message.text == "It is the lock."


@every_provider
async def test_another_providers_thinking_is_left_out(provider: str) -> None:
    foreign = Message("assistant", (Thinking("?", "elsewhere", {"x": 1}), Text("Hello.")))
    async with PROVIDERS[provider][0]() as fake:
        fake.reply("ok")
        await answer(served(provider, fake), ask("hi", foreign, Message.user("go on")))
        assert "elsewhere" not in str(fake.requests[0].json)


@every_provider
async def test_a_response_cut_while_thinking_can_be_gone_on_from(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply(Thought("Hm, let me"), stop="length"), "ok")
        model = served(provider, fake)
        cut = await answer(model, ask())
        assert cut.stop_reason is StopReason.MAX_TOKENS
        await answer(model, ask("why?", cut.message, Message.user("go on")))
        assert "Hm, let me" not in str(fake.requests[1].json)


@pytest.mark.parametrize(
    ("model", "thinking", "effort"),
    [
        ("claude-sonnet-5", {"type": "adaptive", "display": "summarized"}, True),
        ("claude-opus-4-7", {"type": "adaptive", "display": "summarized"}, True),
        ("claude-sonnet-4-6", {"type": "enabled", "budget_tokens": 2048}, True),
        ("claude-sonnet-4-5-20250929", {"type": "enabled", "budget_tokens": 2048}, False),
        ("claude-sonnet-4-0", {"type": "enabled", "budget_tokens": 2048}, False),
        ("claude-opus-4@20250514", {"type": "enabled", "budget_tokens": 2048}, False),
        ("claude-3-5-haiku-20241022", None, False),
        ("glm-4.6", {"type": "enabled", "budget_tokens": 2048}, True),
    ],
)
async def test_each_claude_is_asked_to_think_in_its_way(
    model: str, thinking: dict[str, Any] | None, effort: bool
) -> None:
    sampling = Sampling(max_tokens=500, thinking_tokens=2048, reasoning_effort="low")
    async with FakeAnthropic() as fake:
        fake.reply("ok")
        asked = resolve_model(f"anthropic:{model}", base_url=fake.base_url, api_key="k")
        await answer(asked, ask(sampling=sampling))
        body = fake.requests[0].json
    assert body.get("thinking") == thinking
    assert ("output_config" in body) is effort
    assert body["max_tokens"] == (3072 if thinking else 500)


async def test_thinking_is_asked_for_again_when_another_models_tool_turn_is_over() -> None:
    asked = Message("assistant", (Text("Looking."), ToolCall("c1", "read_log", {})))
    answered = Message("tool", (ToolResult("c1", "read_log", "locked"),))
    over = Message.assistant("It is the lock.")
    sampling = Sampling(max_tokens=4096, thinking_tokens=2048)
    async with FakeAnthropic() as fake:
        fake.reply("ok", "ok")
        name = "anthropic:claude-sonnet-4-5"
        model = resolve_model(name, base_url=fake.base_url, api_key="k")
        go_on = Message.user("go on")
        await answer(model, ask("why?", asked, answered, go_on, sampling=sampling))
        await answer(model, ask("why?", asked, answered, over, go_on, sampling=sampling))
        assert ["thinking" in request.json for request in fake.requests] == [False, True]


@pytest.mark.parametrize(("name", "sent"), [("openai:gpt-5", True), ("openai:gpt-4o", False)])
async def test_reasoning_goes_to_models_that_reason(name: str, sent: bool) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    thought = Message("assistant", (Thinking("", "openai", item), Text("It is the lock.")))
    async with FakeOpenAI(check=False) as fake:
        fake.reply("ok")
        model = resolve_model(name, base_url=fake.base_url, api_key="k")
        await answer(model, ask("why?", thought, Message.user("go on")))
        assert (item in fake.requests[0].json["input"]) is sent


@every_provider
@pytest.mark.parametrize(
    ("call_id", "name"),
    [
        ("functions.read_log:0", "read_log"),
        ("chatcmpl-tool-" + "0" * 60, "read_log"),
        ("c1", "functions.read_log"),
        ("c1", ""),
        ("c1", "read_log_" * 20),
    ],
)
async def test_calls_that_another_model_wrote_can_be_sent(
    provider: str, call_id: str, name: str
) -> None:
    asked = Message("assistant", (ToolCall(call_id, name, {}),))
    answered = Message("tool", (ToolResult(call_id, name, "no such tool", Outcome.ERROR),))
    async with PROVIDERS[provider][0]() as fake:
        fake.reply("ok")
        await answer(served(provider, fake), ask("why?", asked, answered))


@every_provider
async def test_a_call_with_broken_arguments_can_be_sent_back(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply(Call("read_log", '{"lines": ')), "ok")
        model = served(provider, fake)
        message = (await answer(model, ask())).message
        [call] = message.tool_calls
        assert call.arguments is None
        assert call.raw_arguments == '{"lines": '
        result = ToolResult(call.id, call.name, "not JSON", Outcome.ERROR)
        assert (await answer(model, ask("why?", message, Message("tool", (result,))))).message.text


@every_provider
async def test_withheld_tools_stay_declared(provider: str) -> None:
    call = ToolCall("toolu_1", "read_log", {})
    history = (
        Message("assistant", (call,)),
        Message("tool", (ToolResult("toolu_1", "read_log", ""),)),
        Message.user("answer now"),
    )
    async with PROVIDERS[provider][0](tolerate=True) as fake:
        fake.reply("ok")
        await answer(served(provider, fake), ask("why?", *history, tool_choice="none"))
        [sent] = fake.requests
        assert sent.json["tools"]
        assert sent.json["tool_choice"] in ("none", {"type": "none"})
        assert not fake.rejected


@every_provider
async def test_refusal_and_length_stops(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply(Refusal("No.")), Reply("half an ans", stop="length"))
        model = served(provider, fake)
        assert (await answer(model, ask())).stop_reason is StopReason.REFUSAL
        assert (await answer(model, ask())).stop_reason is StopReason.MAX_TOKENS


ERRORS: list[tuple[str, Failure, type[errors.ModelError]]] = [
    ("anthropic", Failure(401), errors.AuthenticationFailed),
    ("anthropic", Failure(403), errors.PermissionDenied),
    ("anthropic", Failure(404), errors.ModelNotFound),
    ("anthropic", Failure(413), errors.ContextTooLong),
    ("anthropic", Failure(429, retry_after=7), errors.RateLimited),
    ("anthropic", Failure(500), errors.ServerError),
    ("anthropic", Failure(529), errors.Overloaded),
    (
        "anthropic",
        Failure(400, "prompt is too long: 213462 tokens > 200000 maximum"),
        errors.ContextTooLong,
    ),
    (
        "anthropic",
        Failure(400, "Your credit balance is too low to access the Anthropic API."),
        errors.QuotaExceeded,
    ),
    ("openai-chat", Failure(401, code="invalid_api_key"), errors.AuthenticationFailed),
    ("openai-chat", Failure(404, code="model_not_found"), errors.ModelNotFound),
    ("openai-chat", Failure(429, code="insufficient_quota"), errors.QuotaExceeded),
    ("openai-chat", Failure(429, code="rate_limit_exceeded"), errors.RateLimited),
    ("openai-chat", Failure(400, code="context_length_exceeded"), errors.ContextTooLong),
    ("openai", Failure(500), errors.ServerError),
    ("openai", Failure(503), errors.Overloaded),
    ("openai", Failure(400), errors.BadRequest),
    (
        "openai",
        Failure(502, body=b"<html>Bad Gateway</html>", content_type="text/html"),
        errors.ServerError,
    ),
]


@pytest.mark.parametrize(("provider", "failure", "expected"), ERRORS)
async def test_each_error_is_classified_once(
    provider: str, failure: Failure, expected: type[errors.ModelError]
) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(failure)
        with pytest.raises(errors.ModelError) as caught:
            await collect(served(provider, fake), ask())
        assert len(fake.requests) == 1, "the SDK's own retries must be off"
    error = caught.value
    assert type(error) is expected
    assert error.status == failure.status
    assert error.provider == provider
    assert error.request_id
    if failure.retry_after:
        assert error.retry_after == failure.retry_after


@every_provider
async def test_an_error_inside_a_stream_keeps_what_had_arrived(provider: str) -> None:
    error = StreamError("overloaded_error", code="server_is_overloaded", after=6)
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("The lock is held by reports", delta=4, error=error))
        with pytest.raises(errors.Overloaded) as caught:
            await collect(served(provider, fake), ask())
    partial = caught.value.partial
    assert partial is not None
    assert partial.interrupted
    assert "The lock is held by reports".startswith(partial.text)
    assert caught.value.request_id


@every_provider
@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_that_breaks_is_a_typed_error(provider: str, reset: bool) -> None:
    size = 4000
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("x" * size, wire=Wire(cut_at=9000, reset=reset)))
        shown: list[str] = []
        with pytest.raises(errors.BrokenStream) as caught:
            async for event in served(provider, fake).stream(ask()):
                if isinstance(event, TextDelta):
                    shown.append(event.text)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "".join(shown) != ""
    assert caught.value.retryable
    assert caught.value.request_id


@every_provider
async def test_a_page_in_place_of_an_answer_is_told_from_one(provider: str) -> None:
    page = b"<html><title>Sign in to the guest network</title></html>"
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Failure(200, body=page, content_type="text/html"))
        with pytest.raises(errors.ServerError, match=r"text/html: .*Sign in") as caught:
            await collect(served(provider, fake), ask())
    assert "proxy" in caught.value.remedy


@every_provider
async def test_an_error_that_says_it_is_a_success_is_one(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "Slower."}
        body = json.dumps({"type": "error", "error": error}).encode()
        fake.reply(Failure(200, body=body))
        with pytest.raises(errors.RateLimited, match=r"Slower\."):
            await collect(served(provider, fake), ask())


async def test_a_server_that_does_not_stream_has_answered() -> None:
    choice = {"index": 0, "message": {"content": "All of it."}, "finish_reason": "stop"}
    whole = {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 3}}
    async with FakeOpenAI() as fake:
        fake.reply(Failure(200, body=json.dumps(whole, indent=1).encode()))
        response = await answer(served("openai-chat", fake), ask())
    assert response.message.text == "All of it."
    assert response.usage.input_tokens == 3


@every_provider
async def test_a_break_loses_nothing_of_what_came_just_before(provider: str) -> None:
    reply = Reply("x" * 4000)

    async def arrived(delay: float) -> str:
        # An orderly close: with a reset the sender's own kernel may drop what was not yet sent.
        reply.wire = Wire(cut_at=9000, delay=delay)
        async with PROVIDERS[provider][0]() as fake:
            fake.reply(reply)
            with pytest.raises(errors.BrokenStream) as caught:
                await collect(served(provider, fake), ask())
        assert caught.value.partial is not None
        return caught.value.partial.text

    read_piece_by_piece = await arrived(0.02)
    for delay in (0.0, 0.001, 0.002, 0.003):
        assert await arrived(delay) == read_piece_by_piece


@every_provider
async def test_bytes_split_at_random_over_the_socket(provider: str) -> None:
    chance = random.Random(provider)
    async with PROVIDERS[provider][0]() as fake:
        for _ in range(10):
            fake.reply(Reply("Zażółć 🚑", Call("read_log", {"lines": 1}), wire=Wire(split=chance)))
        model = served(provider, fake)
        for _ in range(10):
            message = (await answer(model, ask())).message
            assert message.text == "Zażółć 🚑"
            assert message.tool_calls[0].arguments == {"lines": 1}


@every_provider
async def test_closing_the_stream_closes_the_connection_at_once(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("x" * 4000, wire=Wire(stall_at=3000)), "ok")
        model = served(provider, fake)
        stream = model.stream(ask())
        async with asyncio.timeout(10):
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
            await stream.aclose()
            while not fake.requests[0].hung_up:
                await asyncio.sleep(0.01)
            assert (await answer(model, ask())).message.text == "ok"


@every_provider
async def test_cancelling_while_waiting_closes_the_connection(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("x", wire=Wire(stall_at=0)))
        waiting = asyncio.create_task(collect(served(provider, fake), ask()))
        async with asyncio.timeout(10):
            while not fake.requests:
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            while not fake.requests[0].hung_up:
                await asyncio.sleep(0.01)


@every_provider
async def test_nobody_at_the_address(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        model = served(provider, fake)
    with pytest.raises(errors.ConnectionFailed) as caught:
        await collect(model, ask())
    assert "127.0.0.1" in caught.value.message


@every_provider
async def test_a_provider_that_says_nothing_is_a_timeout(provider: str) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Reply("x", wire=Wire(stall_at=0)))
        with pytest.raises(errors.ModelTimeout):
            await collect(served(provider, fake, timeout=0.3), ask())


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("openai-chat", "OPENAI_API_KEY"),
    ],
)
async def test_a_missing_key_fails_before_any_request(
    provider: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path))
    async with PROVIDERS[provider][0]() as fake:
        model = resolve_model(PROVIDERS[provider][1], base_url=fake.base_url)
        with pytest.raises(errors.MissingCredential) as caught:
            await collect(model, ask())
        assert not fake.requests
    assert variable in str(caught.value)


async def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeAnthropic(api_key="from-env") as fake:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "from-env")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.base_url)
        fake.reply("ok")
        assert (await answer(resolve_model("anthropic:claude-x"), ask())).message.text == "ok"


@pytest.mark.parametrize(
    ("provider", "variable"), [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")]
)
async def test_a_key_set_right_in_the_environment_is_used_from_then_on(
    provider: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_type, name = PROVIDERS[provider]
    async with fake_type() as fake:
        fake.reply("ok", "ok")
        model = resolve_model(name, base_url=fake.base_url)
        for key in ("of-last-year", "of-today"):
            monkeypatch.setenv(variable, key)
            await answer(model, ask())
        sent = [str(sorted(request.headers.items())) for request in fake.requests]
    assert "of-last-year" in sent[0]
    assert "of-today" in sent[1]


async def test_one_client_per_loop_and_key() -> None:
    made: list[object] = []

    class Client:
        closed = False

        async def close(self) -> None:
            self.closed = True

    def make() -> Client:
        made.append(Client())
        return made[-1]  # type: ignore[return-value]

    first = await shared_client(("t", 1), make)
    assert await shared_client(("t", 1), make) is first
    assert await shared_client(("t", 2), make) is not first
    elsewhere = await asyncio.to_thread(lambda: asyncio.run(shared_client(("t", 1), make)))
    assert elsewhere is not first
    assert elsewhere.closed, "a loop that ends closes its clients"
    assert not first.closed


@pytest.mark.parametrize("bad", ["gpt", "antropic:claude", "openai:", "nothing:x"])
def test_an_unknown_model_is_told_the_near_word(bad: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        resolve_model(bad)
    assert repr(bad) in caught.value.message
    assert "anthropic:" in caught.value.remedy


def test_bare_names_are_recognised() -> None:
    assert resolve_model("claude-3-5-sonnet-20241022").name.startswith("anthropic:")
    assert resolve_model("gpt-4o").name.startswith("openai:")


async def test_sampling_reaches_the_provider() -> None:
    sampling = Sampling(max_tokens=77, temperature=0.1, top_p=0.5, stop=("END",))
    expectations: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        ("anthropic", lambda b: b["max_tokens"] == 77 and "temperature" not in b),
        ("openai-chat", lambda b: b["max_tokens"] == 77 and b["temperature"] == 0.1),
        ("openai", lambda b: b["max_output_tokens"] == 77 and "temperature" not in b),
    ]
    for provider, expected in expectations:
        async with PROVIDERS[provider][0]() as fake:
            fake.reply("ok")
            await answer(served(provider, fake), ask(sampling=sampling))
            assert expected(fake.requests[0].json), fake.requests[0].json
