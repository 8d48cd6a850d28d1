"""Runs a notebook from its first cell to its last, and keeps what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import math
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.errors import ConfigurationError
from aof_nb.runbooks.execution import Execution
from aof_nb.runbooks.metadata import RunbookMetadata, is_runbook, runbook_metadata
from aof_nb.runbooks.parameters import Parameter, ParameterError, declared_parameters, fitted
from aof_nb.runbooks.progress import CellFailure, Progress, heading, introduction

if TYPE_CHECKING:
    from aof_nb.policy import ApproveMode, Approver, Policy


class NotebookStatus(enum.StrEnum):
    """How a notebook's run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class NotebookResult:
    """What came of a notebook's run.

    Args:
        status: How it ended.
        output_path: The executed notebook.
        report_path: The report, in HTML.
        duration: Seconds.
        error: The cell that failed, if one did.
        time_limit: Seconds it was given; None for as long as it took.
    """

    status: NotebookStatus
    output_path: Path
    report_path: Path
    duration: float
    error: CellFailure | None = None
    time_limit: float | None = None


@dataclass(frozen=True)
class NotebookInfo:
    """What a notebook says of itself.

    Args:
        path: The file.
        title: From its metadata, or its first heading; empty if it has neither.
        language: The language its kernel speaks.
        parameters: Its parameters; None if no cell has the tag ``parameters``.
        description: From its metadata, or its first paragraph; empty if it has neither.
        metadata: What it says of itself as a runbook.
        is_runbook: Whether it is meant as one: it has the metadata, or parameters.
    """

    path: Path
    title: str
    language: str
    parameters: list[Parameter] | None
    description: str = ""
    metadata: RunbookMetadata = field(default_factory=RunbookMetadata)
    is_runbook: bool = False


def inspect_notebook(path: str | Path) -> NotebookInfo:
    """Reads what a notebook says of itself, without running it.

    Raises:
        ConfigurationError: If it cannot be read, is no notebook, or says something wrong.
    """
    path = Path(path)
    notebook = read_notebook(path)
    said = runbook_metadata(notebook, str(path))
    try:
        parameters = declared_parameters(notebook.cells)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error.message}", remedy=error.remedy) from error
    metadata = notebook.metadata
    language = metadata.get("kernelspec", {}).get("language") or metadata.get(
        "language_info", {}
    ).get("name", "python")
    return NotebookInfo(
        path,
        title=said.title or heading(notebook.cells),
        language=language,
        parameters=parameters,
        description=said.description or introduction(notebook.cells),
        metadata=said,
        is_runbook=is_runbook(notebook),
    )


async def run_notebook(
    path: str | Path,
    *,
    output: str | Path | None = None,
    report: str | Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    approve: ApproveMode = "ask",
    approver: Approver | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  ends the kernel and keeps the notebook
    environment: Mapping[str, str] | None = None,
) -> NotebookResult:
    """Runs a notebook in a kernel of this Python, in the notebook's own directory.

    The executed notebook and the report are written whatever comes of it. Cancelling interrupts
    the running cell, ends the kernel, and leaves the executed notebook.

    Args:
        path: The notebook.
        output: The executed notebook; ``runs/NAME-YYYYmmdd-HHMMSS.ipynb`` if not given.
        report: The report; beside the executed notebook if not given.
        parameters: Values for the notebook's parameters; text is turned into their type.
        approve: The default of its agents' approvals: ``ask``, ``never`` or ``all``.
        approver: Who is asked, with ``ask``; nobody if not given.
        on_progress: Called on this loop as cells start and finish.
        timeout: Seconds for the whole run, `math.inf` for as long as it takes; the notebook's
            ``time_limit`` if not given.
        environment: Variables of the kernel, added to those of this process, such as
            ``AOF_REPLAY``.

    Raises:
        ConfigurationError: If it is no notebook that can be run.
        ParameterError: If a parameter is unknown or does not fit.

    Example:
        >>> async def nightly():
        ...     result = await run_notebook("triage.ipynb", parameters={"service": "web"})
        ...     return result.status, result.report_path
    """
    info = inspect_notebook(path)
    if info.language.lower() not in {"python", "ipython"}:
        raise ConfigurationError(
            f"{path} is a notebook in {info.language}", remedy="only Python notebooks can be run"
        )
    values = fitted(info.parameters, parameters or {})
    try:
        executed = Path(output) if output is not None else _default_output(info.path)
        written = Path(report) if report is not None else executed.with_suffix(".html")
        for each in (executed, written):
            each.parent.mkdir(parents=True, exist_ok=True)
        executed.touch()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}",
            remedy="name another place for the executed notebook and the report",
        ) from error
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:
        if on_progress is not None:
            loop.call_soon_threadsafe(on_progress, progress)

    limit = info.metadata.time_limit if timeout is None else timeout
    limit = None if limit == math.inf else limit
    bound = info.metadata.policy.made() if info.metadata.policy is not None else None
    started = time.monotonic()
    async with _environment(approve, approver, bound) as surroundings:
        variables = {**surroundings, **(environment or {})}
        execution = Execution(str(info.path.resolve().parent), variables, tell)
        work = asyncio.create_task(asyncio.to_thread(execution.run, info.path, executed, values))
        try:
            done, _ = await asyncio.wait([work], timeout=limit)
        finally:
            if not work.done():
                execution.stop()
                await _finished(work)
        work.result()
    status = NotebookStatus.FAILED if execution.failure else NotebookStatus.COMPLETED
    await asyncio.to_thread(_report, executed, written)
    return NotebookResult(
        status=status if done else NotebookStatus.TIMEOUT,
        output_path=executed,
        report_path=written,
        duration=time.monotonic() - started,
        error=execution.failure,
        time_limit=limit,
    )


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
    from aof_nb.policy import bounded

    environment = bounded({**os.environ, "AOF_APPROVE": approve}, bound)
    environment.pop(approval_channel.VARIABLE, None)
    if approve != "ask" or approver is None:
        yield environment
        return
    async with approval_channel.serve(approver) as address:
        yield {**environment, approval_channel.VARIABLE: address}


def _default_output(path: Path) -> Path:
    """A new file for an executed notebook."""
    directory = Path("runs")
    directory.mkdir(exist_ok=True)
    stem = f"{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        output = directory / f"{stem}{f'-{number}' if number > 1 else ''}.ipynb"
        with contextlib.suppress(FileExistsError):
            output.touch(exist_ok=False)
            break
    return output


def _report(executed: Path, report: Path) -> None:
    from aof_nb.runbooks.report import write_report

    write_report(read_notebook(executed), report)


def read_notebook(path: Path) -> Any:
    """A notebook, as nbformat's node.

    Raises:
        ConfigurationError: If it cannot be read, or is no notebook.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    except Exception as error:  # nbformat trusts the form of what it reads
        raise ConfigurationError(
            f"{path} is no notebook: {str(error).partition(chr(10))[0]}",
            remedy="it should be the JSON that Jupyter saves as .ipynb",
        ) from error
