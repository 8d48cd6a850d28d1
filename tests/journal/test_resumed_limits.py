"""What a run has used counts on when it is resumed: once, for whom was asked, and within limits."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import aof_nb.spending
from aof_nb import Agent, Limits, Replay, RunStatus, Sampling
from aof_nb.errors import Overloaded
from aof_nb.events import LimitReached, ModelEvent, ModelFellBack, ModelResponse, RetryScheduled
from aof_nb.journal.entries import ModelRequested, ModelResponded, RunContext, RunEnded
from aof_nb.journal.recording import State
from aof_nb.journal.runs import read_run
from aof_nb.messages import Message, ToolCall, Usage
from aof_nb.models.prices import price
from aof_nb.models.resilience import RetryPolicy
from aof_nb.ports import ModelRequest
from aof_nb.spending import VARIABLE
from aof_nb.structured_output import expected
from tests.journal.test_replay import Nobody, Turns, events_of
from tests.journal.test_resume import RESTART, Restart, cut

SONNET, HAIKU = "anthropic:claude-sonnet-4-5", "anthropic:claude-haiku-4-5"
USAGE = Usage(10_000, 2_000)


class Priced(Turns):
    """A model with a price, whose requests take many tokens."""

    def __init__(self, *turns: Any, name: str = SONNET) -> None:
        super().__init__(*turns)
        self.name = name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            if isinstance(event, ModelResponse):
                yield ModelResponse(event.message, event.stop_reason, USAGE, model=self.name)
            else:
                yield event


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "100")
    return tmp_path


def on(day: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 11, day, 12, tzinfo=UTC)

    monkeypatch.setattr(aof_nb.spending, "datetime", Clock)


def ledger(state: Path) -> dict[str, float]:
    with sqlite3.connect(state / "costs.sqlite3") as database:
        rows = database.execute("SELECT day, sum(dollars) FROM spent GROUP BY day").fetchall()
    return {day: round(dollars, 6) for day, dollars in rows}


def cost(requests: int, model: str = SONNET) -> float:
    return round((price(model, USAGE) or 0.0) * requests, 6)


@pytest.mark.parametrize("later", [20, 21])
async def test_a_day_s_costs_have_each_request_once(
    later: int, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(20, monkeypatch)
    restart = Restart()
    waiting = await Agent(model=Priced((RESTART,)), tools=[restart]).run("mend it")
    assert waiting.status is RunStatus.WAITING
    assert ledger(state) == {"2026-11-20": cost(1)}
    on(later, monkeypatch)
    second = ToolCall("c2", "restart", {"service": "db"})
    agent = Agent(model=Priced((second,), ("done",)), tools=[restart])
    resumed = await agent.resume(waiting.run_id, approve="all")
    assert resumed.status is RunStatus.COMPLETED
    assert round(resumed.cost or 0, 6) == cost(3)
    spent = (
        {"2026-11-20": cost(3)} if later == 20 else {"2026-11-20": cost(1), "2026-11-21": cost(2)}
    )
    assert ledger(state) == spent
    # Those who repeat it pay nothing.
    await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=waiting.run_id)
    assert ledger(state) == spent


async def test_what_a_crash_left_reserved_stays_counted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(20, monkeypatch)
    restart = Restart()
    result = await Agent(model=Priced((RESTART,), ("done",)), tools=[restart]).run(
        "mend it", approve="all"
    )
    cut(result.run_id, lambda each: not (isinstance(each, ModelRequested) and each.turn == 2))
    with sqlite3.connect(state / "costs.sqlite3") as database:
        database.execute("UPDATE spent SET dollars = ?", (cost(1) + 5.0,))
    await Agent(model=Priced(("done",)), tools=[restart]).resume(result.run_id)
    assert ledger(state) == {"2026-11-20": round(cost(2) + 5.0, 6)}


async def test_an_interrupted_run_that_is_replayed_costs_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(20, monkeypatch)
    restart = Restart()
    result = await Agent(model=Priced((RESTART,), ("done",)), tools=[restart]).run(
        "mend it", approve="all"
    )
    cut(result.run_id, lambda each: not (isinstance(each, ModelRequested) and each.turn == 2))
    before = ledger(state)
    on(21, monkeypatch)
    await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=result.run_id)
    assert ledger(state) == before


async def test_a_run_s_own_limit_of_cost_has_all_it_has_spent() -> None:
    restart, sampling = Restart(), Sampling(max_tokens=2_000)
    agent = Agent(model=Priced((RESTART,)), tools=[restart], sampling=sampling)
    waiting = await agent.run("mend it", limits=Limits(max_cost=cost(1) * 1.5))
    assert waiting.status is RunStatus.WAITING
    model = Priced(("done",))
    agent = Agent(model=model, tools=[restart], sampling=sampling)
    resumed = await agent.resume(waiting.run_id, approve="all")
    assert (resumed.status, resumed.limit) == (RunStatus.LIMIT, "cost")
    assert model.asked == []


async def test_limits_of_turns_and_tokens_are_the_run_s() -> None:
    restart = Restart()
    calls = [ToolCall(f"c{n}", "restart", {"service": f"{n}"}) for n in range(4)]
    agent = Agent(model=Turns(*[(each,) for each in calls]), tools=[restart])
    for limits, told in (
        (Limits(max_turns=3), "turns"),
        (Limits(max_tokens=25), "tokens"),
        (Limits(max_tool_calls=2), "tool_calls"),
    ):
        agent.model = Turns(*[(each,) for each in calls])
        whole = await agent.run("go", limits=limits, approve="all")
        assert (whole.status, whole.limit) == (RunStatus.LIMIT, told)
        for turns in range(1, whole.turns + 1):
            agent.model = Turns(*[(each,) for each in calls])
            again = await agent.run("go", limits=limits, approve="all")
            cut(again.run_id, lambda each, last=turns: _turn(each) <= last)
            left = Agent(model=Turns(*[(each,) for each in calls[turns:]]), tools=[restart])
            resumed = await left.resume(again.run_id)
            assert (resumed.status, resumed.limit) == (RunStatus.LIMIT, told), turns
            assert (resumed.turns, resumed.usage) == (whole.turns, whole.usage)
            assert resumed.messages == whole.messages


def _turn(entry: Any) -> int:
    if isinstance(entry, RunEnded):
        return 1000
    return entry.turn if isinstance(entry, ModelRequested) else 0


async def test_a_limit_may_be_raised_when_it_goes_on() -> None:
    restart = Restart()
    result = await Agent(model=Turns((RESTART,), ("done",)), tools=[restart]).run(
        "go", limits=Limits(max_turns=2), approve="all"
    )
    cut(result.run_id, lambda each: not (isinstance(each, ModelRequested) and each.turn == 2))
    model = Turns((ToolCall("c2", "restart", {"service": "db"}),), ("done",))
    resumed = Agent(model=model, tools=[restart]).resumed(result.run_id, limits=Limits(max_turns=5))
    events = await events_of(resumed)
    assert [each for each in events if isinstance(each, LimitReached)] == []
    assert (resumed.result.status, restart.calls) == (RunStatus.COMPLETED, ["web", "db"])


async def test_tokens_are_counted_for_the_model_that_was_asked() -> None:
    restart = Restart()
    waiting = await Agent(model=Priced((RESTART,)), tools=[restart]).run("mend it")
    agent = Agent(model=Nobody(), tools=[restart])
    resumed = await agent.resume(waiting.run_id, approve="all", model=Priced(("done",), name=HAIKU))
    expected_usage = {SONNET: USAGE, HAIKU: USAGE}
    assert resumed.usage_by_model == expected_usage
    assert read_run(waiting.run_id).usage_by_model == expected_usage
    replayed = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=waiting.run_id)
    assert replayed.usage_by_model == expected_usage


async def test_what_was_asked_for_in_vain_is_in_the_journal_s_sum() -> None:
    error = Overloaded("no room")
    error.partial_usage = Usage(50, 1)
    events = [
        RetryScheduled(SONNET, "overloaded", 0.0, 1, 2, Usage(10, 0)),
        ModelFellBack(SONNET, HAIKU, "overloaded", Usage(20, 0)),
    ]
    restart = Restart()
    failing = Agent(
        model=Priced((RESTART,), (*events, error)), tools=[restart], retry=RetryPolicy(attempts=1)
    )
    failed = await failing.run("mend it", approve="all")
    assert failed.usage_by_model == {SONNET: USAGE + Usage(30, 0), HAIKU: Usage(50, 1)}
    assert read_run(failed.run_id).usage_by_model == failed.usage_by_model
    cut(failed.run_id, lambda each: not isinstance(each, RunEnded))
    assert read_run(failed.run_id).state is State.INTERRUPTED
    assert read_run(failed.run_id).usage_by_model == failed.usage_by_model
    await Agent(model=Priced(("done",)), tools=[restart]).resume(failed.run_id)
    assert read_run(failed.run_id).usage_by_model == {
        SONNET: USAGE + USAGE + Usage(30, 0),
        HAIKU: Usage(50, 1),
    }


class Finding(BaseModel):
    service: str
    restarts: int


async def test_an_answer_of_a_type_is_wanted_as_before() -> None:
    wrong, right = '{"service": "web"}', '{"service": "web", "restarts": 2}'
    for declared, data in ((Finding, {"service": "web", "restarts": 2}), (list[int], [1, 2])):
        answers = (wrong, right) if declared is Finding else ("none", "[1, 2]")
        agent = Agent(model=Turns((answers[0],), (answers[1],)))
        whole = await agent.run("which?", output_schema=declared)
        assert whole.data == data
        cut(whole.run_id, lambda each: not (isinstance(each, ModelRequested) and each.turn == 2))
        resumed = await Agent(model=Turns((answers[1],))).resume(whole.run_id)
        assert (resumed.status, resumed.data) == (RunStatus.COMPLETED, data)
        contexts = list(read_run(whole.run_id).of(RunContext))
        assert len({each.digest for each in contexts}) == 1


async def test_an_agent_s_own_type_is_kept_and_text_stays_text() -> None:
    own = Agent(model=Turns(("none",)), output_schema=Finding)
    asked = await own.run("which?", output_schema=str)
    cut(asked.run_id, lambda each: not isinstance(each, ModelResponded))
    again = Agent(model=Turns(("web",)), output_schema=Finding)
    assert (await again.resume(asked.run_id)).output == "web"
    typed = await Agent(
        model=Turns(('{"service": "web", "restarts": 1}',)), output_schema=Finding
    ).run("?")
    cut(typed.run_id, lambda each: not isinstance(each, ModelResponded))
    model = Turns(('{"service": "web", "restarts": 3}',))
    resumed = await Agent(model=model, output_schema=Finding).resume(typed.run_id)
    assert resumed.output == Finding(service="web", restarts=3)
    wanted = expected(Finding)
    assert wanted is not None
    assert model.asked[0].messages[0] == Message.user("?")


async def test_a_replay_that_goes_on_with_another_model_pays_for_that() -> None:
    restart = Restart()
    result = await Agent(model=Priced((RESTART,), ("done",)), tools=[restart]).run(
        "mend it", approve="all"
    )
    other = Priced(("indeed",), name=HAIKU)
    cut(result.run_id, lambda each: not (isinstance(each, ModelRequested) and each.turn == 2))
    replayed = await Agent(model=Nobody(), tools=[restart]).run(
        "mend it", replay=Replay(result.run_id, otherwise=other)
    )
    assert replayed.text == "indeed"
    assert replayed.usage_by_model == {SONNET: USAGE, HAIKU: USAGE}
