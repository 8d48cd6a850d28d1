"""The runs that the cells of a notebook's run have begun, by cell: a file beside its journal.

When the notebook's run is resumed, its cells ask again. What a cell's agent has done is found here
and not done a second time: a run is known by its cell's id and source, the notebook's parameters
and the agent, and, where a cell has begun several, by what is asked.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aof_nb.errors import JournalError
from aof_nb.journal.entries import ToolIntended
from aof_nb.journal.journal import FILE_NAME, cut_torn_line
from aof_nb.journal.notebook_cell import NotebookCell, tool_call
from aof_nb.journal.recording import FINAL, Recording, State, read_recording
from aof_nb.ports import Effect

CELL_RUNS_NAME = "agent_runs.jsonl"


class CellRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that a cell has begun, or gone on with.

    Args:
        run_id: The run's id.
        directory: Its directory.
        cell: The cell's id.
        source: A hash of the cell's source and of the notebook's parameters.
        agent: The agent's name.
        prompt: A hash of what was asked.
        attempt: Which attempt of the notebook's run it was.
        time: When, in seconds of the Unix epoch.
        call: The tool call of another run that it was begun by.
    """

    run_id: str
    directory: str
    cell: str
    source: str
    agent: str
    prompt: str
    attempt: int
    time: float
    call: str = ""

    @property
    def journal(self) -> Path:
        """The run's journal."""
        return Path(self.directory) / FILE_NAME


@dataclass(frozen=True)
class Earlier:
    """A run that a cell has begun in an attempt before.

    Args:
        run_id: Its id.
        recording: Its journal; None if it had come to nothing yet.
        repeats: Whether it is to be repeated as recorded, and not gone on with.
        asked_otherwise: Whether something else is asked now.
    """

    run_id: str
    recording: Recording | None
    repeats: bool
    asked_otherwise: bool


class CellRuns:
    """The runs of the cells of one run of a notebook, as its kernel begins them.

    Args:
        directory: The directory of the notebook's run.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._earlier: list[CellRun] | None = None
        self._taken: set[str] = set()

    def find(self, cell: NotebookCell, agent: str, prompt: str) -> Earlier | None:
        """The run of an attempt before that a run is the same as, if there is one.

        Args:
            cell: The cell that is being executed.
            agent: The agent's name.
            prompt: What is asked.

        Raises:
            JournalError: If it cannot be told which one, or its journal cannot be read.
        """
        if cell.anew:
            return None
        call, asked = tool_call.get(), _digest(prompt)
        with self._lock:
            if self._earlier is None:
                self._earlier = _distinct(read_cell_runs(self._directory))
            alike = [
                each
                for each in self._earlier
                if each.attempt < cell.attempt
                and (each.cell, each.source, each.agent, each.call)
                == (cell.id, cell.source, agent, call)
            ]
            left = [each for each in alike if each.run_id not in self._taken]
            same = [each for each in left if each.prompt == asked]
            if not left or (not same and cell.may_repeat):
                return None
            if not same and len(alike) > 1:
                raise JournalError(
                    f"agent {agent!r} is asked for something else than when this cell was executed "
                    f"before, and it was asked {len(alike)} times: which answer belongs to what is "
                    "asked now cannot be told",
                    remedy=f"aofctl resume {cell.run_id} --repeat {cell.id} asks again where the "
                    f"journal has no answer, --skip {cell.id} leaves the cell out",
                )
            found = (same or left)[0]
            self._taken.add(found.run_id)
            others = [
                each.time
                for each in self._earlier
                if each.cell == cell.id and each.run_id != found.run_id
            ]
        return _earlier(found, cell, last_begun=max(others, default=0.0), asked_otherwise=not same)

    def note(self, cell: NotebookCell, agent: str, prompt: str, run: Path) -> None:
        """Writes down that a cell has begun a run, or goes on with it; it is on the disk then.

        Args:
            cell: The cell that is being executed.
            agent: The agent's name.
            prompt: What is asked.
            run: The run's directory.

        Raises:
            JournalError: If it cannot be written.
        """
        entry = CellRun(
            run_id=run.name,
            directory=str(run),
            cell=cell.id,
            source=cell.source,
            agent=agent,
            prompt=_digest(prompt),
            attempt=cell.attempt,
            time=time.time(),
            call=tool_call.get(),
        )
        path = self._directory / CELL_RUNS_NAME
        try:
            _append(path, msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise JournalError(
                f"{path} cannot be written: {error.strerror or error}",
                remedy="make room or mend its permissions, then go on with: "
                f"aofctl resume {cell.run_id}",
            ) from error


def _earlier(
    found: CellRun, cell: NotebookCell, *, last_begun: float, asked_otherwise: bool
) -> Earlier | None:
    journal = found.journal
    try:
        begun = b"\n" in journal.read_bytes()
    except FileNotFoundError as error:
        raise JournalError(
            f"this cell has begun the run {found.run_id}, whose journal is gone",
            remedy=f"aofctl resume {cell.run_id} --skip {cell.id} leaves the cell out; if it began "
            "anew, what it did would be done again",
        ) from error
    except OSError:
        begun = True
    if not begun:
        # Nothing is done before the first entry is whole.
        return Earlier(found.run_id, None, repeats=False, asked_otherwise=asked_otherwise)
    recording = read_recording(journal)
    if cell.before == "failed" and recording.state in FINAL and _costs_nothing(recording):
        # A check that failed the cell is made again, as it would be in plain code.
        return None
    # Where the cell went on all the same, what it did then is not to be done by this run as well.
    went_on = cell.finished or last_begun >= recording.last_time
    state = recording.state
    repeats = state in FINAL or (went_on and state in {State.FAILED, State.CANCELLED})
    return Earlier(found.run_id, recording, repeats, asked_otherwise)


def _costs_nothing(recording: Recording) -> bool:
    """Whether a run has changed nothing, and used no tokens."""
    changed = any(each.effect != Effect.READ for each in recording.of(ToolIntended))
    return not changed and not any(each.total_tokens for each in recording.usage_by_model.values())


def _digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()[:32]


def _distinct(runs: Sequence[CellRun]) -> list[CellRun]:
    """Each run once, as it was begun, in the order in which they were."""
    found: dict[str, CellRun] = {}
    for each in runs:
        found.setdefault(each.run_id, each)
    return list(found.values())


def _append(path: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        cut_torn_line(file)
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
    finally:
        os.close(file)


def read_cell_runs(directory: Path) -> list[CellRun]:
    """What cells of a notebook's run have begun, in order; a line for each attempt at a run.

    Args:
        directory: The directory of the notebook's run.

    Raises:
        JournalError: If it cannot be read.
    """
    path = directory / CELL_RUNS_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(
            f"{path} cannot be read: {error.strerror}", remedy="mend its permissions"
        ) from error
    return list(_decoded(path, data.split(b"\n")[:-1]))


def _decoded(path: Path, lines: Sequence[bytes]) -> Iterator[CellRun]:
    for number, line in enumerate(lines, 1):
        try:
            yield msgspec.json.decode(line, type=CellRun)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalError(
                f"{path}, line {number} is damaged: {error}",
                remedy="what its cell's agent did is not known: look at aofctl list runs",
            ) from error


_open: dict[str, CellRuns] = {}


def cell_runs(directory: str) -> CellRuns:
    """The runs of a notebook's run, of which this process remembers what it has taken."""
    return _open.setdefault(directory, CellRuns(Path(directory)))
