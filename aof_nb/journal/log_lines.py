"""A journal's entries as lines of a log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ContextCompacted,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStatus,
    Steered,
    ToolProgress,
    in_a_line,
)
from aof_nb.journal.entries import (
    Line,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ModelStreamed,
    OtherLine,
    RunBegun,
    RunContext,
    RunEnded,
    RunResumed,
    ToolIntended,
    ToolRefused,
    ToolReturned,
    ToolSettled,
    ToolWithdrawn,
    encode_line,
)
from aof_nb.journal.gathering import moment
from aof_nb.journal.journal import is_held
from aof_nb.journal.other_runs import status_at_end, time_of
from aof_nb.journal.recording import POLL_SECONDS
from aof_nb.journal.recording import follow as entries_of
from aof_nb.journal.wording import call_line, in_short, shortened
from aof_nb.ports import ToolOutput
from aof_nb.readable import counted, seconds, visible

_PATIENCE_SECONDS = 2.0


class LogLines:
    """Writes entries as lines: the time of day, the run's turn, and what happened.

    Args:
        width: Characters of what happened, at most; None for all of them.

    Example:
        >>> lines = LogLines()
        >>> lines.line(Line(0.0, Notice("slow")))[-13:]
        'warning: slow'
    """

    WIDTH = 300

    def __init__(self, *, width: int | None = WIDTH) -> None:
        self._width = width
        self._base = 0.0

    def line(self, line: Line | OtherLine) -> str:
        """An entry as a line; empty for one that says nothing to people."""
        if isinstance(line, OtherLine):
            if (time := time_of(line)) is not None:
                self._base = time - line.at
            kind = line.type.replace("_", " ")
            return self._written(line.at, f"{kind} {in_short(line.fields)}".strip())
        at, entry = line
        if isinstance(entry, RunBegun | RunResumed):
            self._base = entry.time - at
        told = _told(entry)
        return self._written(at, told) if told else ""

    def raw(self, line: Line | OtherLine) -> str:
        """An entry as JSON."""
        if isinstance(line, OtherLine):
            fields = {"at": line.at, "type": line.type, **line.fields}
            return msgspec.json.encode(fields).decode()
        return encode_line(*line).decode().rstrip("\n")

    def _written(self, at: float, text: str) -> str:
        time: datetime = moment(self._base + at).astimezone()
        text = visible(" ".join(text.split()))
        if self._width is not None:
            text = shortened(text, self._width)
        return f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03} {text}"


def followed(path: Path, *, follow: bool) -> Iterator[Line | OtherLine | str]:
    """A journal's entries, and what is to be said of it meanwhile.

    Args:
        path: The journal.
        follow: Whether those that are still to be written are waited for, until the run has ended.
            One that waits for an approval has not, nor one that was interrupted: both can be
            resumed.

    Raises:
        JournalError: If there is no such file.
    """
    first: Line | OtherLine | None = None
    last: Line | OtherLine | None = None
    told, quiet = "", 0.0
    for line in entries_of(path):
        if line is not None:
            first, last, told, quiet = first or line, line, "", 0.0
            yield line
            continue
        if not follow or _has_ended(first, last):
            return
        quiet += POLL_SECONDS
        if quiet >= _PATIENCE_SECONDS and not told and not is_held(path):
            told = _why_nothing_comes(_status(first, last), path.parent.name)
            yield told


def _has_ended(first: Line | OtherLine | None, last: Line | OtherLine | None) -> bool:
    return _status(first, last) not in {"", RunStatus.WAITING}


def _status(first: Line | OtherLine | None, last: Line | OtherLine | None) -> str:
    """How a run has ended with its last entry; nothing if it has not."""
    if isinstance(first, OtherLine) and isinstance(last, OtherLine):
        return status_at_end(first, last)
    entry = last.entry if isinstance(last, Line) else None
    return entry.status if isinstance(entry, RunEnded) else ""


def _why_nothing_comes(status: str, run_id: str) -> str:
    if status:
        return f"the run waits: aofctl approve {run_id}, then aofctl resume {run_id}"
    return f"the run was interrupted, and can be gone on with: aofctl resume {run_id}"


def _told(entry: Any) -> str:
    match entry:
        case RunBegun():
            session = f", session {entry.session}" if entry.session else ""
            parent = f", forked from {entry.parent.run_id}" if entry.parent else ""
            return f"run {entry.run_id} of {entry.agent}{session}{parent}: {entry.prompt}"
        case RunContext(system=system, tools=tools):
            instructions = f", instructions of {len(system):,} characters" if system else ""
            return f"context: {counted(len(tools), 'tool')}{instructions}"
        case ModelRequested(turn=turn):
            return f"turn {turn}: asking the model"
        case ModelStreamed() | ToolSettled():
            return ""
        case ModelResponded(turn=turn, message=message, usage=usage):
            calls = ", ".join(call.name for call in message.tool_calls)
            asks = f" [calls {calls}]" if calls else ""
            spent = f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens"
            return f"turn {turn}: {entry.model} ({spent}){asks} {message.text}"
        case ModelFailed(turn=turn, message=message, error=error):
            return f"turn {turn}: failed, {error}: {message}"
        case ToolIntended():
            return f"begun {entry.call_id}: {call_line(entry.tool, entry.arguments)}"
        case ToolWithdrawn(call_id=call_id):
            return f"not begun {call_id}"
        case ToolReturned(output=output, duration=duration):
            return (
                f"{_outcome(output)} {entry.call_id}: {entry.tool}, {seconds(duration)}: "
                f"{output.content}"
            )
        case ToolRefused():
            return f"refused {entry.call_id}: {entry.tool}: {entry.content}"
        case ApprovalRequested():
            asked = call_line(entry.tool, entry.arguments)
            return f"approval asked for {entry.call_id}: {asked} ({entry.reason})"
        case ApprovalAnswered():
            what = "approved" if entry.approved else "denied"
            if entry.similar and entry.approved:
                what += " with all similar calls"
            who = f"by {entry.by or '?'} via {entry.via or '?'}"
            return f"{what} {entry.call_id} {who}{f': {entry.reason}' if entry.reason else ''}"
        case ToolProgress():
            total = f"/{entry.total:g}" if entry.total is not None else ""
            done = "" if entry.progress is None else f"{entry.progress:g}{total} "
            return f"progress {entry.call_id}: {done}{entry.message}"
        case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
            return in_a_line(entry)
        case Notice(text=text, level=level):
            return f"{level}: {text}"
        case LimitReached(limit=limit, detail=detail):
            return f"limit {limit}: {detail}"
        case Steered(text=text):
            return f"the user said: {text}"
        case RunResumed(model=model):
            return f"resumed{f' with {model}' if model else ''}"
        case RunEnded(status=status):
            turns, calls = counted(entry.turns, "turn"), counted(entry.tool_calls, "tool call")
            why = f": {entry.error}" if entry.error else f" ({entry.limit})" if entry.limit else ""
            return f"{status.value}{why}, {turns}, {calls}, {seconds(entry.duration)}"
        case _:
            kind = str(entry.__struct_config__.tag).replace("_", " ")
            return f"{kind} {in_short(msgspec.to_builtins(entry, enc_hook=str))}"


def _outcome(output: ToolOutput) -> str:
    if output.unknown:
        return "outcome unknown"
    if output.dry_run:
        return "dry run: not executed"
    if output.denied:
        return "denied"
    return "error" if output.is_error else "ok"
