"""Carrying a run through where other processes may ask to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aof_nb.events import Event
from aof_nb.journal.runs import run_dir
from aof_nb.journal.stop_request import Stop, stoppable
from aof_nb.run import Run


async def carry_through(run: Run, take: Callable[[Event], object] | None = None) -> bool:
    """Carries a run through, until it ends or is asked to stop, and closes it.

    Args:
        run: The run.
        take: What is told of each event.

    Returns:
        Whether it was stopped because that was asked for.

    Example:
        >>> async def ask(agent):
        ...     run = agent.stream("Why is checkout slow?")
        ...     return await carry_through(run, print)
    """
    task = asyncio.current_task()
    stop: Stop | None = None
    try:
        async with stoppable(lambda: run_dir(run.run_id)) as stop:
            async for event in run:
                if take is not None:
                    take(event)
    except asyncio.CancelledError:
        # Whoever else has cancelled the task is not to be told that it was done.
        if stop is None or not stop.requested or task is None or task.uncancel():
            raise
        return True
    finally:
        await run.aclose()
    return False
