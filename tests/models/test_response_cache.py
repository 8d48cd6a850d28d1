"""A request that was answered is answered again from disk, and no other one is."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from aof_nb.agent import Agent
from aof_nb.errors import BrokenStream
from aof_nb.events import ModelEvent, ModelResponse, Notice, TextDelta
from aof_nb.messages import Message, StopReason, ToolCall, ToolResult, Usage
from aof_nb.models.response_cache import cached
from aof_nb.ports import Model, ModelRequest, Sampling, ToolSpec
from tests.test_executor import Scripted, Turn

TOOL = ToolSpec(name="f", description="", input_schema={"type": "object"})
REQUEST = ModelRequest(messages=(Message.user("why?"),), system="s", tools=(TOOL,))


async def events(model: Model, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    async with contextlib.aclosing(model.stream(request)) as stream:
        return [event async for event in stream]


async def test_the_same_request_is_asked_once(tmp_path: Path) -> None:
    inner = Scripted(Turn("Because.", calls=(ToolCall("c", "f", {"é": [1, None]}),)))
    first = (await events(cached(inner, directory=tmp_path)))[-1]
    again = await events(cached(inner, directory=tmp_path))
    assert len(inner.requests) == 1
    assert isinstance(first, ModelResponse)
    assert again[-1] == msgspec.structs.replace(first, usage=Usage())
    assert again[0] == TextDelta("Because.")
    assert isinstance(again[1], Notice)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "t"},
        {"tools": ()},
        {"tool_choice": "none"},
        {"sampling": Sampling(max_tokens=5)},
        {"messages": (Message.user("why? "),)},
    ],
)
async def test_another_request_is_asked(tmp_path: Path, changes: dict[str, object]) -> None:
    inner = Scripted(Turn("Because."))
    model = cached(inner, directory=tmp_path)
    await events(model)
    await events(model, msgspec.structs.replace(REQUEST, **changes))
    other = Scripted(Turn("Because."))
    other.name = "test:other"
    await events(cached(other, directory=tmp_path))
    assert len(inner.requests) == 2
    assert len(other.requests) == 1


async def test_where_a_whole_output_lies_makes_no_difference(tmp_path: Path) -> None:
    inner = Scripted(Turn("Because."))
    for artifact in ("runs/1/a.txt", "runs/2/a.txt"):
        result = Message("tool", (ToolResult("c", "f", "out", artifact=artifact),))
        messages = (*REQUEST.messages, Message("assistant", (ToolCall("c", "f", {}),)), result)
        request = msgspec.structs.replace(REQUEST, messages=messages)
        await events(cached(inner, directory=tmp_path), request)
    assert len(inner.requests) == 1


async def test_only_whole_responses_are_kept(tmp_path: Path) -> None:
    cut = Turn("Beca", stop=StopReason.MAX_TOKENS)
    inner = Scripted(cut, Turn(error=BrokenStream("cut")), Turn("Because."))
    model = cached(inner, directory=tmp_path)
    await events(model)
    with pytest.raises(BrokenStream):
        await events(model)
    await events(model)
    await events(model)
    assert len(inner.requests) == 3


async def test_a_response_grows_old(tmp_path: Path) -> None:
    inner = Scripted(Turn("Because."))
    for _ in range(2):
        await events(cached(inner, directory=tmp_path, ttl=-1))
    assert len(inner.requests) == 2


async def test_an_agent_that_is_told_to_answers_from_disk(tmp_path: Path) -> None:
    inner = Scripted(Turn("Because."))
    agent = Agent(model=inner, response_cache=tmp_path)
    first, second = await agent.run("why?"), await agent.run("why?")
    assert (first.text, second.text) == ("Because.", "Because.")
    assert second.usage == Usage()
    assert len(inner.requests) == 1


@pytest.mark.parametrize("damage", ["file", "pickle", "text"])
async def test_a_damaged_cache_is_told_of_and_passed_by(tmp_path: Path, damage: str) -> None:
    inner = Scripted(Turn("Because."))
    model = cached(inner, directory=tmp_path)
    await events(model)
    if damage == "file":
        (tmp_path / "cache.db").write_bytes(b"x" * 5000)
    else:
        mode = 4 if damage == "pickle" else 1
        with contextlib.closing(sqlite3.connect(tmp_path / "cache.db")) as db:
            db.execute("UPDATE Cache SET mode = ?, value = ?", (mode, b"no JSON"))
            db.commit()
    got = await events(model)
    assert isinstance(got[0], Notice)
    assert isinstance(got[-1], ModelResponse)
    assert len(inner.requests) == 2
