"""The command line, ``aofctl``: one module a command group.

What a command does is the library's business; here is how it is asked for, what is printed, and
the exit code. ``aofctl --help`` imports no provider SDK, no MCP and no papermill.
"""

from __future__ import annotations


def main() -> None:
    """Runs ``aofctl`` with the process's arguments, and exits."""
    import logging
    import sys

    from aof_nb.cli.app import app
    from aof_nb.cli.ending import ExitCode, complain
    from aof_nb.errors import AofError

    # What matters is in the output; without a handler the libraries' warnings would be too.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(prog_name="aofctl")
    except AofError as error:
        if "--debug" in sys.argv:
            raise
        complain(error.message, error.remedy)
        sys.exit(ExitCode.FAILED)
