"""``aofctl validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from aof_nb.cli.ending import ExitCode, complain, usage_error


def validate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="YAML files, notebooks, or directories of such.", exists=True, metavar="PATH..."
        ),
    ],
    *,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", help="How to print it.")
    ] = "text",
) -> None:
    """Checks agents, MCP servers and notebooks without running them.

    Each problem is a line: file:line, field, what is wrong and what would be right. Exit code 1
    if there is any; what is only a warning does not count.
    """
    from aof_nb.resources import check
    from aof_nb.resources.found import files_in
    from aof_nb.runbooks.metadata import check_runbook

    files = [each for path in paths for each in (files_in(path) if path.is_dir() else [path])]
    if not files:
        usage_error("there is nothing to check", "give YAML files, notebooks, or their directory")
    problems = [
        problem
        for file in files
        for problem in (*check(file), *(check_runbook(file) if file.suffix == ".ipynb" else ()))
    ]
    if output == "json":
        fields = ("severity", "file", "line", "field", "message", "remedy")
        content = [{name: getattr(each, name) for name in fields} for each in problems]
        from aof_nb.readable import indented_json

        typer.echo(indented_json(content))
    else:
        for problem in problems:
            typer.echo(f"{'warning: ' if problem.severity == 'warning' else ''}{problem}")
    counted = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    wrong = [each for each in problems if each.severity == "error"]
    if wrong:
        complain(f"{len(wrong)} problem{'' if len(wrong) == 1 else 's'} in {counted}")
        raise typer.Exit(ExitCode.FAILED)
    if output == "text":
        warned = len(problems)
        warnings = f", {warned} warning{'' if warned == 1 else 's'}" if warned else ""
        typer.echo(f"{counted}: no problems{warnings}")
