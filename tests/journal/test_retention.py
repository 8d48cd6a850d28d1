"""Old runs are deleted, the oldest first, and none that goes on or waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aof_nb import RunStatus
from aof_nb.errors import ConfigurationError
from aof_nb.journal import retention
from aof_nb.journal.entries import RunBegun, encode_line
from aof_nb.journal.journal import Journal
from aof_nb.journal.playbook_entries import PlaybookBegun, PlaybookEnded
from aof_nb.journal.retention import Retention, parse_age, parse_size, prune, prune_in_background
from aof_nb.messages import Text
from tests.journal.scenes import incident_agent
from tests.journal.test_summary import begun, ended, put

DAY = 86_400.0


def aged(state: Path, name: str, days: float, *lines: bytes, size: int = 0) -> Path:
    """A run that last wrote something some days ago."""
    path = put(state, name, *(lines or (begun(name), ended())))
    if size:
        (path.parent / "artifacts").mkdir()
        (path.parent / "artifacts" / "a.txt").write_bytes(b"x" * size)
    then = time.time() - days * DAY
    for each in [*path.parent.rglob("*"), path.parent]:
        os.utime(each, (then, then))
    return path.parent


def left(state: Path) -> set[str]:
    return {each.name for each in (state / "runs").iterdir() if each.is_dir()}


def test_runs_go_by_age(state: Path) -> None:
    aged(state, "old", 31)
    aged(state, "older", 40, size=1000)
    aged(state, "new", 29)
    wanted = Retention(max_age=30 * DAY)
    assert [each.run_id for each in prune(wanted, dry_run=True)] == ["older", "old"]
    assert left(state) == {"old", "older", "new"}
    pruned = prune(wanted)
    assert [each.run_id for each in pruned] == ["older", "old"]
    assert pruned[0].size > 1000
    assert left(state) == {"new"}
    assert prune(wanted) == []


def test_runs_go_by_size_the_oldest_first(state: Path) -> None:
    for days in range(1, 6):
        aged(state, f"r{days}", days, size=1_000_000)
    wanted = Retention(max_size=2_500_000)
    assert [each.run_id for each in prune(wanted, dry_run=True)] == ["r5", "r4", "r3"]
    prune(wanted)
    assert left(state) == {"r1", "r2"}


def test_what_goes_on_or_waits_stays(state: Path) -> None:
    aged(state, "waits", 400, begun("waits"), ended(RunStatus.WAITING))
    aged(state, "failed", 400, begun("failed"), ended(RunStatus.FAILED))
    aged(state, "damaged", 400, b"nonsense\n")
    aged(state, "interrupted", 400, begun("interrupted"))
    goes_on = Journal(state / "runs" / "goes-on")
    goes_on.write(RunBegun(run_id="goes-on", agent="a", model="m", prompt="p", time=1.0))
    os.utime(goes_on.path, (1, 1))
    os.utime(goes_on.directory, (1, 1))
    pruned = {each.run_id for each in prune(Retention(max_age=DAY, max_size=0))}
    assert pruned == {"failed", "damaged", "interrupted"}
    assert left(state) == {"waits", "goes-on"}
    goes_on.close()
    assert [each.run_id for each in prune(Retention(max_age=DAY))] == ["goes-on"]


@pytest.mark.parametrize(
    ("status", "stays"),
    [("waiting", {"book", "child"}), ("failed", {"child"}), ("completed", set())],
)
def test_what_a_notebook_needs_to_go_on_stays(state: Path, status: str, stays: set[str]) -> None:
    book = PlaybookBegun(run_id="book", notebook="n", time=1e9, output="o", report="r", format=1)
    end = PlaybookEnded(status=status, duration=1.0)
    aged(state, "book", 300, encode_line(0.0, book), encode_line(1.0, end))
    child = RunBegun(
        run_id="child", agent="a", model="m", prompt="p", time=1e9, format=1, notebook_run="book"
    )
    aged(state, "child", 400, encode_line(0.0, child), ended())
    prune(Retention(max_age=30 * DAY))
    assert left(state) == stays
    if status == "failed":
        # It has been deleted itself by now.
        prune(Retention(max_age=30 * DAY))
        assert left(state) == set()


def test_a_run_that_is_opened_meanwhile_stays(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = aged(state, "resumed", 40)
    monkeypatch.setattr(retention, "_is_kept", lambda *_: False)
    opened = Journal(directory)
    assert prune(Retention(max_age=DAY)) == []
    opened.close()
    assert len(prune(Retention(max_age=DAY))) == 1


def test_a_run_without_a_journal_is_left_a_day(state: Path) -> None:
    for name, days in (("old", 2.0), ("new", 0.5)):
        artifacts = state / "runs" / name / "artifacts"
        artifacts.mkdir(parents=True)
        (artifacts / "a.txt").write_text("x")
        then = time.time() - days * DAY
        for each in (artifacts / "a.txt", artifacts, artifacts.parent):
            os.utime(each, (then, then))
    prune(Retention(max_size=0))
    assert left(state) == {"new"}


def test_what_was_begun_to_be_deleted_is_finished(state: Path) -> None:
    half = state / "runs" / ".pruned-half"
    half.mkdir(parents=True)
    (half / "journal.jsonl").write_bytes(begun("half"))
    assert prune(Retention(max_age=DAY), dry_run=True) == []
    assert half.exists()
    prune(Retention(max_age=DAY))
    assert not half.exists()


def test_links_are_not_followed(state: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("x" * 5000)
    directory = aged(state, "old", 40)
    (directory / "link").symlink_to(outside)
    then = time.time() - 40 * DAY
    os.utime(directory / "link", (then, then), follow_symlinks=False)
    os.utime(directory, (then, then))
    [pruned] = prune(Retention(max_age=DAY))
    assert pruned.size < 20_000
    assert (outside / "kept.txt").exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43_200.0), ("30d", 30 * DAY), ("2w", 14 * DAY), ("90", 90.0)]
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text, "--older-than") == seconds


def test_sizes() -> None:
    assert parse_size("2GB", "x") == 2_000_000_000
    assert parse_size("1.5GiB", "x") == 1_610_612_736
    assert parse_size("500", "x") == 500


@pytest.mark.parametrize("text", ["soon", "-1d", "1y", ""])
def test_what_is_no_age_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--older-than: .* is no duration"):
        parse_age(text, "--older-than")


@pytest.mark.parametrize("text", ["much", "2Gx", "-5MB", ""])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--max-size: .* is no size"):
        parse_size(text, "--max-size")


def wait_until(condition) -> None:
    given_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < given_up
        time.sleep(0.01)


async def test_settings_are_applied_once_a_day_when_a_run_begins(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = incident_agent((Text("hi"),))
    aged(state, "old", 31)
    await agent.run("x", run_id="first")
    assert "old" in left(state)
    monkeypatch.setenv("AOF_RUNS_MAX_AGE", "30d")
    await agent.run("x", run_id="second")
    wait_until(lambda: left(state) == {"first", "second"} and not retention._begun.locked())
    aged(state, "old", 31)
    await agent.run("x", run_id="third")
    assert not retention._begun.locked()
    assert "old" in left(state)
    stamp = state / "runs" / ".pruned"
    assert stamp.stat().st_mode & 0o777 == 0o600
    os.utime(stamp, (1, 1))
    await agent.run("x", run_id="fourth")
    wait_until(lambda: "old" not in left(state) and not retention._begun.locked())
    assert left(state) == {"first", "second", "third", "fourth"}


async def test_wrong_settings_delete_nothing_and_are_told(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(state, "old", 31)
    monkeypatch.setenv("AOF_RUNS_MAX_SIZE", "some")
    assert "AOF_RUNS_MAX_SIZE: 'some' is no size" in prune_in_background()
    run = incident_agent((Text("hi"),)).stream("x")
    notices = [each.text async for each in run if type(each).__name__ == "Notice"]
    assert any("no runs are deleted" in each for each in notices)
    assert run.result.status is RunStatus.COMPLETED
    assert "old" in left(state)
