"""What tools return and models say is in the journal, whatever it is."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb import Agent, RunStatus
from aof_nb.events import ToolFinished
from aof_nb.journal.encoding import encode, encode_in_order
from aof_nb.journal.entries import ModelResponded, ToolReturned, decode_line, encode_line
from aof_nb.journal.recorder import digest_of
from aof_nb.journal.runs import read_run
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.ports import Effect, ModelRequest, ToolContext, ToolOutput, ToolSpec
from tests.journal.test_replay import Nobody, Turns, events_of


class Pod(pydantic.BaseModel):
    name: str
    since: dt.datetime


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("it does not say")


def endless() -> list[Any]:
    values: list[Any] = []
    values += [values, values]
    return values


def deep() -> list[Any]:
    values: list[Any] = []
    for _ in range(5000):
        values = [values]
    return values


SINCE = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
ODD: dict[str, tuple[Any, Any]] = {
    "half a character": ({"path": "caf\udce9", "\ud800": 1}, {"path": "caf�", "�": 1}),
    "no number": ([math.nan, math.inf, -math.inf], [None, None, None]),
    "large": ({"n": 2**70, "more": -(10**60)}, {"n": 2**70, "more": -(10**60)}),
    "larger than can be written": ([10**5000], ["<int>"]),
    "bytes": ({"a": b"ab\xff"}, {"a": "YWL/"}),
    "a pydantic model": (
        Pod(name="web", since=SINCE),
        {"name": "web", "since": "2026-11-26T00:00:00Z"},
    ),
    "a time": ([SINCE], ["2026-11-26T00:00:00Z"]),
    "keys that are none": (
        {(1, 2): "a", None: "b", 1.5: "c"},
        {"(1, 2)": "a", "None": "b", "1.5": "c"},
    ),
    "an object in an odd one": ({"\ud800": object}, {"�": "<class 'object'>"}),
    "what does not say what it is": ([Silent(), "\ud800"], ["<Silent>", "�"]),
    "a path": (Path("/a"), "/a"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_json_is_kept_as_it_looks(name: str) -> None:
    value, kept = ODD[name]
    entry = ToolReturned(call_id="c", tool="t", output=ToolOutput("x", value), duration=1)
    line = decode_line(encode_line(0, entry))
    assert line is not None
    assert isinstance(line.entry, ToolReturned)
    assert line.entry.output.data == kept


@pytest.mark.parametrize("value", [endless(), deep()])
def test_what_has_no_end_is_cut_off(value: Any) -> None:
    line = decode_line(
        encode_line(
            0, ToolReturned(call_id="c", tool="t", output=ToolOutput("x", value), duration=1)
        )
    )
    assert line is not None
    assert digest_of(value) == digest_of(value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
)
anything = st.recursive(
    scalars | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(scalars, inner) | st.tuples(inner),
    max_leaves=12,
)


@given(anything)
def test_whatever_it_is_it_is_read_again(value: Any) -> None:
    once = msgspec.json.decode(encode(value))
    assert msgspec.json.decode(encode(once)) == once
    assert encode_in_order(value) == encode_in_order(value)
    said = Message("assistant", (Text(str(value)), ToolCall("c", "t", {"a": value})))
    entry = ModelResponded(
        turn=1, message=said, stop_reason=StopReason.END_TURN, usage=Usage(), model="m"
    )
    assert decode_line(encode_line(0, entry)) is not None


async def test_a_tool_that_returns_something_odd_is_journaled_and_replayed() -> None:
    outputs = [ToolOutput(f"caf\udce9 {n}", value) for n, (value, _) in enumerate(ODD.values())]

    class Odd:
        spec = ToolSpec(
            name="odd", description="", input_schema={"type": "object"}, effect=Effect.WRITE
        )

        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            number: int = arguments["n"]
            return outputs[number]

    calls = [ToolCall(f"c{n}", "odd", {"n": n}) for n in range(len(outputs))]
    agent = Agent(model=Turns(calls, ("done \ud83d",)), tools=[Odd()])
    run = agent.stream("go", approve="all")
    await events_of(run)
    assert run.result.status is RunStatus.COMPLETED
    kept = {each.call_id: each.output.data for each in read_run(run.run_id).of(ToolReturned)}
    assert [kept[f"c{n}"] for n in range(len(outputs))] == [kept for _, kept in ODD.values()]
    replayed = Agent(model=Nobody(), tools=[Odd()]).stream("go", replay=run.run_id)
    told = [each for each in await events_of(replayed) if isinstance(each, ToolFinished)]
    assert replayed.result.error is None
    assert {each.outcome for each in told} == {"ok"}
    assert replayed.result.messages[:-1] == run.result.messages[:-1]


async def test_an_output_of_ten_megabytes_is_whole_in_the_journal() -> None:
    text = "line of a log\n" * 750_000

    class Large:
        spec = ToolSpec(name="log", description="", input_schema={}, effect=Effect.READ)

        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            return ToolOutput(text)

    result = await Agent(model=Turns((ToolCall("c", "log", {}),), ("done",)), tools=[Large()]).run(
        "go"
    )
    [returned] = read_run(result.run_id).of(ToolReturned)
    assert returned.output.content == text
    assert len(result.messages[2].tool_results[0].content) < 30_000


def test_hashes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    program = tmp_path / "digests.py"
    program.write_text(
        "from aof_nb.journal.recorder import RequestDigests\n"
        "from aof_nb.messages import Message, Text, ToolCall\n"
        "from aof_nb.ports import ModelRequest, ToolSpec\n"
        "names = sorted({'a', 'b', 'c', 'd'}, key=hash)\n"
        "schema = {'type': 'object', 'properties': {n: {'enum': set(names)} for n in names}}\n"
        "call = Message('assistant', (ToolCall('c', 't', dict.fromkeys(names, 1)),))\n"
        "spec = ToolSpec(name='t', description='', input_schema=schema)\n"
        "request = ModelRequest(messages=(Message.user('hi'), call), tools=(spec,))\n"
        "print(RequestDigests().describe(request)[-1].digest)\n"
    )
    told = {
        subprocess.run(
            [sys.executable, str(program)],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(Path(__file__).parents[2])},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(told) == 1
    assert told != {""}


def test_a_request_that_cannot_be_hashed_as_it_is_has_a_hash() -> None:
    request = ModelRequest(messages=(Message.user("half \ud800"),))
    assert digest_of(request) == digest_of(request)
