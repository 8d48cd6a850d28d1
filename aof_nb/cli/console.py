"""``aofctl console``: the console as an app in the browser, served by Voila."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aof_nb.cli.ending import ExitCode, complain

if TYPE_CHECKING:
    from voila.app import Voila

_SOURCE = """\
from pathlib import Path
from aof_nb.notebook.console.opening import open_console
await open_console(directory=Path({directory!r}))
None
"""


def console(
    directory: Annotated[
        Path,
        typer.Argument(
            help="Where the files of agents and runbooks are.",
            exists=True,
            file_okay=False,
            metavar="[DIRECTORY]",
        ),
    ] = Path(),
    *,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where to listen; the next free one from there.")
    ] = 8866,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")
    ] = True,
    theme: Annotated[Literal["light", "dark"], typer.Option(help="Its colours.")] = "light",
) -> None:
    """Opens the console in the browser: agents, runs, approvals, logs and the rest.

    It listens on this machine only, and asks for the token that is in the address it prints.
    """
    try:
        from voila.app import Voila
    except ImportError:
        complain("the console in the browser needs Voila", 'pip install "aof-nb[console]"')
        raise typer.Exit(ExitCode.FAILED) from None

    with tempfile.TemporaryDirectory(prefix="aof-console-") as place:
        notebook = Path(place) / "aof console.ipynb"
        _write(notebook, directory.resolve())
        server = _server(Voila, open_browser=browser)
        # Voila runs the kernel in the notebook's directory, which is not the user's.
        os.environ["AOF_FRONTEND"] = "live"
        server.initialize(
            [
                str(notebook),
                "--token",
                f"--port={port}",
                "--Voila.ip=127.0.0.1",
                f"--theme={theme}",
                f"--Voila.log_level={logging.ERROR}",
            ]
        )
        server.start()


def _write(notebook: Path, directory: Path) -> None:
    import nbformat.v4

    v4: Any = nbformat.v4
    source = _SOURCE.format(directory=str(directory))
    cells = [v4.new_code_cell(source)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    notebook.write_text(v4.writes(made), encoding="utf-8")


def _server(voila: type[Voila], *, open_browser: bool) -> Any:
    class ConsoleServer(voila):  # type: ignore[misc]
        # Voila's own address for the browser has no token in it.
        def launch_browser(self) -> None:
            import webbrowser

            typer.echo(f"The console: {self.display_url}\nCtrl+C ends it.")
            if open_browser and not webbrowser.open(self.display_url):
                typer.echo("There is no browser to open it in: open the address yourself.")

    return ConsoleServer()
