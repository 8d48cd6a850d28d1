"""What is too much waits its turn, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError
from aof_nb.models.limiter import (
    Limiter,
    RateLimit,
    limiter_of,
    limiter_states,
    parse_limit,
    rate_limit,
    reset,
)
from tests import virtual_time


async def request(limiter: Limiter, tokens: int = 0) -> float:
    turn = limiter.take_turn(tokens)
    while (delay := turn.delay) > 0:
        await asyncio.sleep(delay)
    return asyncio.get_running_loop().time()


@given(st.integers(1, 400), st.integers(1, 300))
@settings(deadline=None)
def test_no_minute_sees_more_than_its_share(per_minute: int, requests: int) -> None:
    async def all_at_once() -> list[float]:
        limiter = Limiter(RateLimit(requests_per_minute=per_minute))
        return await asyncio.gather(*(request(limiter) for _ in range(requests)))

    times = sorted(virtual_time.run(all_at_once()))
    assert len(times) == requests
    for place, start in enumerate(times):
        within = sum(1 for each in times[place:] if each < start + 60 - 1e-6)
        assert within <= per_minute
    # Nor is it much slower than it may be.
    assert times[-1] <= requests / max(1, per_minute - max(1, per_minute // 60)) * 60


def test_tokens_count_as_they_were_really_used() -> None:
    async def three() -> list[float]:
        limiter = Limiter(RateLimit(tokens_per_minute=6000))
        turn = limiter.take_turn(100)
        turn.used(3100)
        return [await request(limiter, 100), await request(limiter, 100)]

    first, second = virtual_time.run(three())
    assert 29 < first < 32
    assert 0.9 < second - first < 1.2


def test_a_pause_holds_all_that_wait_and_keeps_their_distance() -> None:
    async def paused() -> list[float]:
        limiter = Limiter(RateLimit(requests_per_minute=60))
        waiting = [asyncio.ensure_future(request(limiter)) for _ in range(5)]
        await asyncio.sleep(1.5)
        limiter.pause(30)
        return sorted(await asyncio.gather(*waiting))

    times = virtual_time.run(paused())
    assert [time < 1.5 for time in times] == [True, True, False, False, False]
    assert times[2] >= 31.5
    assert times[3] - times[2] > 0.9


def test_so_many_at_once_and_no_place_is_lost_to_a_cancellation() -> None:
    async def crowd() -> tuple[int, int]:
        limiter = Limiter(RateLimit(concurrency=3))
        under_way = most = done = 0

        async def one() -> None:
            nonlocal under_way, most, done
            await limiter.enter()
            try:
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(1)
                done += 1
            finally:
                under_way -= 1
                limiter.leave()

        tasks = [asyncio.ensure_future(one()) for _ in range(60)]
        for place in range(0, 60, 2):
            await asyncio.sleep(0.13)
            tasks[place].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.waiting == 0
        await asyncio.gather(*(one() for _ in range(3)))
        return most, done

    most, done = virtual_time.run(crowd())
    assert most == 3
    assert done >= 33


async def test_it_is_shared_by_event_loops() -> None:
    limiter = Limiter(RateLimit(concurrency=1))
    await limiter.enter()
    entered = threading.Event()

    def elsewhere() -> None:
        async def enter() -> None:
            await limiter.enter()
            entered.set()
            limiter.leave()

        asyncio.run(enter())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    while not limiter.waiting:
        await asyncio.sleep(0.01)
    assert not entered.is_set()
    limiter.leave()
    await asyncio.to_thread(thread.join, 10)
    assert entered.is_set()
    await limiter.enter()


def test_limits_come_from_the_environment_and_from_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_RATE_LIMIT_OPENAI_CHAT", "requests_per_minute=60, concurrency=8")
    assert limiter_of("openai-chat").limit == RateLimit(requests_per_minute=60, concurrency=8)
    assert limiter_of("openai-chat") is limiter_of("openai-chat")
    assert limiter_of("anthropic").limit == RateLimit()
    rate_limit("anthropic", tokens_per_minute=1000)
    assert limiter_of("anthropic").limit.tokens_per_minute == 1000


@pytest.mark.parametrize("text", ["60", "rpm=60", "concurrency=many", "concurrency=-1"])
def test_a_limit_that_cannot_be_read_names_the_place(text: str) -> None:
    with pytest.raises(ConfigurationError, match="AOF_RATE_LIMIT_X") as caught:
        parse_limit(text, "AOF_RATE_LIMIT_X")
    assert "requests_per_minute=60" in caught.value.remedy


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="requests_per_minute is 0"):
        rate_limit("anthropic", requests_per_minute=0)


async def test_how_limiters_stand_is_told_without_taking_a_place() -> None:
    reset()
    rate_limit("somebody", requests_per_minute=60, concurrency=2)
    limiter = limiter_of("somebody")
    await limiter.enter()
    [idle] = limiter_states()
    assert (idle.under_way, idle.waiting, idle.next_in) == (1, 0, 0.0)
    limiter.take_turn()
    [state] = limiter_states()
    assert 0.5 < state.next_in <= 1.1
    assert limiter_states()[0].next_in <= state.next_in
    reset()
    assert limiter_states() == []
