"""A request that a run stop, beside its journal: any process of this user may make it.

Cells and ``aofctl run`` look for it while they carry a run through, and end the run as an
interrupt would. A run that a program of the user's own carries through has nobody who looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from aof_nb.cancellation import uncancelled
from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.journal.journal import FILE_NAME, is_held
from aof_nb.paths import write_private

_NAME = "stop"
_POLL_SECONDS = 0.25


def request_stop(run_directory: Path) -> None:
    """Asks whoever carries a run through to stop it.

    Args:
        run_directory: The run's directory.

    Raises:
        ConfigurationError: If the run does not go on.
        JournalError: If the request cannot be written.
    """
    if not is_held(run_directory / FILE_NAME):
        raise ConfigurationError(
            f"the run {run_directory.name} does not go on any more", remedy="see aofctl show"
        )
    try:
        write_private(run_directory / _NAME, b"")
    except OSError as error:
        raise JournalError(
            f"the request to stop {run_directory.name} cannot be written: {error.strerror}",
            remedy="make room on the disk, or interrupt the run where it was begun",
        ) from error


def is_stop_requested(run_directory: Path) -> bool:
    """Whether a run is asked to stop, and has not yet."""
    return (run_directory / _NAME).exists()


class Stop:
    """Whether a run has been stopped because that was requested."""

    requested = False


@contextlib.asynccontextmanager
async def stoppable(run_directory: Callable[[], Path]) -> AsyncGenerator[Stop, None]:
    """Cancels the current task when its run is asked to stop.

    Args:
        run_directory: Says what the run's directory is, which need not be there yet.

    Yields:
        Whether it was asked to, for whoever takes the cancellation.

    Example:
        >>> async def carry_through(run):
        ...     async with stoppable(lambda: run_dir(run.run_id)):
        ...         async for event in run:
        ...             print(event)
    """
    task = asyncio.current_task()
    assert task is not None
    stop = Stop()
    # A request of before this run was gone on with is no longer meant.
    request = await asyncio.to_thread(_forgotten, run_directory)
    watching = asyncio.ensure_future(_cancel_when_asked(run_directory, request, task, stop))
    try:
        yield stop
    finally:
        watching.cancel()
        await uncancelled(asyncio.gather(watching, return_exceptions=True))


async def _cancel_when_asked(
    run_directory: Callable[[], Path], request: Path, task: asyncio.Task[object], stop: Stop
) -> None:
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        if request.parent != run_directory():
            request = await asyncio.to_thread(_forgotten, run_directory)
        elif await asyncio.to_thread(request.exists):
            await asyncio.to_thread(_forget, request)
            stop.requested = True
            task.cancel()
            return


def _forgotten(run_directory: Callable[[], Path]) -> Path:
    request = run_directory() / _NAME
    _forget(request)
    return request


def _forget(request: Path) -> None:
    with contextlib.suppress(OSError):
        request.unlink(missing_ok=True)
