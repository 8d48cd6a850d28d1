"""Failures that pass are waited out, within a budget, and nothing is said twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from aof_nb.errors import (
    AuthenticationFailed,
    BrokenStream,
    CircuitOpen,
    ConfigurationError,
    Overloaded,
    RateLimited,
    ServerError,
)
from aof_nb.events import (
    ModelEvent,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    TextDelta,
)
from aof_nb.messages import Message
from aof_nb.models.limiter import limiter_of, rate_limit
from aof_nb.models.resilience import ResilientModel, RetryPolicy, breakers
from aof_nb.ports import Model, ModelRequest
from tests import virtual_time
from tests.models.unreliable import Unreliable, breaks_after

REQUEST = ModelRequest(messages=(Message.user("why?"),))


async def collect(model: Model) -> list[ModelEvent]:
    return [event async for event in model.stream(REQUEST)]


def kinds(events: Sequence[object]) -> list[type]:
    return [type(event) for event in events]


def asked(model: Unreliable, **policy: Any) -> list[ModelEvent]:
    return virtual_time.run(collect(ResilientModel(model, retry=RetryPolicy(**policy))))


def test_a_passing_failure_is_waited_out_and_told() -> None:
    model = Unreliable("anthropic:m", Overloaded("busy"), ServerError("oops"), "It was DNS.")
    events = asked(model)
    assert kinds(events) == [RetryScheduled, RetryScheduled, TextDelta, ModelResponse]
    first, second = events[0], events[1]
    assert isinstance(first, RetryScheduled)
    assert isinstance(second, RetryScheduled)
    assert (first.reason, first.attempt, first.attempts) == ("overloaded", 1, 5)
    assert (second.reason, second.attempt) == ("failed on its side", 2)
    assert 0 <= first.delay <= 1
    assert 0 <= second.delay <= 2
    assert model.times[1] == pytest.approx(first.delay)
    assert model.times[2] == pytest.approx(first.delay + second.delay)


def test_the_waits_are_full_jitter_and_bounded() -> None:
    delays: dict[int, list[float]] = {}
    for number in range(60):
        model = Unreliable(f"anthropic:m{number}", *[RateLimited("slow down")] * 7, "ok")
        for event in asked(model, attempts=9, max_delay=8.0, budget=1000.0):
            if isinstance(event, RetryScheduled):
                delays.setdefault(event.attempt, []).append(event.delay)
    for attempt, most in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (7, 8)]:
        assert max(delays[attempt]) <= most
        assert max(delays[attempt]) > most * 0.7
        assert min(delays[attempt]) < most * 0.3


def test_attempts_are_counted() -> None:
    model = Unreliable("anthropic:m", RateLimited("slow down"))
    with pytest.raises(RateLimited):
        asked(model, attempts=3)
    assert len(model.times) == 3


def test_what_the_provider_asks_is_honoured() -> None:
    model = Unreliable("anthropic:m", RateLimited("slow down", retry_after=17), "ok")
    asked(model)
    assert 17 <= model.times[1] <= 17.2


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    model = Unreliable("anthropic:m", RateLimited("slow down", retry_after=600), "ok")

    async def timed() -> float:
        with pytest.raises(RateLimited):
            await collect(ResilientModel(model))
        return asyncio.get_running_loop().time()

    assert virtual_time.run(timed()) == 0
    assert len(model.times) == 1


def test_slow_failures_end_within_the_budget() -> None:
    model = Unreliable("anthropic:m", RateLimited("slow"), seconds=40.0)
    with pytest.raises(RateLimited):
        asked(model, attempts=50, budget=120.0)
    assert len(model.times) == 3


def test_what_will_not_pass_is_not_tried_again() -> None:
    model = Unreliable("anthropic:m", AuthenticationFailed("wrong key"))
    with pytest.raises(AuthenticationFailed):
        asked(model)
    assert len(model.times) == 1


def test_shown_text_is_superseded_and_not_doubled() -> None:
    model = Unreliable("anthropic:m", breaks_after("It was"), "It was DNS.")
    events = asked(model)
    assert kinds(events) == [
        TextDelta,
        ResponseSuperseded,
        RetryScheduled,
        TextDelta,
        ModelResponse,
    ]
    last = events[-1]
    assert isinstance(last, ModelResponse)
    assert last.message.text == "It was DNS."


def test_a_failure_before_any_text_supersedes_nothing() -> None:
    model = Unreliable("anthropic:m", BrokenStream("cut"), "ok")
    assert ResponseSuperseded not in kinds(asked(model))


def test_a_response_in_which_the_provider_ran_a_tool_is_not_asked_for_again() -> None:
    model = Unreliable("anthropic:m", breaks_after("I searched", ran_a_tool=True), "ok")
    with pytest.raises(BrokenStream):
        asked(model)
    assert len(model.times) == 1


def test_the_last_of_a_chain_waits_for_its_breaker() -> None:
    async def outage() -> tuple[float, list[type]]:
        model = Unreliable("anthropic:m", *[Overloaded("busy")] * 5, "ok")
        patient = ResilientModel(model)
        with pytest.raises(Overloaded):
            await collect(patient)
        with pytest.raises(CircuitOpen):
            await collect(ResilientModel(model, last=False))
        events = await collect(patient)
        return model.times[5] - model.times[4], kinds(events)

    gap, events = virtual_time.run(outage())
    assert 30 <= gap <= 31
    assert events == [RetryScheduled, TextDelta, ModelResponse]


def test_a_run_that_goes_away_leaves_nothing_behind() -> None:
    async def leave() -> None:
        rate_limit("anthropic", concurrency=1)
        model = Unreliable("anthropic:m", *[Overloaded("busy")] * 5, "ok", seconds=0.1)
        with pytest.raises(Overloaded):
            await collect(ResilientModel(model))
        await asyncio.sleep(30)
        stream = ResilientModel(model).stream(REQUEST)
        assert isinstance(await anext(stream), TextDelta)
        await stream.aclose()
        assert model.closed == 6
        for delay in (0.0, 0.05):
            task = asyncio.ensure_future(collect(ResilientModel(model)))
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert model.closed == len(model.times)
        # Neither the probe's place nor the one place under way is taken.
        assert kinds(await collect(ResilientModel(model)))[-1] is ModelResponse
        assert limiter_of("anthropic").waiting == 0

    virtual_time.run(leave())


def test_five_hundred_runs_at_sixty_a_minute_lose_none() -> None:
    async def crowd() -> tuple[list[float], list[list[ModelEvent]]]:
        rate_limit("openai", requests_per_minute=60)
        model = Unreliable("openai:m", "ok", seconds=2.0)
        answers = await asyncio.gather(*(collect(ResilientModel(model)) for _ in range(500)))
        return model.times, answers

    times, answers = virtual_time.run(crowd())
    assert [type(each[-1]) for each in answers] == [ModelResponse] * 500
    assert all(later - earlier > 59.9 for earlier, later in zip(times, times[60:], strict=False))
    assert times[-1] < 520
    told = [event for each in answers for event in each if isinstance(event, Notice)]
    assert any("waits 4" in notice.text for notice in told)


def test_a_rate_limit_holds_the_other_runs_too() -> None:
    async def crowd() -> list[float]:
        limited = RateLimited("slow down", retry_after=20)
        first = Unreliable("anthropic:m", limited, "ok")
        other = Unreliable("anthropic:other", "ok")
        waiting = asyncio.ensure_future(collect(ResilientModel(first)))
        await asyncio.sleep(1)
        await collect(ResilientModel(other))
        await waiting
        return other.times

    assert virtual_time.run(crowd()) == [pytest.approx(20)]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"budget": -1.0}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="no retry policy"):
        RetryPolicy(**wrong)


def test_breakers_are_shared_by_all_runs() -> None:
    model = Unreliable("anthropic:m", Overloaded("busy"))
    with pytest.raises(Overloaded):
        asked(model)
    assert [each.model for each in breakers.open()] == ["anthropic:m"]
