"""The runs of the machine, looked at again and again."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from aof_nb import Agent
from aof_nb.journal import run_index
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.log_feed import LogFeed
from aof_nb.journal.recording import State
from aof_nb.journal.run_index import RunIndex
from aof_nb.journal.runs import run_dir
from tests.notebook.fakes import Says


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))


@pytest.fixture
def read_paths(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    paths: list[Path] = []
    summarise = run_index.summarise

    def counted(path: Path) -> object:
        paths.append(path)
        return summarise(path)

    monkeypatch.setattr(run_index, "summarise", counted)
    return paths


async def run(answer: str = "Fine.") -> Path:
    result = await Agent(name="sre", model=Says([answer])).run("How is it?")
    return run_dir(result.run_id) / FILE_NAME


async def test_a_run_that_has_ended_is_read_once(read_paths: list[Path]) -> None:
    first = await run()
    index = RunIndex()
    assert [each.status for each in index.read()] == ["completed"]
    second = await run()
    assert len(index.read()) == len(index.read()) == 2
    assert read_paths == [first, second]
    assert index.read(within=0.0) == []


async def test_an_interrupted_run_that_goes_on_is_seen(read_paths: list[Path]) -> None:
    journal = await run()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    index = RunIndex()
    assert [each.status for each in index.read()] == [State.INTERRUPTED.value]
    assert [each.status for each in index.read()] == [State.INTERRUPTED.value]
    assert len(read_paths) == 1
    with journal.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert [each.status for each in index.read(within=0.0)] == [State.RUNNING.value]
    assert [each.status for each in index.read()] == [State.INTERRUPTED.value]
    journal.write_bytes(b"".join(lines))
    assert [each.status for each in index.read()] == ["completed"]


async def test_the_log_goes_on_where_it_ended_and_names_damage() -> None:
    journal = await run("All is <b>well</b>.")
    data = journal.read_bytes()
    half = data.index(b"\n", len(data) // 2) - 3
    journal.write_bytes(data[:half])
    feed = LogFeed()
    begun = sorted(feed.read(), key=lambda each: each.place)
    journal.write_bytes(data + b"no entry\n")
    whole = sorted(feed.read(), key=lambda each: each.place)
    assert whole[: len(begun)] == begun
    assert len({each.place for each in whole}) == len(whole) > len(begun)
    assert any("All is <b>well</b>." in each.text for each in whole)
    assert (whole[0].agent, whole[0].run_id) == ("sre", journal.parent.name)
    assert [each.level for each in whole[-2:]] == ["info", "error"]
