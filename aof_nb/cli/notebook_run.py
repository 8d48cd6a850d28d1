"""Runs a notebook, and prints how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aof_nb.cli.ending import ExitCode, complain, nobody_asked
from aof_nb.cli.tape import Tape
from aof_nb.cli.writers import OutputFormat, print_line
from aof_nb.errors import AofError
from aof_nb.journal.playbook_recording import is_playbook
from aof_nb.journal.runs import run_dir
from aof_nb.policy import ApproveMode, Approver
from aof_nb.readable import indented_json, printable, readable
from aof_nb.run import new_run_id
from aof_nb.runbooks import (
    CellFinished,
    NotebookResult,
    NotebookStatus,
    ParameterError,
    Progress,
    ResumeError,
    run_notebook,
)
from aof_nb.terminal import TerminalApprover
from aof_nb.truncation import truncate

Work = Callable[[Approver, Callable[[Progress], None]], Awaitable[NotebookResult]]

_WAITING = frozenset({"CellWaiting", "ApprovalPending"})
"""What a cell raises that waits for a person."""


async def run_notebook_file(
    file: Path,
    *,
    given: Sequence[str],
    executed: Path | None,
    report: Path | None,
    approve: ApproveMode,
    output: OutputFormat,
    timeout: float | None,  # noqa: ASYNC109  it is `run_notebook` that keeps it
    tape: Tape,
    debug: bool,
) -> ExitCode:
    """Runs a notebook once, and prints its progress.

    Args:
        file: The notebook.
        given: Its parameters, each as ``KEY=VALUE``.
        executed: Where the executed notebook goes.
        report: Where the report goes.
        approve: What happens where its agents' policies ask.
        output: How progress and result are printed.
        timeout: Seconds for the whole run; the notebook's own limit if None.
        tape: What its agents repeat, or are recorded to.
        debug: Whether tracebacks are shown.
    """
    run_id = new_run_id()
    results: list[NotebookResult] = []

    async def work(approver: Approver, tell: Callable[[Progress], None]) -> NotebookResult:
        tape.begin()
        result = await run_notebook(
            file,
            output=executed,
            report=report,
            parameters=parameters(given),
            approve=approve,
            approver=approver,
            on_progress=tell,
            on_notice=complain,
            timeout=timeout,
            run_id=run_id,
            environment=tape.environment,
        )
        results.append(result)
        return result

    code = await carried_out(work, str(file), run_id, output=output, debug=debug)
    if results and output == "text" and tape.record is not None:
        recorded = tape.record if tape.record.exists() else "nothing was recorded"
        sys.stdout.write(f"cassette: {recorded}\n")
    return code


async def carried_out(
    work: Work, name: str, run_id: str, *, output: OutputFormat, debug: bool
) -> ExitCode:
    """Begins or resumes a notebook's run, and prints its progress and what comes of it.

    Args:
        work: Carries it out, given who is asked for approvals and who is told how far it is.
        name: What it is called in messages.
        run_id: The run's id.
        output: How progress and result are printed.
        debug: Whether tracebacks are shown.
    """
    approver = TerminalApprover()
    running = asyncio.current_task()
    unread: list[BrokenPipeError] = []
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        try:
            if not told and output != "jsonl" and is_playbook(run_dir(run_id)):
                sys.stderr.write(f"run: {run_id}\n")
            told.append(progress)
            (print_line if output == "jsonl" else _show)(progress)
        except BrokenPipeError as error:
            unread.append(error)
            if running is not None:
                running.cancel()

    try:
        result = await work(approver, tell)
    except asyncio.CancelledError:
        if unread:
            raise unread[0] from None
        if told:
            _hint(run_id)
        raise
    except AofError as error:
        if debug:
            raise
        complain(error.message, error.remedy)
        if told:
            _hint(run_id)
        return (
            ExitCode.USAGE if isinstance(error, ParameterError | ResumeError) else ExitCode.FAILED
        )
    _print_result(result, output)
    code = _explain(result, name, debug=debug)
    if approver.unanswered and code is not ExitCode.WAITING:
        return nobody_asked()
    return code


def _explain(result: NotebookResult, name: str, *, debug: bool) -> ExitCode:
    """Says on standard error what is not done, and what to do about it."""
    for each in result.notices:
        complain(each)
    if result.error is not None:
        failure = result.error
        if failure.error in _WAITING:
            # The panel's last line says how it goes on.
            remedy = failure.traceback.rpartition("→ ")[2] if "→ " in failure.traceback else ""
            complain(f"{name}: cell {failure.cell} waits: {failure.message}", remedy.strip())
            return ExitCode.WAITING
        if debug:
            sys.stderr.write(f"{failure.traceback}\n")
        why = f"{failure.error}: {failure.message}".rstrip(": ")
        complain(f"{name}: cell {failure.cell} ({printable(failure.title)}) failed: {why}")
    if result.status is NotebookStatus.COMPLETED:
        return ExitCode.DONE
    if result.undecided is not None:
        cell = result.undecided
        complain(
            f"{name}: cell {cell.place} ({printable(cell.title)}) is marked once: {cell.reason}",
            f"aofctl resume {result.run_id} --repeat {cell.place} executes it again, "
            f"--skip {cell.place} leaves it out",
        )
        return ExitCode.WAITING
    if result.status is NotebookStatus.WAITING:
        for waiting in result.waiting:
            arguments = [f"{key}={readable(each)}" for key, each in waiting.arguments.items()]
            call = " ".join(" ".join([waiting.tool or "a call", *arguments]).split())
            complain(
                f"{name}: {waiting.agent} waits for approval of {truncate(printable(call), 500)}",
                f"aofctl approve {waiting.run_id}, then aofctl resume {result.run_id}",
            )
        return ExitCode.WAITING
    if result.status is NotebookStatus.TIMEOUT:
        complain(
            f"{name}: not done after {result.time_limit or 0:g} s", "give it more with --timeout"
        )
    if result.run_id:
        _hint(result.run_id)
    return ExitCode.FAILED


def _hint(run_id: str) -> None:
    if is_playbook(run_dir(run_id)):
        sys.stderr.write(f"  to go on with it: aofctl resume {run_id}\n")


def parameters(given: Sequence[str]) -> dict[str, str]:
    """Parameters by name, each given as ``KEY=VALUE``.

    Raises:
        ParameterError: If one is not.
    """
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise ParameterError(f"-p {each!r} is not KEY=VALUE", remedy="such as: -p replicas=3")
        found[name.strip()] = value
    return found


def _show(progress: Progress) -> None:
    place = f"[{progress.cell}/{progress.cells}]"
    title = printable(progress.title)
    if isinstance(progress, CellFinished):
        mark = "✓" if progress.ok else "✗"
        if progress.passed:
            sys.stderr.write(f"{place} - {title} {progress.passed}\n")
        else:
            sys.stderr.write(f"{place} {mark} {title} {progress.duration:.1f} s\n")
    elif sys.stderr.isatty():
        sys.stderr.write(f"{place} … {title}\n")
    sys.stderr.flush()


def _print_result(result: NotebookResult, output: OutputFormat) -> None:
    if output == "text":
        sys.stdout.write(f"notebook: {result.output_path}\nreport: {result.report_path}\n")
        return
    content = {
        "type": "notebook_finished",
        "run_id": result.run_id,
        "status": result.status,
        "notebook": str(result.output_path),
        "report": str(result.report_path),
        "markdown": None if result.markdown_path is None else str(result.markdown_path),
        "duration": round(result.duration, 3),
        "error": result.error,
        "waiting": result.waiting,
        "undecided": result.undecided,
    }
    if output == "jsonl":
        print_line(content)
    else:
        sys.stdout.write(indented_json(content) + "\n")
