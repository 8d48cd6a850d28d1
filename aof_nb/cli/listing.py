"""``aofctl list``: what there is to run and to run it with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from aof_nb.cli.ending import complain

if TYPE_CHECKING:
    from aof_nb.agent import Agent
    from aof_nb.mcp.spec import McpServer

app = typer.Typer(
    name="list",
    help="Shows runs and approvals, agents, tools, models, MCP servers or notebooks.",
    no_args_is_help=True,
)

Where = Annotated[
    Path, typer.Argument(help="The directory to look in.", exists=True, metavar="[DIRECTORY]")
]
OutputOption: TypeAlias = Annotated[
    Literal["text", "json"], typer.Option("--output", help="How to print it.")
]


@app.command()
def agents(directory: Where = Path(), *, output: OutputOption = "text") -> None:
    """Shows the agents in a directory's YAML files."""
    from aof_nb.agent import Agent

    rows = [
        (agent.name, agent.model_name, agent.description, str(file))
        for file, agent in _declared(directory)
        if isinstance(agent, Agent)
    ]
    print_table(("name", "model", "description", "file"), rows, output)


@app.command()
def mcp(directory: Where = Path(), *, output: OutputOption = "text") -> None:
    """Shows the MCP servers that a directory's YAML files declare."""
    from aof_nb.agent import Agent

    rows = [
        (server.name, server.url or " ".join([str(server.command), *server.args]), str(file))
        for file, found in _declared(directory)
        for server in (found.mcp_servers if isinstance(found, Agent) else [found])
    ]
    print_table(("name", "server", "file"), rows, output)


@app.command()
def tools(*, output: OutputOption = "text") -> None:
    """Shows the built-in tools."""
    from aof_nb.tools import resolve_tools
    from aof_nb.tools.registry import builtin_names

    specs = {
        tool.spec.name: tool.spec for name in builtin_names() for tool in resolve_tools([name])
    }
    rows = [
        (spec.name, spec.effect.value, spec.description.partition("\n")[0])
        for spec in sorted(specs.values(), key=lambda spec: spec.name)
    ]
    print_table(("name", "effect", "description"), rows, output)


@app.command()
def models(*, output: OutputOption = "text") -> None:
    """Shows the model providers, what each needs, and which models are left alone at the moment."""
    import time

    from aof_nb.models.breaker_board import open_breakers
    from aof_nb.models.needs import needs_in_words
    from aof_nb.models.registry import providers

    left_alone = open_breakers()
    rows = []
    for provider in providers().values():
        now = [
            f"{each.model}: {each.reason}, left alone for {max(0, each.until - time.time()):.0f} s"
            for each in left_alone
            if each.model.partition(":")[0] == provider.name
        ]
        rows.append((provider.example, provider.title, needs_in_words(provider), "; ".join(now)))
    print_table(("model", "provider", "needs", "now"), rows, output)


@app.command()
def runbooks(directory: Where = Path(), *, output: OutputOption = "text") -> None:
    """Shows a directory's notebooks and their parameters."""
    from aof_nb.errors import AofError
    from aof_nb.resources.found import files_in
    from aof_nb.runbooks import inspect_notebook

    rows = []
    for path in files_in(directory):
        if path.suffix == ".ipynb":
            try:
                found = inspect_notebook(path)
            except AofError as error:
                complain(error.message, error.remedy)
                continue
            taken = ", ".join(f"{each.name}={each.default}" for each in found.parameters or [])
            said = found.metadata
            rows.append((str(path), found.title, taken, said.severity, said.owner))
    print_table(("notebook", "title", "parameters", "severity", "owner"), rows, output)


def _declared(directory: Path) -> list[tuple[Path, Agent | McpServer]]:
    from aof_nb.errors import AofError
    from aof_nb.resources import load_all
    from aof_nb.resources.found import files_in

    found: list[tuple[Path, Agent | McpServer]] = []
    files = files_in(directory) if directory.is_dir() else [directory]
    for file in files:
        if file.suffix != ".ipynb":
            try:
                found += [(file, each) for each in load_all(file)]
            except AofError as error:
                complain(error.message, error.remedy)
    return found


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    output: str,
    *,
    numbers: Collection[str] = (),
    cut: str = "",
) -> None:
    """Prints rows as a table, or as JSON.

    Args:
        columns: What the columns are called.
        rows: Their cells: text, or rich's `Text`.
        output: ``text`` or ``json``.
        numbers: The columns that are set to the right.
        cut: The column that is cut where a terminal is too narrow; else all are folded.
    """
    if output == "json":
        import json

        typer.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column,
            overflow="ellipsis" if column == cut else "fold",
            no_wrap=bool(cut),
            justify="right" if column in numbers else "left",
        )
    for row in rows:
        table.add_row(*(Text(each) if isinstance(each, str) else each for each in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(table if rows else "none")
