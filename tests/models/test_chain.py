"""Where one model cannot answer the next does, down to a playbook."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from aof_nb import Agent, RunStatus, tool
from aof_nb.errors import (
    AllModelsFailed,
    AuthenticationFailed,
    BrokenStream,
    MissingCredential,
    ModelError,
    Overloaded,
    ServerError,
)
from aof_nb.events import (
    Event,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    ResponseSuperseded,
    RetryScheduled,
    TextDelta,
    in_a_line,
)
from aof_nb.messages import Message
from aof_nb.models.breaker import BreakerState
from aof_nb.models.chain import resilient
from aof_nb.models.resilience import RetryPolicy, breakers
from aof_nb.ports import Model, ModelRequest
from tests import virtual_time
from tests.fakes.providers import FakeAnthropic, FakeOpenAI
from tests.fakes.reply import Failure, Reply, ToolCall, Wire
from tests.models.test_providers import served
from tests.models.unreliable import Unreliable, breaks_after

REQUEST = ModelRequest(messages=(Message.user("why?"),))
ONCE = RetryPolicy(attempts=1)


async def collect(model: Model) -> list[ModelEvent]:
    return [event async for event in model.stream(REQUEST)]


def kinds(events: Sequence[object]) -> list[type]:
    return [type(event) for event in events]


def asked(*models: Unreliable) -> list[ModelEvent]:
    return virtual_time.run(collect(resilient(models, ONCE)))


def test_the_next_answers_and_it_is_told() -> None:
    events = asked(Unreliable("anthropic:m", Overloaded("busy")), Unreliable("openai:m", "ok"))
    assert kinds(events) == [ModelFellBack, TextDelta, ModelResponse]
    fell, response = events[0], events[-1]
    assert isinstance(fell, ModelFellBack)
    assert in_a_line(fell) == "anthropic:m: overloaded; asking openai:m"
    assert isinstance(response, ModelResponse)
    assert response.model == "openai:m"


def test_shown_text_is_superseded_before_another_answers() -> None:
    events = asked(Unreliable("anthropic:m", breaks_after("It")), Unreliable("openai:m", "ok"))
    assert kinds(events) == [TextDelta, ResponseSuperseded, ModelFellBack, TextDelta, ModelResponse]


def test_a_provider_that_ran_a_tool_is_not_replaced() -> None:
    first = Unreliable("anthropic:m", breaks_after("I searched", ran_a_tool=True))
    second = Unreliable("openai:m", "ok")
    with pytest.raises(BrokenStream):
        asked(first, second)
    assert second.times == []


def test_all_failures_are_named() -> None:
    first = Unreliable("anthropic:m", Overloaded("anthropic: busy", remedy="wait"))
    second = Unreliable("openai:m", AuthenticationFailed("openai: no", remedy="check the key"))
    with pytest.raises(AllModelsFailed) as caught:
        asked(first, second)
    assert caught.value.message == (
        "none of 2 models answered: anthropic:m: anthropic: busy; openai:m: openai: no"
    )
    assert caught.value.remedy == "wait; check the key"


def test_a_model_that_cannot_answer_is_asked_once_a_run() -> None:
    async def two_turns() -> list[type]:
        chain = resilient([first, second], ONCE)
        await collect(chain)
        return kinds(await collect(chain))

    first = Unreliable("anthropic:m", AuthenticationFailed("wrong key"))
    second = Unreliable("openai:m", "ok")
    assert virtual_time.run(two_turns()) == [TextDelta, ModelResponse]
    assert (len(first.times), len(second.times)) == (1, 2)


def test_an_hour_of_outage() -> None:
    """The breaker opens, the fallback answers at once, and the recovery is noticed."""
    began, ended, length = 600.0, 4200.0, 5400.0

    def main() -> ModelError | str:
        down = began <= asyncio.get_running_loop().time() < ended
        return ServerError("anthropic: internal error") if down else "from main"

    first = Unreliable("anthropic:m", main, seconds=1.0)
    second = Unreliable("ollama:m", "from fallback", seconds=2.0)
    answers: list[tuple[float, float, list[ModelEvent]]] = []

    async def runs() -> None:
        loop = asyncio.get_running_loop()
        while (start := loop.time()) < length:
            events = await collect(resilient([first, second]))
            answers.append((start, loop.time() - start, events))
            await asyncio.sleep(10)

    virtual_time.run(runs())
    assert all(isinstance(events[-1], ModelResponse) for _, _, events in answers)
    by_model = Counter(
        (began < start < ended, events[-1].model)  # type: ignore[union-attr]
        for start, _, events in answers
    )
    assert by_model[(True, "anthropic:m")] == 0
    during = [each for each in answers if began < each[0] < ended]
    # The first run waits out its retries; then one run in three is the one that probes.
    assert max(took for _, took, _ in during[1:]) < 10
    assert sum(1 for _, took, _ in during if took <= 2) > len(during) / 2
    asked_while_down = [at for at in first.times if began <= at < ended]
    assert len(asked_while_down) < 3600 / 30 + 10
    back = next(start for start, _, events in answers if start >= ended and is_from(events, first))
    assert back - ended < 45
    after = [each for each in answers if each[0] > back]
    assert all(is_from(events, first) for _, _, events in after)
    assert breakers.of("anthropic:m").state is BreakerState.CLOSED
    assert any(isinstance(event, RetryScheduled) for event in during[0][2])
    assert all(isinstance(events[-3], ModelFellBack) for _, _, events in during)


def is_from(events: Sequence[ModelEvent], model: Model) -> bool:
    last = events[-1]
    return isinstance(last, ModelResponse) and last.model == model.name


@tool(effect="read")
def look(place: str) -> str:
    """Looks at a place."""
    return f"nothing in {place}"


PLAYBOOK = """
kind: Playbook
steps:
  - {id: disk, call: {tool: look, arguments: {place: disk}}}
  - answer: "By the book: {{ results.disk.content }}"
"""


async def test_history_goes_along_through_providers_and_down_to_a_playbook(tmp_path: Path) -> None:
    (tmp_path / "triage.yaml").write_text(PLAYBOOK)
    async with FakeAnthropic() as first, FakeOpenAI() as second:
        first.reply(Reply("I look.", ToolCall("look", {"place": "log"})), *[Failure(529)] * 3)
        second.reply(
            Reply("I look on.", ToolCall("look", {"place": "queue"})), Failure(401), Failure(401)
        )
        agent = Agent(
            name="sre",
            model=served("anthropic", first),
            fallback=[served("openai-chat", second), f"script:{tmp_path / 'triage.yaml'}"],
            tools=[look],
            retry=ONCE,
        )
        run = agent.stream("why?")
        events: list[Event] = [event async for event in run]
    result = run.result
    assert result.status is RunStatus.COMPLETED
    assert result.text == "By the book: nothing in disk"
    answered = [each.model for each in result.messages if each.role == "assistant"]
    assert [str(each).partition(":")[0] for each in answered] == [
        "anthropic",
        "openai-chat",
        "script",
        "script",
    ]
    assert [str(each).partition(":")[0] for each in result.models] == [
        "anthropic",
        "openai-chat",
        "script",
    ]
    fell = [in_a_line(event) for event in events if isinstance(event, ModelFellBack)]
    assert len(fell) >= 3
    assert "triage.yaml (scripted)" in fell[-1]


async def test_a_missing_key_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    agent = Agent(model="anthropic:claude-sonnet-5", fallback=[Unreliable("openai:m", "ok")])
    run = agent.stream("why?")
    events = [event async for event in run]
    assert run.result.text == "ok"
    [fell] = [event for event in events if isinstance(event, ModelFellBack)]
    assert "ANTHROPIC_API_KEY" in fell.reason
    alone = await Agent(model="anthropic:claude-sonnet-5").run("why?")
    assert isinstance(alone.error, MissingCredential)


async def test_a_model_named_for_the_run_has_no_fallback() -> None:
    agent = Agent(model="openai:gpt-5", fallback=[Unreliable("openai:m", "ok")], retry=ONCE)
    result = await agent.run("why?", model=Unreliable("anthropic:m", Overloaded("busy")))
    assert isinstance(result.error, Overloaded)


async def test_side_effects_happen_once_when_streams_break() -> None:
    done: list[str] = []

    @tool(effect="read")
    def restart(service: str) -> str:
        """Restarts a service."""
        done.append(service)
        return "restarted"

    asking = Reply("Restarting.", ToolCall("restart", {"service": "web"}))
    async with FakeAnthropic() as fake:
        for cut in (400, 900, 1300):
            broken = Reply("Restarting.", ToolCall("restart", {"service": "web"}))
            broken.wire = Wire(cut_at=cut)
            fake.reply(broken)
        fake.reply(asking, Reply("Done, all is well.", wire=Wire(cut_at=700)), "Done.")
        retry = RetryPolicy(attempts=5, first_delay=0.01)
        agent = Agent(model=served("anthropic", fake), tools=[restart], retry=retry)
        run = agent.stream("restart web")
        events = [event async for event in run]
    assert run.result.status is RunStatus.COMPLETED
    assert run.result.text == "Done."
    assert done == ["web"]
    assert sum(isinstance(event, RetryScheduled) for event in events) == 4
