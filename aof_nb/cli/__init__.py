"""The command line, ``aofctl``: one module a command group.

What a command does is the library's business; here is how it is asked for, what is printed, and
the exit code. ``aofctl --help`` imports no provider SDK, no MCP and no papermill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def main() -> None:
    """Runs ``aofctl`` with the process's arguments, and exits."""
    import logging
    import sys

    from typer.exceptions import TyperException

    from aof_nb.cli.app import app
    from aof_nb.cli.ending import ExitCode, complain
    from aof_nb.errors import AofError

    # What matters is in the output; without a handler the libraries' warnings would be too.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        sys.exit(app(prog_name="aofctl", standalone_mode=False))
    except TyperException as error:
        _complain_of_usage(error)
        sys.exit(error.exit_code)
    except AofError as error:
        if "--debug" in sys.argv:
            raise
        complain(error.message, error.remedy)
        sys.exit(ExitCode.FAILED)


def _complain_of_usage(error: TyperException) -> None:
    from aof_nb.cli.ending import complain

    # Pydantic, by which typer checks choices, says so in front of each message.
    message = error.format_message().replace("Value error, ", "").strip().rstrip(".")
    # Where a command is missing the help has been printed instead.
    if message:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "aofctl"
        complain(message[0].lower() + message[1:], f"{command} --help shows what it takes")
