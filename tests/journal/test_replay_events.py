"""A replay tells what the recorded run has told: every event, its times included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, Limits, Replay, RunResult, RunStatus, tool
from aof_nb.events import ApprovalAnswered, Event, ToolFinished
from aof_nb.journal.cassette import rewind
from aof_nb.journal.runs import run_dir
from aof_nb.messages import Outcome, ToolCall
from aof_nb.policy import Answer, ApprovalRequest
from tests.test_agent import Fake, Turn


@tool(effect="read")
def numbers(upto: int) -> str:
    """Numbers, one a line."""
    return "\n".join(map(str, range(upto)))


@tool(effect="write")
def restart(service: str) -> str:
    """Restarts a service."""
    return f"{service} restarted"


@tool(effect="read")
async def sleep() -> str:
    """Sleeps."""
    await asyncio.sleep(60)
    return "awake"


class SlowYes:
    """Somebody who takes a while to approve."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        await asyncio.sleep(0.2)
        return Answer(approved=True, digest=request.digest, by="mira", via="terminal")


CALLS: dict[str, tuple[Sequence[Turn], dict[str, Any]]] = {
    "cut output": ([(ToolCall("c1", "numbers", {"upto": 40_000}),), "Done."], {}),
    "no such tool": ([(ToolCall("c1", "nonesuch", {}),), "Done."], {}),
    "wrong arguments": ([(ToolCall("c1", "numbers", {"upto": "many"}),), "Done."], {}),
    "denied": ([(ToolCall("c1", "restart", {"service": "web"}),), "Done."], {"approve": "never"}),
    "approved late": (
        [(ToolCall("c1", "restart", {"service": "web"}),), "Done."],
        {"approver": SlowYes()},
    ),
    "waiting": (
        [(ToolCall("c1", "numbers", {"upto": 3}), ToolCall("c2", "restart", {"service": "web"}))],
        {},
    ),
    "several at once": (
        [
            tuple(ToolCall(f"c{n}", "numbers", {"upto": n}) for n in range(5)),
            "Done.",
        ],
        {},
    ),
}


async def run_of(agent: Agent, **options: Any) -> tuple[RunResult, list[Event]]:
    run = agent.stream("Go.", **options)
    events = [event async for event in run]
    return run.result, events


def agent(*turns: Turn, limits: Limits | None = None) -> Agent:
    return Agent(
        name="sre", model=Fake(*turns), tools=[numbers, restart, sleep], limits=limits or Limits()
    )


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("AOF_REPLAY", raising=False)
    monkeypatch.delenv("AOF_RECORD", raising=False)


@pytest.mark.parametrize("what", CALLS)
async def test_the_same_events(what: str) -> None:
    turns, options = CALLS[what]
    recorded, told = await run_of(agent(*turns), **options)
    journal = run_dir(recorded.run_id) / "journal.jsonl"
    for _ in range(2):
        rewind(journal)
        replayed, again = await run_of(agent(), replay=Replay(journal))
        if what == "waiting":
            # How long the call was about to wait is in no journal, and shown to nobody.
            again, told = [_without_waiting(each) for each in (again, told)]
        assert again == told
        assert replayed.duration == recorded.duration
        assert replayed.status is recorded.status
        assert replayed.messages == recorded.messages


def _without_waiting(events: list[Event]) -> list[Event]:
    return [
        each
        for each in events
        if not (isinstance(each, ToolFinished) and each.outcome is Outcome.DENIED)
    ]


async def test_what_was_cut_off_took_as_long_as_it_did() -> None:
    limited = agent((ToolCall("c1", "sleep", {}),), "Done.", limits=Limits(max_seconds=0.4))
    recorded, told = await run_of(limited)
    assert recorded.status is RunStatus.LIMIT
    journal = run_dir(recorded.run_id) / "journal.jsonl"
    replays = []
    for _ in range(2):
        rewind(journal)
        replays.append(await run_of(limited, replay=Replay(journal)))
    (first, events), (second, again) = replays
    assert events == again
    assert first.duration == second.duration == recorded.duration
    was, now = (
        next(each for each in some if isinstance(each, ToolFinished)) for some in (told, events)
    )
    assert now.outcome is was.outcome is Outcome.INTERRUPTED
    assert now.duration == pytest.approx(was.duration, abs=0.1)
    assert now.duration > 0.2


async def test_how_long_an_answer_took_is_told() -> None:
    turns, options = CALLS["approved late"]
    _, told = await run_of(agent(*turns), **options)
    (answered,) = [each for each in told if isinstance(each, ApprovalAnswered)]
    assert 0.1 < answered.waited < 10
