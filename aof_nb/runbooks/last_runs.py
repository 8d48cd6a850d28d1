"""The runs of notebooks, looked at again and again: those that have ended are read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aof_nb.errors import AofError
from aof_nb.journal.playbook_recording import is_playbook, read_playbook
from aof_nb.journal.recording import State
from aof_nb.journal.runs import journals
from aof_nb.runbooks.summary import summarised

_UNDECIDED = frozenset({State.RUNNING, State.INTERRUPTED})


@dataclass(frozen=True)
class LastRun:
    """A run of a notebook, as a list shows it.

    Args:
        run_id: The run's id.
        notebook: The notebook's file.
        state: Where it is.
        began: When, in seconds of the Unix epoch.
        duration: Seconds, pauses left out.
        output: The executed notebook.
        report: The report, in HTML; one in Markdown is beside it.
        error: What it failed with.
        cells: The cells that were begun, each with what came of it, in the last attempt.
        journal: The journal's file.
    """

    run_id: str
    notebook: Path
    state: State
    began: float
    duration: float
    output: Path
    report: Path
    error: str
    cells: Sequence[tuple[str, str]]
    journal: Path


class LastRuns:
    """The runs of notebooks by notebook. Its methods block: they read files.

    Example:
        >>> LastRuns().read().get(Path("no/such/notebook.ipynb"), [])
        []
    """

    def __init__(self) -> None:
        self._others: set[Path] = set()
        self._known: dict[Path, tuple[tuple[int, int], LastRun]] = {}
        self._costs: dict[Path, tuple[tuple[int, int], float | None]] = {}

    def read(self) -> dict[Path, list[LastRun]]:
        """The runs of each notebook's file, the newest first."""
        known: dict[Path, tuple[tuple[int, int], LastRun]] = {}
        others: set[Path] = set()
        for path in journals():
            if path in self._others:
                others.add(path)
                continue
            try:
                stat = path.stat()
                stamp = stat.st_mtime_ns, stat.st_size
                before = self._known.get(path)
                if before is None and not is_playbook(path.parent):
                    if _has_begun(path):
                        others.add(path)
                    continue
                # Whether an unfinished run still goes on cannot be seen by its file.
                if before is None or before[0] != stamp or before[1].state in _UNDECIDED:
                    before = stamp, _read(path)
            except (AofError, OSError):
                continue
            known[path] = before
        self._known, self._others = known, others
        found: dict[Path, list[LastRun]] = {}
        for _, run in sorted(known.values(), key=lambda each: -each[1].began):
            found.setdefault(run.notebook, []).append(run)
        return found

    def cost(self, run: LastRun) -> float | None:
        """What the models of a run's agents cost, in US dollars; None if that is not known."""
        stamp = self._known.get(run.journal, ((0, 0), run))[0]
        before = self._costs.get(run.journal)
        if before is None or before[0] != stamp or run.state in _UNDECIDED:
            try:
                before = stamp, summarised(read_playbook(run.journal)).dollars
            except (AofError, OSError):
                before = stamp, None
            self._costs[run.journal] = before
        return before[1]


def _has_begun(journal: Path) -> bool:
    """Whether the first line is whole: what it will be cannot be seen before."""
    with journal.open("rb") as file:
        return file.readline().endswith(b"\n")


def _read(journal: Path) -> LastRun:
    recording = read_playbook(journal)
    begun, ended = recording.begun, recording.ended
    cells = [each for each in recording.cells if each.attempt == recording.attempts]
    return LastRun(
        run_id=recording.run_id,
        notebook=Path(begun.notebook),
        state=recording.state,
        began=begun.time,
        duration=recording.duration,
        output=Path(begun.output),
        report=Path(begun.report),
        error=ended.error if ended is not None else "",
        cells=[(each.entry.title, each.status) for each in cells],
        journal=journal,
    )
