"""The magics: ``%%aof_agent``, ``%%aof_mcp``, ``%%aof`` and ``%aof``."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class, no_var_expand

from aof_nb.errors import AofError
from aof_nb.notebook import registry
from aof_nb.notebook.failures import failed
from aof_nb.notebook.options import (
    ask_options,
    cell_options,
    documented,
    replay_options,
    resume_options,
    save_options,
    words,
)
from aof_nb.notebook.placeholders import expand, expand_known
from aof_nb.readable import counted

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from aof_nb.agent import Agent
    from aof_nb.notebook.cell_run import RunOptions
    from aof_nb.result import RunResult

COMMANDS = (
    *("ask", "agents", "mcp", "memory", "tools"),
    *("runs", "show", "resume", "replay", "cost", "save-runbook", "help"),
)
"""The first words of a ``%aof`` line."""

HELP = """\
%%aof_agent NAME          defines an agent; the body is its YAML: model, instructions, tools...
%%aof_mcp NAME            defines an MCP server; the body is its YAML: command and args, or url
%%aof NAME [options]      asks an agent; the body is the prompt, {name} reads a variable
%aof ask NAME "prompt"    the same in a line; r = %aof ask ... keeps the result
%aof agents               the agents of this notebook
%aof mcp                  its MCP servers, and which are connected
%aof memory NAME          the conversations that an agent's memory holds
%aof tools [NAME]         the built-in tools, or those of an agent
%aof runs                 the newest runs, of this notebook and others
%aof show RUN             what happened in a run
%aof resume RUN           goes on with a run that waits, failed or was interrupted
%aof replay RUN           shows a recorded run once more, without model and side effects
%aof cost                 what the runs of this kernel have cost
%aof save-runbook FILE    a run of this notebook as a runbook that needs no model
%%aof?                    the options of %%aof and %aof ask
"""


class Pending:
    """What an asynchronous magic returns: the cell's input is made to await it.

    Args:
        start: Makes the coroutine, once it is awaited.
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._start = start

    def __await__(self) -> Generator[Any, None, Any]:
        return self._start().__await__()

    def __repr__(self) -> str:
        return (
            "Nothing was run: %aof has to be awaited. Run the cell again if it is the one that "
            "loaded aof_nb; in a function, write `async def` and await what %aof returns."
        )


@magics_class
class AofMagics(Magics):
    """The magics of one shell.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell

    @no_var_expand
    @cell_magic
    def aof_agent(self, line: str, cell: str) -> None:
        """Defines an agent: ``%%aof_agent NAME``, and its YAML below.

        ``{name}`` reads a variable, if there is one of that name. ``tools`` may name functions
        of the notebook that are decorated with ``@tool``.
        """
        name = _one_name(line, "%%aof_agent")
        from aof_nb.resources import agent_from_yaml

        text = expand_known(cell, self._shell.user_ns)
        try:
            agent = agent_from_yaml(
                text,
                name=name,
                file="<cell>",
                servers=registry.servers,
                functions=self._shell.user_ns,
            )
        except AofError as error:
            raise failed(error) from error
        registry.agents[name] = agent
        _say(f"agent {name}: {_described(agent)}")

    @no_var_expand
    @cell_magic
    def aof_mcp(self, line: str, cell: str) -> Pending:
        """Defines an MCP server: ``%%aof_mcp NAME``, and its YAML below.

        It is connected at the first run that uses it, and stays so between cells.
        """

        async def define() -> None:
            name = _one_name(line, "%%aof_mcp")
            from aof_nb.resources import mcp_server_from_yaml

            text = expand_known(cell, self._shell.user_ns)
            try:
                server = mcp_server_from_yaml(text, name=name, file="<cell>")
            except AofError as error:
                raise failed(error) from error
            registry.servers[name] = server
            program = Path(server.command or "").name
            where = server.url or " ".join([program, *server.args])
            _say(f"MCP server {name}: {server.transport}, {where}")

        return Pending(define)

    @no_var_expand
    @line_cell_magic
    @documented
    def aof(self, line: str, cell: str | None = None) -> Pending:
        """Asks an agent; the cell's body is the prompt, in which {name} reads a variable."""
        if cell is None:
            return Pending(lambda: self._command(words(line)))

        async def run() -> None:
            name, options = cell_options(AofMagics.aof, line)
            if not cell.strip():
                raise UsageError(f"%%aof {name}: the prompt is missing; write it below")
            await self._run(name, cell.strip(), options)

        return Pending(run)

    async def _command(self, given: list[str]) -> RunResult | None:
        command, *rest = given or ["help"]
        if command == "ask":
            name, prompt, options = ask_options(rest)
            return await self._run(name, prompt, options)
        if command == "help":
            _say(HELP.rstrip())
            return None
        if command not in COMMANDS:
            raise UsageError(
                f"%aof {command}: no such command{registry.near(command, COMMANDS)}; "
                f"there are {', '.join(COMMANDS)}"
            )
        if command == "resume":
            return await self._resume(rest)
        if command == "replay":
            return await self._replay(rest)
        from aof_nb.notebook import listing, recorded

        try:
            if command == "runs":
                _say(await asyncio.to_thread(recorded.runs))
            elif command == "show":
                _say(await asyncio.to_thread(recorded.show, _one_run(rest, "show")))
            elif command == "cost":
                _say(await recorded.cost())
            elif command == "save-runbook":
                file, named, overwrite = save_options(rest)
                saved = functools.partial(
                    recorded.save_runbook, file, named, self._shell.user_ns, overwrite=overwrite
                )
                _say(await asyncio.to_thread(saved))
            elif command == "agents":
                _say(listing.agents(self._shell.user_ns))
            elif command == "mcp":
                _say(listing.mcp_servers())
            elif command == "memory":
                if len(rest) != 1:
                    raise UsageError("%aof memory NAME: give one agent's name")
                _say(await listing.sessions(self._agent(rest[0])))
            else:
                _say(await listing.tools(self._agent(rest[0]) if rest else None))
        except AofError as error:
            raise failed(error) from error
        return None

    async def _resume(self, given: list[str]) -> RunResult:
        from aof_nb.notebook.recorded import resume

        named, options, approve = resume_options(given)
        return await resume(self._shell, named, options, approve)

    async def _replay(self, given: list[str]) -> RunResult | None:
        from aof_nb.notebook.recorded import replay

        named, pace, out = replay_options(given)
        return await replay(self._shell, named, pace=pace, out=out)

    async def _run(self, name: str, prompt: str, options: RunOptions) -> RunResult:
        from aof_nb.notebook.cell_run import run_in_cell

        agent = self._agent(name)
        try:
            expanded = expand(prompt, self._shell.user_ns)
        except AofError as error:
            raise failed(error) from error
        return await run_in_cell(self._shell, agent, expanded, options)

    def _agent(self, name: str) -> Agent:
        try:
            return registry.find_agent(name, self._shell.user_ns)
        except AofError as error:
            raise UsageError(f"{error.message}; {error.remedy}") from None


def _one_name(line: str, magic: str) -> str:
    given = words(line)
    if len(given) != 1:
        raise UsageError(f"{magic} NAME: give one name")
    return given[0]


def _one_run(given: list[str], command: str) -> str:
    if len(given) != 1:
        raise UsageError(f"%aof {command} RUN: give one run; %aof runs shows them")
    return given[0]


def _described(agent: Agent) -> str:
    parts = [agent.model_name, counted(len(agent.tools), "tool")]
    if agent.mcp_servers:
        parts.append("MCP: " + ", ".join(server.name for server in agent.mcp_servers))
    return ", ".join(parts)


def _say(text: str) -> None:
    import sys

    sys.stdout.write(f"{text}\n")
