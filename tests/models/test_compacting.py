"""Conversations stay within the context window, and the user is told what was left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from aof_nb import Agent, ContextPolicy, Limits, RetryPolicy, RunStatus, resolve_model, tool
from aof_nb.cli.writers import TextWriter
from aof_nb.errors import ContextTooLong
from aof_nb.events import (
    ContextCompacted,
    Event,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    in_a_line,
)
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message, Text, Usage
from aof_nb.models.tokens import estimate
from aof_nb.notebook.plain import ConsoleRenderer
from aof_nb.ports import Model, ModelRequest
from tests.fakes import Failure, FakeAnthropic, FakeBedrock, FakeOpenAI, Reply, Request, StreamError
from tests.fakes import ToolCall as Call
from tests.fakes import Usage as Spent
from tests.fakes.context_window import ContextWindow

Fake = FakeAnthropic | FakeOpenAI | FakeBedrock
MODELS: dict[str, tuple[type[Fake], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:next-model"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:next-model"),
    "bedrock": (FakeBedrock, "bedrock:amazon.next-model-v1:0"),
}
every_provider = pytest.mark.parametrize("provider", MODELS)
WINDOW = 8000
MARK = b',"cache_control":{"type":"ephemeral"}'
LINE = "2026-11-24T09:40:29Z checkout ERROR pool exhausted\n"
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@tool(effect="read")
def read_log(part: int) -> str:
    """Reads a part of a log."""
    return f"part {part}\n" + LINE * 80


def investigates(turns: int, summary: str = "Parts were read.") -> Callable[[Request], Reply]:
    """A model that reads the log part by part, and summarises if it has no tools."""
    asked = itertools.count(1)

    def respond(request: Request) -> Reply:
        body = request.json
        if not (body.get("tools") or body.get("toolConfig")):
            return Reply(summary)
        turn = next(asked)
        if turn > turns:
            return Reply("The pool is too small.")
        return Reply(f"Part {turn}.", Call("read_log", {"part": turn}))

    return respond


def served(provider: str, fake: Fake) -> Model:
    return resolve_model(MODELS[provider][1], base_url=fake.base_url, api_key="k")


def agent(model: Model, **options: Any) -> Agent:
    return Agent(model=model, instructions="You are on call.", tools=[read_log], **options)


async def ran(sre: Agent, prompt: str = "why is checkout slow?", **options: Any) -> Any:
    run = sre.stream(prompt, **options)
    events: list[Event] = [event async for event in run]
    return run.result, events


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@every_provider
async def test_old_outputs_are_left_out_before_the_window_is_full(provider: str) -> None:
    async with MODELS[provider][0]() as fake:
        fake.context_window = ContextWindow(WINDOW)
        fake.respond = investigates(12)
        sre = agent(served(provider, fake), context=ContextPolicy(window=WINDOW))
        result, events = await ran(sre)
    assert (result.status, result.text) == (RunStatus.COMPLETED, "The pool is too small.")
    compacted = of(events, ContextCompacted)
    assert compacted
    assert len(fake.generations) == 13
    for event in compacted:
        assert event.after < event.before < 1.1 * WINDOW
        assert set(event.dropped) == {"read_log"}
        assert (event.window, event.summary_model, event.usage) == (WINDOW, "", Usage())
    [warning] = [each for each in of(events, Notice) if "full" in each.text]
    assert "of 8,000 tokens; at 90% old tool outputs are left out, then" in warning.text
    # The record is whole: what is sent is another matter.
    outputs = [each for message in result.messages for each in message.tool_results]
    assert [each.content.startswith(f"part {n}\n") for n, each in enumerate(outputs, 1)] == [
        True
    ] * 12
    assert b"[output of read_log left out: 4,0" in fake.generations[-1].body


@every_provider
async def test_a_request_that_is_refused_is_compacted_and_sent_again(provider: str) -> None:
    async with MODELS[provider][0]() as fake:
        fake.context_window = ContextWindow(WINDOW)
        fake.respond = investigates(8)
        result, events = await ran(agent(served(provider, fake)))
    assert (result.status, result.text) == (RunStatus.COMPLETED, "The pool is too small.")
    assert of(events, ContextCompacted)
    refused = [each for each in fake.generations if fake.context_window.count(each.json) > WINDOW]
    assert len(refused) == 1
    assert len(fake.generations) == 9 + 1


@every_provider
async def test_below_the_limit_nothing_is_changed(provider: str) -> None:
    bodies: list[list[bytes]] = []
    for policy in (ContextPolicy(window=40_000), ContextPolicy(window=4_000_000)):
        async with MODELS[provider][0]() as fake:
            fake.context_window = ContextWindow(WINDOW)
            fake.respond = investigates(4)
            _, events = await ran(agent(served(provider, fake), context=policy))
        assert not of(events, ContextCompacted)
        assert not of(events, Notice)
        bodies.append([each.body for each in fake.generations])
    assert [len(each) for each in bodies[0]] == [len(each) for each in bodies[1]]


async def test_between_compactions_each_request_begins_with_the_one_before() -> None:
    async with FakeAnthropic() as fake:
        fake.context_window = ContextWindow(WINDOW)
        fake.respond = investigates(20)
        sre = agent(served("anthropic", fake), context=ContextPolicy(window=WINDOW))
        _, events = await ran(sre)
        asked = [request for request in fake.generations if "tools" in request.json]
        bodies = [request.body.replace(MARK, b"") for request in asked]
    goes_on = [
        after.startswith(before[: before.rindex(b"}]")])
        for before, after in itertools.pairwise(bodies)
    ]
    assert goes_on.count(False) == len(of(events, ContextCompacted))
    assert goes_on.count(False) < 8


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_what_the_provider_counts_as_fitting_is_left_as_it_is(provider: str) -> None:
    said = Message("assistant", (Text("All is well. " * 1200),))
    memory = InMemory()
    await memory.append("s", [Message.user("and yesterday?"), said])
    policy = ContextPolicy(window=5000)
    assert estimate(ModelRequest(messages=(said,))) > policy.compact_at * 5000
    async with MODELS[provider][0]() as fake:
        fake.context_window = ContextWindow(5000, characters=5)
        fake.respond = investigates(0)
        sre = agent(served(provider, fake), context=policy, memory=memory)
        result, events = await ran(sre, session="s")
    assert result.status is RunStatus.COMPLETED
    assert not of(events, ContextCompacted)
    assert not of(events, Notice)
    assert len(fake.requests) - len(fake.generations) == 1


async def test_where_nobody_counts_the_estimate_holds() -> None:
    model = "anthropic:next-model"
    said = Message("assistant", (Text("All is well. " * 1200),))
    memory = InMemory()
    await memory.append("s", [Message.user("and yesterday?"), said])
    policy = ContextPolicy(window=5000)
    async with FakeAnthropic() as fake:
        fake.counting = Failure(529)
        fake.respond = investigates(0)
        sre = agent(resolve_model(model, base_url=fake.base_url, api_key="k"), context=policy)
        sre.memory = memory
        result, events = await ran(sre, session="s")
    assert result.status is RunStatus.COMPLETED
    assert any("% full" in each.text for each in of(events, Notice))


async def test_old_turns_are_summarised_by_the_named_model() -> None:
    async with FakeAnthropic() as fake, FakeOpenAI() as small:
        fake.context_window = ContextWindow(WINDOW)
        fake.respond = lambda _: Reply("A long thought. " * 300)
        small.reply(Reply("Pool of 5; restarted at 09:40.", usage=Spent(3000, 40)))
        summariser = resolve_model("openai:gpt-5-mini", base_url=small.base_url, api_key="k")
        policy = ContextPolicy(window=WINDOW, summary_model=summariser)
        sre = agent(served("anthropic", fake), context=policy)
        events: list[Event] = []
        for prompt in ["why is checkout slow?", *(f"and shard {n}?" for n in range(9))]:
            result, new = await ran(sre, prompt, session="s")
            assert result.status is RunStatus.COMPLETED
            events += new
            if of(new, ContextCompacted):
                break
    [compacted] = of(events, ContextCompacted)
    assert compacted.summary_model == "openai:gpt-5-mini"
    assert compacted.summarised > 0
    assert compacted.usage == Usage(3000, 40)
    assert result.usage_by_model["openai:gpt-5-mini"] == Usage(3000, 40)
    assert "summarised by openai:gpt-5-mini" in in_a_line(compacted)
    sent = fake.generations[-1].json["messages"]
    text = str(sent)
    assert "why is checkout slow?" in str(sent[0])
    assert "as openai:gpt-5-mini has summarised it" in text
    assert "Pool of 5; restarted at 09:40." in text
    assert prompt in text
    assert b"why is checkout slow?" in small.requests[0].body
    assert all("summarised" not in message.text for message in result.messages)


async def test_a_summary_that_fails_is_told_and_costs_nothing_else() -> None:
    async with FakeAnthropic() as fake, FakeOpenAI() as small:
        fake.respond = lambda _: Reply("A long thought. " * 300)
        small.respond = lambda _: Failure(401)
        summariser = resolve_model("openai:gpt-5-mini", base_url=small.base_url, api_key="k")
        policy = ContextPolicy(window=4000, summary_model=summariser)
        sre = agent(served("anthropic", fake), context=policy, retry=ONCE)
        for n in range(5):
            result, events = await ran(sre, f"why? {n}", session="s")
            assert result.status is RunStatus.COMPLETED
    assert [each.text for each in of(events, Notice) if "summarising failed" in each.text]


async def test_the_next_model_is_asked_where_compaction_does_not_help() -> None:
    async with FakeAnthropic() as first, FakeOpenAI() as second:
        first.context_window = ContextWindow(200)
        first.respond = investigates(3)
        second.reply("The pool is full.")
        sre = agent(
            served("anthropic", first),
            fallback=[served("openai", second)],
            context=ContextPolicy(summary_model=False),
        )
        result, events = await ran(sre)
    assert (result.status, result.text) == (RunStatus.COMPLETED, "The pool is full.")
    # Sent once more, cut as far as it can be, and then given up.
    assert len(first.requests) == 3
    assert [
        type(each) for each in events if isinstance(each, ContextCompacted | ModelFellBack)
    ] == [
        ContextCompacted,
        ModelFellBack,
    ]
    assert len(str(second.requests[0].json["input"])) > 3500


async def test_what_cannot_be_compacted_is_one_clear_error() -> None:
    async with FakeAnthropic() as fake:
        fake.context_window = ContextWindow(100)
        result, events = await ran(agent(served("anthropic", fake)))
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, ContextTooLong)
    assert not of(events, ContextCompacted)
    assert len(fake.generations) == 1


async def test_a_refusal_inside_a_stream_is_superseded() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(
            Reply("Reading.", Call("read_log", {"part": 1})),
            Reply(
                "Half an answer",
                error=StreamError(
                    "invalid_request_error",
                    "Your input exceeds the context window of this model.",
                    code="context_length_exceeded",
                    after=6,
                ),
            ),
            "The pool is full.",
        )
        result, events = await ran(agent(served("openai", fake)))
    assert result.text == "The pool is full."
    kinds = [type(each) for each in events]
    assert kinds.index(ContextCompacted) < kinds.index(ResponseSuperseded)


async def test_a_response_cut_at_the_full_window_is_asked_for_again() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(
            Reply("Reading.", Call("read_log", {"part": 1})),
            Reply("The po", stop="context", usage=Spent(1990, 10)),
            "The pool is full.",
        )
        result, events = await ran(agent(served("anthropic", fake)))
    assert result.text == "The pool is full."
    [again] = of(events, RetryScheduled)
    assert again.usage == Usage(1990, 10)
    assert result.usage.input_tokens == 25 + 1990 + 25


async def test_ollamas_small_window_is_kept() -> None:
    async with FakeOpenAI() as fake:
        fake.context_window = ContextWindow(8192, 3.5)
        fake.respond = investigates(6)
        model = resolve_model("ollama:qwen3", base_url=fake.base_url)
        result, events = await ran(agent(model))
        sizes = [fake.context_window.count(each.json) for each in fake.generations]
    assert result.status is RunStatus.COMPLETED
    assert of(events, ContextCompacted)
    assert max(sizes) < 4096


async def test_a_window_that_was_assumed_too_small_is_not_kept() -> None:
    async with FakeOpenAI() as fake:
        fake.context_window = ContextWindow(32_768)
        fake.respond = investigates(2)
        model = resolve_model("ollama:qwen3", base_url=fake.base_url)
        result, events = await ran(agent(model), "x" * 20_000)
        [told] = [each.text for each in of(events, Notice) if "do not fit" in each.text]
    assert "OLLAMA_CONTEXT_LENGTH" in told
    assert result.status is RunStatus.COMPLETED
    assert not of(events, ContextCompacted)


def test_a_summariser_of_no_known_provider_is_refused_at_once() -> None:
    sre = Agent(model="script:x.yaml", context=ContextPolicy(summary_model="nope:x"))
    error = sre.run_sync("why?").error
    assert error is not None
    assert "unknown model 'nope:x'" in error.message


async def test_the_next_prompt_of_a_conversation_goes_on_from_what_was_left_out() -> None:
    async with FakeAnthropic() as fake:
        fake.respond = lambda request: Reply(
            "Read." if b"You summarise" in request.body else "A long thought. " * 100
        )
        fake.context_window = ContextWindow(WINDOW)
        sre = agent(served("anthropic", fake), context=ContextPolicy(window=WINDOW))
        compactions = 0
        for n in range(30):
            result, events = await ran(sre, f"why is shard {n} slow?", session="s")
            assert result.status is RunStatus.COMPLETED
            compactions += len(of(events, ContextCompacted))
    assert len(result.messages) == 60
    # One summary is asked for by each, and by nothing else.
    assert 1 <= compactions <= 5
    assert len(fake.generations) == 30 + compactions


async def test_a_cost_limit_counts_the_summary_before_it_is_asked_for() -> None:
    from aof_nb.models.prices import price

    async with FakeAnthropic() as fake:
        fake.respond = lambda _: Reply("A long thought. " * 300, usage=Spent(3000, 1200))
        model = resolve_model("anthropic:claude-sonnet-5", base_url=fake.base_url, api_key="k")
        sre = agent(model, context=ContextPolicy(window=4000))
        history = [await ran(sre, "why?", session="s") for _ in range(3)]
        # Enough for a request, and not for a summary besides.
        one = price(model.name, Usage(4500, 8192))
        assert one is not None
        before = len(fake.generations)
        result, _ = await ran(sre, "why?", session="s", limits=Limits(max_cost=1.5 * one))
    assert [each.status for each, _ in history] == [RunStatus.COMPLETED] * 3
    assert (result.status, result.limit) == (RunStatus.LIMIT, "cost")
    assert len(fake.generations) == before


def test_it_is_shown_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    event = ContextCompacted("anthropic:m", 182_000, 71_000, 200_000, ("shell", "http"))
    TextWriter().event(event)
    ConsoleRenderer().event(event)
    shown = capsys.readouterr()
    line = (
        "anthropic:m: conversation shortened from about 182,000 to 71,000 tokens "
        "(2 old tool outputs left out)\n"
    )
    assert (shown.out, shown.err) == (line, line)
