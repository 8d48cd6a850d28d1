"""Runs that the console itself carries through; their questions wait in the inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aof_nb.events import Event
from aof_nb.journal.runs import run_dir
from aof_nb.journal.stop_request import stoppable
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.result import RunResult
from aof_nb.run import Run


class InboxApprover:
    """Leaves each question to whoever answers it by its record, such as the page Approvals."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Waits until it is withdrawn, because it was answered or its run has ended."""
        await asyncio.Event().wait()
        raise AssertionError(request.call_id)


async def carry_through(run: Run, take: Callable[[Event], None] | None = None) -> RunResult:
    """Carries a run through, until it ends or is asked to stop.

    Args:
        run: The run.
        take: What is told of each event.
    """
    task = asyncio.current_task()
    stop = None
    try:
        async with stoppable(lambda: run_dir(run.run_id)) as stop:
            async for event in run:
                if take is not None:
                    take(event)
    except asyncio.CancelledError:
        if stop is None or not stop.requested or task is None or task.uncancel():
            raise
    finally:
        await run.aclose()
    return run.result
