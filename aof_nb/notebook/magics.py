"""The magics: ``%%aof_agent``, ``%%aof_mcp``, ``%%aof`` and ``%aof``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_cell_magic, magics_class, no_var_expand

from aof_nb.errors import AofError
from aof_nb.notebook import registry
from aof_nb.notebook.arguments import HelpAsked, LineParser, words
from aof_nb.notebook.commands import ask_agent, help_text, run_line
from aof_nb.notebook.failures import failed
from aof_nb.notebook.options import cell_parser, run_options
from aof_nb.notebook.placeholders import expand_known
from aof_nb.notebook.screen import Frontend, frontend
from aof_nb.notebook.settings import settings_of
from aof_nb.readable import counted

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from aof_nb.agent import Agent

# The magic's own line, so that lines are counted as the editor counts them.
_FIRST_LINE = "\n"


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


_AGENT = LineParser(
    "%%aof_agent",
    "Defines an agent: its YAML stands below. {name} reads a variable, if there is one of that\n"
    "name. tools may name functions of the notebook that are decorated with @tool, mcp_servers\n"
    "what %%aof_mcp has defined.",
    """\
%%aof_agent sre
model: openai:gpt-5
instructions: You look into incidents. Say what you have seen, then what you think.
tools: [shell, restart]
mcp_servers: [lab]
memory: disk
policy: {write: ask, destructive: deny}
limits: {max_turns: 20, max_cost: 1}

Tab completes the keys where the cursor is, and the values of those that take certain ones.""",
)
_AGENT.add("name", help="what it is called from here on")

_SERVER = LineParser(
    "%%aof_mcp",
    "Defines an MCP server: its YAML stands below. It is connected at the first run that uses\n"
    "it, and stays so between cells. {name} reads a variable, if there is one of that name.",
    """\
%%aof_mcp lab
command: python
args: [-m, aof_nb.lab.server]

%%aof_mcp web
url: http://127.0.0.1:8080/mcp
headers: {Authorization: "Bearer ${TOKEN}"}

Tab completes the keys where the cursor is, and the values of those that take certain ones.""",
)
_SERVER.add("name", help="what it is called from here on")

_CELL = cell_parser()


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
        """Defines an agent."""
        try:
            name = _AGENT.read(words(line)).name
        except HelpAsked as asked:
            _say(str(asked))
            return
        from aof_nb.resources import agent_from_yaml

        text = expand_known(cell, self._shell.user_ns)
        try:
            agent = agent_from_yaml(
                _FIRST_LINE + text,
                name=name,
                file="<cell>",
                servers=registry.servers,
                functions=self._shell.user_ns,
            )
        except AofError as error:
            raise failed(error) from error
        registry.agents[name] = agent
        _say(f"agent {name}: {_described(agent)}")
        # What a runbook prints must not depend on whether it is replayed where a key is.
        if frontend(self._shell) is not Frontend.HEADLESS:
            for each in _missing(agent):
                _say(f"  {each}: this is needed when the agent is asked")

    @no_var_expand
    @cell_magic
    def aof_mcp(self, line: str, cell: str) -> Pending:
        """Defines an MCP server."""

        async def define() -> None:
            name = _SERVER.read(words(line)).name
            from aof_nb.resources import mcp_server_from_yaml

            text = expand_known(cell, self._shell.user_ns)
            try:
                server = mcp_server_from_yaml(_FIRST_LINE + text, name=name, file="<cell>")
            except AofError as error:
                raise failed(error) from error
            registry.servers[name] = server
            program = Path(server.command or "").name
            where = server.url or " ".join([program, *server.args])
            _say(f"MCP server {name}: {server.transport}, {where}")

        return Pending(lambda: _helped(define()))

    @no_var_expand
    @line_cell_magic
    def aof(self, line: str, cell: str | None = None) -> Pending:
        """Asks an agent."""
        if cell is None:
            return Pending(lambda: _helped(run_line(self._shell, words(line))))

        async def run() -> Any:
            read = _CELL.read(words(line))
            options = run_options(read, settings_of(self._shell))
            if not cell.strip():
                raise UsageError(f"%%aof {read.agent}: the prompt is missing; write it below")
            return await ask_agent(self._shell, read.agent, cell.strip(), options)

        return Pending(lambda: _helped(run()))


AofMagics.aof.__doc__ = f"{_CELL.format_help()}\n{help_text()}\n"
AofMagics.aof_agent.__doc__ = _AGENT.format_help()
AofMagics.aof_mcp.__doc__ = _SERVER.format_help()


async def _helped(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of what a line asks for; text, help among it, is printed instead."""
    try:
        result = await work
    except HelpAsked as asked:
        result = str(asked)
    if not isinstance(result, str):
        return result
    _say(result)
    return None


def _described(agent: Agent) -> str:
    parts = [agent.model_name, counted(len(agent.tools), "tool")]
    if agent.mcp_servers:
        parts.append("MCP: " + ", ".join(server.name for server in agent.mcp_servers))
    return ", ".join(parts)


def _missing(agent: Agent) -> list[str]:
    from aof_nb.models.needs import missing_for

    names = [each for each in (agent.model, *agent.fallback) if isinstance(each, str)]
    return list(dict.fromkeys(said for name in names for said in missing_for(name)))


def _say(text: str) -> None:
    import sys

    sys.stdout.write(f"{text}\n")
