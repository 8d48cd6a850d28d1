"""``aofctl mcp``: runbooks as the tools of an MCP server, and the tools of others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aof_nb.cli.ending import ExitCode, complain, run_to_end, usage_error
from aof_nb.cli.mcp_pins import accept, diff, tools

if TYPE_CHECKING:
    from aof_nb.runbooks.mcp_server import RunbookServer

TOKEN = "AOF_MCP_TOKEN"  # noqa: S105  the variable's name
"""The environment variable whose value HTTP clients must send as a bearer token."""

_HTTP = "HTTP"

app = typer.Typer(
    name="mcp",
    help="Offers runbooks to MCP clients; shows and accepts the tools of MCP servers.",
    no_args_is_help=True,
)
app.command()(tools)
app.command()(diff)
app.command()(accept)


@app.command()
def serve(
    runbooks: Annotated[
        Path,
        typer.Argument(help="A directory of notebooks, or one.", exists=True, metavar="DIRECTORY"),
    ],
    *,
    transport: Annotated[
        Literal["stdio", "http"], typer.Option(help="How clients reach it.")
    ] = "stdio",
    approve: Annotated[
        Literal["never", "all", "ask"],
        typer.Option(
            help="What happens where an agent's policy asks: refuse, approve, or have the client "
            "ask its user."
        ),
    ] = "never",
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Where executed notebooks and reports go.",
            file_okay=False,
            show_default="the state directory",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 4,
    host: Annotated[
        str | None,
        typer.Option(help="Where to listen.", show_default="127.0.0.1", rich_help_panel=_HTTP),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Where to listen; 0 for a free port.",
            show_default="8000",
            rich_help_panel=_HTTP,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name by which clients may call it; may be given again.",
            metavar="NAME",
            rich_help_panel=_HTTP,
        ),
    ] = None,
) -> None:
    """Serves a directory's runbooks as MCP tools, until the client leaves or it is interrupted.

    Over HTTP, clients must send the value of AOF_MCP_TOKEN as a bearer token, if it is set.
    """
    if transport == "stdio":
        for option, value in (("host", host), ("port", port), ("allow-host", allow_host)):
            if value is not None:
                usage_error(f"--{option} is for --transport http")
    run_to_end(
        lambda: _serve(
            runbooks,
            transport=transport,
            approve=approve,
            runs=runs,
            concurrency=concurrency,
            host=host or "127.0.0.1",
            port=8000 if port is None else port,
            allow_host=allow_host or [],
        )
    )


async def _serve(
    runbooks: Path,
    *,
    transport: Literal["stdio", "http"],
    approve: Literal["never", "all", "ask"],
    runs: Path | None,
    concurrency: int,
    host: str,
    port: int,
    allow_host: list[str],
) -> ExitCode:
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor

    from aof_nb.runbooks.mcp_server import RunbookServer
    from aof_nb.runbooks.mcp_transports import is_loopback, serve_http, serve_stdio

    _log_to_stderr()
    # Each run has a thread, and there must be some left for reading files.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(concurrency + 4))
    server = RunbookServer(runbooks, approve=approve, runs=runs, concurrency=concurrency)
    await _say_what(server, runbooks)
    if transport == "stdio":
        if sys.stdin.isatty():
            complain("this speaks MCP on standard input: a client is meant to start it")
        await serve_stdio(server)
        return ExitCode.DONE
    token = os.environ.get(TOKEN)
    if not is_loopback(host) and not token:
        complain(
            f"whoever reaches {host} can run these runbooks, and nothing is encrypted",
            f"set {TOKEN}, and put a proxy with TLS in front of it, or listen on 127.0.0.1",
        )
    await serve_http(
        server,
        host=host,
        port=port,
        token=token,
        allowed_hosts=allow_host,
        on_listening=lambda url: complain(f"listening on {url}"),
    )
    return ExitCode.DONE


async def _say_what(server: RunbookServer, runbooks: Path) -> None:
    names = list(await server.look())
    if names:
        counted = "1 runbook" if len(names) == 1 else f"{len(names)} runbooks"
        complain(f"{counted}: {', '.join(names)}")
    else:
        complain(
            f"there are no runbooks in {runbooks} yet",
            "a runbook is a notebook with a parameters cell, or with aof metadata",
        )


def _log_to_stderr() -> None:
    """Warnings of what serves are for whoever looks after the server."""
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("aof_nb", "mcp", "uvicorn"):
        logging.getLogger(name).addHandler(handler)
