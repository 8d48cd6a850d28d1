"""The approvals that a notebook's run waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aof_nb.errors import JournalError
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.cell_runs import CellRun
from aof_nb.journal.recording import State, read_recording


@dataclass(frozen=True)
class WaitingApproval:
    """An approval that a notebook's run waits for.

    Args:
        run_id: The run of the agent that asks.
        agent: The agent's name.
        tool: What it wants to call; empty if it has been answered meanwhile.
        effect: What the tool does: ``read``, ``write`` or ``destructive``.
        arguments: What with.
        reason: Why it is asked.
    """

    run_id: str
    agent: str
    tool: str = ""
    effect: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def waiting_approvals(run: CellRun) -> list[WaitingApproval]:
    """What a run of a cell waits for; nothing if it does not wait."""
    try:
        if read_recording(run.journal).state is not State.WAITING:
            return []
    except JournalError:
        return []
    requests = [each.request for each in Approvals(Path(run.directory)).pending()]
    return [
        WaitingApproval(
            run_id=run.run_id,
            agent=run.agent,
            tool=request.tool.name,
            effect=request.tool.effect.value,
            arguments=request.arguments,
            reason=request.reason,
        )
        for request in requests
    ] or [WaitingApproval(run.run_id, run.agent)]
