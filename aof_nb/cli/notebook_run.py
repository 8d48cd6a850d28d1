"""Runs a notebook, and prints how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from aof_nb.cli.ending import ExitCode, complain, nobody_asked
from aof_nb.cli.tape import Tape
from aof_nb.cli.writers import OutputFormat, print_line
from aof_nb.errors import AofError
from aof_nb.policy import ApproveMode
from aof_nb.readable import printable
from aof_nb.runbooks import (
    CellFinished,
    NotebookResult,
    NotebookStatus,
    ParameterError,
    Progress,
    run_notebook,
)
from aof_nb.terminal import TerminalApprover

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
    approver = TerminalApprover()
    running = asyncio.current_task()
    unread: list[BrokenPipeError] = []

    def tell(progress: Progress) -> None:
        try:
            (print_line if output == "jsonl" else _show)(progress)
        except BrokenPipeError as error:
            unread.append(error)
            if running is not None:
                running.cancel()

    try:
        tape.begin()
        result = await run_notebook(
            file,
            output=executed,
            report=report,
            parameters=_parameters(given),
            approve=approve,
            approver=approver,
            on_progress=tell,
            timeout=timeout,
            environment=tape.environment,
        )
    except asyncio.CancelledError:
        if unread:
            raise unread[0] from None
        raise
    except AofError as error:
        if debug:
            raise
        complain(error.message, error.remedy)
        return ExitCode.USAGE if isinstance(error, ParameterError) else ExitCode.FAILED
    _print_result(result, output)
    if output == "text" and tape.record is not None:
        recorded = tape.record if tape.record.exists() else "nothing was recorded"
        sys.stdout.write(f"cassette: {recorded}\n")
    if result.error is not None:
        failure = result.error
        if failure.error in _WAITING:
            # The panel's last line says how it goes on.
            remedy = failure.traceback.rpartition("→ ")[2] if "→ " in failure.traceback else ""
            complain(f"{file}: cell {failure.cell} waits: {failure.message}", remedy.strip())
            return ExitCode.WAITING
        if debug:
            sys.stderr.write(f"{failure.traceback}\n")
        why = f"{failure.error}: {failure.message}".rstrip(": ")
        complain(f"{file}: cell {failure.cell} ({printable(failure.title)}) failed: {why}")
    if result.status is NotebookStatus.TIMEOUT:
        complain(
            f"{file}: not done after {result.time_limit or 0:g} s", "give it more with --timeout"
        )
    if approver.unanswered:
        return nobody_asked()
    return ExitCode.DONE if result.status is NotebookStatus.COMPLETED else ExitCode.FAILED


def _parameters(given: Sequence[str]) -> dict[str, str]:
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
        "status": result.status,
        "notebook": str(result.output_path),
        "report": str(result.report_path),
        "duration": round(result.duration, 3),
        "error": result.error,
    }
    if output == "jsonl":
        print_line(content)
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
