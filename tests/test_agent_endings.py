"""However a run ends, its result is there and its conversation is kept."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aof_nb import Agent, McpServer
from aof_nb.errors import MemoryStoreError
from aof_nb.events import (
    ModelEvent,
    ModelResponse,
    RunFinished,
    RunStarted,
    RunStatus,
    TextDelta,
)
from aof_nb.limits import Limits
from aof_nb.mcp.pool import pool
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message, StopReason, Usage
from aof_nb.ports import ModelRequest


class Answers:
    """A model that answers at once, or never."""

    name = "test:model"

    def __init__(self, *, never: bool = False) -> None:
        self.never = never
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.loops.add(asyncio.get_running_loop())
        yield TextDelta("it is full")
        if self.never:
            await asyncio.Event().wait()
        message = Message.assistant("it is full")
        yield ModelResponse(message, StopReason.END_TURN, Usage(1, 1), "m")


class Slow(InMemory):
    """Takes its time to keep something, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.writing = asyncio.Event()
        self.go_on = asyncio.Event()
        self.error = error

    async def append(self, session: str, messages: Sequence[Message]) -> None:
        self.writing.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        await super().append(session, messages)


async def test_a_run_that_is_closed_before_it_began_was_cancelled() -> None:
    run = Agent(model=Answers()).stream("why?")
    await run.aclose()
    assert run.result.status is RunStatus.CANCELLED


async def test_a_cancellation_while_the_conversation_is_written_loses_nothing() -> None:
    memory = Slow()
    running = asyncio.create_task(Agent(model=Answers(), memory=memory).run("why?", session="s"))
    await memory.writing.wait()
    running.cancel()
    await asyncio.sleep(0)
    memory.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [each.text for each in await memory.load("s")] == ["why?", "it is full"]


async def test_a_memory_that_fails_does_not_hide_a_cancellation() -> None:
    memory = Slow(MemoryStoreError("the disk is full"))
    memory.go_on.set()
    run = Agent(model=Answers(never=True), memory=memory).stream("why?", session="s")

    async def read() -> None:
        async for _ in run:
            reading.set()

    reading = asyncio.Event()
    running = asyncio.create_task(read())
    await reading.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert run.result.status is RunStatus.CANCELLED
    assert run.result.error is memory.error


async def test_closing_a_run_can_be_given_up() -> None:
    memory = Slow()
    run = Agent(model=Answers(never=True), memory=memory).stream("why?", session="s")
    with contextlib.suppress(StopAsyncIteration):
        while not isinstance(await anext(aiter(run)), TextDelta):
            pass
    closing = asyncio.create_task(run.aclose())
    await memory.writing.wait()
    closing.cancel()
    await asyncio.sleep(0)
    memory.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert [each.text for each in await memory.load("s")] == ["why?", "it is full"]


async def test_the_time_limit_holds_for_servers_that_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    hangs = McpServer(name="hangs", command="sleep", args=("60",))
    agent = Agent(model=Answers(), mcp_servers=[hangs], limits=Limits(max_seconds=0.5))
    run = agent.stream("why?")
    events = [event async for event in run]
    await pool().close()
    assert run.result.status is RunStatus.LIMIT
    assert run.result.limit == "seconds"
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)


async def test_the_time_that_a_memory_took_is_part_of_the_limit() -> None:
    class Reads(InMemory):
        async def load(self, session: str, *, limit: int | None = None) -> list[Message]:
            await asyncio.sleep(0.8)
            return []

    agent = Agent(model=Answers(never=True), memory=Reads(), limits=Limits(max_seconds=1))
    result = await agent.run("why?", session="s")
    assert result.status is RunStatus.LIMIT
    assert result.duration < 0.9
    assert result.text == "it is full"


async def test_a_playbook_reads_the_prompt_also_in_a_turn_that_is_the_first_and_the_last(
    tmp_path: Path,
) -> None:
    playbook = tmp_path / "p.yaml"
    playbook.write_text("steps:\n- answer: 'asked: {{ prompt }}'\n")
    agent = Agent(model=f"script:{playbook}", tools=["list_directory"], limits=Limits(max_turns=1))
    assert (await agent.run("why?")).text == "asked: why?"


def test_threads_that_run_at_the_same_time_share_one_loop() -> None:
    model = Answers()
    agent = Agent(model=model)
    ready = threading.Barrier(8)

    def run() -> str:
        ready.wait()
        return agent.run_sync("why?").text

    with ThreadPoolExecutor(8) as threads:
        texts = [each.result() for each in [threads.submit(run) for _ in range(8)]]
    assert texts == ["it is full"] * 8
    assert len(model.loops) == 1
