"""Runs that stop and go on leave in their session one conversation, that any provider takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from aof_nb import Agent, RunStatus
from aof_nb.errors import Overloaded
from aof_nb.events import ModelEvent, TextDelta, ToolStarted
from aof_nb.journal.entries import ModelRequested, encode_line
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.runs import find_run, read_run
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message, Outcome
from aof_nb.models.resilience import RetryPolicy
from aof_nb.ports import ModelRequest, ToolContext, ToolOutput
from tests.journal.test_replay import Turns
from tests.journal.test_resume import RESTART, Restart, cut


def checked(conversation: list[Message]) -> list[str]:
    """The roles of a conversation in which each call has one result, right after it."""
    seen: set[str] = set()
    for place, message in enumerate(conversation):
        ids = [call.id for call in message.tool_calls]
        assert seen.isdisjoint(ids), f"{ids} twice"
        seen.update(ids)
        if ids:
            following = conversation[place + 1]
            assert [each.call_id for each in following.tool_results] == ids
        if message.role == "tool":
            assert conversation[place - 1].tool_calls
    return [message.role for message in conversation]


async def test_a_run_that_waits_adds_to_its_session_when_it_has_gone_on() -> None:
    memory, restart = InMemory(), Restart()
    waiting = await Agent(model=Turns((RESTART,)), tools=[restart], memory=memory).run(
        "mend it", session="s"
    )
    assert waiting.status is RunStatus.WAITING
    assert await memory.load("s") == []
    agent = Agent(model=Turns(("done",)), tools=[restart], memory=memory)
    assert (await agent.resume(waiting.run_id)).status is RunStatus.WAITING
    assert await memory.load("s") == []
    await agent.resume(waiting.run_id, approve="all")
    kept = await memory.load("s")
    assert checked(kept) == ["user", "assistant", "tool", "assistant"]
    assert kept[2].tool_results[0].outcome is Outcome.OK


@pytest.mark.parametrize("said", [(), ("half of ",)])
@pytest.mark.parametrize("meanwhile", [False, True])
async def test_a_run_that_failed_adds_what_is_new(said: tuple[str, ...], meanwhile: bool) -> None:
    memory, restart = InMemory(), Restart()
    failing = Agent(
        model=Turns((RESTART,), (*said, Overloaded("no room"))),
        tools=[restart],
        retry=RetryPolicy(attempts=1),
        memory=memory,
    )
    failed = await failing.run("mend it", session="s", approve="all")
    assert failed.status is RunStatus.FAILED
    if meanwhile:
        await memory.append("s", [Message.user("and now?"), Message.assistant("it is better")])
    before = len(await memory.load("s"))
    agent = Agent(model=Turns(("done",)), tools=[restart], memory=memory)
    await agent.resume(failed.run_id)
    kept = await memory.load("s")
    checked(kept)
    assert [each.text for each in kept[before:]] == ["done"]


async def test_a_run_that_was_cancelled_in_a_call_adds_what_is_new() -> None:
    memory = InMemory()

    class Hangs(Restart):
        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            await asyncio.Event().wait()
            return ToolOutput("")

    run = Agent(model=Turns((RESTART,)), tools=[Hangs()], memory=memory).stream(
        "mend it", session="s", approve="all"
    )
    async for event in run:
        if isinstance(event, ToolStarted):
            break
    await asyncio.sleep(0.05)
    await run.aclose()
    assert checked(await memory.load("s")) == ["user", "assistant", "tool"]
    agent = Agent(model=Turns(("it may be done",)), tools=[Restart()], memory=memory)
    await agent.resume(run.run_id)
    kept = await memory.load("s")
    assert checked(kept) == ["user", "assistant", "tool", "assistant"]
    assert kept[-1].text == "it may be done"


async def test_a_run_that_was_cancelled_in_a_response_adds_what_is_new() -> None:
    class Stops(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            if len(request.messages) > 1:
                yield TextDelta("I think ")
                await asyncio.Event().wait()
            async for event in super().stream(request):
                yield event

    memory, restart = InMemory(), Restart()
    run = Agent(model=Stops((RESTART,)), tools=[restart], memory=memory).stream(
        "mend it", session="s", approve="all"
    )
    async for event in run:
        if isinstance(event, TextDelta):
            break
    await run.aclose()
    await Agent(model=Turns(("done",)), tools=[restart], memory=memory).resume(run.run_id)
    kept = await memory.load("s")
    assert [each.text for each in kept if each.role == "assistant"][1:] == ["I think ", "done"]
    checked(kept)


@pytest.mark.parametrize("kept_lines", range(1, 12))
async def test_a_run_that_died_adds_what_is_new(kept_lines: int) -> None:
    memory, restart = InMemory(), Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart], memory=memory)
    result = await agent.run("mend it", session="s", approve="all")
    path = find_run(result.run_id) / FILE_NAME
    lines = read_run(result.run_id).lines
    if kept_lines >= len(lines):
        return
    path.write_bytes(b"".join(encode_line(line.at, line.entry) for line in lines[:kept_lines]))
    turns = sum(type(line.entry).__name__ == "ModelResponded" for line in lines[:kept_lines])
    again = Agent(model=Turns(*[(RESTART,), ("done",)][turns:]), tools=[restart], memory=memory)
    await again.resume(result.run_id)
    kept = await memory.load("s")
    assert checked(kept)[:2] == ["user", "assistant"]
    assert [each.text for each in kept if each.role == "user"] == ["mend it"]


async def test_a_run_that_died_before_it_asked_has_the_session_s_past() -> None:
    memory = InMemory()
    await memory.append("s", [Message.user("hi"), Message.assistant("hello")])
    model = Turns(("done",))
    result = await Agent(model=model, memory=memory).run("go", session="s")
    cut(result.run_id, lambda each: not isinstance(each, ModelRequested))
    await memory.delete("s")
    await memory.append("s", [Message.user("hi"), Message.assistant("hello")])
    again = Turns(("done",))
    await Agent(model=again, memory=memory).resume(result.run_id)
    assert [each.text for each in again.asked[0].messages] == ["hi", "hello", "go"]
    assert checked(await memory.load("s")) == ["user", "assistant"] * 2
