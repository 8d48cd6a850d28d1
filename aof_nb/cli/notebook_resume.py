"""Goes on with a notebook's run, and prints how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aof_nb.cli.ending import ExitCode, complain
from aof_nb.cli.notebook_run import carried_out, parameters
from aof_nb.cli.writers import OutputFormat
from aof_nb.policy import ApproveMode, Approver
from aof_nb.runbooks import NotebookResult, Progress, resume_playbook


async def resume_notebook_run(
    directory: Path,
    *,
    given: Sequence[str] = (),
    repeat: Sequence[str] = (),
    skip: Sequence[str] = (),
    notebook: Path | None = None,
    approve: ApproveMode | None = None,
    output: OutputFormat = "text",
    timeout: float | None = None,  # noqa: ASYNC109  it is `resume_playbook` that keeps it
    debug: bool = False,
) -> ExitCode:
    """Goes on with a notebook's run, and prints its progress.

    Args:
        directory: The run's directory.
        given: The parameters whose values were not kept, each as ``KEY=VALUE``.
        repeat: Cells that are executed again although they are marked ``once``.
        skip: Cells that are left out.
        notebook: Another file to take the cells from.
        approve: What happens where its agents' policies ask; as before if None.
        output: How progress and result are printed.
        timeout: Seconds for the rest; as many as the whole run had if None.
        debug: Whether tracebacks are shown.
    """

    async def work(approver: Approver, tell: Callable[[Progress], None]) -> NotebookResult:
        return await resume_playbook(
            directory,
            approve=approve,
            approver=approver,
            on_progress=tell,
            on_notice=complain,
            repeat=repeat,
            skip=skip,
            parameters=parameters(given),
            notebook=notebook,
            timeout=timeout,
        )

    run_id = directory.name
    return await carried_out(work, f"run {run_id}", run_id, output=output, debug=debug)
