"""A notebook as a unit: its parameters, its runs, their reports.

What a runbook's cells do is the notebook's and the agents' business; what a run looks like on a
terminal is the command line's.
"""

from __future__ import annotations

from aof_nb.runbooks.cell_checks import CellProblem
from aof_nb.runbooks.metadata import CellMetadata, RunbookMetadata, check_runbook
from aof_nb.runbooks.notebook_result import NotebookResult, NotebookStatus
from aof_nb.runbooks.parameters import Parameter, ParameterError
from aof_nb.runbooks.playbook import Undecided
from aof_nb.runbooks.progress import CellFailure, CellFinished, CellStarted, Progress
from aof_nb.runbooks.resume import ResumeError, resume_playbook
from aof_nb.runbooks.run import NotebookInfo, inspect_notebook, run_notebook
from aof_nb.runbooks.steps import StepFailed, StepResult, Steps
from aof_nb.runbooks.testing import NotebookTestResult, test_notebook
from aof_nb.runbooks.waiting import WaitingApproval

__all__ = [
    "CellFailure",
    "CellFinished",
    "CellMetadata",
    "CellProblem",
    "CellStarted",
    "NotebookInfo",
    "NotebookResult",
    "NotebookStatus",
    "NotebookTestResult",
    "Parameter",
    "ParameterError",
    "Progress",
    "ResumeError",
    "RunbookMetadata",
    "StepFailed",
    "StepResult",
    "Steps",
    "Undecided",
    "WaitingApproval",
    "check_runbook",
    "inspect_notebook",
    "resume_playbook",
    "run_notebook",
    "test_notebook",
]
