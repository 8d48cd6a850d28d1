"""All that can go wrong between a provider and us, for each provider: what must come of it.

All cases of a provider talk to one server, each by a model's name of its own: a client for each
would cost more than the tries.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from aof_nb import Agent, RetryPolicy, RunStatus, resolve_model, tool
from aof_nb.errors import ConnectionFailed
from aof_nb.events import Event, ResponseSuperseded, RetryScheduled, TextDelta, TurnFinished
from tests.fakes import Failure, Raw, Reply, StreamError, Wire
from tests.fakes import ToolCall as Call

SOON = RetryPolicy(attempts=4, first_delay=0.02, budget=120.0)
# No time is a limit to anything but to what stalls, on however busy a machine; and there what is
# late for want of a processor is asked for again.
PATIENCE = 120.0
STALLED = 5.0
OFTEN = RetryPolicy(attempts=12, first_delay=0.02, budget=120.0)
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
    "rate limit": lambda: Failure(429, "Too many requests.", wire=Wire(headers=UNTOLD)),
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
    "truncated JSON": lambda: Raw(b'data: {"type": "mess\n\n'),
    "an empty stream": lambda: Raw(b""),
}


STALLS: dict[str, Callable[[], Any]] = {
    "stall before the first byte": lambda: Reply("x", wire=Wire(stall_at=0)),
    "stall in the middle": lambda: Reply("Half an answer " * 20, wire=Wire(stall_at=1500)),
}


async def faults(name: str) -> str:
    """Tries every fault in the first and in the second turn, where it passes and where it stays.

    Raises:
        AssertionError: If one does not end as it must; its name is in the message.
    """
    return f"pass ({await _tried(name, FAULTS, PATIENCE, AT_ONCE) + await nobody(name)})"


async def stalls(name: str) -> str:
    """The same for a provider that says nothing: nothing else is to keep the machine busy."""
    return f"pass ({await _tried(name, STALLS, STALLED, len(STALLS) * 3)})"


async def _tried(
    name: str, cases: dict[str, Callable[[], Any]], seconds: float, at_once: int
) -> int:
    from tests.models.capabilities import fake_of

    places = asyncio.Semaphore(at_once)
    found: list[str] = []

    async def attempt(title: str, work: Callable[[], Any]) -> None:
        async with places:
            try:
                await work()
            except Exception as error:
                found.append(f"{title}: {type(error).__name__} {error}".partition("\n")[0])

    async with fake_of(name) as fake:
        desk = Desk(name, fake, seconds)
        async with asyncio.TaskGroup() as group:
            for title, fault in cases.items():
                for turn in (1, 2):
                    work = functools.partial(passes, desk, title, fault, turn)
                    group.create_task(attempt(f"{title}, turn {turn}", work))
                work = functools.partial(stays, desk, title, fault)
                group.create_task(attempt(f"{title}, to the end", work))
    assert not found, "; ".join(found)
    return len(cases)


class Desk:
    """One server that answers each model by a script of its own.

    Breakers, too, are kept by the models' names: no case is to feel another's failures.
    """

    def __init__(self, name: str, fake: Any, seconds: float) -> None:
        self.name = name
        self.requests = Counter[str]()
        self._fake = fake
        self._seconds = seconds
        self._scripts: dict[str, Callable[[Any], Any]] = {}
        fake.respond = self._answer

    def model(self, case: str, script: Callable[[Any], Any]) -> tuple[str, Any]:
        """The name of a case's model, and the model."""
        from tests.models.capabilities import MODELS, served

        plain = "".join(each if each.isalnum() else "-" for each in case.lower())
        model = f"{MODELS.get(self.name, 'some-model')}-{plain}"
        self._scripts[model] = script
        return model, served(self.name, self._fake, model, timeout=self._seconds)

    def _answer(self, request: Any) -> Any:
        # Bedrock has the model in the path alone.
        model = request.json.get("model") or unquote(request.path).split("/")[-2]
        self.requests[model] += 1
        return self._scripts[model](request)


async def passes(desk: Desk, title: str, fault: Callable[[], Any], turn: int) -> None:
    """A fault that comes twice: the run goes on, side effects happen once."""
    replies = {1: Reply("On it.", Call("restart", {"service": "web"})), 2: Reply("All is well.")}
    left = [fault(), fault()]
    done: list[str] = []

    @tool(effect="read")
    def restart(service: str) -> str:
        """Restarts a service."""
        done.append(service)
        return "restarted"

    def script(request: Any) -> Any:
        now = 2 if b"restarted" in request.body else 1
        return left.pop() if now == turn and left else replies[now]

    name, model = desk.model(f"{title} {turn}", script)
    retry = OFTEN if title in STALLS else SOON
    run = Agent(model=model, tools=[restart], retry=retry).stream("restart web")
    events: list[Event] = [event async for event in run]
    result = run.result
    assert (result.status, result.error) == (RunStatus.COMPLETED, None), result.error
    assert result.text == "All is well."
    assert done == ["web"]
    retries = [event for event in events if isinstance(event, RetryScheduled)]
    assert len(retries) == 2 or (title in STALLS and len(retries) > 2), retries
    assert desk.requests[name] == 2 + len(retries) or title in STALLS
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


async def stays(desk: Desk, title: str, fault: Callable[[], Any]) -> None:
    """A fault that stays: one clear error, in time, after as many requests as there may be."""
    name, model = desk.model(f"{title} stays", lambda _: fault())
    started = time.monotonic()
    result = await Agent(model=model, retry=SOON).run("restart web")
    spent = time.monotonic() - started
    assert spent < SOON.budget, f"{spent:.1f} s"
    assert result.status is RunStatus.FAILED
    assert result.error is not None
    assert result.error.message.startswith(desk.name.partition("-")[0]), result.error.message
    assert "\n" not in result.error.message
    assert result.error.remedy
    assert desk.requests[name] == SOON.attempts, f"{desk.requests[name]} requests"


async def nobody(name: str) -> int:
    """A host that has no address."""
    address = "https://no-such-host.invalid"
    model = resolve_model(f"{name}:x-nobody", base_url=address, api_key="k")
    result = await Agent(model=model, retry=RetryPolicy(attempts=2, first_delay=0.01)).run("x")
    assert isinstance(result.error, ConnectionFailed), result.error
    assert address in result.error.message
    assert result.error.remedy
    return 1
