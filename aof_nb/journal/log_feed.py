"""The log of all runs: the newest entries of their journals, read on from where they ended."""

from __future__ import annotations

import contextlib
import heapq
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.events import ApprovalRequested, LimitReached, ModelFellBack, Notice, RetryScheduled
from aof_nb.journal.entries import (
    Line,
    ModelFailed,
    OtherLine,
    RunBegun,
    RunEnded,
    ToolRefused,
    ToolReturned,
    decode_line,
    decode_other,
)
from aof_nb.journal.log_lines import LogLines
from aof_nb.journal.other_runs import subject_of
from aof_nb.journal.recording import State
from aof_nb.journal.runs import journals

LEVELS = ("info", "warning", "error")
"""The levels of entries, the most harmless first."""
_TIME_CHARS = len("2026-01-01 00:00:00.000")
_TAIL_BYTES = 2**19
_BLOCK_BYTES = 2**20
_RESUMED = b'_resumed"'
_RESUMED_HEAD = re.compile(rb'\{"at":[\d.]+,"type":"\w+\Z')
_HEAD_BYTES = 100
_BAD_ENDS = frozenset({State.FAILED.value, State.REFUSED.value})


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a journal, as a log shows it.

    Args:
        time: When, as local time to the millisecond.
        run_id: The run.
        agent: Its agent.
        level: One of `LEVELS`.
        text: What happened.
        place: Its line among those of its run that were read.
    """

    time: str
    run_id: str
    agent: str
    level: str
    text: str
    place: int


class LogFeed:
    """Reads the newest journals, and at each later look only what was added.

    Args:
        runs: How many journals are followed, those that were written to last.
        lines: How many entries are kept of each.

    Example:
        >>> [each.text for each in LogFeed().read() if each.level == "error"]
        []
    """

    def __init__(self, *, runs: int = 40, lines: int = 500) -> None:
        self._runs, self._lines = runs, lines
        self._tails: dict[Path, _Tail] = {}

    def read(self, *, run: str = "") -> list[LogEntry]:
        """The entries that are kept, in order of time; it reads files, so call it in a thread.

        Args:
            run: Only those of the runs whose ids begin with this, however long ago they were.
        """
        there = (path for path in journals() if path.parent.name.startswith(run))
        newest = heapq.nlargest(self._runs, map(_written, there))
        paths = [path for _, path in newest]
        self._tails = {each: self._tails.get(each) or _Tail(each, self._lines) for each in paths}
        for tail in self._tails.values():
            tail.read_on()
        found = (entry for tail in self._tails.values() for entry in tail.entries)
        return sorted(found, key=lambda each: (each.time, each.run_id, each.place))


def _written(path: Path) -> tuple[float, Path]:
    try:
        return path.stat().st_mtime, path
    except OSError:
        return 0.0, path


class _Tail:
    """The last entries of one journal."""

    def __init__(self, path: Path, lines: int) -> None:
        self._path = path
        self._end = 0
        self._agent = ""
        self._place = 0
        self._at = 0.0
        self._skipped = False
        self._said = LogLines()
        self.entries: deque[LogEntry] = deque(maxlen=lines)

    def read_on(self) -> None:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if self._end == 0 or size < self._end:
                    self._begin(file, size)
                file.seek(self._end)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._end += len(whole)
        for each in whole.split(b"\n")[:-1]:
            self._take(each)

    def _begin(self, file: Any, size: int) -> None:
        """Takes the first entry, which says whose run it is, and skips to the last ones."""
        self.entries.clear()
        self._end = self._place = 0
        self._at, self._skipped, self._said = 0.0, False, LogLines()
        first = file.readline()
        if not first.endswith(b"\n"):
            return
        self._take(first[:-1])
        self._end = len(first)
        if size - self._end > _TAIL_BYTES:
            self._skipped = True
            file.seek(size - _TAIL_BYTES)
            self._end = size - _TAIL_BYTES + len(file.readline())
            # Times are counted from when the run was last gone on with.
            for data in _resumptions_before(file, self._end):
                with contextlib.suppress(msgspec.DecodeError):
                    self._said.line(decode_line(data) or decode_other(data))
                    break

    def _take(self, data: bytes) -> None:
        self._place += 1
        line: Line | OtherLine
        try:
            line = decode_line(data) or decode_other(data)
        except msgspec.DecodeError as error:
            # Its own time is lost; how many lines there were before, with those that were skipped.
            where = {} if self._skipped else {"line": self._place}
            line = OtherLine(self._at, "damage", where | {"error": str(error)})
        self._at = line.at
        if self._place == 1:
            self._agent = _agent_of(line)
        said = self._said.line(line)
        if said:
            entry = LogEntry(
                time=said[:_TIME_CHARS],
                run_id=self._path.parent.name,
                agent=self._agent,
                level=_level(line),
                text=said[_TIME_CHARS + 1 :],
                place=self._place,
            )
            self.entries.append(entry)


def _resumptions_before(file: Any, end: int) -> Iterator[bytes]:
    """The entries by which a run was gone on with, the last one first.

    They are looked for as bytes: to decode all that is skipped is what skipping is to save.
    """
    place = end
    while place > 0:
        begin = max(0, place - _BLOCK_BYTES)
        file.seek(max(0, begin - _HEAD_BYTES))
        block = file.read(place - file.tell())
        found = len(block)
        while (found := block.rfind(_RESUMED, 0, found)) >= 0:
            head = block.rfind(b"\n", 0, found) + 1
            if _RESUMED_HEAD.match(block, head, found):
                file.seek(place - len(block) + head)
                yield file.readline()
        place = begin


def _agent_of(line: Line | OtherLine) -> str:
    if isinstance(line, OtherLine):
        return subject_of(line)
    return line.entry.agent if isinstance(line.entry, RunBegun) else ""


def _level(line: Line | OtherLine) -> str:
    if isinstance(line, OtherLine):
        return "error" if line.type == "damage" else "info"
    match line.entry:
        case ModelFailed():
            return "error"
        case RunEnded(status=status):
            if status.value == State.COMPLETED.value:
                return "info"
            return "error" if status.value in _BAD_ENDS else "warning"
        case ToolReturned(output=output) if output.is_error or output.unknown:
            return "warning"
        case ToolRefused() | ApprovalRequested() | RetryScheduled() | ModelFellBack():
            return "warning"
        case LimitReached():
            return "warning"
        case Notice(level=level):
            return level if level in LEVELS else "warning" if level == "waiting" else "info"
        case _:
            return "info"
