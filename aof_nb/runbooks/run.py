"""Runs a notebook from its first cell to its last, and keeps what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.journal.playbook_entries import PlaybookBegun
from aof_nb.journal.replay import VARIABLE
from aof_nb.journal.runs import run_dir
from aof_nb.policy import held_to_dry_run
from aof_nb.run import new_run_id
from aof_nb.runbooks.carry_out import carry_out
from aof_nb.runbooks.metadata import RunbookMetadata, is_runbook, runbook_metadata
from aof_nb.runbooks.notebook_result import NotebookResult
from aof_nb.runbooks.parameters import Parameter, ParameterError, declared_parameters, fitted
from aof_nb.runbooks.playbook import Playbook, opened_journal
from aof_nb.runbooks.prepared import Prepared, looks_secret, prepared, read_notebook
from aof_nb.runbooks.progress import Progress, heading, introduction

if TYPE_CHECKING:
    from aof_nb.policy import ApproveMode, Approver, Policy


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
    on_notice: Callable[[str], None] | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  ends the kernel and keeps the notebook
    environment: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> NotebookResult:
    """Runs a notebook in a kernel of this Python, in the notebook's own directory.

    The executed notebook and the report are written whatever comes of it, and what happens is
    journaled, so that `aof_nb.runbooks.resume.resume_playbook` can go on with it. Cancelling
    interrupts the running cell, ends the kernel, and leaves the executed notebook.

    Args:
        path: The notebook.
        output: The executed notebook; ``runs/NAME-YYYYmmdd-HHMMSS.ipynb`` if not given.
        report: The report; beside the executed notebook if not given.
        parameters: Values for the notebook's parameters; text is turned into their type.
        approve: The default of its agents' approvals: ``ask``, ``never`` or ``all``.
        approver: Who is asked, with ``ask``; if nobody is, the run ends as *waiting*.
        on_progress: Called on this loop as cells start and finish.
        on_notice: Told what there is to know at the beginning.
        timeout: Seconds for the whole run, `math.inf` for as long as it takes; the notebook's
            ``time_limit`` if not given.
        environment: Variables of the kernel, added to those of this process, such as
            ``AOF_REPLAY``.
        run_id: The run's id; made if not given.

    Raises:
        ConfigurationError: If it is no notebook that can be run, or what comes of it cannot be
            written.
        JournalError: If the journal cannot be written any more.
        ParameterError: If a parameter is unknown or does not fit.

    Example:
        >>> async def nightly():
        ...     result = await run_notebook("triage.ipynb", parameters={"service": "web"})
        ...     return result.status, result.report_path
    """
    approve = held_to_dry_run(approve)
    info = inspect_notebook(path)
    check_language(info)
    values = fitted(info.parameters, parameters or {})
    executed = Path(output) if output is not None else None
    executed, written = places(info.path, executed, None if report is None else Path(report))
    ready = await asyncio.to_thread(prepared, info.path, values)
    limit = info.metadata.time_limit if timeout is None else timeout
    limit = None if limit == math.inf else limit
    begun = PlaybookBegun(
        run_id=run_id or new_run_id(),
        notebook=str(info.path.resolve()),
        time=time.time(),
        output=str(executed.resolve()),
        report=str(written.resolve()),
        title=info.title,
        parameters={name: each for name, each in values.items() if not looks_secret(name, each)},
        secrets=tuple(name for name, each in values.items() if looks_secret(name, each)),
        approve=approve,
        timeout=limit,
    )
    if VARIABLE in {**os.environ, **(environment or {})}:
        # A replay does nothing that would have to be gone on with, and is not journaled.
        playbook = Playbook(ready, begun.parameters)
    else:
        playbook = await asyncio.to_thread(_begun, begun, ready, on_notice)
    return await carry_out(
        playbook,
        info.path,
        executed=executed,
        report=written,
        approve=approve,
        approver=approver,
        on_progress=on_progress,
        timeout=limit,
        bound=bound_of(info),
        environment=environment,
    )


def bound_of(info: NotebookInfo) -> Policy | None:
    """What a notebook's agents may do at most; None if it does not say."""
    said = info.metadata.policy
    return None if said is None else said.made()


def check_language(info: NotebookInfo) -> None:
    """Sees that a notebook is one that can be run here.

    Raises:
        ConfigurationError: If it is in another language than Python.
    """
    if info.language.lower() not in {"python", "ipython"}:
        raise ConfigurationError(
            f"{info.path} is a notebook in {info.language}",
            remedy="only Python notebooks can be run",
        )


def places(notebook: Path, executed: Path | None, report: Path | None) -> tuple[Path, Path]:
    """Where the executed notebook and the report go; their directories are made.

    Raises:
        ConfigurationError: If they cannot be written there.
    """
    try:
        executed = executed or _default_output(notebook)
        report = report or executed.with_suffix(".html")
        for each in (executed, report):
            each.parent.mkdir(parents=True, exist_ok=True)
        executed.touch()
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}",
            remedy="name another place for the executed notebook and the report",
        ) from error
    return executed, report


def _begun(
    begun: PlaybookBegun, ready: Prepared, on_notice: Callable[[str], None] | None
) -> Playbook:
    """A run with a journal, or without one where that cannot be written."""
    try:
        playbook = _journaled(begun, ready)
    except (JournalError, OSError) as error:
        if on_notice is not None:
            on_notice(f"this run has no journal, and cannot be resumed: {error}")
        return Playbook(ready, begun.parameters)
    return playbook


def _journaled(begun: PlaybookBegun, ready: Prepared) -> Playbook:
    with contextlib.ExitStack() as held:
        journal = opened_journal(run_dir(begun.run_id))
        held.callback(journal.close)
        if journal.path.stat().st_size:
            raise ConfigurationError(
                f"there is a run {begun.run_id} already", remedy="give another run_id"
            )
        playbook = Playbook(ready, begun.parameters, journal=journal)
        playbook.begin(begun, ready)
        held.pop_all()
    return playbook


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
