"""Calls: their results, their time, and what becomes of them when the server dies."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import signal
import time

import pytest

from aof_nb.errors import OutcomeUnknown, ToolError
from aof_nb.events import ToolProgress
from aof_nb.mcp.elicitation import Question, accept_defaults
from aof_nb.mcp.pool import McpPool
from tests.mcp.conftest import Odd, Run, offered, until

CELL: contextvars.ContextVar[str] = contextvars.ContextVar("CELL")
WITH_DEFAULTS = {
    "type": "object",
    "properties": {"name": {"type": "string", "default": "Ann"}, "age": {"type": "integer"}},
    "required": ["name"],
}


async def test_a_write_in_flight_when_the_server_dies_is_never_repeated(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    with pytest.raises(OutcomeUnknown, match="not known whether the call was carried out"):
        await run.call(tools["odd__write_and_die"])
    assert odd.noted("calls") == ["write_and_die"]
    assert (await run.call(tools["odd__count"])).content == "count done"
    assert odd.noted("calls") == ["write_and_die", "count"]
    assert odd.noted("starts") == ["x", "x"]


async def test_a_read_in_flight_when_the_server_dies_is_repeated_once(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    assert (await run.call(tools["odd__read_and_die"])).content == "alive again"
    with pytest.raises(ToolError, match="the session ended") as caught:
        await run.call(tools["odd__die_before_answering_twice"])
    assert not isinstance(caught.value, OutcomeUnknown)
    assert odd.noted("calls") == ["read_and_die"] * 2 + ["die_before_answering_twice"] * 2


async def test_all_calls_in_flight_learn_that_the_server_died(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    calls = [asyncio.create_task(run.call(tools["odd__silent"])) for _ in range(3)]
    await until(lambda: odd.noted("calls") == ["silent"] * 3)
    os.kill(odd.pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 3
    assert odd.noted("calls") == ["silent"] * 3


async def test_a_call_without_an_answer_in_time_is_cancelled_and_its_outcome_unknown(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec(timeout=2.5))
    with pytest.raises(OutcomeUnknown, match=r"within 2\.5 s"):
        await run.call(tools["odd__silent"])
    await until(lambda: len(odd.noted("cancelled")) == 1)
    with pytest.raises(ToolError, match=r"within 2\.5 s") as caught:
        await run.call(tools["odd__sleep"], seconds=30)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert (await run.call(tools["odd__count"])).content == "count done"
    assert odd.noted("starts") == ["x"]


async def test_progress_is_told_and_grants_the_time_anew(mcp: McpPool, odd: Odd, run: Run) -> None:
    tools = await offered(mcp, odd.spec(timeout=3))
    begun = time.monotonic()
    output = await run.call(tools["odd__progress"], steps=4, seconds=1)
    assert time.monotonic() - begun > 3
    assert output.content == "done"
    assert run.events == [
        ToolProgress("call-1", f"step {step}", float(step), 4.0) for step in range(1, 5)
    ]


async def test_cancelling_a_call_cancels_it_on_the_server_and_no_other(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    silent = asyncio.create_task(run.call(tools["odd__silent"]))
    sleeping = asyncio.create_task(run.call(tools["odd__sleep"], seconds=0.5))
    await until(lambda: sorted(odd.noted("calls")) == ["silent", "sleep"])
    begun = time.monotonic()
    silent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await silent
    assert time.monotonic() - begun < 1
    assert (await sleeping).content == "slept"
    await until(lambda: len(odd.noted("cancelled")) == 1)
    assert (await run.call(tools["odd__count"])).content == "count done"
    assert odd.noted("starts") == ["x"]


async def test_cancelling_the_first_of_two_users_leaves_the_start_to_the_other(
    mcp: McpPool, odd: Odd
) -> None:
    first = asyncio.create_task(mcp.tools([odd.spec()]))
    second = asyncio.create_task(offered(mcp, odd.spec()))
    await until(lambda: mcp.status() != [])
    first.cancel()
    assert "odd__count" in await second
    assert odd.noted("starts") == ["x"]


async def test_what_the_tool_says_went_wrong_is_an_error(mcp: McpPool, odd: Odd, run: Run) -> None:
    tools = await offered(mcp, odd.spec())
    output = await run.call(tools["odd__fail"])
    assert output.is_error
    assert output.content == "it went wrong"


async def test_an_answer_that_breaks_its_schema_says_that_the_call_was_carried_out(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    with pytest.raises(ToolError, match="has carried it out, but its answer is wrong"):
        await run.call(tools["odd__invalid_answer"])


async def test_servers_are_told_that_nobody_can_be_asked(mcp: McpPool, odd: Odd, run: Run) -> None:
    tools = await offered(mcp, odd.spec())
    assert "elicitation" not in odd.capabilities
    output = await run.call(tools["odd__ask"], schema=WITH_DEFAULTS)
    assert "not supported" in output.content


async def test_a_handler_answers_questions_and_its_time_does_not_count(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    questions = []

    async def answer(question: Question) -> dict[str, object]:
        questions.append(question)
        await asyncio.sleep(3)
        return {"name": "Bob"}

    mcp.on_elicitation = answer
    tools = await offered(mcp, odd.spec(timeout=2.5))
    output = await run.call(tools["odd__ask"], schema=WITH_DEFAULTS)
    assert json.loads(output.content) == {"action": "accept", "content": {"name": "Bob"}}
    assert questions == [Question(server="odd", message="Which?", schema=WITH_DEFAULTS)]


async def test_questions_are_asked_in_the_context_of_the_call(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    cells = []

    async def answer(_: Question) -> None:
        cells.append(CELL.get())

    mcp.on_elicitation = answer
    for cell in ("first", "second"):
        CELL.set(cell)
        tools = await offered(mcp, odd.spec())
        output = await run.call(tools["odd__ask"], schema=WITH_DEFAULTS)
        assert json.loads(output.content) == {"action": "decline"}
    assert cells == ["first", "second"]


async def test_defaults_are_accepted_only_where_nothing_required_lacks_one(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    mcp.on_elicitation = accept_defaults
    tools = await offered(mcp, odd.spec())
    output = await run.call(tools["odd__ask"], schema=WITH_DEFAULTS)
    assert json.loads(output.content) == {"action": "accept", "content": {"name": "Ann"}}
    required = WITH_DEFAULTS | {"required": ["name", "age"]}
    output = await run.call(tools["odd__ask"], schema=required)
    assert json.loads(output.content) == {"action": "decline"}
    assert await accept_defaults(Question(server="s", message="m", url="https://a.test")) is None
