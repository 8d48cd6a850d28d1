"""All runs of the machine, looked at again and again: those that have ended are read once."""

from __future__ import annotations

import time
from pathlib import Path

from aof_nb.journal.recording import State
from aof_nb.journal.runs import journals
from aof_nb.journal.summary import DAMAGED, RunSummary, summarise

_OPEN = frozenset({State.RUNNING.value, State.INTERRUPTED.value, DAMAGED})


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
            # Whether an unfinished run still goes on cannot be seen by its file.
            if before is None or before[0] != stamp or before[1].status in _OPEN:
                before = stamp, summarise(path)
            known[path] = before
        self._known = known
        since = 0.0 if within is None else time.time() - within
        found = (run for _, run in known.values())
        kept = (run for run in found if run.began >= since or run.status == State.RUNNING.value)
        return sorted(kept, key=lambda run: (run.began, run.run_id), reverse=True)
