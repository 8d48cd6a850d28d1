"""Where runs are kept, by what ids, and who may look."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb import Agent, RunStatus
from aof_nb.errors import ConfigurationError
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.recording import read_recordings
from aof_nb.journal.runs import find_run, read_run, run_dir
from aof_nb.ports import Effect
from aof_nb.run import new_run_id
from tests.journal.test_playback import Does
from tests.journal.test_replay import Nobody, Turns

ODD = ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", "-rf", " a", "a ", ".pruned-1", "last"]
ODD += ["x" * 300, "é" * 150, "half \ud800", "a\\b", "\x1b[31mred"]


@pytest.mark.parametrize("journal", [True, False])
@pytest.mark.parametrize("run_id", ODD[1:])
async def test_an_id_that_no_directory_should_have_is_refused(run_id: str, journal: bool) -> None:
    result = await Agent(model=Nobody(), journal=journal).run("go", run_id=run_id)
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, ConfigurationError)
    assert "cannot be a run's id" in result.error.message


@pytest.mark.parametrize("run_id", [each for each in ODD if each != "last"])
def test_what_names_no_run_is_said_to(run_id: str) -> None:
    with pytest.raises(ConfigurationError):
        find_run(run_id)


@pytest.mark.parametrize(
    "run_id", ["größe", "a b", "incident:42", "2026-11-26T03:15:00Z", "_x", "$HOME", "*"]
)
async def test_other_ids_are_taken_as_they_are(run_id: str) -> None:
    result = await Agent(model=Turns(("done",))).run("go", run_id=run_id)
    assert result.error is None
    assert read_run(run_id).run_id == run_id
    twice = await Agent(model=Nobody()).run("go", run_id=run_id)
    assert "there is a run" in str(twice.error)
    assert read_run(run_id).begun.prompt == "go"


@given(st.text())
def test_no_id_leads_elsewhere(run_id: str) -> None:
    try:
        directory = run_dir(run_id)
    except ConfigurationError:
        return
    assert directory.name == run_id
    assert directory.parent.name == "runs"
    os.fsencode(directory)


def test_ids_are_not_made_twice() -> None:
    ids = [new_run_id() for _ in range(3000)]
    assert len(set(ids)) == len(ids)
    assert all(run_dir(each) for each in ids)


async def test_a_recording_s_id_leads_nowhere(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    result = await Agent(model=Turns(("one",))).run("go")
    text = (find_run(result.run_id) / FILE_NAME).read_text()
    cassette.write_text(text.replace(result.run_id, "../../elsewhere"))
    assert read_recordings(cassette)[0].run_id == "../../elsewhere"
    agent = Agent(model=Nobody(), tools=[Does("one")])
    await agent.run("go", replay=cassette)
    assert not (tmp_path / "elsewhere").exists()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(directory: Path) -> set[tuple[bool, int]]:
    return {
        (each.is_dir(), stat.S_IMODE(each.stat().st_mode))
        for each in [directory, *directory.rglob("*")]
    }


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_only_the_owner_may_look_at_a_run(mask: int) -> None:
    with umask(mask):
        long = Does("one", Effect.WRITE)
        agent = Agent(model=Turns(("done",)), tools=[long])
        result = await agent.run("go")
    assert modes(find_run(result.run_id)) == {(True, 0o700), (False, 0o600)}


async def test_what_was_open_to_others_is_closed_when_a_run_goes_on_there(tmp_path: Path) -> None:
    directory = tmp_path / "r"
    directory.mkdir(mode=0o755)
    (directory / FILE_NAME).touch(mode=0o644)
    Journal(directory).close()
    assert modes(directory) == {(True, 0o700), (False, 0o600)}


async def test_what_is_to_be_recorded_is_although_no_journal_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cassette = tmp_path / "c.jsonl"
    monkeypatch.setenv("AOF_RECORD", str(cassette))
    await Agent(model=Turns(("done",)), journal=False).run("go")
    assert [each.begun.prompt for each in read_recordings(cassette)] == ["go"]
