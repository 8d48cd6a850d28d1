"""``aofctl test``: notebooks on their cassettes, as a test runner runs its tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aof_nb.cli.ending import ExitCode, reported, run_to_end, usage_error
from aof_nb.errors import AofError, ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from aof_nb.runbooks import NotebookTestResult

_FOR_REAL = "For real"


def run_tests(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Notebooks, or directories of such.",
            exists=True,
            metavar="PATH",
            show_default="this directory",
        ),
    ] = None,
    *,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Run them for real, and write cassettes and saved outputs anew.",
            rich_help_panel=_FOR_REAL,
        ),
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Run them for real, and write nothing.", rich_help_panel=_FOR_REAL
        ),
    ] = False,
    approve: Annotated[
        Literal["ask", "never", "all"] | None,
        typer.Option(
            help="What happens where a policy asks for approval.",
            show_default="ask, where there is a terminal",
            rich_help_panel=_FOR_REAL,
        ),
    ] = None,
    keyword: Annotated[
        str, typer.Option("-k", help="Only notebooks with this in their path.", metavar="TEXT")
    ] = "",
    sanitize_with: Annotated[
        Path | None,
        typer.Option(
            help="What else to take out of outputs before they are compared: nbval's kind of file.",
            exists=True,
            dir_okay=False,
            metavar="FILE",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Keep the notebooks there as they were executed.",
            file_okay=False,
            metavar="DIRECTORY",
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds for each notebook.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Executes notebooks on their cassettes, and compares outputs with the saved ones.

    Agents' runs come from NAME.journal.jsonl beside the notebook: no network, no key, no side
    effects. Exit code: 0 all pass; 1 some do not; 2 wrong usage.
    """
    if update and live:
        usage_error("--update and --live exclude each other", "--update runs notebooks live, too")
    if approve is not None and not (update or live):
        usage_error(
            "--approve is for --update and --live", "a replay takes approvals from the cassette"
        )
    notebooks = _found(paths or [Path()], keyword)
    if not notebooks:
        wanted = f" with {keyword!r} in its path" if keyword else ""
        usage_error(f"there is no notebook{wanted}", "give notebooks, or their directory")
    run_to_end(
        lambda: _run(
            notebooks,
            update=update,
            live=live,
            approve=approve,
            sanitize_with=sanitize_with,
            save=save,
            timeout=timeout,
            debug=debug,
        )
    )


def _found(paths: list[Path], keyword: str) -> list[Path]:
    from aof_nb.resources.found import files_in

    found = [each for path in paths for each in (files_in(path) if path.is_dir() else [path])]
    return [
        path
        for path in dict.fromkeys(found)
        if path.suffix == ".ipynb" and keyword.lower() in str(path).lower()
    ]


async def _run(
    notebooks: list[Path],
    *,
    update: bool,
    live: bool,
    approve: Literal["ask", "never", "all"] | None,
    sanitize_with: Path | None,
    save: Path | None,
    timeout: float | None,  # noqa: ASYNC109  it is `test_notebook` that keeps it
    debug: bool,
) -> ExitCode:
    from rich.console import Console

    from aof_nb.runbooks import CellProblem, NotebookTestResult, test_notebook
    from aof_nb.terminal import TerminalApprover

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    asked = approve == "ask" or (approve is None and sys.stdin.isatty())
    approver = TerminalApprover() if asked else None
    results = []
    began = time.monotonic()
    for path in notebooks:
        try:
            result = await test_notebook(
                path,
                update=update,
                live=live,
                sanitize_with=sanitize_with,
                approve=approve,
                approver=approver,
                timeout=timeout,
            )
        except AofError as error:
            if debug:
                raise
            problem = CellProblem(0, "", error.message, remedy=error.remedy)
            result = NotebookTestResult(path, problems=(problem,))
        results.append(result)
        _print_line(console, result)
        if save is not None:
            with reported(debug=debug):
                _save(result, save)
    failed = [each for each in results if not each.passed]
    for result in failed:
        _print_problems(console, result, debug=debug)
    seconds = time.monotonic() - began
    counts = {"failed": len(failed), "passed": sum(each.passed for each in results)}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    console.print(f"\n{told} in {seconds:.1f} s", style="bold red" if failed else "bold green")
    return ExitCode.FAILED if failed else ExitCode.DONE


def _print_line(console: Console, result: NotebookTestResult) -> None:
    from aof_nb.readable import counted, printable

    if result.passed:
        parts = [counted(result.cells, "cell")]
        if result.runs:
            parts.append(
                f"{counted(result.runs, 'run')} {'recorded' if result.updated else 'replayed'}"
            )
        parts.append(f"{result.duration:.1f} s")
        console.print(f"✓ {result.path}  {', '.join(parts)}", style="green")
    else:
        console.print(f"✗ {result.path}  {printable(result.problems[0].place)}", style="red")
    for note in result.notes:
        console.print(f"  {printable(note)}", style="yellow")


def _print_problems(console: Console, result: NotebookTestResult, *, debug: bool) -> None:
    from aof_nb.readable import printable

    console.print(f"\n{result.path}", style="bold")
    for problem in result.problems:
        console.print(f"✗ {printable(problem.heading)}", style="red")
        for line in problem.difference.splitlines():
            console.print(f"  {printable(line)}", style=_STYLES.get(line[:1], ""))
        if debug and problem.traceback:
            sys.stdout.write(f"{problem.traceback}\n")
        if problem.remedy:
            console.print(f"  → {printable(problem.remedy)}")


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def _save(result: NotebookTestResult, directory: Path) -> None:
    """Keeps an executed notebook, in the directories that it has below this one."""
    if result.notebook is None:
        return
    import nbformat

    path = result.path.resolve()
    here = Path.cwd()
    target = directory / (path.relative_to(here) if path.is_relative_to(here) else path.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(result.notebook, target)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written: {error.strerror}", remedy="name another directory"
        ) from error
