"""All runs of the machine, looked at again and again: those that have ended are read once."""

from __future__ import annotations

import time
from pathlib import Path

from aof_nb.journal.journal import is_held
from aof_nb.journal.recording import State
from aof_nb.journal.runs import journals
from aof_nb.journal.summary import DAMAGED, RunSummary, summarise

_UNFINISHED = frozenset({State.INTERRUPTED.value, DAMAGED})


class RunIndex:
    """What lists show of all runs.

    Example:
        >>> [each.status for each in RunIndex().read(within=3600.0)]
        []
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int], RunSummary]] = {}

    def read(self, *, within: float | None = None) -> list[RunSummary]:
        """The runs, the newest first; it reads files, so call it in a thread.

        Args:
            within: Only those that began in the last so many seconds, or still go on.
        """
        known: dict[Path, tuple[tuple[int, int], RunSummary]] = {}
        for path in journals():
            try:
                stat = path.stat()
            except OSError:
                continue
            stamp = stat.st_mtime_ns, stat.st_size
            before = self._known.get(path)
            if before is None or before[0] != stamp or _has_turned(path, before[1]):
                before = stamp, summarise(path)
            known[path] = before
        self._known = known
        since = 0.0 if within is None else time.time() - within
        found = (run for _, run in known.values())
        kept = (run for run in found if run.began >= since or run.status == State.RUNNING.value)
        return sorted(kept, key=lambda run: (run.began, run.run_id), reverse=True)


def _has_turned(path: Path, run: RunSummary) -> bool:
    """Whether a run may stand otherwise than it did, though its file is the same."""
    if run.status == State.RUNNING.value:
        return True
    return run.status in _UNFINISHED and is_held(path)
