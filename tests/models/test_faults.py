"""Every fault, at every provider, in each turn: a right answer, or one clear error in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from aof_nb import Agent, RetryPolicy, RunStatus, resolve_model, tool
from aof_nb.errors import ConnectionFailed, RateLimited
from aof_nb.events import Event, ResponseSuperseded, RetryScheduled, TextDelta
from tests.fakes import Failure, Raw, Reply, StreamError, Wire
from tests.fakes import ToolCall as Call
from tests.models.test_providers import PROVIDERS, every_provider, served

SOON = RetryPolicy(attempts=4, first_delay=0.02, budget=20.0)
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def proxy_page() -> Failure:
    return Failure(502, body=PAGE, content_type="text/html")


# A limit of which the headers do not say that it is used up.
UNTOLD = {
    name: "1"
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    for name in (f"anthropic-ratelimit-{kind}-remaining", f"x-ratelimit-remaining-{kind}")
}
OVERLOADED = StreamError("overloaded_error", code="server_is_overloaded", after=0)
FAULTS: dict[str, Callable[[], Any]] = {
    "rate limit": lambda: Failure(429, wire=Wire(headers=UNTOLD)),
    "rate limit with retry-after": lambda: Failure(429, retry_after=0.1),
    "unavailable": lambda: Failure(503),
    "overloaded": lambda: Failure(529),
    "server error": lambda: Failure(500),
    "a proxy's page": proxy_page,
    "overloaded at once, in the stream": lambda: Reply("Half an answer", error=OVERLOADED),
    "overloaded later, in the stream": lambda: Reply(
        "Half an answer",
        error=StreamError("overloaded_error", code="server_is_overloaded", after=5),
    ),
    "closed after the headers": lambda: Reply("x", wire=Wire(cut_at=0)),
    "reset after the headers": lambda: Reply("x", wire=Wire(cut_at=0, reset=True)),
    "closed in the middle": lambda: Reply("Half an answer " * 20, wire=Wire(cut_at=1500)),
    "reset in the middle": lambda: Reply(
        "Half an answer " * 20, wire=Wire(cut_at=1500, reset=True)
    ),
    "stall before the first byte": lambda: Reply("x", wire=Wire(stall_at=0)),
    "stall in the middle": lambda: Reply("Half an answer " * 20, wire=Wire(stall_at=1500)),
    "truncated JSON": lambda: Raw(b'data: {"type": "mess\n\n'),
    "an empty stream": lambda: Raw(b""),
}


@every_provider
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_passes_and_side_effects_happen_once(
    provider: str, turn: int, fault: str
) -> None:
    done: list[str] = []

    @tool(effect="read")
    def restart(service: str) -> str:
        """Restarts a service."""
        done.append(service)
        return "restarted"

    replies: list[Any] = [Reply("On it.", Call("restart", {"service": "web"})), "All is well."]
    replies[turn - 1 : turn - 1] = [FAULTS[fault](), FAULTS[fault]()]
    async with PROVIDERS[provider][0]() as fake:
        fake.reply(*replies)
        agent = Agent(model=served(provider, fake, timeout=0.4), tools=[restart], retry=SOON)
        run = agent.stream("restart web")
        events: list[Event] = [event async for event in run]
    result = run.result
    assert (result.status, result.error) == (RunStatus.COMPLETED, None)
    assert result.text == "All is well."
    assert done == ["web"]
    retries = [event for event in events if isinstance(event, RetryScheduled)]
    assert [each.attempt for each in retries] == [1, 2]
    assert "Half an" not in "".join(message.text for message in result.messages)
    assert shown(events).endswith("All is well.")
    assert "Half an" not in shown(events)


def shown(events: list[Event]) -> str:
    """The text as a reader has it in the end, who strikes out what is superseded."""
    texts: list[str] = []
    kept = ""
    for event in events:
        if isinstance(event, TextDelta):
            texts.append(event.text)
        elif isinstance(event, ResponseSuperseded):
            texts.clear()
        elif event.__class__.__name__ == "TurnFinished":
            kept += "".join(texts)
            texts.clear()
    return kept + "".join(texts)


@every_provider
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_stays_is_one_clear_error(provider: str, fault: str) -> None:
    async with PROVIDERS[provider][0](tolerate=True) as fake:
        fake.respond = lambda _: FAULTS[fault]()
        agent = Agent(model=served(provider, fake, timeout=0.3), retry=SOON)
        started = time.monotonic()
        result = await agent.run("restart web")
    assert time.monotonic() - started < SOON.budget
    assert result.status is RunStatus.FAILED
    assert result.error is not None
    assert result.error.message.startswith(provider.partition("-")[0])
    assert "\n" not in result.error.message
    assert result.error.remedy
    assert len(fake.requests) == SOON.attempts


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
