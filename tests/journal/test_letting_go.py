"""However a run ends, it lets go of its journal: nothing is left open, locked or half begun."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, Limits, Run, RunStatus
from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.events import ModelEvent, Notice
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import ToolWithdrawn, decode_line
from aof_nb.journal.journal import FILE_NAME, Journal, is_held
from aof_nb.journal.recording import State, read_recording
from aof_nb.journal.runs import find_run, read_run, run_dir
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import ModelRequest
from tests.journal.test_replay import Nobody, Turns, events_of
from tests.journal.test_resume import RESTART, Restart

LOOK = "look again"


def journals_open() -> list[str]:
    """The journals that this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()))
    return [each for each in found if each.endswith(FILE_NAME)]


class Patient:
    """Says yes after some time."""

    def __init__(self, ticks: int) -> None:
        self.ticks = ticks

    async def ask(self, request: ApprovalRequest) -> Answer:
        for _ in range(self.ticks):
            await asyncio.sleep(0)
        return Answer(approved=True, digest=request.digest, by="ann", via="test")


class Slow(InMemory):
    """A memory that takes a while for all it does."""

    async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
        for _ in range(5):
            await asyncio.sleep(0)
        return await super().load(session, limit=limit)

    async def append(self, session: str, messages: Sequence[Message]) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        await super().append(session, messages)


async def consumed(run: Run) -> None:
    async for _ in run:
        pass


async def ticks(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0.0005 if number % 2 else 0)


@pytest.mark.parametrize("again", [None, 0, 1, 4])
async def test_it_is_let_go_wherever_a_run_is_cancelled(again: int | None) -> None:
    """At every await, as far as counting turns of the event loop goes; and a second time."""
    statuses = set()
    for place in range(0, 90, 1 if again is None else 3):
        agent = Agent(model=Turns(("a", RESTART), ("done",)), tools=[Restart()], memory=Slow())
        run = agent.stream("mend it", session="s", approver=Patient(20))
        before = asyncio.all_tasks()
        task = asyncio.create_task(consumed(run))
        await ticks(place)
        task.cancel()
        if again is not None:
            await ticks(again)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await run.aclose()
        assert journals_open() == [], f"after {place} turns of the loop"
        assert asyncio.all_tasks() == before
        statuses.add(run.result.status)
        path = run_dir(run.run_id) / FILE_NAME
        if not path.exists() or not path.stat().st_size:
            continue
        assert read_recording(path).state in {State.CANCELLED, State.COMPLETED}
        if run.result.status is RunStatus.CANCELLED:
            assert Approvals(path.parent).pending() == []
    assert RunStatus.CANCELLED in statuses


@pytest.mark.parametrize("events", range(12))
async def test_it_is_let_go_wherever_a_run_is_closed(events: int) -> None:
    agent = Agent(model=Turns(("a", RESTART), ("done",)), tools=[Restart()])
    run = agent.stream("mend it", approver=Patient(3))
    for _ in range(events):
        try:
            await anext(aiter(run))
        except StopAsyncIteration:
            break
    await run.aclose()
    assert journals_open() == []
    await run.aclose()
    if events:
        assert not is_held(find_run(run.run_id) / FILE_NAME)
    else:
        assert not run_dir(run.run_id).exists()


async def test_a_run_that_nobody_begins_leaves_nothing() -> None:
    run = Agent(model=Turns(("a",))).stream("go")
    assert not run_dir(run.run_id).exists()
    del run
    assert journals_open() == []


async def test_two_runs_at_once_have_a_journal_each() -> None:
    agent = Agent(model=Nobody())

    async def one(number: int) -> str:
        result = await Agent(model=Turns((f"{number}",))).run(f"go {number}")
        return read_run(result.run_id).begun.prompt

    assert agent.name == "agent"
    assert await asyncio.gather(*map(one, range(8))) == [f"go {n}" for n in range(8)]
    assert journals_open() == []


async def test_five_hundred_runs_have_a_journal_each() -> None:
    class Echo:
        name = "test:echo"

        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            async for each in Turns((request.messages[-1].text,)).stream(request):
                yield each

    results = await Agent(model=Echo()).map([f"{n}" for n in range(500)], concurrency=100)
    assert len({each.run_id for each in results}) == 500
    assert all(each.error is None for each in results)
    for each in results:
        assert read_run(each.run_id).begun.prompt == each.text
    assert journals_open() == []


async def test_a_run_that_could_not_be_prepared_has_a_journal_that_says_so() -> None:
    result = await Agent(model="nobody:knows").run("go")
    assert result.status is RunStatus.FAILED
    recording = read_run(result.run_id)
    assert recording.state is State.FAILED
    assert recording.ended is not None
    assert "nobody" in str(recording.ended.error)
    good = Agent(model=Turns(("done",)))
    assert (await good.resume(result.run_id)).text == "done"


async def test_a_waiting_run_that_cannot_be_resumed_still_waits() -> None:
    restart = Restart()
    waiting = await Agent(model=Turns((RESTART,)), tools=[restart]).run("mend it")
    failed = await Agent(model="nobody:knows", tools=[restart]).resume(waiting.run_id)
    assert failed.status is RunStatus.FAILED
    assert read_run(waiting.run_id).state is State.WAITING


def no_room(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Lets so many writes through, and then no more."""
    real, written = os.write, 0

    def write(file: int, data: bytes) -> int:
        nonlocal written
        if not os.readlink(f"/proc/self/fd/{file}").endswith(FILE_NAME):
            return real(file, data)
        written += 1
        if written > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    monkeypatch.setattr(os, "write", write)


async def test_no_room_for_the_first_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = await Agent(model=Turns(("done",))).run("go")
    no_room(monkeypatch, 0)
    run = Agent(model=Turns(("done",))).stream("go")
    notices = [each.text for each in await events_of(run) if isinstance(each, Notice)]
    assert run.result.text == "done"
    assert "no journal" in notices[0]
    assert "No space left" in notices[0]
    assert journals_open() == []
    monkeypatch.undo()
    # It has nothing to tell, and does not stand in the way of those that have.
    assert find_run("last").name == earlier.run_id


async def test_no_room_at_any_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    after = 1
    while True:
        restart = Restart()
        with monkeypatch.context() as patch:
            no_room(patch, after)
            agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
            run = agent.stream("mend it", approve="all")
            notices = [each.text for each in await events_of(run) if isinstance(each, Notice)]
        assert journals_open() == []
        recording = read_run(run.run_id)
        if run.result.error is None:
            break
        assert "No space left" in run.result.error.message
        if run.result.status is RunStatus.COMPLETED:
            assert any("the end of this run is not in its journal" in each for each in notices)
        done = len(restart.calls)
        again = Agent(model=Turns(*[(RESTART,), ("done",)][_turns(recording) :]), tools=[restart])
        result = await again.resume(run.run_id)
        assert result.status is RunStatus.COMPLETED
        # Where it is not known whether it was done, it is left alone.
        assert len(restart.calls) == 1 if done else len(restart.calls) <= 1
        after += 1
    assert after > 8


def _turns(recording: Any) -> int:
    return sum(type(line.entry).__name__ == "ModelResponded" for line in recording.lines)


async def test_a_disk_that_is_read_only_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await Agent(model=Turns((RESTART,)), tools=[Restart()]).run("mend it")
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    run = Agent(model=Turns(("done",))).stream("go")
    notices = [each.text for each in await events_of(run) if isinstance(each, Notice)]
    assert run.result.text == "done"
    assert "Read-only file system" in notices[0]
    resumed = await Agent(model=Nobody(), tools=[Restart()]).resume(waiting.run_id)
    assert isinstance(resumed.error, JournalError)
    assert "Read-only file system" in resumed.error.message
    assert journals_open() == []


class Broken(InMemory):
    async def append(self, session: str, messages: Sequence[Message]) -> None:
        raise RuntimeError("the store is gone")


async def test_a_memory_that_fails_in_a_way_of_its_own_costs_nothing_but_itself() -> None:
    run = Agent(model=Turns(("done",)), memory=Broken()).stream("go", session="s")
    notices = [each.text for each in await events_of(run) if isinstance(each, Notice)]
    assert run.result.text == "done"
    assert notices == ["the conversation was not kept: RuntimeError: the store is gone"]
    assert read_run(run.run_id).state is State.COMPLETED

    broken = Agent(model=Turns(("a", "b")), memory=Broken()).stream("go", session="s")
    await anext(aiter(broken))
    await anext(aiter(broken))
    await broken.aclose()
    assert broken.result.status is RunStatus.CANCELLED
    assert journals_open() == []


async def test_a_cassette_that_cannot_be_written_costs_nothing_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_RECORD", str(tmp_path))
    run = Agent(model=Turns(("done",))).stream("go")
    notices = [each.text for each in await events_of(run) if isinstance(each, Notice)]
    assert (run.result.status, run.result.text) == (RunStatus.COMPLETED, "done")
    assert "this run was not recorded" in notices[0]


async def test_a_run_that_went_on_meanwhile_is_not_gone_on_with_as_it_was() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    both = [
        Agent(model=Turns(("done",)), tools=[restart]).resumed(waiting.run_id, approve="all")
        for _ in range(2)
    ]
    assert [type(each) for each in await events_of(both[0])]
    await events_of(both[1])
    assert restart.calls == ["web"]
    assert both[0].result.status is RunStatus.COMPLETED
    assert isinstance(both[1].result.error, ConfigurationError)
    assert "has ended" in both[1].result.error.message
    assert read_run(waiting.run_id).state is State.COMPLETED


async def test_it_goes_on_from_where_another_process_has_come_to() -> None:
    restart = Restart()
    more = Restart()
    more.spec = type(more.spec)(
        name="more", description="", input_schema={"type": "object"}, effect=more.spec.effect
    )
    waiting = await Agent(model=Turns((RESTART,)), tools=[restart, more]).run("mend it")
    stale = Agent(model=Turns(("done",)), tools=[restart, more]).resumed(
        waiting.run_id, approve="all"
    )

    class Fails(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            raise RuntimeError("down")
            yield

    first = await Agent(model=Fails(), tools=[restart, more]).resume(waiting.run_id, approve="all")
    assert first.status is RunStatus.FAILED
    await events_of(stale)
    assert (stale.result.status, restart.calls) == (RunStatus.COMPLETED, ["web"])


async def test_a_copy_of_a_journal_is_not_gone_on_with(tmp_path: Path) -> None:
    waiting = await Agent(model=Turns((RESTART,)), tools=[Restart()]).run("mend it")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((find_run(waiting.run_id) / FILE_NAME).read_bytes())
    result = await Agent(model=Nobody(), tools=[Restart()]).resume(read_recording(copy))
    assert result.status is RunStatus.FAILED
    assert "copy.jsonl" in str(result.error)


def test_a_second_one_of_this_process_is_refused(tmp_path: Path) -> None:
    with (
        contextlib.closing(Journal(tmp_path / "r")),
        pytest.raises(JournalError, match="goes on"),
    ):
        Journal(tmp_path / "r")


async def test_time_is_over_before_it_could_begin() -> None:
    class Never(InMemory):
        async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
            await asyncio.Event().wait()
            return []

    agent = Agent(model=Nobody(), memory=Never(), limits=Limits(max_seconds=0.05))
    result = await agent.run("go", session="s")
    assert result.status is RunStatus.LIMIT
    assert read_run(result.run_id).state is State.LIMIT
    assert journals_open() == []


def test_it_is_let_go_while_a_thread_waits_for_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r")
    # As a system call in another thread does.
    other = os.dup(journal._file)
    try:
        journal.close()
        assert not is_held(journal.path)
        Journal(tmp_path / "r").close()
    finally:
        os.close(other)


async def test_times_are_in_order_whichever_thread_writes(tmp_path: Path) -> None:
    with contextlib.closing(Journal(tmp_path / "r")) as journal:

        def write(number: int) -> None:
            for _ in range(200):
                journal.write(ToolWithdrawn(f"{number}"))

        await asyncio.gather(*(asyncio.to_thread(write, n) for n in range(4)))
    times = [decode_line(each).at for each in journal.path.read_bytes().splitlines()]  # type: ignore[union-attr]
    assert times == sorted(times)
