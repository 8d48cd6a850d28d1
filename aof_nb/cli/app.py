"""The command tree."""

from __future__ import annotations

import typer

from aof_nb.cli.approving import approve, deny
from aof_nb.cli.audit import diff, logs, show
from aof_nb.cli.console import console
from aof_nb.cli.fork import fork
from aof_nb.cli.kernel import app as kernel
from aof_nb.cli.listing import app as listing
from aof_nb.cli.mcp import app as mcp
from aof_nb.cli.memory import app as memory
from aof_nb.cli.replay import replay
from aof_nb.cli.resume import resume
from aof_nb.cli.run import run
from aof_nb.cli.runs import app as runs
from aof_nb.cli.runs import list_approvals, list_runs
from aof_nb.cli.test_command import run_tests
from aof_nb.cli.validate import validate
from aof_nb.cli.version import version
from aof_nb.lab.commands import app as lab

app = typer.Typer(
    name="aofctl",
    help="Agentic runbooks: run agents and notebooks, check them, break the lab.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="run")(run)
app.command(name="resume")(resume)
app.command(name="replay")(replay)
app.command(name="fork")(fork)
app.command(name="test")(run_tests)
app.command(name="validate")(validate)
listing.command(name="runs")(list_runs)
listing.command(name="approvals")(list_approvals)
app.command(name="show")(show)
app.command(name="logs")(logs)
app.command(name="diff")(diff)
app.command(name="approve")(approve)
app.command(name="deny")(deny)
app.add_typer(runs, name="runs")
app.add_typer(listing, name="list")
app.add_typer(memory, name="memory")
app.add_typer(mcp, name="mcp")
app.command(name="console")(console)
app.add_typer(kernel, name="kernel")
app.add_typer(lab, name="lab")
app.command(name="version")(version)
