"""A recorded run is shown again from its journal alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, Limits, RunStatus
from aof_nb.errors import Overloaded
from aof_nb.journal.runs import read_run
from aof_nb.messages import ToolCall
from aof_nb.models.resilience import RetryPolicy
from aof_nb.recorded_agent import replayed
from aof_nb.run import Run
from tests.journal.steps import stepping_agent
from tests.journal.test_replay import Turns, comparable
from tests.journal.test_resume import Restart

CALL = ToolCall("c", "restart", {"service": "web"})
BAD = ToolCall("b", "restart", {"service": 3})
GONE = ToolCall("g", "reboot", {})


async def both(agent: Agent, **options: Any) -> tuple[Run, Run]:
    run = agent.stream("go", **{"approve": "all", **options})
    first = [event async for event in run]
    again = replayed(read_run(run.run_id))
    second = [event async for event in again]
    assert comparable(second) == comparable(first)
    return run, again


async def test_every_event_is_told_again(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    run, again = await both(stepping_agent(effects, 4))
    written = effects.read_text()
    assert again.result.run_id == run.result.run_id
    assert again.result.messages == run.result.messages
    assert again.result.usage_by_model == run.result.usage_by_model
    assert effects.read_text() == written


@pytest.mark.parametrize(
    "agent",
    [
        Agent(name="told", model=Turns(("one",)), instructions="Be brief."),
        Agent(model=Turns((CALL, GONE), (BAD,), ("well",)), tools=[Restart()]),
        Agent(model=Turns((Overloaded("busy"),)), retry=RetryPolicy(attempts=1)),
        Agent(model=Turns((CALL,), (CALL,)), tools=[Restart()], limits=Limits(max_turns=2)),
        Agent(model=Turns((CALL,)), tools=[Restart()], limits=Limits(max_output_chars=4)),
        Agent(model=Turns(('{"answer": ["x"]}',), ('{"answer": [1]}',)), output_schema=list[int]),
        Agent(
            model=Turns(("no",), ("nor this",), ("never",)),
            output_schema=list[int],
            limits=Limits(max_corrections=2),
        ),
        Agent(
            model=Turns(('{"answer": 1}',)),
            output_schema={"type": "object", "properties": {"answer": {"type": "integer"}}},
        ),
    ],
)
async def test_whatever_the_agent_was(agent: Agent) -> None:
    run, again = await both(agent)
    assert again.result.data == run.result.data
    assert str(again.result.error) == str(run.result.error)


async def test_one_that_was_gone_on_with_by_another_declaration() -> None:
    waiting = await Agent(model=Turns((CALL,)), tools=[Restart()]).run("go")
    assert waiting.status is RunStatus.WAITING
    other = Agent(model=Turns(("well",)), tools=[Restart()], instructions="Be brief.")
    await other.resume(waiting.run_id, approve="all")
    run = replayed(read_run(waiting.run_id))
    events = [event async for event in run]
    assert run.result.status is RunStatus.COMPLETED, run.result.error
    assert events[-1].text == "well"


async def test_one_that_waits_is_told_as_waiting() -> None:
    run, again = await both(Agent(model=Turns((CALL,)), tools=[Restart()]), approve="ask")
    assert run.result.status is again.result.status is RunStatus.WAITING


async def test_an_interrupted_one_is_told_as_far_as_it_came(tmp_path: Path) -> None:
    agent = stepping_agent(tmp_path / "effects", 4)
    run = agent.stream("go", approve="all")
    async for event in run:
        if type(event).__name__ == "TurnFinished" and event.turn == 3:
            break
    await run.aclose()
    again = replayed(read_run(run.run_id))
    async for _ in again:
        pass
    assert again.result.status is RunStatus.FAILED
    assert "the run was cancelled" in str(again.result.error)
    assert again.result.messages[:6] == run.result.messages[:6]
