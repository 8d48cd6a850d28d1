"""Runs of a notebook's cells: found again when the notebook is resumed, or begun anew."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aof_nb import Agent, RetryPolicy, RunStatus, tool
from aof_nb.errors import ApprovalPending, JournalError, Overloaded
from aof_nb.events import ModelResponse, Notice, RunFinished
from aof_nb.journal import cell_runs as module
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.cell_runs import CELL_RUNS_NAME, read_cell_runs
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.notebook_cell import NotebookCell, current_cell
from aof_nb.journal.recording import State
from aof_nb.journal.runs import find_run, read_run
from aof_nb.memory import open_memory
from aof_nb.messages import ToolCall, Usage
from aof_nb.policy import Answer
from aof_nb.ports import Effect
from tests.journal.test_replay import Nobody, Turns
from tests.journal.test_resume import RESTART, Restart, ended_before_outcome

Executing = Callable[..., None]


@pytest.fixture
def executing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executing:
    """Makes the runs that follow those of a cell, in an attempt at a notebook's run."""
    directory = tmp_path / "20261126-000000-abcdef"
    directory.mkdir()

    def execute(attempt: int, cell: str = "a", source: str = "s", **known: Any) -> None:
        module._open.clear()
        here = NotebookCell(
            id=cell, source=source, playbook=str(directory), attempt=attempt, **known
        )
        monkeypatch.setattr("aof_nb.run.current_cell", lambda: here)

    execute(1)
    return execute


def notebook(tmp_path: Path) -> Path:
    return tmp_path / "20261126-000000-abcdef"


def test_outside_of_a_kernel_there_is_no_cell() -> None:
    assert current_cell() is None


async def test_what_has_ended_is_repeated_and_not_done_again(
    executing: Executing, tmp_path: Path
) -> None:
    restart = Restart()
    model = Turns(("I restart it.", RESTART), ("it is well",))
    agent = Agent(model=model, tools=[restart])
    first = await agent.run("mend it", approve="all")
    assert (restart.calls, len(model.asked)) == (["web"], 2)
    begun = read_run(first.run_id).begun
    assert (begun.cell, begun.notebook_run) == ("a", "20261126-000000-abcdef")

    executing(2, before="completed")
    # Not even who is asked, what for and with which tools needs to be the same.
    again = Agent(model=Nobody(), instructions=f"it is {os.getpid()} o'clock")
    run = again.stream("mend it", approve="all")
    events = [event async for event in run]
    assert run.result.run_id == first.run_id
    assert run.result.status is RunStatus.COMPLETED
    assert (run.result.text, run.result.usage) == ("it is well", first.usage)
    assert run.result.messages == first.messages
    assert restart.calls == ["web"]
    assert isinstance(events[-1], RunFinished)
    noted = read_cell_runs(notebook(tmp_path))
    assert [(each.run_id, each.attempt) for each in noted] == [
        (first.run_id, 1),
        (first.run_id, 2),
    ]


async def test_what_broke_off_goes_on(executing: Executing) -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("never seen",)), tools=[restart])
    first = await agent.run("mend it", approve="all")
    ended_before_outcome(first.run_id)
    executing(2, before="unknown")
    model = Turns(("nobody knows",))
    result = await Agent(model=model, tools=[restart]).run("mend it", approve="never")
    # The recorded turn was not asked for again, and the unknown call not made again.
    assert (result.run_id, result.text) == (first.run_id, "nobody knows")
    assert "unknown" in model.asked[0].messages[-1].tool_results[0].content
    assert restart.calls == ["web"]
    assert read_run(first.run_id).state is State.COMPLETED


async def test_another_source_or_cell_begins_anew(executing: Executing) -> None:
    agent = Agent(model=Turns(("one",), ("two",), ("three",)))
    runs = {(await agent.run("look")).run_id}
    executing(2, source="changed", before="completed")
    runs.add((await agent.run("look")).run_id)
    executing(2, cell="b")
    runs.add((await agent.run("look")).run_id)
    assert len(runs) == 3
    executing(3, before="completed")
    other = Agent(name="other", model=Turns(("four",)))
    assert (await other.run("look")).run_id not in runs


async def test_several_runs_are_told_apart_by_what_is_asked(executing: Executing) -> None:
    class Echo(Turns):
        async def stream(self, request: Any) -> Any:
            self.turns = ((request.messages[-1].text.upper(),),) * 9
            async for event in super().stream(request):
                yield event

    async def asked(*prompts: str) -> list[str]:
        results = await asyncio.gather(*(Agent(model=Echo()).run(each) for each in prompts))
        return [each.run_id for each in results]

    first = await asked("a", "b", "b", "c")
    executing(2, before="unknown")
    again = await asked("c", "b", "a", "b")
    assert [again[0], again[2]] == [first[3], first[0]]
    assert {again[1], again[3]} == set(first[1:3])

    executing(3, before="unknown")
    [failed] = [await Agent(model=Nobody()).run("another")]
    assert failed.status is RunStatus.FAILED
    assert failed.error is not None
    assert "4 times" in failed.error.message
    assert "aofctl resume 20261126-000000-abcdef --repeat a" in failed.error.remedy
    # With the user's word what has no record is done, and what has one is not.
    executing(3, before="unknown", may_repeat=True)
    more = await asked("another", "b")
    assert more[0] not in first
    assert more[1] in first


async def test_a_cell_s_only_run_is_it_whatever_is_asked_now(executing: Executing) -> None:
    first = await Agent(model=Turns(("all is well",))).run("load is 0.71")
    executing(2, before="completed")
    run = Agent(model=Nobody()).stream("load is 0.72")
    notices = [event.text async for event in run if isinstance(event, Notice)]
    assert (run.result.run_id, run.result.text) == (first.run_id, "all is well")
    assert ["prompt" in each for each in notices] == [True]
    executing(3, before="completed", anew=True)
    fresh = await Agent(model=Turns(("it is not",))).run("load is 9.3")
    assert (fresh.run_id == first.run_id, fresh.text) == (False, "it is not")


async def test_what_failed_goes_on_unless_the_cell_went_on_without_it(
    executing: Executing,
) -> None:
    def agent(*turns: Any) -> Agent:
        return Agent(model=Turns(*turns), retry=RetryPolicy(attempts=1))

    failed = await agent((Overloaded("too busy"),)).run("look")
    assert failed.status is RunStatus.FAILED
    executing(2, before="failed")
    result = await agent(("it is well",)).run("look")
    assert (result.run_id, result.text) == (failed.run_id, "it is well")

    executing(1, cell="b")
    failed = await agent((Overloaded("too busy"),)).run("look")
    other = await agent(("it is well",)).run("look")
    executing(2, cell="b", before="unknown")
    again = await agent(("must not be asked",)).run("look")
    assert (again.run_id, again.status) == (failed.run_id, RunStatus.FAILED)
    assert again.error is not None
    assert "too busy" in again.error.message
    assert (await agent().run("look")).run_id == other.run_id


async def test_a_check_that_failed_its_cell_is_made_again(executing: Executing) -> None:
    looks: list[str] = []

    @tool(effect=Effect.READ)
    def look(what: str) -> str:
        """Looks."""
        looks.append(what)
        return "down" if len(looks) == 1 else "up"

    call = ToolCall("c", "look", {"what": "web"})

    class Free(Turns):
        async def stream(self, request: Any) -> Any:
            async for event in super().stream(request):
                free = isinstance(event, ModelResponse)
                yield msgspec.structs.replace(event, usage=Usage()) if free else event

    async def checked() -> str:
        agent = Agent(model=Free((call,), ("looked",)), tools=[look])
        return (await agent.run("look")).run_id

    first = await checked()
    executing(2, before="completed")
    assert (await checked(), looks) == (first, ["web"])
    executing(3, before="failed")
    assert await checked() != first
    assert looks == ["web", "web"]


async def test_a_run_that_waits_stops_the_cell_and_goes_on_when_answered(
    executing: Executing,
) -> None:
    restart = Restart()

    with pytest.raises(ApprovalPending) as caught:
        await Agent(model=Turns((RESTART,)), tools=[restart]).run("mend it")
    run_id = caught.value.remedy.split()[2].rstrip(",")
    assert caught.value.remedy.endswith("aofctl resume 20261126-000000-abcdef")
    approvals = Approvals(find_run(run_id))
    [pending] = approvals.pending()
    approvals.answer(pending.request, Answer(approved=True, digest=pending.request.digest))
    executing(2, before="waiting")
    result = await Agent(model=Turns(("it is well",)), tools=[restart]).run("mend it")
    assert (result.run_id, result.status) == (run_id, RunStatus.COMPLETED)
    assert restart.calls == ["web"]


async def test_what_a_tool_begins_belongs_to_its_call(executing: Executing) -> None:
    asked: list[str] = []

    @tool(effect=Effect.READ)
    async def consult(what: str) -> str:
        """Asks a colleague."""
        result = await Agent(name="inner", model=Turns((f"of {what}",))).run(what)
        asked.append(result.run_id)
        return result.text

    def calls(*ids: str) -> Agent:
        turns = [(ToolCall(each, "consult", {"what": each}),) for each in ids]
        return Agent(name="outer", model=Turns(*turns, ("done",)), tools=[consult])

    first = await calls("x", "y").run("find out")
    assert len(set(asked)) == 2
    # The outer run loses its second turn: its first call is not made again, and what the second
    # begins is neither the first one's inner run nor anew.
    path = find_run(first.run_id) / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    second = next(n for n, line in enumerate(lines) if b'"call_id":"y"' in line)
    path.write_bytes(b"".join(lines[:second]))
    executing(2, before="unknown")
    again = await calls().run("find out")
    assert again.run_id == first.run_id
    assert asked[2:] == [asked[1]]
    assert [each.content for message in again.messages for each in message.tool_results] == [
        "of x",
        "of y",
    ]


@pytest.mark.parametrize("memory", ["in_memory", "disk"])
async def test_a_session_is_rebuilt_and_not_doubled(
    executing: Executing, memory: str, tmp_path: Path
) -> None:
    url = memory if memory == "in_memory" else f"disk:{tmp_path / 'memory'}"
    store = open_memory(url)
    agent = Agent(model=Turns(("one",), ("two",)), memory=store)
    await agent.run("first", session="s")
    await agent.run("second", session="s")
    if memory == "in_memory":
        store = open_memory(url)
    executing(2, before="completed")
    model = Turns(("three",))
    agent = Agent(model=model, memory=store)
    await agent.run("first", session="s")
    await agent.run("second", session="s")
    await agent.run("third", session="s")
    assert len(model.asked) == 1
    said = ["first", "one", "second", "two", "third"]
    assert [each.text for each in model.asked[0].messages] == said
    assert [each.text for each in await store.load("s")] == [*said, "three"]


async def test_what_cannot_be_noted_is_not_done(
    executing: Executing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "os", types.SimpleNamespace(**{**vars(os), "write": full}))
        failed = await Agent(model=Nobody()).run("look")
    assert failed.status is RunStatus.FAILED
    assert failed.error is not None
    assert "No space left" in failed.error.message
    assert "aofctl resume 20261126-000000-abcdef" in failed.error.remedy
    executing(2, before="failed")
    assert (await Agent(model=Turns(("well",))).run("look")).text == "well"


async def test_without_a_journal_of_its_own_a_run_is_not_begun(
    executing: Executing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with monkeypatch.context() as patch:
        patch.setattr("aof_nb.run_journal.run_dir", lambda name: tmp_path / "file" / name)
        failed = await Agent(model=Nobody()).run("look")
    assert failed.status is RunStatus.FAILED
    assert "cannot be written" in str(failed.error)
    # One that is declared to have none is not known, and does not hinder.
    unjournaled = Agent(model=Turns(("well",)), journal=False)
    assert (await unjournaled.run("look")).text == "well"
    assert read_cell_runs(notebook(tmp_path)) == []


async def test_a_run_that_had_not_begun_is_begun_and_one_that_is_gone_is_not(
    executing: Executing, tmp_path: Path
) -> None:
    first = await Agent(model=Turns(("one",))).run("look")
    journal = find_run(first.run_id) / FILE_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole[:20])
    executing(2, before="unknown")
    again = await Agent(model=Turns(("two",))).run("look")
    assert (again.run_id, again.text) == (first.run_id, "two")
    journal.unlink()
    executing(3, before="unknown")
    gone = await Agent(model=Nobody()).run("look")
    assert gone.status is RunStatus.FAILED
    assert "is gone" in str(gone.error)
    (notebook(tmp_path) / CELL_RUNS_NAME).write_text("nonsense\n")
    executing(3, before="unknown")
    damaged = await Agent(model=Nobody()).run("look")
    assert "line 1 is damaged" in str(damaged.error)


def test_lines_are_whole_whoever_writes_them_at_once(executing: Executing, tmp_path: Path) -> None:
    cell = NotebookCell(id="a", source="s", playbook=str(notebook(tmp_path)))
    (notebook(tmp_path) / CELL_RUNS_NAME).write_bytes(b'{"run_id":"torn')
    runs = module.CellRuns(notebook(tmp_path))

    def note(number: int) -> None:
        for each in range(20):
            runs.note(cell, "agent", f"{number} {each}", tmp_path / f"{number}-{each}")

    threads = [threading.Thread(target=note, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = read_cell_runs(notebook(tmp_path))
    assert len({each.run_id for each in found}) == len(found) == 80
    with pytest.raises(JournalError, match="cannot be written"):
        module.CellRuns(tmp_path / "nowhere").note(cell, "agent", "look", tmp_path)
