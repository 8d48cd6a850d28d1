"""The command line, ``aofctl``: one module a command group.

What a command does is the library's business; here is how it is asked for, what is printed, and
the exit code. ``aofctl --help`` imports no provider SDK, no MCP and no papermill.
"""

from __future__ import annotations


def main() -> None:
    """Runs ``aofctl`` with the process's arguments, and exits."""
    import logging

    from aof_nb.cli.app import app

    # What matters is in the output; without a handler the libraries' warnings would be too.
    logging.getLogger().addHandler(logging.NullHandler())
    app(prog_name="aofctl")
