"""The journal as a file: what is written, what of it can be read, whatever happened to it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb.errors import JournalError
from aof_nb.events import RunStatus
from aof_nb.journal.entries import (
    FORMAT,
    Entry,
    ModelStreamed,
    RunBegun,
    RunEnded,
    ToolIntended,
    ToolReturned,
    ToolWithdrawn,
    decode_line,
    encode_line,
)
from aof_nb.journal.journal import Journal, is_held
from aof_nb.journal.recording import State, follow, read_recording, read_recordings
from aof_nb.ports import ToolOutput

BEGUN = RunBegun(run_id="r", agent="a", model="m", prompt="p", time=1.0, format=FORMAT)
ENDED = RunEnded(
    status=RunStatus.COMPLETED, text="t", turns=1, tool_calls=0, duration=1.0, usage_by_model={}
)


def entries_of(path: Path) -> list[Entry]:
    return [line.entry for line in read_recording(path).lines]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "r"


def test_what_is_written_is_read(directory: Path) -> None:
    returned = ToolReturned(call_id="c", tool="t", output=ToolOutput("x\ny", {"a": 1}), duration=2)
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
        journal.write(ModelStreamed(((0, "a"), (5, "b"))), returned)
    assert entries_of(directory / "journal.jsonl") == [
        BEGUN,
        ModelStreamed(((0, "a"), (5, "b"))),
        returned,
    ]


def test_others_may_not_read_it(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "journal.jsonl").stat().st_mode) == 0o600


def test_each_line_is_an_object_that_says_when_and_what() -> None:
    line = encode_line(12.3456, ToolIntended(call_id="c", tool="t", effect="write", arguments={}))
    assert msgspec.json.decode(line) == {
        "at": 12.346,
        "type": "tool_intended",
        "call_id": "c",
        "tool": "t",
        "effect": "write",
        "arguments": {},
    }


def test_what_a_tool_returned_that_is_no_json_is_kept_as_it_looks() -> None:
    output = ToolOutput("x", data={"path": Path("/a"), "odd": object})
    line = decode_line(
        encode_line(0, ToolReturned(call_id="c", tool="t", output=output, duration=1))
    )
    assert line is not None
    assert isinstance(line.entry, ToolReturned)
    assert line.entry.output.data["path"] == "/a"


def test_entries_of_a_later_version_are_left_out(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
        os.write(journal._file, b'{"at":1,"type":"of_tomorrow","call_id":"x"}\n')
        journal.write(ENDED)
    recording = read_recording(directory / "journal.jsonl")
    assert [type(line.entry) for line in recording.lines] == [RunBegun, RunEnded]
    assert not recording.damage


def test_a_later_format_is_refused_with_the_remedy(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(msgspec.structs.replace(BEGUN, format=FORMAT + 1))
    with pytest.raises(JournalError, match="format is 2") as refused:
        read_recording(directory / "journal.jsonl")
    assert "update" in refused.value.remedy


@given(cut=st.integers(min_value=1, max_value=400))
@settings(max_examples=60, deadline=None)
def test_cut_at_any_byte_it_is_read_as_far_as_it_goes(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    lines = [
        encode_line(0, each) for each in (BEGUN, ToolWithdrawn("a"), ToolWithdrawn("b"), ENDED)
    ]
    whole = b"".join(lines)
    path.write_bytes(whole[:cut])
    kept = 0
    while kept < len(lines) and sum(map(len, lines[: kept + 1])) <= cut:
        kept += 1
    if not kept:
        with pytest.raises(JournalError, match="no journal"):
            read_recording(path)
        return
    recording = read_recording(path)
    assert len(recording.lines) == kept
    assert recording.torn == (sum(map(len, lines[:kept])) < min(cut, len(whole)))


@given(cut=st.integers(min_value=1, max_value=60))
@settings(max_examples=20, deadline=None)
def test_a_torn_line_is_gone_when_it_goes_on(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("torn") / "r"
    torn = encode_line(0, ToolIntended(call_id="c", tool="t" * 70_000, effect="w", arguments={}))
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
        os.write(journal._file, torn[: len(torn) * cut // 61])
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(ENDED)
    assert entries_of(directory / "journal.jsonl") == [BEGUN, ENDED]


def test_a_damaged_line_is_named_and_the_others_are_read(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
        os.write(journal._file, b'{"at":1,"type":"tool_withdrawn","call\x00\n')
        journal.write(ENDED)
    recording = read_recording(directory / "journal.jsonl")
    assert [type(line.entry) for line in recording.lines] == [RunBegun, RunEnded]
    assert [each.split(":")[0] for each in recording.damage] == ["line 2"]


def test_after_a_write_that_failed_none_is_tried(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(directory)
    journal.write(BEGUN)
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:5]) and _no_room())
    with pytest.raises(JournalError, match="No space left") as failed:
        journal.write(ToolWithdrawn("a"))
    assert "aofctl resume r" in failed.value.remedy
    monkeypatch.setattr(os, "write", real)
    with pytest.raises(JournalError, match="No space left"):
        journal.write(ToolWithdrawn("b"))
    journal.close()
    assert entries_of(directory / "journal.jsonl") == [BEGUN]


def _no_room() -> int:
    raise OSError(28, "No space left on device")


def test_two_processes_do_not_write_one_journal(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
        with pytest.raises(JournalError, match="another process"):
            Journal(directory)
        assert is_held(journal.path)
        assert read_recording(journal.path).state is State.RUNNING
    assert not is_held(directory / "journal.jsonl")
    assert read_recording(directory / "journal.jsonl").state is State.INTERRUPTED


def test_looking_whether_it_is_held_does_not_take_it(directory: Path) -> None:
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)
    path = directory / "journal.jsonl"
    stop = multiprocessing.get_context("fork").Event()
    looking = multiprocessing.get_context("fork").Process(target=_look, args=(path, stop))
    looking.start()
    try:
        for _ in range(200):
            Journal(directory).close()
    finally:
        stop.set()
        looking.join()


def _look(path: Path, stop: multiprocessing.synchronize.Event) -> None:
    while not stop.is_set():
        is_held(path)


async def test_it_is_followed_while_it_is_written(directory: Path) -> None:
    seen: list[Entry] = []
    with contextlib.closing(Journal(directory)) as journal:
        journal.write(BEGUN)

        def read() -> None:
            for line in follow(journal.path, poll=0.01):
                if line is not None:
                    seen.append(line.entry)
                    if isinstance(line.entry, RunEnded):
                        return

        reading = asyncio.create_task(asyncio.to_thread(read))
        for byte in encode_line(1, ToolWithdrawn("a")):
            os.write(journal._file, bytes([byte]))
            await asyncio.sleep(0)
        journal.write(ENDED)
        await asyncio.wait_for(reading, 30)
    assert seen == [BEGUN, ToolWithdrawn("a"), ENDED]


def test_a_cassette_holds_several_runs(tmp_path: Path) -> None:
    path = tmp_path / "cassette.jsonl"
    other = msgspec.structs.replace(BEGUN, run_id="s")
    path.write_bytes(b"".join(encode_line(0, each) for each in (BEGUN, ENDED, other)))
    assert [each.run_id for each in read_recordings(path)] == ["r", "s"]
    with pytest.raises(JournalError, match="holds 2 runs"):
        read_recording(path)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(JournalError, match="no journal"):
        read_recording(tmp_path / "notes.txt")
    with pytest.raises(JournalError, match="No such file"):
        read_recording(tmp_path / "missing")
