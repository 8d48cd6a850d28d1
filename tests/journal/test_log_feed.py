"""The log of all runs, where a journal is so long that only its end is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from aof_nb.events import Notice
from aof_nb.journal import log_feed
from aof_nb.journal.entries import RunBegun, RunResumed, ToolIntended, encode_line
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.log_feed import LogFeed
from aof_nb.journal.playbook_entries import PlaybookResumed
from aof_nb.journal.runs import run_dir
from aof_nb.readable import local_time

_BEGAN, _PAUSE = 1_800_000_000.0, 7200.0
_LONG = encode_line(10.0, Notice("x" * 1000)) * 600
_DECOY = ToolIntended(
    call_id="c1",
    tool="run",
    effect="read",
    arguments={"a": {"type": "run_resumed", "time": 1.0}, "b": '\n{"type":"run_resumed"'},
)


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))


def written(*parts: bytes) -> None:
    begun = RunBegun(run_id="r1", agent="sre", model="m", prompt="How is it?", time=_BEGAN)
    path = run_dir("r1") / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join([encode_line(0.0, begun), *parts]))


@pytest.mark.parametrize("block", [120, 4096, 2**20])
@pytest.mark.parametrize("kind", [RunResumed, PlaybookResumed])
def test_times_after_a_pause_in_the_skipped_part_are_right(
    block: int, kind: type[RunResumed | PlaybookResumed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_feed, "_BLOCK_BYTES", block)
    before = encode_line(4.0, kind(time=_BEGAN + 4 + 60))
    resumed = encode_line(5.0, kind(time=_BEGAN + 5 + _PAUSE))
    written(before, resumed, encode_line(6.0, _DECOY), _LONG)
    read = LogFeed().read()
    assert read[-1].time.startswith(local_time(_BEGAN + 10 + _PAUSE))


def test_times_of_a_long_run_that_never_paused_are_right() -> None:
    written(encode_line(6.0, _DECOY), _LONG)
    assert LogFeed().read()[-1].time.startswith(local_time(_BEGAN + 10))
