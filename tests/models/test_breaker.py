"""A model that keeps failing is left alone, and tried again by one request."""

from __future__ import annotations

import pytest

from aof_nb.errors import CircuitOpen
from aof_nb.models.breaker import Breaker, Breakers, BreakerState


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock) -> Breaker:
    breaker = Breaker("openai:gpt-5", failures=3, cooldown=30, clock=clock)
    for _ in range(3):
        breaker.admit().failed("overloaded")
    return breaker


def test_it_opens_after_failures_in_a_row_only(clock: Clock) -> None:
    breaker = Breaker("openai:gpt-5", failures=3, clock=clock)
    for _ in range(5):
        breaker.admit().failed("overloaded")
        breaker.admit().failed("overloaded")
        breaker.admit().succeeded()
    assert breaker.state is BreakerState.CLOSED
    opened_ = opened(clock)
    assert opened_.state is BreakerState.OPEN
    with pytest.raises(CircuitOpen, match=r"openai:gpt-5 .*overloaded.* 30 s") as caught:
        opened_.admit()
    assert (caught.value.retry_after, caught.value.provider) == (30, "openai")


def test_one_request_probes_and_its_outcome_decides(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    assert breaker.state is BreakerState.HALF_OPEN
    probe = breaker.admit()
    with pytest.raises(CircuitOpen):
        breaker.admit()
    probe.failed("still overloaded")
    assert breaker.state is BreakerState.OPEN
    assert breaker.wait == 30
    clock.now += 31
    breaker.admit().succeeded()
    assert breaker.state is BreakerState.CLOSED
    for _ in range(2):
        breaker.admit().failed("overloaded")
    breaker.admit()


def test_a_probe_that_nobody_waited_for_makes_room(clock: Clock) -> None:
    breaker = opened(clock)
    clock.now += 30
    breaker.admit().withdraw()
    breaker.admit().succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_what_was_under_way_when_it_opened_does_not_keep_it_open(clock: Clock) -> None:
    breaker = Breaker("openai:gpt-5", failures=2, cooldown=30, clock=clock)
    late = breaker.admit()
    for _ in range(2):
        breaker.admit().failed("overloaded")
    clock.now += 29
    late.failed("overloaded")
    assert breaker.wait == 1
    late.succeeded()
    assert breaker.state is BreakerState.OPEN


def test_changes_are_told(clock: Clock) -> None:
    told: list[tuple[str, str]] = []
    every = Breakers(
        failures=1,
        cooldown=5,
        clock=clock,
        on_change=lambda breaker: told.append((breaker.model, breaker.state)),
    )
    every.of("a:b").admit().failed("down")
    assert [each.model for each in every.open()] == ["a:b"]
    every.of("c:d").admit().succeeded()
    clock.now += 5
    every.of("a:b").admit().succeeded()
    assert told == [("a:b", "open"), ("a:b", "closed")]
    assert every.open() == []
