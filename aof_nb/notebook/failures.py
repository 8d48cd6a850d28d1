"""How a cell fails: a short panel with the remedy, not a traceback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aof_nb.errors import AofError, ResourceError
from aof_nb.readable import printable

_RED, _BOLD, _END = "\x1b[31m", "\x1b[1m", "\x1b[0m"


class CellFailed(AofError):
    """What a cell raises where it fails for a reason that aof_nb can name.

    The cell counts as failed, for papermill and the queue of cells; IPython shows the panel.

    Args:
        message: What happened.
        remedy: What to do about it.
        problems: What is wrong, each with its remedy, where this is more than one thing.
    """

    def __init__(
        self, message: str, *, remedy: str = "", problems: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, remedy=remedy)
        self._problems = tuple(problems) or ((message, remedy),)

    def _render_traceback_(self) -> list[str]:
        lines = []
        for message, remedy in self._problems:
            lines.append(f"{_RED}{_BOLD}✗ {printable(message)}{_END}")
            if remedy:
                lines.append(f"  → {printable(remedy)}")
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
    found = [error, *error.others] if isinstance(error, ResourceError) else []
    problems = [(each.alone, each.remedy) for each in found]
    return CellFailed(error.message, remedy=error.remedy, problems=problems)
