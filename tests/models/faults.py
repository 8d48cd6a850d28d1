"""All that can go wrong between a provider and us, for each provider: what must come of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aof_nb import Agent, RetryPolicy, RunStatus, Timeouts, tool
from aof_nb.errors import ConnectionFailed
from aof_nb.events import Event, ResponseSuperseded, RetryScheduled, TextDelta, TurnFinished
from tests.fakes import Failure, Raw, Reply, StreamError, Wire
from tests.fakes import ToolCall as Call

SOON = RetryPolicy(attempts=4, first_delay=0.02, budget=20.0)
# Long enough for a machine that is busy: only what stalls comes up against it.
PATIENCE = Timeouts(first_byte=20.0, silence=2.0)
# Of Bedrock's answers, which a thread reads, none is seen before its first byte.
BEDROCK_PATIENCE = Timeouts(first_byte=3.0, silence=3.0)
AT_ONCE = 8
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
# A limit of which the headers do not say that it is used up.
UNTOLD = {
    name: "1"
    for kind in ("requests", "tokens", "input-tokens", "output-tokens")
    for name in (f"anthropic-ratelimit-{kind}-remaining", f"x-ratelimit-remaining-{kind}")
}


def _overloaded(after: int) -> StreamError:
    return StreamError("overloaded_error", code="server_is_overloaded", after=after)


FAULTS: dict[str, Callable[[], Any]] = {
    "rate limit": lambda: Failure(429, wire=Wire(headers=UNTOLD)),
    "rate limit with retry-after": lambda: Failure(429, retry_after=0.1),
    "unavailable": lambda: Failure(503),
    "overloaded": lambda: Failure(529),
    "server error": lambda: Failure(500),
    "a proxy's page": lambda: Failure(502, body=PAGE, content_type="text/html"),
    "overloaded at once, in the stream": lambda: Reply(
        "Half an answer " * 20, error=_overloaded(0)
    ),
    "overloaded later, in the stream": lambda: Reply("Half an answer " * 20, error=_overloaded(5)),
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


async def faults(name: str) -> str:
    """Tries every fault in the first and in the second turn, where it passes and where it stays.

    Raises:
        AssertionError: If one does not end as it must; its name is in the message.
    """
    places = asyncio.Semaphore(AT_ONCE)
    found: list[str] = []

    async def attempt(title: str, work: Callable[[], Any]) -> None:
        async with places:
            try:
                await work()
            except Exception as error:
                found.append(f"{title}: {type(error).__name__} {error}".partition("\n")[0])

    async with asyncio.TaskGroup() as group:
        for fault in FAULTS:
            for turn in (1, 2):
                title = f"{fault}, turn {turn}"
                group.create_task(
                    attempt(title, lambda fault=fault, turn=turn: passes(name, fault, turn))
                )
            title = f"{fault}, to the end"
            group.create_task(attempt(title, lambda fault=fault: stays(name, fault)))
        group.create_task(attempt("nobody there", lambda: nobody(name)))
    assert not found, "; ".join(found)
    return f"pass ({len(FAULTS) + 1})"


def _model(name: str, fake: Any, case: str) -> Any:
    from tests.models.capabilities import MODELS, served

    # Breakers are kept by the models' names: no case is to feel another's failures.
    model = MODELS.get(name, "some-model") + "-" + case.replace(" ", "-")
    return served(name, fake, model, timeout=BEDROCK_PATIENCE if name == "bedrock" else PATIENCE)


def _case(fault: str, more: str) -> str:
    return "".join(each if each.isalnum() else "-" for each in f"{fault} {more}".lower())


async def passes(name: str, fault: str, turn: int) -> None:
    """A fault that comes twice: the run goes on, side effects happen once."""
    from tests.models.capabilities import fake_of

    done: list[str] = []

    @tool(effect="read")
    def restart(service: str) -> str:
        """Restarts a service."""
        done.append(service)
        return "restarted"

    replies: list[Any] = [Reply("On it.", Call("restart", {"service": "web"})), "All is well."]
    replies[turn - 1 : turn - 1] = [FAULTS[fault](), FAULTS[fault]()]
    async with fake_of(name) as fake:
        fake.reply(*replies)
        model = _model(name, fake, _case(fault, str(turn)))
        run = Agent(model=model, tools=[restart], retry=SOON).stream("restart web")
        events: list[Event] = [event async for event in run]
    result = run.result
    assert (result.status, result.error) == (RunStatus.COMPLETED, None), result.error
    assert result.text == "All is well."
    assert done == ["web"]
    retries = [event for event in events if isinstance(event, RetryScheduled)]
    assert [each.attempt for each in retries] == [1, 2], retries
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
        elif isinstance(event, TurnFinished):
            kept += "".join(texts)
            texts.clear()
    return kept + "".join(texts)


async def stays(name: str, fault: str) -> None:
    """A fault that stays: one clear error, in time, after as many requests as there may be."""
    from tests.models.capabilities import fake_of

    async with fake_of(name, tolerate=True) as fake:
        fake.respond = lambda _: FAULTS[fault]()
        model = _model(name, fake, _case(fault, "stays"))
        started = time.monotonic()
        result = await Agent(model=model, retry=SOON).run("restart web")
    spent = time.monotonic() - started
    assert spent < SOON.budget, f"{spent:.1f} s"
    assert result.status is RunStatus.FAILED
    assert result.error is not None
    assert result.error.message.startswith(name.partition("-")[0]), result.error.message
    assert "\n" not in result.error.message
    assert result.error.remedy
    assert len(fake.requests) == SOON.attempts, f"{len(fake.requests)} requests"


async def nobody(name: str) -> None:
    """A host that has no address."""
    from aof_nb import resolve_model

    address = "https://no-such-host.invalid"
    model = resolve_model(f"{name}:x-nobody", base_url=address, api_key="k")
    result = await Agent(model=model, retry=RetryPolicy(attempts=2, first_delay=0.01)).run("x")
    assert isinstance(result.error, ConnectionFailed), result.error
    assert address in result.error.message
    assert result.error.remedy
