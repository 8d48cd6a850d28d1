"""Journals of runs that are not an agent's, such as those of notebooks: shown entry by entry.

Such a journal begins with an entry ``X_begun`` that has a ``run_id`` and a ``time``, and ends with
an entry ``X_ended`` that has a ``status``. Nothing else is taken for granted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aof_nb.errors import JournalError
from aof_nb.events import RunStatus
from aof_nb.journal.entries import Line, OtherLine, RunBegun, RunEnded, decode_line, decode_other
from aof_nb.journal.recording import Recording

_EARLIEST = 1e8


def time_of(line: OtherLine) -> float | None:
    """When an entry was written, in seconds of the Unix epoch, if it says so."""
    time = line.fields.get("time")
    return float(time) if isinstance(time, int | float) and time > _EARLIEST else None


def begins_a_run(line: OtherLine) -> bool:
    """Whether a journal may begin with this entry."""
    return line.type.endswith("_begun") and isinstance(line.fields.get("run_id"), str)


def status_at_end(first: OtherLine, last: OtherLine) -> str:
    """How a run has ended, if this is its end; else nothing."""
    if last.type != f"{first.type.removesuffix('_begun')}_ended":
        return ""
    return text_of(last, "status")


def text_of(line: OtherLine, *names: str) -> str:
    """The first of these fields that holds text."""
    for name in names:
        value = line.fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def subject_of(first: OtherLine) -> str:
    """Whose run it is: an agent's name, or a file's."""
    return text_of(first, "agent") or Path(text_of(first, "notebook", "file")).name


def recording_of_other(path: Path) -> Recording | None:
    """A journal that begins with an entry of an unknown kind; None if it is none.

    Raises:
        JournalError: If it cannot be read.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    *lines, rest = whole.split(b"\n")
    recording: Recording | None = None
    first: OtherLine | None = None
    for number, data in enumerate(lines, 1):
        try:
            line = decode_line(data) or decode_other(data)
        except msgspec.DecodeError as error:
            if recording is not None:
                recording.damage.append(f"line {number}: {error}")
            continue
        if recording is None or first is None:
            if not isinstance(line, OtherLine) or not begins_a_run(line):
                return None
            first, recording = line, Recording(path, [Line(line.at, _begun(line))])
        if isinstance(line, OtherLine):
            recording.others.append((len(recording.lines), line))
        else:
            recording.lines.append(line)
    if recording is None or first is None:
        return None
    recording.torn = bool(rest)
    if recording.others:
        last = recording.others[-1][1]
        if status := status_at_end(first, last):
            recording.others.pop()
            recording.lines.append(Line(last.at, _ended(status, last)))
    return recording


def _begun(first: OtherLine) -> RunBegun:
    return RunBegun(
        run_id=text_of(first, "run_id"),
        agent=subject_of(first),
        model=text_of(first, "model"),
        prompt=text_of(first, "prompt", "title"),
        time=time_of(first) or 0.0,
        approve=text_of(first, "approve") or "ask",
    )


def _ended(status: str, last: OtherLine) -> RunEnded:
    known = {each.value for each in RunStatus}
    fields: dict[str, Any] = {"status": RunStatus(status) if status in known else RunStatus.LIMIT}
    return RunEnded(
        text="",
        turns=0,
        tool_calls=0,
        duration=last.at,
        usage_by_model={},
        limit=None if status in known else status,
        error=text_of(last, "error") or None,
        **fields,
    )
