"""What came of a notebook's run."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aof_nb.runbooks.playbook import Undecided
from aof_nb.runbooks.progress import CellFailure
from aof_nb.runbooks.waiting import WaitingApproval


class NotebookStatus(enum.StrEnum):
    """How a notebook's run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    WAITING = "waiting"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class NotebookResult:
    """What came of a notebook's run.

    Args:
        status: How it ended; ``waiting`` for an approval, or ``undecided``: not resumed, since
            the user is to say first what becomes of a cell.
        output_path: The executed notebook.
        report_path: The report, in HTML.
        duration: Seconds.
        error: The cell that failed, if one did.
        time_limit: Seconds it was given; None for as long as it took.
        run_id: The run's id, by which it is resumed; empty if it has no journal.
        markdown_path: The report in Markdown; None if it could not be written.
        waiting: The approvals that it waits for.
        undecided: The cell that the user is to decide on.
        notices: What else there is to know, such as a report that could not be written.
    """

    status: NotebookStatus
    output_path: Path
    report_path: Path
    duration: float
    error: CellFailure | None = None
    time_limit: float | None = None
    run_id: str = ""
    markdown_path: Path | None = None
    waiting: Sequence[WaitingApproval] = ()
    undecided: Undecided | None = None
    notices: Sequence[str] = ()
