"""Executes what is to be executed of a notebook, and writes what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aof_nb.errors import AofError
from aof_nb.runbooks.execution import Execution
from aof_nb.runbooks.notebook_result import NotebookResult, NotebookStatus
from aof_nb.runbooks.playbook import Playbook
from aof_nb.runbooks.prepared import read_notebook
from aof_nb.runbooks.progress import Progress

if TYPE_CHECKING:
    from aof_nb.policy import ApproveMode, Approver, Policy


async def carry_out(
    playbook: Playbook,
    notebook: Path,
    *,
    executed: Path,
    report: Path,
    approve: ApproveMode,
    approver: Approver | None,
    on_progress: Callable[[Progress], None] | None,
    timeout: float | None,  # noqa: ASYNC109  ends the kernel and keeps the notebook
    bound: Policy | None,
    environment: Mapping[str, str] | None = None,
) -> NotebookResult:
    """Executes what is to be executed of a notebook, and writes what comes of it.

    Args:
        playbook: What is done with which cell, and the journal, which is closed at the end.
        notebook: The notebook's file; cells are executed in its directory.
        executed: The executed notebook.
        report: The report.
        approve: As for `run_notebook`.
        approver: As for `run_notebook`.
        on_progress: As for `run_notebook`.
        timeout: Seconds; None for as long as it takes.
        bound: What its agents may do at most; None for what their own policies say.
        environment: As for `run_notebook`.

    Raises:
        ConfigurationError: If the kernel does not start, or the executed notebook cannot be
            written.
        JournalError: If the journal cannot be written any more.
    """
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:
        if on_progress is not None:
            loop.call_soon_threadsafe(on_progress, progress)

    started = time.monotonic()
    ending, error = "cancelled", ""
    try:
        async with _environment(approve, approver, bound) as surroundings:
            execution = Execution(
                directory=_directory_of(notebook),
                environment={**surroundings, **(environment or {})},
                tell=tell,
                playbook=playbook,
                notebook=notebook,
            )
            work = asyncio.create_task(asyncio.to_thread(execution.run, executed))
            try:
                done, _ = await asyncio.wait([work], timeout=timeout)
            finally:
                if not work.done():
                    execution.stop()
                    await _finished(work)
            work.result()
        status = _status(execution, timed_out=not done)
        ending = status.value
        if execution.failure is not None:
            error = f"{execution.failure.error}: {execution.failure.message}"
    except AofError as problem:
        playbook.end("failed", problem.message)
        await asyncio.to_thread(_report, executed, report, playbook)
        raise
    finally:
        playbook.end(ending, error)
    markdown, notices = await asyncio.to_thread(_report, executed, report, playbook)
    if execution.failure is not None and playbook.answered(execution.failure.cell):
        cell = execution.failure.cell
        anew = f"aofctl resume {playbook.run_id} --repeat {cell}"
        notices = (*notices, f"the answers of cell {cell}'s agents are kept; to ask anew: {anew}")
    return NotebookResult(
        status=status,
        output_path=executed,
        report_path=report,
        duration=time.monotonic() - started,
        error=execution.failure,
        time_limit=timeout,
        run_id=playbook.run_id,
        markdown_path=markdown,
        waiting=execution.waiting,
        notices=notices,
    )


def _status(execution: Execution, *, timed_out: bool) -> NotebookStatus:
    if timed_out:
        return NotebookStatus.TIMEOUT
    if execution.waiting:
        return NotebookStatus.WAITING
    return NotebookStatus.FAILED if execution.failure else NotebookStatus.COMPLETED


async def _finished(work: asyncio.Task[None]) -> None:
    """Waits for a thread that has been told to end, even while this task is cancelled."""
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([work])


@contextlib.asynccontextmanager
async def _environment(
    approve: ApproveMode, approver: Approver | None, bound: Policy | None
) -> AsyncGenerator[dict[str, str], None]:
    """The kernel's environment: the way to whoever approves, and what agents may do at most."""
    from aof_nb import approval_channel
    from aof_nb.policy import bounded, held_to_dry_run

    approve = held_to_dry_run(approve)
    environment = bounded({**os.environ, "AOF_APPROVE": approve}, bound)
    if environment.get("AOF_STATE_DIR"):
        # Elsewhere a relative path would be another one.
        environment["AOF_STATE_DIR"] = _absolute(environment["AOF_STATE_DIR"])
    environment.pop(approval_channel.VARIABLE, None)
    if approve != "ask" or approver is None:
        yield environment
        return
    async with approval_channel.serve(approver) as address:
        yield {**environment, approval_channel.VARIABLE: address}


def _directory_of(file: Path) -> str:
    return str(file.resolve().parent)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _report(executed: Path, report: Path, playbook: Playbook) -> tuple[Path | None, Sequence[str]]:
    """Writes the reports; what cannot be written is said, and costs nothing but itself."""
    from aof_nb.runbooks.report import write_reports

    try:
        return write_reports(read_notebook(executed), report, playbook.directory), ()
    except (OSError, AofError) as error:
        return None, (f"the report {report} is not complete: {error}",)
