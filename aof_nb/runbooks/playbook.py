"""What becomes of each cell in a notebook's run, and the journal that says so.

A run that is resumed executes its plain cells again, in a fresh kernel: they rebuild the state.
What the agents of its cells did is taken from their journals, in the kernel
(`aof_nb.journal.cell_runs`). A cell that is marked ``once`` is not executed a second time unless
the user says so.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from aof_nb._version import __version__
from aof_nb.errors import JournalError
from aof_nb.journal.cell_runs import read_cell_runs
from aof_nb.journal.encoding import encode_in_order
from aof_nb.journal.entries import FORMAT
from aof_nb.journal.journal import Journal
from aof_nb.journal.notebook_cell import KEY, NotebookCell
from aof_nb.journal.playbook_entries import (
    CellBegun,
    CellEnded,
    CellPassed,
    KernelStarted,
    PlaybookBegun,
    PlaybookEnded,
    PlaybookResumed,
)
from aof_nb.journal.playbook_recording import CellRecord, PlaybookRecording
from aof_nb.journal.recording import FINAL, read_recording
from aof_nb.runbooks.metadata import cell_metadata
from aof_nb.runbooks.prepared import Prepared
from aof_nb.runbooks.progress import titles
from aof_nb.runbooks.waiting import WaitingApproval, waiting_approvals

NOTEBOOK_NAME = "notebook.ipynb"
"""The file beside the journal that the cells are taken from."""


@dataclass(frozen=True)
class Undecided:
    """A cell that a run stops before, since only the user can say whether to execute it.

    Args:
        id: The cell's id.
        place: Its place among the code cells, counted from 1.
        title: Its title.
        reason: Why.
    """

    id: str
    place: int
    title: str
    reason: str


@dataclass(frozen=True)
class CellTask:
    """What is done with a code cell.

    Args:
        id: The cell's id.
        place: Its place among the code cells, counted from 1.
        title: Its title.
        once: Whether it is not to be executed a second time without a word from the user.
        passed: ``kept`` or ``skipped`` if it is not executed; else empty.
        metadata: What the kernel is told of it.
        before: What was done of it before, if it was.
        source: What is executed in place of its source.
    """

    id: str
    place: int
    title: str
    once: bool
    passed: str
    metadata: Mapping[str, Any]
    before: CellRecord | None
    source: str | None


def _digest(*parts: Any) -> str:
    return hashlib.sha256(encode_in_order(parts)).hexdigest()[:32]


class Playbook:
    """A notebook's run: what is done with its cells, and its journal, if it has one.

    Args:
        prepared: The notebook.
        parameters: The values of its parameters, without secrets.
        journal: The run's journal; None if it has none.
        recording: What was done before, of a run that is resumed.
        repeat: The ids of cells that are executed again by the user's word.
        skip: The ids of cells that are left out by the user's word.
    """

    def __init__(
        self,
        prepared: Prepared,
        parameters: Mapping[str, Any],
        *,
        journal: Journal | None = None,
        recording: PlaybookRecording | None = None,
        repeat: Sequence[str] = (),
        skip: Sequence[str] = (),
    ) -> None:
        self.notebook = prepared.notebook
        self._sources = prepared.sources
        self._journal = journal
        self._attempt = 1 if recording is None else recording.attempts + 1
        self._parameters = dict(parameters)
        self._repeat = frozenset(repeat)
        self._skip = frozenset(skip) | _skipped(recording, repeat)
        self._before: dict[str, list[CellRecord]] = {}
        for record in recording.cells if recording is not None else ():
            self._before.setdefault(record.entry.cell, []).append(record)
        self._with_agents = {
            (each.cell, each.source) for each in (recording.cell_runs if recording else ())
        }

    @property
    def run_id(self) -> str:
        """The run's id; empty if it has no journal."""
        return "" if self._journal is None else self._journal.directory.name

    @property
    def directory(self) -> Path | None:
        """The run's directory; None if it has no journal."""
        return None if self._journal is None else self._journal.directory

    def tasks(self) -> dict[int, CellTask]:
        """What is done with each code cell, by the cell's index in the notebook."""
        named = titles(self.notebook.cells)
        return {
            index: self._task(self.notebook.cells[index], place, title)
            for place, (index, title) in enumerate(named.items(), start=1)
        }

    def _task(self, cell: Any, place: int, title: str) -> CellTask:
        marks = cell_metadata(cell)
        last = _last_executed(self._before.get(cell.id, []))
        repeat = cell.id in self._repeat
        passed = ""
        if cell.id in self._skip:
            passed = "skipped"
        elif marks.once and last is not None and last.finished and not repeat:
            passed = "" if self._is_agent_s(cell) else "kept"
        known = NotebookCell(
            source=self._source(cell),
            playbook=str(self.directory or ""),
            attempt=self._attempt,
            before=last.status if last is not None else "",
            may_repeat=repeat or marks.safe_to_repeat,
            # Where it was cut off or waits, its agents go on.
            anew=repeat and last is not None and (last.finished or last.status == "failed"),
        )
        return CellTask(
            id=cell.id,
            place=place,
            title=title,
            once=marks.once,
            passed=passed,
            metadata={"cellId": cell.id, KEY: msgspec.to_builtins(known)},
            before=last,
            source=self._sources.get(cell.id),
        )

    def _source(self, cell: Any) -> str:
        return _digest(cell.source, self._parameters)

    def _is_agent_s(self, cell: Any) -> bool:
        """Whether all that a cell does is an agent's, and in the agent's journal."""
        magic = cell.source.lstrip().startswith("%%aof ")
        return magic and (cell.id, self._source(cell)) in self._with_agents

    def undecided(self) -> Undecided | None:
        """The first cell that is not executed before the user has said so."""
        for index, task in self.tasks().items():
            cell, before = self.notebook.cells[index], task.before
            if not task.once or before is None or task.passed == "skipped":
                continue
            if task.id in self._repeat or self._is_agent_s(cell):
                continue
            assert isinstance(before.entry, CellBegun)
            reason = _undecided(before, changed=before.entry.source != self._source(cell))
            if reason:
                return Undecided(task.id, task.place, task.title, reason)
        return None

    def begin(self, begun: PlaybookBegun, prepared: Prepared) -> None:
        """Keeps the notebook and writes the first entry.

        Raises:
            JournalError: If it cannot be written.
        """
        assert self._journal is not None
        try:
            prepared.write(self._journal.directory / NOTEBOOK_NAME)
        except OSError as error:
            raise JournalError(
                f"{self._journal.directory} cannot be written: {error.strerror or error}"
            ) from error
        self._journal.write(
            msgspec.structs.replace(
                begun,
                format=FORMAT,
                digest=prepared.digest,
                user=user_name(),
                host=socket.gethostname(),
                versions=_versions(),
            )
        )

    def resume(self, *, notebook: str, digest: str, approve: str) -> None:
        """Writes that the run goes on.

        Raises:
            JournalError: If it cannot be written.
        """
        assert self._journal is not None
        self._journal.write(
            PlaybookResumed(
                time=time.time(),
                user=user_name(),
                host=socket.gethostname(),
                notebook=notebook,
                digest=digest,
                repeat=tuple(sorted(self._repeat)),
                skip=tuple(sorted(self._skip)),
                approve=approve,
                versions=_versions(),
            )
        )

    def kernel_started(self, pid: int, connection: str) -> None:
        """Writes which process the kernel is."""
        if self._journal is not None:
            self._journal.write(KernelStarted(pid, connection))

    async def cell_begun(self, task: CellTask, cell: Any) -> None:
        """Writes that a cell is about to be executed; it is on the disk then.

        Raises:
            JournalError: If it cannot be written.
        """
        if self._journal is None:
            return
        self._journal.write(
            CellBegun(
                cell=task.id,
                place=task.place,
                source=self._source(cell),
                time=time.time(),
                title=task.title,
                once=task.once,
            )
        )
        await self._journal.sync()

    async def cell_ended(
        self, task: CellTask, cell: Any, status: str, duration: float, error: str
    ) -> None:
        """Writes how a cell has ended.

        Raises:
            JournalError: If it cannot be written.
        """
        if self._journal is None:
            return
        kept = task.once and status in {"completed", "left"}
        self._journal.write(
            CellEnded(
                cell=task.id,
                status=status,
                duration=duration,
                error=error,
                outputs=[dict(each) for each in cell.outputs] if kept else None,
                execution_count=cell.execution_count if kept else None,
            )
        )
        await self._journal.sync()

    def cell_passed(self, task: CellTask) -> None:
        """Writes that a cell is not executed.

        Raises:
            JournalError: If it cannot be written.
        """
        if self._journal is not None:
            self._journal.write(
                CellPassed(
                    cell=task.id,
                    place=task.place,
                    time=time.time(),
                    status=task.passed,
                    title=task.title,
                )
            )

    def waiting(self, cell: str | None = None) -> list[WaitingApproval]:
        """The approvals that runs of this attempt wait for.

        Args:
            cell: The id of the cell that began them; None for all.
        """
        if self.directory is None:
            return []
        with contextlib.suppress(JournalError):
            runs = {
                each.run_id: each
                for each in read_cell_runs(self.directory)
                if each.attempt == self._attempt and cell in {None, each.cell}
            }
            return [found for each in runs.values() for found in waiting_approvals(each)]
        return []

    def answered(self, place: int) -> bool:
        """Whether agents of a cell have come to an end, and are not asked again on resumption.

        Args:
            place: The cell's place among the code cells, counted from 1.
        """
        if self.directory is None:
            return False
        cell = next(each.id for each in self.tasks().values() if each.place == place)
        with contextlib.suppress(JournalError):
            return any(
                read_recording(each.journal).state in FINAL
                for each in read_cell_runs(self.directory)
                if each.cell == cell
            )
        return False

    def end(self, status: str, error: str = "") -> None:
        """Writes how the run has ended, as far as that is possible, and lets go of the journal."""
        if self._journal is None:
            return
        with contextlib.suppress(JournalError):
            self._journal.write(
                PlaybookEnded(status=status, duration=self._journal.elapsed(), error=error)
            )
        self.close()

    def close(self) -> None:
        """Lets go of the journal."""
        if self._journal is not None:
            self._journal.close()


def opened_journal(directory: Path, *, before: float = 0.0) -> Journal:
    """The journal of a notebook's run, held by this process.

    Args:
        directory: The run's directory; made if it is missing.
        before: Seconds that the run went on before.

    Raises:
        JournalError: If it cannot be written, or another process has it open.
    """
    began = time.monotonic()
    return Journal(directory.resolve(), elapsed=lambda: before + time.monotonic() - began)


def _skipped(recording: PlaybookRecording | None, repeat: Sequence[str]) -> frozenset[str]:
    """What was left out by the user's word before, and still is."""
    skipped: set[str] = set()
    for each in recording.resumptions if recording is not None else ():
        skipped = (skipped | set(each.skip)) - set(each.repeat)
    return frozenset(skipped - set(repeat))


def _last_executed(records: Sequence[CellRecord]) -> CellRecord | None:
    executed = [each for each in records if isinstance(each.entry, CellBegun)]
    return executed[-1] if executed else None


def _undecided(before: CellRecord, *, changed: bool) -> str:
    if before.finished:
        return "it was executed, and has been changed since" if changed else ""
    if before.status == "unknown":
        return "it was begun, and whether it came to its end is unknown"
    return f"it was begun, and did not come to its end ({before.status})"


def user_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _versions() -> dict[str, str]:
    return {"aof_nb": __version__, "python": platform.python_version()}
