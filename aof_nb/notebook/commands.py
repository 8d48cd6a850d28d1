"""The commands of ``%aof``: one row each, with what it takes and what it does."""

from __future__ import annotations

import argparse
import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from IPython.core.error import UsageError

from aof_nb.errors import AofError, ConfigurationError
from aof_nb.notebook import registry
from aof_nb.notebook.arguments import LineParser
from aof_nb.notebook.console import PAGES
from aof_nb.notebook.failures import CellFailed, failed
from aof_nb.notebook.options import add_run_options, check_variable, resume_options, run_options
from aof_nb.notebook.placeholders import expand
from aof_nb.notebook.settings import settings_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from aof_nb.agent import Agent
    from aof_nb.notebook.cell_run import RunOptions
    from aof_nb.result import RunResult

_PANEL_SECONDS = 8.0

Handler: TypeAlias = Callable[["InteractiveShell", argparse.Namespace], Awaitable[Any]]
"""Carries a command out; text that it returns is printed, all else is the line's result."""


@dataclass(frozen=True)
class Command:
    """A command of ``%aof``.

    Args:
        name: The first word of the line.
        does: What it does, in a few words.
        handler: Carries it out.
        takes: Adds its arguments to a parser.
        example: Lines that show it.
    """

    name: str
    does: str
    handler: Handler
    takes: Callable[[LineParser], None] = lambda parser: None
    example: str = ""

    @functools.cached_property
    def parser(self) -> LineParser:
        """What reads its words."""
        described = self.does[0].upper() + self.does[1:] + "."
        made = LineParser(f"%aof {self.name}", described, self.example)
        self.takes(made)
        return made

    @property
    def usage(self) -> str:
        """How it is called, without options."""
        taken = (str(each.metavar or each.dest).upper() for each in self.parser.positionals)
        optional = {each.dest.upper() for each in self.parser.positionals if each.nargs == "?"}
        return " ".join(
            [f"%aof {self.name}", *(f"[{each}]" if each in optional else each for each in taken)]
        )


async def run_line(shell: InteractiveShell, given: Sequence[str]) -> Any:
    """Carries out what follows ``%aof`` in a line.

    Args:
        shell: IPython's shell.
        given: The words.

    Raises:
        HelpAsked: If they ask for help.
        UsageError: If they are wrong.
        CellFailed: If it cannot be done.
    """
    named, *rest = given or ["status"]
    if named in {"--help", "-h"}:
        named = "help"
    if named not in COMMANDS:
        raise UsageError(
            f"%aof {named}: no such command{registry.near(named, COMMANDS)}; "
            f"there are {', '.join(COMMANDS)}"
        )
    command = COMMANDS[named]
    read = command.parser.read(rest)
    try:
        return await command.handler(shell, read)
    except AofError as error:
        if isinstance(error, CellFailed) or getattr(read, "debug", False):
            raise
        raise failed(error) from error


async def ask_agent(
    shell: InteractiveShell, name: str, prompt: str, options: RunOptions
) -> RunResult:
    """Asks an agent, and shows the run in the cell that is being executed.

    Args:
        shell: IPython's shell.
        name: The agent's name.
        prompt: What is asked, not yet expanded.
        options: How.

    Raises:
        UsageError: If there is no such agent.
        CellFailed: If the prompt cannot be expanded, or the run failed.
    """
    from aof_nb.notebook.cell_run import run_in_cell

    agent = _agent(shell, name)
    try:
        expanded = expand(prompt, shell.user_ns)
    except AofError as error:
        raise failed(error) from error
    return await run_in_cell(shell, agent, expanded, options)


def help_text() -> str:
    """All commands, a line each."""
    rows = [
        ("%%aof_agent NAME", "defines an agent; the body is its YAML: model, instructions, tools"),
        ("%%aof_mcp NAME", "defines an MCP server; the body is its YAML: command and args, or url"),
        ("%%aof NAME [options]", "asks an agent; the body is the prompt, {name} reads a variable"),
        *((each.usage, each.does) for each in COMMANDS.values()),
        ("%aof COMMAND --help", "what a command takes; %%aof? the options of %%aof"),
        ("%config AOF", "the defaults of this notebook: model, approve, session..."),
    ]
    width = max(len(usage) for usage, _ in rows)
    return "\n".join(f"{usage:<{width}}  {does}" for usage, does in rows)


def _agent(shell: InteractiveShell, name: str) -> Agent:
    try:
        return registry.find_agent(name, shell.user_ns)
    except AofError as error:
        raise UsageError(f"{error.message}; {error.remedy}") from None


async def _ask(shell: InteractiveShell, read: argparse.Namespace) -> Any:
    options = run_options(read, settings_of(shell))
    return await ask_agent(shell, read.agent, " ".join(read.prompt), options)


def _ask_takes(parser: LineParser) -> None:
    parser.add("agent", completes="agent", help="the agent's name")
    parser.add("prompt", nargs="+", help="what is asked; {name} reads a variable")
    add_run_options(parser)


async def _help(_: InteractiveShell, read: argparse.Namespace) -> str:
    if read.command is None:
        return help_text()
    named = read.command.lstrip("%")
    if named in {"aof", "aof_agent", "aof_mcp"}:
        from aof_nb.notebook.magics import AofMagics

        return str(getattr(AofMagics, named).__doc__).rstrip()
    if named not in COMMANDS:
        raise UsageError(f"%aof help {named}: no such command{registry.near(named, COMMANDS)}")
    return COMMANDS[named].parser.format_help().rstrip()


def _help_takes(parser: LineParser) -> None:
    parser.add("command", nargs="?", completes="command", help="the command that it is about")


async def _status(shell: InteractiveShell, _: argparse.Namespace) -> str:
    from aof_nb.notebook.status import status

    return await status(shell.user_ns, settings_of(shell))


async def _agents(shell: InteractiveShell, _: argparse.Namespace) -> str:
    from aof_nb.notebook import listing

    return listing.agents(shell.user_ns)


async def _servers(_: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook import listing

    if read.server is None:
        if read.diff or read.accept:
            raise UsageError("%aof mcp: name the server")
        return listing.mcp_servers()
    if read.server not in registry.servers:
        raise UsageError(
            f"%aof mcp: there is no server {read.server!r}"
            f"{registry.near(read.server, registry.servers)}; define it: %%aof_mcp {read.server}"
        )
    if read.diff or read.accept:
        definitions = listing.accepted if read.accept else listing.changed
        return await asyncio.to_thread(definitions, read.server, read.tool)
    return await listing.server_tools(registry.servers[read.server])


def _servers_takes(parser: LineParser) -> None:
    parser.add("server", nargs="?", completes="server", help="the one whose tools are shown")
    parser.add("tool", nargs="?", help="with --diff and --accept: only this one")
    parser.add("--diff", action="store_true", help="how it has changed its tools' definitions")
    parser.add("--accept", action="store_true", help="let the changed definitions hold")


async def _memory(shell: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook import listing

    return await listing.sessions(_agent(shell, read.agent))


def _agent_takes(parser: LineParser) -> None:
    parser.add("agent", completes="agent", help="the agent's name")


async def _tools(shell: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook import listing

    return await listing.tools(_agent(shell, read.agent) if read.agent else None)


def _tools_takes(parser: LineParser) -> None:
    parser.add("agent", nargs="?", completes="agent", help="whose; the built-in ones if not given")


async def _history(shell: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook.history import history

    return await asyncio.to_thread(history, read.agent, read.limit)


def _history_takes(parser: LineParser) -> None:
    parser.add("agent", nargs="?", completes="agent", help="who was asked; all if not given")
    parser.add("--limit", "-n", type=int, default=50, metavar="N", help="the last N only; 50")


async def _runs(*_: Any) -> str:
    from aof_nb.notebook import recorded

    return await asyncio.to_thread(recorded.runs)


async def _show(_: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook import recorded

    return await asyncio.to_thread(recorded.show, read.run)


def _run_takes(parser: LineParser) -> None:
    parser.add("run", completes="run", help="its id, the beginning of it, or last; see %%aof runs")


async def _resume(shell: InteractiveShell, read: argparse.Namespace) -> Any:
    from aof_nb.notebook.recorded import resume

    options, approve = resume_options(read)
    return await resume(shell, read.run, options, approve)


def _resume_takes(parser: LineParser) -> None:
    _run_takes(parser)
    add_run_options(parser, "--out", "--approve", "--model", "--debug")


async def _replay(shell: InteractiveShell, read: argparse.Namespace) -> Any:
    from aof_nb.notebook.recorded import replay

    if read.pace < 0:
        raise UsageError(f"--pace {read.pace:g}: give 1 for the recorded waits, 0 for none")
    check_variable(read.out)
    return await replay(shell, read.run, pace=read.pace, out=read.out)


def _replay_takes(parser: LineParser) -> None:
    parser.add("run", completes="run", help="a run, or the file of a journal or a cassette")
    parser.add(
        "--pace",
        type=float,
        default=0.0,
        metavar="N",
        help="1 keeps the recorded waits, 2 doubles them; 0",
    )
    add_run_options(parser, "--out")


async def _cost(*_: Any) -> str:
    from aof_nb.notebook import recorded

    return await recorded.cost()


async def _console(shell: InteractiveShell, read: argparse.Namespace) -> str | None:
    from aof_nb.notebook.console.opening import open_console
    from aof_nb.notebook.screen import Frontend, clicks_arrive, frontend

    place = frontend(shell)
    if place is not Frontend.LIVE:
        why = ": here is nobody who could look at it" if place is Frontend.HEADLESS else ""
        raise ConfigurationError(
            f"the console needs a notebook's page{why}",
            remedy="open it in JupyterLab, or in the browser: aofctl console",
        )
    console = await open_console(
        directory=Path(read.directory),
        variables=shell.user_ns,
        page=read.page or "",
        panel=read.panel,
    )
    if not read.panel:
        return None
    if not clicks_arrive() or await console.appears(_PANEL_SECONDS):
        return "The console is in JupyterLab's side panel, at the right."
    import IPython.display

    show: Any = IPython.display.display
    show(console)
    return "No side panel has appeared, which only JupyterLab has: the console is here."


def _console_takes(parser: LineParser) -> None:
    parser.add(
        "page",
        nargs="?",
        type=str.lower,
        choices=[title.lower() for title in PAGES],
        metavar="page",
        help="the page that is shown first",
    )
    parser.add("--panel", action="store_true", help="in JupyterLab's side panel")
    parser.add(
        "--directory",
        completes="file",
        default=".",
        metavar="PATH",
        help="where the files of agents and runbooks are; the kernel's directory",
    )


async def _save(shell: InteractiveShell, read: argparse.Namespace) -> str:
    from aof_nb.notebook import recorded

    return await asyncio.to_thread(
        recorded.save_runbook, read.file, read.run, shell.user_ns, overwrite=read.overwrite
    )


def _save_takes(parser: LineParser) -> None:
    parser.add("file", completes="file", help="the notebook to write, such as mend.ipynb")
    parser.add("--run", completes="run", help="the run; the last one of this kernel if not given")
    parser.add("--overwrite", action="store_true", help="replace a file that is there")


COMMANDS: dict[str, Command] = {
    each.name: each
    for each in (
        Command(
            "ask",
            "asks an agent; r = %aof ask ... keeps the result",
            _ask,
            _ask_takes,
            '%aof ask sre "why is checkout slow?"\nr = %aof ask sre "since {since}?" -s inc-42',
        ),
        Command("status", "what there is, what runs, and what holds by default", _status),
        Command("agents", "the agents of this notebook", _agents),
        Command(
            "mcp",
            "its MCP servers and which are connected, or the tools of one",
            _servers,
            _servers_takes,
            "%aof mcp lab\n%aof mcp lab restart --diff\n%aof mcp lab restart --accept",
        ),
        Command("tools", "the built-in tools, or those of an agent", _tools, _tools_takes),
        Command("memory", "the conversations that an agent's memory holds", _memory, _agent_takes),
        Command(
            "history",
            "what was asked in this kernel, and what came of it",
            _history,
            _history_takes,
        ),
        Command("runs", "the newest runs, of this notebook and others", _runs),
        Command("show", "what happened in a run", _show, _run_takes, "%aof show last"),
        Command(
            "resume",
            "goes on with a run that waits, failed or was interrupted",
            _resume,
            _resume_takes,
            "r = %aof resume last --approve ask",
        ),
        Command(
            "replay",
            "shows a recorded run once more, without model and side effects",
            _replay,
            _replay_takes,
            "%aof replay last --pace 1",
        ),
        Command("cost", "what the runs of this kernel have cost", _cost),
        Command(
            "save-runbook",
            "a run of this notebook as a runbook that needs no model",
            _save,
            _save_takes,
            "%aof save-runbook mend.ipynb --run last",
        ),
        Command(
            "console",
            "agents, runs, approvals, logs, MCP, models, memory and runbooks, to look at and use",
            _console,
            _console_takes,
            "%aof console\n%aof console approvals --panel",
        ),
        Command("help", "this, or what a command takes", _help, _help_takes),
    )
}
"""By name, in the order of the help."""
