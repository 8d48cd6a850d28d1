"""Fork: another way from one turn on; the turns before are neither paid for nor done again."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, Limits, RunStatus
from aof_nb.errors import ConfigurationError, Overloaded
from aof_nb.events import Notice, RunFinished, Steered
from aof_nb.journal.entries import Parent, RunContext
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.recording import State
from aof_nb.journal.runs import find_run, read_run
from aof_nb.messages import ToolCall, Usage
from aof_nb.run import Run
from tests.journal.steps import done, stepping_agent
from tests.journal.test_replay import Turns
from tests.journal.test_resume import Restart

TURN = Usage(input_tokens=10, output_tokens=5)


def restart(number: int) -> ToolCall:
    return ToolCall(f"c{number}", "restart", {"service": f"s{number}"})


async def carried_out(run: Run) -> list[Any]:
    return [event async for event in run]


@pytest.mark.parametrize("turn", range(1, 6))
async def test_what_is_before_the_turn_is_not_done_again(tmp_path: Path, turn: int) -> None:
    effects = tmp_path / "effects"
    agent = stepping_agent(effects, 4)
    parent = await agent.run("go", approve="all")
    journal = find_run(parent.run_id) / FILE_NAME
    before, written = done(effects), journal.read_bytes()

    fork = agent.fork(parent.run_id, from_turn=turn)
    await carried_out(fork)
    result = fork.result
    assert (result.status, result.text, result.turns) == (RunStatus.COMPLETED, parent.text, 5)
    assert result.messages == parent.messages
    again = done(effects) - before
    assert sorted(again) == sorted(
        effect for effect in before if int(effect.rpartition("-")[2]) >= turn - 1
    )
    live = 6 - turn
    assert result.usage == Usage(live * TURN.input_tokens, live * TURN.output_tokens)
    assert journal.read_bytes() == written

    recorded = read_run(fork.run_id)
    assert recorded.begun.parent == Parent(parent.run_id, turn)
    assert recorded.state is State.COMPLETED
    assert recorded.usage_by_model == result.usage_by_model
    assert stat.S_IMODE(recorded.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(recorded.path.parent.stat().st_mode) == 0o700
    assert sum(recorded.usage_by_model.values(), Usage()) == result.usage


async def test_a_prompt_is_said_before_the_turn() -> None:
    tool = Restart()
    model = Turns((restart(1),), (restart(2),), ("well",))
    parent = await Agent(model=model, tools=[tool]).run("mend it", approve="all")
    other = Turns(("carefully then",))
    fork = Agent(model=other, tools=[tool]).fork(parent.run_id, 2, prompt="do no more")
    events = await carried_out(fork)
    assert tool.calls == ["s1", "s2"]
    assert [each.text for each in events if isinstance(each, Steered)] == ["do no more"]
    [request] = other.asked
    assert [message.role for message in request.messages] == ["user", "assistant", "tool", "user"]
    assert (request.messages[0].text, request.messages[-1].text) == ("mend it", "do no more")
    assert fork.result.text == "carefully then"
    replayed = [
        event
        async for event in Agent(model=other, tools=[tool]).stream("mend it", replay=fork.run_id)
    ]
    assert [type(each) for each in replayed] == [
        type(each) for each in events if not (isinstance(each, Notice) and "journal" in each.text)
    ]


async def test_the_first_turn_is_another_prompt_in_the_same_conversation() -> None:
    agent = Agent(model=Turns(("one",), ("two",), ("three",)), memory="in_memory")
    await agent.run("first", session="s")
    parent = await agent.run("second", session="s")
    fork = agent.fork(parent.run_id, 1, prompt="otherwise")
    await carried_out(fork)
    assert [m.text for m in fork.result.messages] == ["first", "one", "otherwise", "three"]
    memory = agent.open_memory()
    assert [m.text for m in await memory.load("s")] == ["first", "one", "second", "two"]
    assert read_run(fork.run_id).begun.session is None
    again = agent.fork(fork.run_id, 1)
    await carried_out(again)
    assert [m.text for m in again.result.messages][:3] == ["first", "one", "otherwise"]


async def test_a_waiting_run_is_forked_and_goes_on_waiting() -> None:
    tool = Restart()
    agent = Agent(model=Turns((restart(1),), ("well",)), tools=[tool])
    waiting = await agent.run("mend it")
    assert waiting.status is RunStatus.WAITING
    other = Agent(model=Turns(("I only look",)), tools=[tool])
    fork = other.fork(waiting.run_id, 1, prompt="look only")
    await carried_out(fork)
    assert (fork.result.status, fork.result.text) == (RunStatus.COMPLETED, "I only look")
    with pytest.raises(ConfigurationError, match="no turn 2"):
        other.fork(waiting.run_id, 2)
    assert read_run(waiting.run_id).state is State.WAITING
    assert (await agent.resume(waiting.run_id, approve="all")).text == "well"


async def test_the_turn_in_which_a_run_failed_is_asked_anew() -> None:
    failing = Agent(model=Turns((restart(1),), (Overloaded("busy"),)), tools=[Restart()])
    failing.retry = type(failing.retry)(attempts=1)
    failed = await failing.run("mend it", approve="all")
    assert failed.status is RunStatus.FAILED
    fork = Agent(model=Turns(("well",)), tools=[Restart()]).fork(failed.run_id, 2)
    await carried_out(fork)
    assert (fork.result.text, fork.result.turns) == ("well", 2)


async def test_a_limit_of_the_other_run_is_not_its_own() -> None:
    tool = Restart()
    agent = Agent(model=Turns((restart(1),), ("cut",)), tools=[tool], limits=Limits(max_turns=2))
    cut = await agent.run("mend it", approve="all")
    assert cut.status is RunStatus.LIMIT
    other = Agent(model=Turns((restart(2),), ("well",)), tools=[tool])
    fork = other.fork(cut.run_id, 2, limits=Limits(max_turns=9), approve="all")
    await carried_out(fork)
    assert (fork.result.status, fork.result.text) == (RunStatus.COMPLETED, "well")
    assert tool.calls == ["s1", "s2"]


async def test_a_fork_that_is_interrupted_is_resumed(tmp_path: Path) -> None:
    agent = stepping_agent(tmp_path / "effects", 4)
    parent = await agent.run("go", approve="all")
    fork = agent.fork(parent.run_id, 3)
    await fork.aclose()
    assert read_run(fork.run_id).state is State.INTERRUPTED
    result = await agent.resume(fork.run_id)
    assert (result.status, result.text) == (RunStatus.COMPLETED, parent.text)


async def test_a_turn_that_never_was_is_refused() -> None:
    agent = Agent(model=Turns(("one",)))
    parent = await agent.run("go")
    for turn in (0, 2):
        with pytest.raises(ConfigurationError, match=f"no turn {turn} to fork from") as caught:
            agent.fork(parent.run_id, turn)
        assert caught.value.remedy == "it has turn 1"
    with pytest.raises(ConfigurationError, match="there is no run"):
        agent.fork("nothing", 1)


async def test_other_instructions_are_in_its_journal() -> None:
    tool = Restart()
    parent = await Agent(model=Turns((restart(1),), ("well",)), tools=[tool]).run(
        "mend it", approve="all"
    )
    other = Agent(model=Turns(("done",)), tools=[tool], instructions="Be brief.")
    fork = other.fork(parent.run_id, 2)
    events = await carried_out(fork)
    assert [each.system for each in read_run(fork.run_id).of(RunContext)] == ["", "Be brief."]
    assert isinstance(events[-1], RunFinished)
