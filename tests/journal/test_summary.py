"""Lists of runs: right, quick, and not to be broken by what is damaged."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from aof_nb import RunStatus
from aof_nb.journal import summary
from aof_nb.journal.entries import Parent, RunBegun, RunEnded, RunResumed, encode_line
from aof_nb.journal.journal import Journal
from aof_nb.journal.recording import Recording
from aof_nb.journal.runs import find_run, read_run, run_directories
from aof_nb.journal.summary import RunSummary, summaries, waiting_calls
from aof_nb.messages import Text, Usage
from tests.journal.conftest import Kill
from tests.journal.scenes import call, incident, incident_agent


def begun(run_id: str, **fields: object) -> bytes:
    known = {"agent": "sre", "model": "script:a", "prompt": "p", "time": 100.0} | fields
    return encode_line(0.0, RunBegun(run_id=run_id, **known))  # type: ignore[arg-type]


def ended(status: RunStatus = RunStatus.COMPLETED, text: str = "t") -> bytes:
    return encode_line(
        2.0,
        RunEnded(
            status=status,
            text=text,
            turns=3,
            tool_calls=4,
            duration=2.0,
            usage_by_model={"script:a": Usage(10, 5), "ollama:b": Usage(1, 1)},
        ),
    )


def put(state: Path, run_id: str, *lines: bytes) -> Path:
    path = state / "runs" / run_id / "journal.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def listed(**filters: object) -> dict[str, RunSummary]:
    return {each.run_id: each for each in summaries(**filters)}  # type: ignore[arg-type]


async def test_a_summary_says_what_the_recording_does(state: Path) -> None:
    result = await incident("why?")
    [run] = summaries()
    recording = read_run(result.run_id)
    assert run == RunSummary(
        run_id=result.run_id,
        status="completed",
        path=recording.path,
        began=recording.begun.time,
        agent="sre",
        model=recording.begun.model,
        prompt="why?",
        session="inc-42",
        turns=result.turns,
        tool_calls=result.tool_calls,
        duration=recording.ended.duration if recording.ended else 0.0,
        usage_by_model=dict(result.usage_by_model),
    )
    assert run.cost == result.cost


async def test_runs_that_have_not_ended_are_told_apart(kill: Kill, state: Path) -> None:
    kill()
    agent = incident_agent((call("restart", service="web"),), (Text("done"),))
    waits = await agent.run("x")
    goes_on = Journal(state / "runs" / "going-on")
    empty = Journal(state / "runs" / "has-just-begun")
    goes_on.write(RunBegun(run_id="going-on", agent="a", model="m", prompt="p", time=time.time()))
    resumed = put(state, "resumed", begun("resumed"), ended(RunStatus.WAITING))
    again = Journal(resumed.parent)
    again.write(RunResumed(time=200.0))
    statuses = {each.run_id: each.status for each in summaries()}
    assert statuses == {
        "killed": "interrupted",
        waits.run_id: "waiting",
        "going-on": "running",
        "has-just-begun": "running",
        "resumed": "running",
    }
    interrupted = listed()["killed"]
    assert (interrupted.turns, interrupted.tool_calls) == (1, 2)
    assert interrupted.usage == read_run("killed").usage_by_model[interrupted.model]
    for each in (goes_on, empty, again):
        each.close()
    assert listed()["has-just-begun"].status == "damaged"
    assert listed()["resumed"].status == "interrupted"


def test_what_is_damaged_is_listed_as_such(state: Path) -> None:
    put(state, "empty")
    put(state, "torn-at-once", begun("torn-at-once")[:30])
    put(state, "binary", b"\x00\xff\xfe" * 100, b"\n", ended())
    put(state, "other", b'{"type": "something", "run_id": "other"}\n')
    put(state, "no-run", ended())
    put(state, "last-line", begun("last-line"), b'{"type":"run_ended","status":7}\n')
    put(state, "middle", begun("middle"), b"nonsense\n", encode_line(1.0, RunResumed(time=1.0)))
    put(state, "surrogates", b'{"type":"run_begun","agent":"\xed\xa0\x80"}\n')
    put(state, "whole", begun("whole"), ended())
    unreadable = state / "runs" / "directory" / "journal.jsonl"
    unreadable.mkdir(parents=True)
    found = listed()
    assert [name for name, each in found.items() if each.status != "damaged"] == ["whole"]
    assert all(each.error for each in found.values() if each.status == "damaged")
    assert (found["middle"].error or "").startswith("line 2: JSON is malformed")
    assert found["middle"].agent == "sre"
    assert list(listed(statuses=["damaged"])) == [each for each in found if each != "whole"]


def test_a_torn_line_after_the_end_changes_nothing(state: Path) -> None:
    put(state, "a", begun("a"), ended(), b'{"at":3,"type":"run_res')
    assert listed()["a"].status == "completed"


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 131_072, 1_000_000])
def test_a_last_line_of_any_length_is_found(state: Path, size: int) -> None:
    put(
        state, "a", begun("a"), b'{"at":1,"type":"notice","text":"x"}\n' * 3, ended(text="y" * size)
    )
    assert (listed()["a"].status, listed()["a"].turns) == ("completed", 3)


def test_a_run_of_a_kind_to_come_is_listed(state: Path) -> None:
    first = (
        b'{"at":0,"type":"notebook_begun","run_id":"x","notebook":"/books/disks.ipynb",'
        b'"title":"Check the disks","time":1800000000.5}\n'
    )
    cell = b'{"at":1,"type":"cell_ended","cell":"a","status":"completed"}\n'
    put(state, "broke-off", first, cell)
    put(state, "done", first, cell, b'{"at":1,"type":"notebook_ended","status":"timeout"}\n')
    found = listed(agent="disks*")
    assert {name: each.status for name, each in found.items()} == {
        "broke-off": "interrupted",
        "done": "timeout",
    }
    assert found["done"].agent == "disks.ipynb"
    assert (found["done"].prompt, found["done"].began) == ("Check the disks", 1800000000.5)
    held = Journal(state / "runs" / "broke-off")
    assert listed()["broke-off"].status == "running"
    held.close()


def test_filters(state: Path) -> None:
    put(state, "a", begun("a", time=100.0, session="inc-1"), ended())
    put(state, "b", begun("b", time=200.0, agent="dba"), ended(RunStatus.FAILED))
    put(state, "c", begun("c", time=300.0, agent="sre-2"), ended(RunStatus.LIMIT))
    assert list(listed()) == ["c", "b", "a"]
    assert list(listed(agent="sre*")) == ["c", "a"]
    assert list(listed(agent="sre")) == ["a"]
    assert list(listed(session="inc-1")) == ["a"]
    assert list(listed(since=200.0)) == ["c", "b"]
    assert list(listed(statuses=["failed", "limit"])) == ["c", "b"]
    assert list(listed(agent="dba", since=201.0)) == []


def test_a_fork_names_its_parent(state: Path) -> None:
    put(state, "a", begun("a", parent=Parent("b", 2), notebook_run="n"), ended())
    assert (listed()["a"].forked_from, listed()["a"].notebook_run) == ("b", "n")


def test_a_thousand_runs_are_listed_without_reading_them_whole(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle = b'{"at":1,"type":"notice","text":"x"}\n' * 100
    for number in range(1000):
        name = f"r{number:03}"
        put(state, name, begun(name, time=float(number)), middle, ended())
    decoded = 0

    def counted(data: bytes, decode=summary.decode_line):
        nonlocal decoded
        decoded += 1
        return decode(data)

    def refused(path: Path) -> Recording:
        raise AssertionError(f"{path} is read whole")

    monkeypatch.setattr(summary, "decode_line", counted)
    monkeypatch.setattr(summary, "read_recording", refused)
    found = list(summaries())
    assert [each.run_id for each in found[:2]] == ["r999", "r998"]
    assert (len(found), decoded) == (1000, 2000)
    assert {each.cost for each in found} == {0.0}


def test_the_last_run_is_the_one_that_began_last(state: Path) -> None:
    put(state, "zz", begun("zz", time=100.0), ended())
    put(state, "20261126-031500-aaaaaa", begun("", time=300.0), ended())
    put(state, "20261126-031500-ffffff", begun("", time=299.0), ended())
    put(state, ".pruned-x", begun("x", time=900.0), ended())
    assert find_run("last").name == "20261126-031500-aaaaaa"
    assert [each.name for each in run_directories()][-1] == "zz"
    assert len(listed()) == 3


async def test_calls_that_wait_are_found_in_all_runs(state: Path) -> None:
    agent = incident_agent(
        (call("restart", service="web"), call("restart", service="db")), (Text("done"),)
    )
    results = await asyncio.gather(agent.run("x"), agent.run("y"))
    waiting = list(waiting_calls())
    assert {run.run_id for run, _ in waiting} == {each.run_id for each in results}
    assert sorted(each.request.arguments["service"] for _, each in waiting) == [
        "db",
        "db",
        "web",
        "web",
    ]
    path = find_run(results[0].run_id) / "journal.jsonl"
    with path.open("ab") as file:
        file.write(ended())
    assert {run.run_id for run, _ in waiting_calls()} == {results[1].run_id}


def test_a_summary_can_be_encoded(state: Path) -> None:
    put(state, "a", begun("a"), ended())
    [run] = summaries()
    assert msgspec.json.decode(msgspec.json.encode(run, enc_hook=str))["run_id"] == "a"
