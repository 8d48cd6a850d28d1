"""``aofctl mcp tools``, ``diff`` and ``accept``: the definitions of servers' tools that hold."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from aof_nb.cli.ending import ExitCode, complain, reported
from aof_nb.cli.listing import OutputOption, print_table

ServerArgument: TypeAlias = Annotated[str, typer.Argument(help="The server's name.")]
ToolArgument: TypeAlias = Annotated[
    str | None, typer.Argument(help="The tool's name on its server.", show_default="all")
]


def tools(
    server: Annotated[
        str | None, typer.Argument(help="The server's name.", show_default="all")
    ] = None,
    *,
    output: OutputOption = "text",
) -> None:
    """Shows the tools of the MCP servers that were ever connected, and what is odd about them."""
    from aof_nb.mcp.findings import findings
    from aof_nb.mcp.pins import pinned
    from aof_nb.mcp.pins_text import notable, shown, standing

    with reported():
        servers = pinned(server)
    if server is not None and not servers:
        _unknown(server)
    rows = [
        (
            pins.server,
            name,
            standing(pin),
            sorted({each.kind for each in findings(pin.changed or pin.definition)}),
            pins.place,
        )
        for pins in servers
        for name, pin in pins.tools.items()
    ]
    columns = ("server", "tool", "definition", "findings", "place")
    if output != "text":
        print_table(columns, rows, output)
        return
    texts = [
        (shown(whose), shown(tool), state, ", ".join(kinds), shown(place))
        for whose, tool, state, kinds, place in rows
    ]
    print_table(columns, texts, output)
    for line in notable(servers):
        typer.echo(line)


def diff(server: ServerArgument, tool: ToolArgument = None) -> None:
    """Shows which definitions a server has changed, and how."""
    from aof_nb.mcp.pins import pinned
    from aof_nb.mcp.pins_text import changes

    with reported():
        servers = pinned(server)
    if not servers:
        _unknown(server)
    typer.echo(changes(servers, tool))


def accept(server: ServerArgument, tool: ToolArgument = None) -> None:
    """Has what a server offers now hold, so that models are told of it."""
    from aof_nb.mcp.pins import accept as accept_definitions
    from aof_nb.mcp.pins_text import said_accepted

    with reported():
        typer.echo(said_accepted(accept_definitions(server, tool)))


def _unknown(server: str) -> None:
    complain(
        f"no MCP server called {server!r} was ever connected",
        "aofctl mcp tools shows those that were",
    )
    raise typer.Exit(ExitCode.FAILED)
