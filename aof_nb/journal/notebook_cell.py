"""The notebook cell that is being executed, as far as the kernel has been told.

Whoever executes a cell may say in the request's metadata which it is: JupyterLab names its id,
`aof_nb.runbooks` the run of the notebook besides. Each request has its own, so that nothing is
inherited by other kernels and processes that a cell starts.
"""

from __future__ import annotations

import contextlib
import sys
from contextvars import ContextVar
from typing import Any

import msgspec

KEY = "aof"
"""Where it stands in the metadata of a request to execute a cell."""

FINISHED = frozenset({"completed", "left"})
"""What `CellEnded` says of cells that were executed to their end."""

tool_call: ContextVar[str] = ContextVar("aof_tool_call", default="")
"""The run and the id of the tool call that goes on here, for runs that a tool begins."""


class NotebookCell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cell and the run of the notebook that executes it.

    Args:
        id: The cell's id.
        source: A hash of the cell's source and of the notebook's parameters.
        playbook: The directory of the notebook's run; empty where that is not journaled.
        attempt: How often the notebook's run was begun or resumed, this time included.
        before: How its last execution has ended, in an attempt before: a status of `CellEnded`;
            ``unknown`` if nobody knows, empty if there was none.
        may_repeat: Whether its agents may do again what the journal has no record of.
        anew: Whether its agents begin anew, whatever the journal has.
    """

    id: str = ""
    source: str = ""
    playbook: str = ""
    attempt: int = 1
    before: str = ""
    may_repeat: bool = False
    anew: bool = False

    @property
    def finished(self) -> bool:
        """Whether it was executed to its end."""
        return self.before in FINISHED

    @property
    def run_id(self) -> str:
        """The id of the notebook's run."""
        return self.playbook.rpartition("/")[2]


def current_cell() -> NotebookCell | None:
    """The cell that is being executed in this kernel; None where no cell is, or it has no id."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return None
    metadata: dict[str, Any] = {}
    with contextlib.suppress(AttributeError, LookupError):
        metadata = (kernel.get_parent("shell") or {}).get("metadata", {})
    cell_id = metadata.get("cellId")
    if not isinstance(cell_id, str) or not cell_id:
        return None
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.structs.replace(
            msgspec.convert(metadata.get(KEY, {}), NotebookCell), id=cell_id
        )
    return NotebookCell(id=cell_id)
