"""Runs as they are listed: from the first and the last line of a journal, where those suffice.

A run that has ended is told by its last entry. Only the journal of one that goes on, or was
interrupted, is read whole.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from aof_nb.errors import JournalError
from aof_nb.journal.approvals import Approvals, PendingApproval
from aof_nb.journal.entries import (
    Line,
    ModelResponded,
    OtherLine,
    RunBegun,
    RunEnded,
    decode_line,
    decode_other,
)
from aof_nb.journal.journal import is_held
from aof_nb.journal.other_runs import (
    begins_a_run,
    status_at_end,
    subject_of,
    text_of,
    time_of,
)
from aof_nb.journal.recording import FINAL, State, read_recording
from aof_nb.journal.runs import journals
from aof_nb.messages import Usage

DAMAGED = "damaged"
"""The status of a run whose journal cannot be read."""
_BLOCK = 65536


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as a list shows it.

    Args:
        run_id: The run's id.
        status: Where it is: a `aof_nb.journal.recording.State`, or ``damaged``.
        path: Its journal.
        began: When, in seconds of the Unix epoch.
        agent: The agent's name.
        model: The model that was asked first.
        prompt: What was asked.
        session: The conversation's id.
        turns: Model responses.
        tool_calls: Tool calls made.
        duration: Seconds, pauses left out.
        usage_by_model: Tokens, by the models that answered.
        limit: The limit that was hit.
        error: What went wrong, with the run or with its journal.
        forked_from: The run that it was forked from.
        notebook_run: The run of the notebook that it belongs to.
    """

    run_id: str
    status: str
    path: Path
    began: float = 0.0
    agent: str = ""
    model: str = ""
    prompt: str = ""
    session: str | None = None
    turns: int = 0
    tool_calls: int = 0
    duration: float = 0.0
    usage_by_model: dict[str, Usage] = {}
    limit: str | None = None
    error: str | None = None
    forked_from: str | None = None
    notebook_run: str = ""

    @property
    def usage(self) -> Usage:
        """Tokens, of all models together."""
        return sum(self.usage_by_model.values(), Usage())

    @property
    def cost(self) -> float | None:
        """US dollars; None if a model's price is unknown."""
        from aof_nb.models.prices import cost

        return cost(self.usage_by_model)


def summaries(
    *,
    agent: str | None = None,
    session: str | None = None,
    since: float | None = None,
    statuses: Collection[str] = (),
) -> Iterator[RunSummary]:
    """The runs that there are, the newest first; none is so damaged that it is left out.

    Args:
        agent: A shell-style pattern that the agent's name must match.
        session: The conversation they must belong to.
        since: Only those that began then or later, in seconds of the Unix epoch.
        statuses: Only those with one of these statuses.
    """
    for head in sorted(
        map(_Head, journals()), key=lambda each: (each.began, each.run_id), reverse=True
    ):
        if since is not None and head.began < since:
            continue
        if agent is not None and not fnmatch.fnmatchcase(head.text("agent"), agent):
            continue
        if session is not None and head.text("session") != session:
            continue
        summary = head.summary()
        if not statuses or summary.status in statuses:
            yield summary


def waiting_calls() -> Iterator[tuple[RunSummary, PendingApproval]]:
    """The calls that wait for a person, of all runs that have not ended for good."""
    for path in sorted(journals()):
        pending = Approvals(path.parent).pending()
        if pending and (run := summarise(path)).status not in FINAL:
            yield from ((run, each) for each in pending)


def summarise(path: Path) -> RunSummary:
    """What a list shows of the run with this journal."""
    return _Head(path).summary()


class _Head:
    """A journal's first line, decoded once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.parent.name
        self.began = 0.0
        self.first: RunBegun | OtherLine | None = None
        self.damage = ""
        try:
            with path.open("rb") as file:
                data = file.readline()
                self.began = os.fstat(file.fileno()).st_mtime
            self._decode(data)
        except OSError as error:
            self.damage = error.strerror or str(error)
        except msgspec.DecodeError as error:
            self.damage = f"line 1: {error}"

    def _decode(self, data: bytes) -> None:
        if not data.endswith(b"\n"):
            self.damage = "it holds no whole line"
            return
        line = decode_line(data) or decode_other(data)
        if isinstance(line, OtherLine) and begins_a_run(line):
            self.first, self.began = line, time_of(line) or self.began
        elif isinstance(line, Line) and isinstance(line.entry, RunBegun):
            self.first, self.began = line.entry, line.entry.time
        else:
            self.damage = "it does not begin with a run"

    def text(self, field: str) -> str:
        """A text of the first entry, of whatever kind it is."""
        first = self.first
        if not isinstance(first, OtherLine):
            return getattr(first, field, None) or ""
        if field == "agent":
            return subject_of(first)
        return text_of(first, "prompt", "title") if field == "prompt" else text_of(first, field)

    def summary(self) -> RunSummary:
        first = self.first
        if first is None:
            # A run that has only just begun has written nothing yet.
            status = State.RUNNING.value if is_held(self.path) else DAMAGED
            return RunSummary(
                run_id=self.run_id,
                status=status,
                path=self.path,
                began=self.began,
                error=self.damage if status == DAMAGED else None,
            )
        parent = first.parent if isinstance(first, RunBegun) else None
        known: dict[str, Any] = {
            "run_id": self.run_id,
            "path": self.path,
            "began": self.began,
            "agent": self.text("agent"),
            "model": self.text("model"),
            "prompt": self.text("prompt"),
            "session": self.text("session") or None,
            "notebook_run": self.text("notebook_run"),
            "forked_from": parent.run_id if parent is not None else None,
        }
        try:
            last = _last_entry(self.path)
            if isinstance(last, RunEnded):
                return RunSummary(**known, **_of_ended(last))
            if isinstance(first, OtherLine):
                return RunSummary(**known, status=_status_of_other(first, last, self.path))
            return RunSummary(**known, **_of_unfinished(self.path))
        except (JournalError, msgspec.DecodeError) as error:
            message = error.message if isinstance(error, JournalError) else f"last line: {error}"
            return RunSummary(**known, status=DAMAGED, error=message)


def _of_ended(ended: RunEnded) -> dict[str, Any]:
    return {
        "status": ended.status.value,
        "turns": ended.turns,
        "tool_calls": ended.tool_calls,
        "duration": ended.duration,
        "usage_by_model": ended.usage_by_model,
        "limit": ended.limit,
        "error": ended.error,
    }


def _of_unfinished(path: Path) -> dict[str, Any]:
    recording = read_recording(path)
    if recording.damage:
        raise JournalError(recording.damage[0])
    turns = list(recording.of(ModelResponded))
    return {
        "status": recording.state.value,
        "turns": len(turns),
        "tool_calls": sum(len(each.message.tool_calls) for each in turns),
        "duration": recording.duration,
        "usage_by_model": recording.usage_by_model,
    }


def _status_of_other(first: OtherLine, last: Any, path: Path) -> str:
    """The status of a run of a kind that this version does not know."""
    ended = status_at_end(first, last) if isinstance(last, OtherLine) else ""
    if ended:
        return ended
    return State.RUNNING.value if is_held(path) else State.INTERRUPTED.value


def _last_entry(path: Path) -> Any:
    """The entry of a journal's last whole line; an `OtherLine` if it is of an unknown kind.

    Raises:
        JournalError: If it cannot be read.
        msgspec.DecodeError: If the line is damaged.
    """
    try:
        with path.open("rb") as file:
            data = _last_line(file)
    except OSError as error:
        raise JournalError(f"it cannot be read: {error.strerror}") from error
    line = decode_line(data)
    return decode_other(data) if line is None else line.entry


def _last_line(file: BinaryIO) -> bytes:
    """A file's last line that is whole; what is torn after it is left out."""
    start = file.seek(0, os.SEEK_END)
    tail, size = b"", _BLOCK
    while start:
        size = min(2 * size, start)
        start -= size
        file.seek(start)
        tail = file.read(size) + tail
        end = tail.rfind(b"\n")
        place = tail.rfind(b"\n", 0, max(0, end)) if end > 0 else -1
        if place >= 0:
            return tail[place + 1 : end]
    return tail[: tail.rfind(b"\n") + 1].rstrip(b"\n")
