"""Journals of notebooks' runs as they are read: cut anywhere, damaged, of another version."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import JournalError
from aof_nb.journal.entries import FORMAT, encode_line
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.playbook_entries import (
    CellBegun,
    CellEnded,
    CellPassed,
    KernelStarted,
    PlaybookBegun,
    PlaybookEnded,
    PlaybookEntry,
    PlaybookResumed,
    decode_playbook_line,
)
from aof_nb.journal.playbook_recording import is_playbook, read_playbook
from aof_nb.journal.recording import State, read_recording

BEGUN = PlaybookBegun(
    run_id="r", notebook="/n.ipynb", time=1000.0, output="/o.ipynb", report="/o.html", format=FORMAT
)


def begun(cell: str, place: int) -> CellBegun:
    return CellBegun(cell=cell, place=place, source="s", time=1000.0 + place, title=cell)


ENTRIES: list[tuple[float, PlaybookEntry]] = [
    (0.0, BEGUN),
    (1.0, KernelStarted(7, "/k.json")),
    (1.0, begun("a", 1)),
    (2.0, CellEnded(cell="a", status="completed", outputs=[{"output_type": "stream"}])),
    (2.0, begun("b", 2)),
    (3.0, CellEnded(cell="b", status="failed", error="E: no")),
    (3.0, PlaybookEnded(status="failed", duration=3.0, error="E: no")),
    (3.0, PlaybookResumed(time=2000.0, skip=("c",))),
    (3.5, KernelStarted(8, "/l.json")),
    (3.5, CellPassed(cell="a", place=1, time=2000.5, status="kept")),
    (3.6, begun("b", 2)),
]
WHOLE = b"".join(encode_line(at, entry) for at, entry in ENTRIES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


def test_it_tells_what_was_done_attempt_by_attempt(path: Path) -> None:
    path.write_bytes(WHOLE)
    recording = read_playbook(path)
    assert (recording.run_id, recording.attempts, recording.duration) == ("r", 2, 3.6)
    assert (recording.state, recording.ended) == (State.INTERRUPTED, None)
    assert [(each.entry.cell, each.attempt, each.status) for each in recording.cells] == [
        ("a", 1, "completed"),
        ("b", 1, "failed"),
        ("a", 2, "kept"),
        ("b", 2, "unknown"),
    ]
    assert [each.finished for each in recording.cells] == [True, False, False, False]
    assert recording.kernel == KernelStarted(8, "/l.json")
    assert recording.resumptions[0].skip == ("c",)
    assert list(recording.agent_runs()) == []
    assert is_playbook(path.parent)
    path.write_bytes(WHOLE + encode_line(4.0, PlaybookEnded(status="timeout", duration=4.0)))
    assert read_playbook(path).state is State.TIMEOUT


def test_it_goes_on_while_somebody_holds_it(path: Path) -> None:
    path.write_bytes(WHOLE)
    journal = Journal(path.parent)
    assert read_playbook(path).state is State.RUNNING
    journal.close()
    assert read_playbook(path).state is State.INTERRUPTED


def test_cut_anywhere_it_is_what_was_whole(path: Path) -> None:
    first = WHOLE.index(b"\n") + 1
    for end in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:end])
        if end < first:
            with pytest.raises(JournalError, match="does not begin with one"):
                read_playbook(path)
            continue
        recording = read_playbook(path)
        assert len(recording.lines) == WHOLE[:end].count(b"\n")
        assert recording.torn == (WHOLE[end - 1 : end] != b"\n")
        assert recording.damage == []


def test_what_is_damaged_is_named_and_what_is_new_left_out(path: Path) -> None:
    later = b'{"at":3,"type":"cell_dreamt","cell":"a"}\n'
    path.write_bytes(WHOLE.replace(b'"status":"failed"', b'"status":3', 1) + later)
    recording = read_playbook(path)
    assert [each.partition(":")[0] for each in recording.damage] == ["line 6"]
    assert len(recording.lines) == len(ENTRIES) - 1
    path.write_bytes(WHOLE.replace(b'"format":%d' % FORMAT, b'"format":99', 1))
    with pytest.raises(JournalError, match="reads up to"):
        read_playbook(path)
    with pytest.raises(JournalError, match="cannot be read"):
        read_playbook(path.parent / "gone")
    path.write_bytes(WHOLE)
    with pytest.raises(JournalError, match="of a notebook's run, not of an agent's"):
        read_recording(path)


@given(st.binary(max_size=40))
def test_no_line_breaks_it(line: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        decode_playbook_line(line)
