"""What is particular among faults: limits whose end is told, nobody there, a server that hangs up.

The others are in `tests.models.faults`, for every provider.
"""

from __future__ import annotations

import asyncio

import pytest

from aof_nb import Agent, RetryPolicy, resolve_model
from aof_nb.errors import ConnectionFailed, RateLimited
from tests.fakes import Failure
from tests.models.test_providers import PROVIDERS, every_provider, served


@every_provider
async def test_reset_times_of_a_used_up_limit_are_waited_for_or_the_wait_refused(
    provider: str,
) -> None:
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(Failure(429))
        agent = Agent(model=served(provider, fake), retry=RetryPolicy(budget=5.0))
        result = await agent.run("restart web")
    assert isinstance(result.error, RateLimited)
    assert result.error.retry_after is not None
    assert 5 < result.error.retry_after < 120


@every_provider
@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
async def test_nobody_there(provider: str, address: str) -> None:
    model = resolve_model(PROVIDERS[provider][1], base_url=address, api_key="k")
    result = await Agent(model=model, retry=RetryPolicy(attempts=2, first_delay=0.01)).run("x")
    assert isinstance(result.error, ConnectionFailed)
    assert address in result.error.message
    assert result.error.remedy


@every_provider
async def test_a_server_that_hangs_up_before_it_says_anything(provider: str) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        writer.close()

    accepted: list[int] = []
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = resolve_model(PROVIDERS[provider][1], base_url=address, api_key="k")
        retry = RetryPolicy(attempts=3, first_delay=0.01)
        result = await Agent(model=model, retry=retry).run("x")
    assert isinstance(result.error, ConnectionFailed)
    assert len(accepted) >= 3
