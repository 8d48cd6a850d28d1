"""How a cell fails: a short panel with the remedy, not a traceback."""

from __future__ import annotations

import asyncio

from aof_nb.errors import AofError
from aof_nb.readable import printable

_RED, _BOLD, _END = "\x1b[31m", "\x1b[1m", "\x1b[0m"


class CellFailed(AofError):
    """What a cell raises where it fails for a reason that aof_nb can name.

    The cell counts as failed, for papermill and the queue of cells; IPython shows the panel.
    """

    def _render_traceback_(self) -> list[str]:
        lines = [f"{_RED}{_BOLD}✗ {printable(self.message)}{_END}"]
        if self.remedy:
            lines.append(f"  → {printable(self.remedy)}")
        return lines


class CellWaiting(CellFailed):
    """What a cell raises whose run waits for an approval where nobody looks at the notebook.

    The cells after it, which may depend on its answer, do not run.
    """


class Interrupted(asyncio.CancelledError):
    """What a cell raises when its run was interrupted, so that queued cells do not run."""

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}{_BOLD}✗ {self}{_END}"]


def failed(error: AofError) -> CellFailed:
    """The same error, as a cell shows it."""
    return CellFailed(error.message, remedy=error.remedy)
