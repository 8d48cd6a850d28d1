"""``aofctl lab``: start the lab, break it, look at it, stop it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aof_nb.lab.api import Lab

app = typer.Typer(
    name="lab",
    help="The incident lab: small real services that really break.",
    no_args_is_help=True,
)

Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        "-d",
        envvar="AOF_LAB_DIR",
        help="Where the lab lives.",
        show_default="the state directory",
    ),
]


def _faults() -> list[str]:
    from aof_nb.lab.api import FAULTS

    return list(FAULTS)


@app.command()
def up(directory: Directory = None) -> None:
    """Starts the services, and returns when the shop takes orders."""
    from aof_nb.lab.api import Lab

    lab = Lab.up(directory)
    _show(lab)
    typer.echo("\nNext: aofctl lab break FAULT")


@app.command(name="break")
def break_(
    fault: Annotated[str, typer.Argument(help="Which fault, or 'random'.", autocompletion=_faults)],
    directory: Directory = None,
) -> None:
    """Breaks the shop, and returns when it measurably fails."""
    import random

    from aof_nb.lab.api import Lab

    lab = Lab.attach(directory)
    chosen = random.choice(_faults()) if fault == "random" else fault
    lab.inject(chosen)
    typer.echo(f"Broken: {chosen}\n")
    _show(lab)


@app.command()
def status(directory: Directory = None) -> None:
    """Shows the services, and whether the shop takes orders. Exit code 1 if it does not."""
    from aof_nb.lab.api import Lab

    if not _show(Lab.attach(directory)):
        raise typer.Exit(1)


@app.command()
def down(directory: Directory = None) -> None:
    """Stops everything."""
    from aof_nb.lab.api import Lab

    Lab.attach(directory).down()
    typer.echo("The lab is down.")


def _show(lab: Lab) -> bool:
    """Prints the services and a probe; whether the shop is healthy."""
    from rich.console import Console
    from rich.table import Table

    status = lab.status()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("service", "state", "pid", "port", "uptime", "restarts", "memory"):
        table.add_column(title, justify="left" if title in {"service", "state"} else "right")
    for service in status.services:
        table.add_row(
            service.name,
            service.state,
            str(service.pid or "-"),
            str(service.port or "-"),
            f"{service.uptime:.0f} s",
            str(service.restarts),
            f"{service.memory / 2**20:.0f} MiB",
        )
    console = Console(highlight=False)
    console.print(table)
    probe = lab.probe()
    console.print(f"\nprobe: {probe}", style="green" if probe.healthy else "red")
    return bool(probe.healthy)
