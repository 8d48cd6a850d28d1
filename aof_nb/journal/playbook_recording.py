"""The journal of a notebook's run as it is read: which cells it has come through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from aof_nb.errors import JournalError
from aof_nb.journal.cell_runs import CellRun, read_cell_runs
from aof_nb.journal.entries import FORMAT
from aof_nb.journal.journal import FILE_NAME, is_held
from aof_nb.journal.notebook_cell import FINISHED
from aof_nb.journal.playbook_entries import (
    CellBegun,
    CellEnded,
    CellPassed,
    KernelStarted,
    PlaybookBegun,
    PlaybookEnded,
    PlaybookLine,
    PlaybookResumed,
    decode_playbook_line,
)
from aof_nb.journal.recording import Recording, State, read_recording
from aof_nb.journal.runs import run_directories


@dataclass(frozen=True)
class CellRecord:
    """What was done of a cell in one attempt.

    Args:
        attempt: Which attempt, counted from 1.
        entry: How it was begun, or that it was not executed.
        ended: How it has ended; None if it has not, or was not executed.
    """

    attempt: int
    entry: CellBegun | CellPassed
    ended: CellEnded | None = None

    @property
    def status(self) -> str:
        """What came of it: a status of `CellEnded` or `CellPassed`; ``unknown`` if nobody knows."""
        if isinstance(self.entry, CellPassed):
            return self.entry.status
        return "unknown" if self.ended is None else self.ended.status

    @property
    def finished(self) -> bool:
        """Whether it was executed to its end."""
        return self.status in FINISHED


@dataclass
class PlaybookRecording:
    """One run of a notebook, as far as its journal tells.

    Args:
        path: The journal's file.
        lines: Its entries, the first a `PlaybookBegun`.
        damage: What could not be read, by line; a last line that was being written is none.
        torn: Whether there is such a last line.
    """

    path: Path
    lines: list[PlaybookLine]
    damage: list[str] = field(default_factory=list)
    torn: bool = False

    @property
    def begun(self) -> PlaybookBegun:
        """The run's first entry."""
        first = self.lines[0].entry
        assert isinstance(first, PlaybookBegun)
        return first

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.begun.run_id

    @property
    def directory(self) -> Path:
        """The run's directory."""
        return self.path.parent

    @property
    def ended(self) -> PlaybookEnded | None:
        """How the run has ended; None if it goes on, or a crash has ended it."""
        for line in reversed(self.lines):
            if isinstance(line.entry, PlaybookResumed):
                return None
            if isinstance(line.entry, PlaybookEnded):
                return line.entry
        return None

    @property
    def state(self) -> State:
        """Where the run is."""
        if (ended := self.ended) is not None:
            return State(ended.status)
        return State.RUNNING if is_held(self.path) else State.INTERRUPTED

    @property
    def duration(self) -> float:
        """Seconds that the run went on, pauses left out."""
        return max((line.at for line in self.lines), default=0.0)

    @property
    def resumptions(self) -> list[PlaybookResumed]:
        """Each time that the run was resumed."""
        return [line.entry for line in self.lines if isinstance(line.entry, PlaybookResumed)]

    @property
    def attempts(self) -> int:
        """How often the run was begun or resumed."""
        return 1 + len(self.resumptions)

    @property
    def kernel(self) -> KernelStarted | None:
        """The last kernel."""
        kernels = [line.entry for line in self.lines if isinstance(line.entry, KernelStarted)]
        return kernels[-1] if kernels else None

    @property
    def cells(self) -> list[CellRecord]:
        """What was done of cells, in order; a cell is there once for each attempt at it."""
        found: list[CellRecord] = []
        attempt = 1
        for line in self.lines:
            match line.entry:
                case PlaybookResumed():
                    attempt += 1
                case CellBegun() | CellPassed() as entry:
                    found.append(CellRecord(attempt, entry))
                case CellEnded() as ended if found and found[-1].entry.cell == ended.cell:
                    found[-1] = CellRecord(attempt, found[-1].entry, ended)
                case _:
                    pass
        return found

    @property
    def cell_runs(self) -> list[CellRun]:
        """The runs that its cells have begun, in order, a line for each attempt.

        Raises:
            JournalError: If they cannot be read.
        """
        return read_cell_runs(self.directory)

    def agent_runs(self) -> Iterator[Recording]:
        """The runs of its cells that have come to something, each once, in order."""
        for directory in dict.fromkeys(each.directory for each in self.cell_runs):
            try:
                yield read_recording(Path(directory) / FILE_NAME)
            except JournalError:
                continue


def is_playbook(directory: Path) -> bool:
    """Whether a run's directory is that of a notebook's run.

    Example:
        >>> is_playbook(Path("/nonexistent"))
        False
    """
    try:
        with (directory / FILE_NAME).open("rb") as file:
            line = decode_playbook_line(file.readline())
    except (OSError, msgspec.DecodeError):
        return False
    return line is not None and isinstance(line.entry, PlaybookBegun)


def read_playbook(path: Path) -> PlaybookRecording:
    """Reads the journal of a notebook's run.

    Lines that cannot be read are left out and named in its `damage`.

    Args:
        path: The journal.

    Raises:
        JournalError: If there is none, or its format is newer than this version's.
    """
    try:
        *whole, rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    lines: list[PlaybookLine] = []
    damage: list[str] = []
    for number, data in enumerate(whole, 1):
        try:
            line = decode_playbook_line(data)
        except msgspec.DecodeError as error:
            damage.append(f"line {number}: {error}")
            continue
        if line is not None:
            lines.append(line)
    if not lines or not isinstance(begun := lines[0].entry, PlaybookBegun):
        raise JournalError(
            f"{path} is no journal of a notebook's run: it does not begin with one",
            remedy="begin anew with aofctl run",
        )
    if begun.format > FORMAT:
        raise JournalError(
            f"{path}: the journal's format is {begun.format}, and this version reads up to "
            f"{FORMAT}",
            remedy="update aof-nb",
        )
    return PlaybookRecording(path, lines, damage, torn=bool(rest))


def playbooks() -> Iterator[PlaybookRecording]:
    """All runs of notebooks whose journals can be read, the newest first."""
    for directory in run_directories():
        if is_playbook(directory):
            try:
                yield read_playbook(directory / FILE_NAME)
            except JournalError:
                continue
