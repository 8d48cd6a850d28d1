"""MCP servers: how they stand, what they offer, and which definitions of it hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from aof_nb.errors import AofError, McpError
from aof_nb.markdown import html_text
from aof_nb.mcp import browsing
from aof_nb.mcp.browsing import Prompt, Resource
from aof_nb.mcp.connection import ServerStatus
from aof_nb.mcp.elicitation import Question
from aof_nb.mcp.findings import findings
from aof_nb.mcp.pins import ServerPins
from aof_nb.mcp.pool import McpPool, pool
from aof_nb.mcp.tool import McpTool
from aof_nb.notebook.console import markup, mcp_text
from aof_nb.notebook.console.mcp_definitions import DefinitionsPane
from aof_nb.notebook.console.mcp_question import ServerQuestion
from aof_nb.notebook.console.mcp_reading import PromptsPane, ResourcesPane
from aof_nb.notebook.console.mcp_servers import (
    Declared,
    Found,
    KnownServer,
    declared_in_files,
    declared_in_notebook,
    known_servers,
)
from aof_nb.notebook.console.mcp_tools import ToolsPane
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.stoppable import Stoppable, Stopped
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button
from aof_nb.readable import counted

_COLUMNS = (
    Column("server", "Server"),
    Column("state", "State", wide=True),
    Column("latency", "Latency", number=True),
    Column("look", "Look"),
)
_TITLES = ("Tools", "Resources", "Prompts", "Definitions")
_DEFINITIONS = _TITLES.index("Definitions")
# Walking a directory at each refresh would be too much.
_FRESH_SECONDS = 15.0


@dataclass
class _Offered:
    """What a server offered when it was last asked."""

    tools: list[McpTool] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class McpPage:
    """A table of servers, and what the selected one offers. Nothing is started without a click.

    Args:
        host: The console.
    """

    interval = 1.5

    def __init__(self, host: Host) -> None:
        self._host = host
        self._found = Found()
        self._in_files: tuple[Declared, list[str]] = [], []
        self._files_read = 0.0
        self._offered: dict[str, _Offered] = {}
        self._latency: dict[str, float] = {}
        self._failures: dict[str, str] = {}
        self._asked_by: list[McpPool] = []

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._table = Table(
            "MCP servers",
            _COLUMNS,
            empty="No MCP servers yet: declare one with %%aof_mcp NAME in a cell, or in an agent.",
        )
        self._table.on_select(lambda _: self._host.refresh())
        self._connect = button(
            "Connect", "plug", self._do_connect, tip="Starts it, and asks what it offers"
        )
        self._restart = button(
            "Restart",
            "refresh",
            self._do_restart,
            tip="Ends it and starts it again; calls under way are dropped",
        )
        self._ping = button("Ping", "bolt", self._do_ping, tip="How long it takes to answer")
        self._disconnect = button(
            "Disconnect",
            "power-off",
            self._do_disconnect,
            tip="Ends it; an agent's next run starts it again",
        )
        self._buttons = [self._connect, self._restart, self._ping, self._disconnect]
        self._work = Stoppable(self._host, *self._buttons)
        self._bar: Any = ipywidgets.HBox(
            [*self._buttons, self._work.button],
            layout={"flex_flow": "row wrap", "display": "none"},
        )
        self._problems: Any = ipywidgets.HTML()
        self._about: Any = ipywidgets.HTML()
        for each in (self._problems, self._about):
            each.add_class("aof-wrap")
        self._tools = ToolsPane(self._host)
        self._resources = ResourcesPane(self._host)
        self._prompts = PromptsPane(self._host)
        self._definitions = DefinitionsPane(self._host)
        panes = (self._tools, self._resources, self._prompts, self._definitions)
        self._tabs: Any = ipywidgets.Tab(
            [each.widget for each in panes],
            titles=list(_TITLES),
            selected_index=0,
            layout={"display": "none"},
        )
        return ipywidgets.VBox(
            [self._table.widget, self._problems, self._bar, self._about, self._tabs]
        )

    async def refresh(self) -> None:
        """Looks for servers and how they stand; connects none."""
        if time.monotonic() - self._files_read > _FRESH_SECONDS or not self._files_read:
            self._in_files = await asyncio.to_thread(declared_in_files, self._host.directory)
            self._files_read = time.monotonic()
        files, problems = self._in_files
        here = declared_in_notebook(self._host.variables)
        self._found = await asyncio.to_thread(known_servers, [*here, *files])
        self._show([*problems, *self._found.problems])

    def close(self) -> None:
        """Lets go of what was read; connections belong to the kernel's agents, too."""
        self._offered = {}
        for connections in self._asked_by:
            if connections.on_elicitation == self._asked:
                connections.on_elicitation = None
        self._asked_by.clear()

    def _show(self, problems: list[str]) -> None:
        rows = [
            self._row(each, pool().status_of(each.spec)) for each in self._found.servers.values()
        ]
        rows += [_stranger(each) for each in self._found.strangers]
        self._table.show(rows)
        said = "".join(markup.problem(each) for each in problems)
        if said != self._problems.value:
            self._problems.value = said
        chosen = self._table.selected
        server = self._found.servers.get(chosen)
        stranger = next((each for each in self._found.strangers if _id(each) == chosen), None)
        self._bar.layout.display = None if server is not None else "none"
        self._tabs.layout.display = None if server or stranger else "none"
        self._show_server(server, stranger)

    def _show_server(self, server: KnownServer | None, stranger: ServerPins | None) -> None:
        offered = self._offered.get(server.id) if server is not None else None
        pins = server.pins if server is not None else stranger
        about = ""
        if server is not None:
            status = pool().status_of(server.spec)
            about = self._about_server(server, status, offered.problems if offered else [])
            if not self._work.busy:
                running = status is not None and status.state in {"open", "connecting"}
                self._disconnect.disabled = not running
                self._connect.description = "Ask what it offers" if running else "Connect"
        elif stranger is not None:
            about = (
                f"<h3>{html_text(stranger.server)}</h3>"
                f"{markup.facts([('Reached by', stranger.place)])}<div>It was connected once, "
                "and is declared nowhere here. What is known of its tools is under Definitions."
                "</div>"
            )
            self._tabs.selected_index = _DEFINITIONS
        if about != self._about.value:
            self._about.value = about
        self._tools.show(server, offered.tools if offered else None)
        self._resources.show(server, offered.resources if offered else None)
        self._prompts.show(server, offered.prompts if offered else None)
        self._definitions.show(pins)

    def _about_server(
        self, server: KnownServer, status: ServerStatus | None, problems: list[str]
    ) -> str:
        facts = [
            ("State", mcp_text.standing(status)),
            ("Declared in", ", ".join(dict.fromkeys(server.origins))),
            ("Reached by", f"{server.spec.transport}: {server.where}"),
        ]
        if status is not None:
            facts.append(("Log", status.log))
        failure = self._failures.get(server.id, "")
        if status is not None and status.state == "failed":
            failure = failure or status.error
        parts = [
            f"<h3>{html_text(server.spec.name)}</h3>{markup.facts(facts)}",
            markup.problem(failure) if failure else "",
            *(f'<div class="aof-note aof-warning">⚠ {html_text(each)}</div>' for each in problems),
        ]
        changed = len(server.pins.changed) if server.pins is not None else 0
        if changed:
            left_out = "is" if changed == 1 else "are"
            parts.append(
                f'<div class="aof-note aof-warning">⚠ {counted(changed, "tool")} {left_out} left '
                "out, as the server has changed what it says of it: see Definitions.</div>"
            )
        odd = _odd(server.pins) if server.pins is not None else 0
        if odd:
            parts.append(
                f'<div class="aof-note aof-warning">⚠ There is something odd in what it says of '
                f"{counted(odd, 'tool')}: see Definitions.</div>"
            )
        return "".join(parts)

    def _row(self, server: KnownServer, status: ServerStatus | None) -> TableRow:
        latency = self._latency.get(server.id) or (status.latency if status else None)
        changed = len(server.pins.changed) if server.pins is not None else 0
        failed = status is not None and status.state == "failed"
        why = f": {status.error}" if status is not None and failed else ""
        return TableRow(
            id=server.id,
            cells={
                "server": server.spec.name,
                "state": f"{mcp_text.standing(status)}{why}",
                "latency": mcp_text.milliseconds(latency),
                "look": f"⚠ {changed} changed" if changed else "",
            },
            sort={"latency": -1.0 if latency is None else latency},
            level="bad" if failed else "warning" if changed else "",
        )

    def _chosen(self) -> KnownServer | None:
        return self._found.servers.get(self._table.selected)

    def _do_connect(self) -> None:
        self._start(self._opened)

    def _do_restart(self) -> None:
        async def restart(server: KnownServer) -> None:
            await pool().close(server.spec.name)
            await self._opened(server)

        self._start(restart)

    def _do_ping(self) -> None:
        async def ping(server: KnownServer) -> None:
            took = await browsing.ping(pool(), server.spec)
            self._latency[server.id] = took
            self._host.tell(f"{server.spec.name} answers in {mcp_text.milliseconds(took)}.")

        self._start(ping)

    def _do_disconnect(self) -> None:
        async def disconnect(server: KnownServer) -> None:
            await pool().close(server.spec.name)
            for each in (self._offered, self._latency, self._failures):
                each.pop(server.id, None)
            self._host.tell(f"{server.spec.name} is disconnected.")

        self._start(disconnect)

    def _start(self, work: Callable[[KnownServer], Coroutine[Any, Any, None]]) -> None:
        server = self._chosen()

        async def do() -> None:
            if server is None:
                return
            self._host.refresh()
            try:
                await self._work.carry(work(server))
                self._failures.pop(server.id, None)
            except Stopped:
                self._host.tell(f"Stopped; {server.spec.name} may still be starting.")
            except AofError as error:
                said = f"{error.message} → {error.remedy}" if error.remedy else error.message
                self._failures[server.id] = said
            finally:
                self._host.refresh()

        self._host.start(do)

    async def _opened(self, server: KnownServer) -> None:
        """Connects a server if it is not, and asks what it offers."""
        spec, connections = server.spec, pool()
        self._take_questions(connections)
        found = await connections.tools([spec])
        status = connections.status_of(spec)
        if status is None or status.state != "open":
            self._offered.pop(server.id, None)
            raise McpError("; ".join(found.warnings) or f"{spec.name} could not be connected")
        offered = _Offered(
            tools=[each for each in found.tools if isinstance(each, McpTool)],
            # What these say of definitions, the page says itself.
            problems=[each for each in found.warnings if "aofctl mcp " not in each],
        )
        self._offered[server.id] = offered
        self._latency[server.id] = await browsing.ping(connections, spec)
        # Servers may offer either and be wrong about the other.
        try:
            offered.resources = await browsing.resources(connections, spec)
        except McpError as error:
            offered.problems.append(error.message)
        try:
            offered.prompts = await browsing.prompts(connections, spec)
        except McpError as error:
            offered.problems.append(error.message)

    def _take_questions(self, connections: McpPool) -> None:
        """Has servers that are connected from now on ask here, if they ask nobody yet."""
        if connections.on_elicitation is None:
            connections.on_elicitation = self._asked
            self._asked_by.append(connections)

    async def _asked(self, question: Question) -> Mapping[str, Any] | None:
        # Runs of agents use the same connections: nobody is there whom they would ask.
        if not self._tools.calls(question.server):
            return None
        return await self._tools.answer(ServerQuestion(self._host, question))


def _odd(pins: ServerPins) -> int:
    """How many tools have something to be looked at that no person has accepted."""
    return sum(
        bool(findings(each.definition))
        for each in pins.tools.values()
        if not each.accepted and each.changed is None
    )


def _id(pins: ServerPins) -> str:
    return f"pins {pins.server} {pins.place}"


def _stranger(pins: ServerPins) -> TableRow:
    changed = len(pins.changed)
    look = f"⚠ {changed} changed" if changed else ""
    return TableRow(
        id=_id(pins),
        cells={
            "server": pins.server,
            "state": "· not declared here",
            "latency": "",
            "look": look,
        },
        sort={"latency": -1.0},
    )
