"""A ping is one request, on the way that runs take."""

from __future__ import annotations

import asyncio

import pytest

from aof_nb.errors import BrokenStream, CircuitOpen, Overloaded
from aof_nb.messages import Usage
from aof_nb.models import limiter, resilience
from aof_nb.models.limiter import limiter_of
from aof_nb.models.ping import ping
from tests.models.unreliable import Unreliable
from tests.notebook.fakes import Says


@pytest.fixture(autouse=True)
def state(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    limiter.reset()
    resilience.reset()


async def test_a_ping_tells_what_came_and_how_long_it_took() -> None:
    pong = await ping(Says(["o", "k"]))
    assert pong.text == "ok"
    assert 0 < pong.first <= pong.seconds
    assert pong.usage == Usage(input_tokens=1200, output_tokens=34)
    assert pong.cost is None


async def test_a_model_that_fails_is_asked_once_and_its_breaker_knows() -> None:
    model = Unreliable("anthropic:m", Overloaded("busy"))
    for _ in range(5):
        with pytest.raises(Overloaded):
            await ping(model)
    with pytest.raises(CircuitOpen):
        await ping(model)


async def test_a_ping_waits_for_its_turn_as_runs_do() -> None:
    limiter.rate_limit("says (scripted)", concurrency=1)
    held = limiter_of("says (scripted)")
    await held.enter()
    pinging = asyncio.ensure_future(ping(Says(["ok"])))
    async with asyncio.timeout(10):
        while not held.waiting:
            await asyncio.sleep(0.01)
    assert not pinging.done()
    held.leave()
    assert (await pinging).text == "ok"
    assert held.state("says").under_way == 0


async def test_a_model_that_says_nothing_is_an_error() -> None:
    class Silent:
        name = "silent:m"

        async def stream(self, request: object):
            return
            yield

    with pytest.raises(BrokenStream):
        await ping(Silent())
