"""A journal as it is read: while it is written, after a crash, or as a cassette of several runs."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.events import ContextCompacted, ModelFellBack, RetryScheduled
from aof_nb.journal.entries import (
    FORMAT,
    Entry,
    Line,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OtherLine,
    RunBegun,
    RunEnded,
    RunResumed,
    decode_line,
    decode_other,
    encode_line,
)
from aof_nb.journal.journal import is_held
from aof_nb.messages import Usage

T = TypeVar("T")


class State(enum.StrEnum):
    """Where a run is: the statuses of `aof_nb.events.RunStatus`, and those of one not ended.

    `TIMEOUT` is one that a notebook's run ends with.
    """

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    COMPLETED = "completed"
    LIMIT = "limit"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"


FINAL = frozenset({State.COMPLETED, State.LIMIT, State.REFUSED})
"""The states that a run does not go on from."""


@dataclass
class Recording:
    """One run, as far as its journal tells.

    Args:
        path: The journal's file.
        lines: Its entries, the first a `RunBegun`.
        damage: What could not be read, by line; a last line that was being written is none.
        torn: Whether there is such a last line.
        others: What is of kinds that this version does not know, each with how many of `lines`
            go before it.
    """

    path: Path
    lines: list[Line]
    damage: list[str] = field(default_factory=list)
    torn: bool = False
    others: list[tuple[int, OtherLine]] = field(default_factory=list)

    @property
    def begun(self) -> RunBegun:
        """The run's first entry."""
        first = self.lines[0].entry
        assert isinstance(first, RunBegun)
        return first

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.begun.run_id

    @property
    def ended(self) -> RunEnded | None:
        """How the run has ended; None if it goes on, or a crash has ended it."""
        for line in reversed(self.lines):
            if isinstance(line.entry, RunResumed):
                return None
            if isinstance(line.entry, RunEnded):
                return line.entry
        return None

    @property
    def state(self) -> State:
        """Where the run is."""
        if (ended := self.ended) is not None:
            return State(ended.status.value)
        return State.RUNNING if is_held(self.path) else State.INTERRUPTED

    @property
    def duration(self) -> float:
        """Seconds that the run went on, pauses left out."""
        return max((line.at for line in self.lines), default=0.0)

    @property
    def last_time(self) -> float:
        """When the last entry was written, in seconds of the Unix epoch."""
        for line in reversed(self.lines):
            if isinstance(line.entry, RunBegun | RunResumed):
                return line.entry.time + self.lines[-1].at - line.at
        raise AssertionError("a recording begins with RunBegun")

    @property
    def usage_by_model(self) -> dict[str, Usage]:
        """Tokens used, by the models that answered, as far as is known.

        What was asked for in vain before a run was resumed is counted too.
        """
        resumed = any(isinstance(line.entry, RunResumed) for line in self.lines)
        if (ended := self.ended) is not None and not resumed:
            return ended.usage_by_model
        used: dict[str, Usage] = {}
        for line, asked in asked_models(self.lines):
            for model, usage in _used(line.entry, asked):
                used[model] = used.get(model, Usage()) + usage
        return used

    @property
    def cost(self) -> float | None:
        """US dollars; None if a model's price is unknown."""
        from aof_nb.models.prices import cost

        return cost(self.usage_by_model)

    def of(self, kind: type[T]) -> Iterator[T]:
        """The entries of a kind, in order."""
        return (line.entry for line in self.lines if isinstance(line.entry, kind))


def asked_models(lines: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    """The entries of a run, each with the full name of the model that is asked then."""
    first = asked = ""
    for line in lines:
        match line.entry:
            case RunBegun(model=model):
                first = asked = model
            case RunResumed(model=model):
                first = asked = model or first
            case ModelRequested():
                asked = first
            case ModelFellBack(fallback=fallback):
                yield line, asked
                asked = fallback
                continue
            case _:
                pass
        yield line, asked


def _used(entry: Entry, asked: str) -> Iterator[tuple[str, Usage]]:
    match entry:
        case ModelResponded():
            yield entry.requested_model or asked, entry.usage
        case ModelFailed(usage=usage) if usage is not None:
            yield asked, usage
        case RetryScheduled() | ModelFellBack() if entry.usage.total_tokens:
            yield entry.model, entry.usage
        case ContextCompacted() if entry.usage.total_tokens:
            yield entry.summary_model, entry.usage
        case _:
            pass


def read_recording(path: Path) -> Recording:
    """Reads the journal of one run.

    Raises:
        JournalError: If there is none, or it holds several runs.
    """
    recordings = read_recordings(path)
    if len(recordings) != 1:
        raise JournalError(
            f"{path} holds {len(recordings)} runs, where one is wanted",
            remedy="name a run's own journal",
        )
    return recordings[0]


def read_recordings(path: Path) -> list[Recording]:
    """Reads all runs of a file, in order.

    Lines that cannot be read are left out and named in the `damage` of their run; entries of
    kinds that a later version has added are in its `others`.

    Raises:
        JournalError: If there is no such file, it begins with no run, or its format is newer than
            this version's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    *whole, rest = data.split(b"\n")
    recordings: list[Recording] = []
    for number, line in enumerate(whole, 1):
        _add(recordings, path, number, line)
    if rest and recordings:
        recordings[-1].torn = True
    if not recordings:
        if data.partition(b"\n")[0].find(b'"type":"playbook_begun"') >= 0:
            raise JournalError(
                f"{path} is the journal of a notebook's run, not of an agent's",
                remedy=f"go on with it by aofctl resume {path.parent.name}",
            )
        raise JournalError(
            f"{path} is no journal: it does not begin with a run",
            remedy="name the journal.jsonl of a run, or a cassette",
        )
    return recordings


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be read: {error.strerror}", remedy="check the path"
    )


def _add(recordings: list[Recording], path: Path, number: int, data: bytes) -> None:
    try:
        line = decode_line(data)
        if line is None:
            if recordings:
                last = recordings[-1]
                last.others.append((len(last.lines), decode_other(data)))
            return
    except msgspec.DecodeError as error:
        if recordings:
            recordings[-1].damage.append(f"line {number}: {error}")
        return
    if isinstance(line.entry, RunBegun):
        if line.entry.format > FORMAT:
            raise JournalError(
                f"{path}, line {number}: the journal's format is {line.entry.format}, and this "
                f"version reads up to {FORMAT}",
                remedy="update aof-nb",
            )
        recordings.append(Recording(path, [line]))
    elif recordings:
        recordings[-1].lines.append(line)


POLL_SECONDS = 0.2


def follow(path: Path, *, poll: float = POLL_SECONDS) -> Iterator[Line | OtherLine | None]:
    """The entries of a journal as they are written, from the first on, resumed runs included.

    Args:
        path: The journal.
        poll: Seconds between looks.

    Yields:
        An entry, or None each time there is none yet, so that whoever follows can stop. A line
        that cannot be read is an `OtherLine` of type ``damage``, at the time of the one before.

    Raises:
        JournalError: If there is no such file.
    """
    at = 0.0
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        end = number = 0
        while True:
            # A torn line is read again: who goes on with the run cuts it off and writes another.
            file.seek(end)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            end += len(whole)
            for each in whole.split(b"\n")[:-1]:
                number += 1
                try:
                    line = decode_line(each) or decode_other(each)
                except msgspec.DecodeError as error:
                    line = OtherLine(at, "damage", {"line": number, "error": str(error)})
                at = line.at
                yield line
            if not whole:
                yield None
                time.sleep(poll)


def encoded(lines: Sequence[Line]) -> bytes:
    """Entries as the lines of a journal."""
    return b"".join(encode_line(line.at, line.entry) for line in lines)


def check_resumable(recording: Recording, *, held: bool = False) -> None:
    """Raises if a run cannot be gone on with.

    Args:
        recording: The run.
        held: Whether it is this process that has its journal open.

    Raises:
        ConfigurationError: If it has ended for good.
        JournalError: If another process goes on with it, or its journal is damaged.
    """
    state = recording.state
    if state in FINAL:
        raise ConfigurationError(
            f"the run {recording.run_id} has ended ({state}): there is nothing to go on with",
            remedy=f"to try it another way: aofctl fork {recording.run_id}",
        )
    if state is State.RUNNING and not held:
        raise JournalError(
            f"the run {recording.run_id} goes on in another process",
            remedy="wait for its end, or end that process",
        )
    if recording.damage:
        raise JournalError(
            f"{recording.path} is damaged, {recording.damage[0]}",
            remedy="look at it with aofctl show, and begin anew",
        )
