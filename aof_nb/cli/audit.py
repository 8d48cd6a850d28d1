"""``aofctl show``, ``logs`` and ``diff``: what a run has done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from aof_nb.cli.ending import complain, reported, usage_error

if TYPE_CHECKING:
    from aof_nb.journal.timeline import Timeline

JournalArgument: TypeAlias = Annotated[
    str,
    typer.Argument(help="A run's id, its beginning, 'last', or a journal's file.", metavar="RUN"),
]
_FULL = typer.Option("--full", help="Long texts and outputs are left whole.")


def show(
    run: JournalArgument,
    *,
    format: Annotated[  # noqa: A002
        Literal["text", "md", "html", "json"], typer.Option("--format", help="How to print it.")
    ] = "text",
    full: Annotated[bool, _FULL] = False,
) -> None:
    """Shows a run from its first entry to its last: turns, calls, who approved what, the answer.

    With --format md or html it is made to go into a postmortem.
    """
    with reported():
        timeline = _timeline(run)
    if format == "text":
        from rich.console import Console

        from aof_nb.journal.timeline_text import as_text

        console = Console(highlight=False, soft_wrap=True)
        console.print(as_text(timeline, full=full), end="")
    elif format == "md":
        from aof_nb.journal.timeline_markdown import as_markdown

        typer.echo(as_markdown(timeline, full=full))
    elif format == "html":
        from aof_nb.journal.timeline_html import as_html

        typer.echo(as_html(timeline, full=full))
    else:
        from aof_nb.journal.timeline import as_json

        typer.echo(as_json(timeline).decode())


def logs(
    run: JournalArgument,
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            "-f",
            help="Goes on while the run does, also where it is resumed, until it has ended.",
        ),
    ] = False,
    full: Annotated[bool, _FULL] = False,
    output: Annotated[
        Literal["text", "jsonl"], typer.Option("--output", help="How to print it.")
    ] = "text",
) -> None:
    """Shows a run's journal, line by line."""
    from aof_nb.journal.log_lines import LogLines, followed

    with reported():
        path = _journal(run)
        lines = LogLines(width=None if full else LogLines.WIDTH)
        try:
            for item in followed(path, follow=follow):
                if isinstance(item, str):
                    complain(item)
                elif text := lines.raw(item) if output == "jsonl" else lines.line(item):
                    sys.stdout.write(text + "\n")
                    if follow:
                        sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def diff(
    first: Annotated[str, typer.Argument(help="A run.", metavar="RUN1")],
    second: Annotated[str, typer.Argument(help="Another.", metavar="RUN2")],
    *,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", help="How to print it.")
    ] = "text",
) -> None:
    """Shows what two runs have not in common: prompt, model, turns, calls, answer, cost."""
    from aof_nb.journal.comparison import as_lines, compare

    with reported():
        comparison = compare(_timeline(first), _timeline(second))
    if output == "json":
        from aof_nb.readable import indented_json

        typer.echo(indented_json(comparison))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    styles = {"-": "red", "+": "green", "@": "cyan", "!": "yellow"}
    for line in as_lines(comparison):
        console.print(Text(line, styles.get(line.lstrip(" ")[:1], "")))


def _journal(named: str) -> Path:
    """The journal that a run's id, its beginning, ``last``, or a path names."""
    from aof_nb.errors import ConfigurationError
    from aof_nb.journal.journal import FILE_NAME
    from aof_nb.journal.runs import find_run

    path = Path(named).expanduser()
    if "/" in named or path.is_file():
        return path / FILE_NAME if path.is_dir() else path
    try:
        return find_run(named) / FILE_NAME
    except ConfigurationError as error:
        usage_error(error.message, error.remedy)


def _timeline(named: str) -> Timeline:
    from aof_nb.errors import JournalError
    from aof_nb.journal.reading import read_timeline

    path = _journal(named)
    try:
        return read_timeline(path)
    except JournalError as error:
        if not path.is_file():
            raise
        remedy = f"what can be read of it is shown by: aofctl logs {named}"
        raise JournalError(error.message, remedy=remedy) from error
