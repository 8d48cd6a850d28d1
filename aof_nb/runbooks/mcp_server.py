"""An MCP server whose tools are a directory's runbooks.

Importing this imports the mcp SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from mcp.server import NotificationOptions, Server
from mcp.server.context import ServerRequestContext
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    Tool,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from aof_nb._version import __version__
from aof_nb.errors import AofError
from aof_nb.policy import ApproveMode
from aof_nb.runbooks.catalog import Catalog, Runbook
from aof_nb.runbooks.kept_runs import MIME_TYPES, URI, KeptRuns, default_directory
from aof_nb.runbooks.outcome import tool_result
from aof_nb.runbooks.parameters import ParameterError, fitted
from aof_nb.runbooks.run import run_notebook
from aof_nb.runbooks.served_run import PATIENCE, ServedRun

_logger = logging.getLogger("aof_nb.runbooks")

INSTRUCTIONS = """\
Each tool runs a runbook, which is a notebook, from its first cell to its last. That may take \
minutes; progress is told by cell. The result says how it ended and what it came to; the report is \
a resource."""

WATCH = 2.0
"""Seconds between two looks at the directory."""

_MOST_SESSIONS = 1000
_Context = ServerRequestContext[Any, Any]


class RunbookServer(Server[None]):
    """An MCP server over the runbooks of a directory.

    Args:
        place: The directory, or one notebook.
        approve: What happens where an agent's policy asks: ``never`` refuses, ``all`` approves,
            ``ask`` has the client ask its user, where the client can.
        runs: The directory for executed notebooks and reports; one in the state directory if
            not given.
        concurrency: Runs at the same time; more wait for their turn.

    Raises:
        ConfigurationError: If the directory for the runs cannot be made.

    Example:
        >>> async def listed(directory):
        ...     from mcp import Client
        ...     async with Client(RunbookServer(directory)) as client:
        ...         return (await client.list_tools()).tools
    """

    def __init__(
        self,
        place: Path,
        *,
        approve: ApproveMode = "never",
        runs: Path | None = None,
        concurrency: int = 4,
    ) -> None:
        self._bus = InMemorySubscriptionBus()
        self._listeners = ListenHandler(self._bus)
        super().__init__(
            "aof-runbooks",
            version=__version__,
            title="Runbooks",
            instructions=INSTRUCTIONS,
            lifespan=lambda _: self._alive(),
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_subscriptions_listen=self._listeners,
        )
        self._catalog = Catalog(place)
        self._approve = approve
        self._kept = KeptRuns(runs or default_directory(place))
        self._places = asyncio.Semaphore(concurrency)
        self._runs: dict[str, ServedRun] = {}
        self._known: Mapping[str, Runbook] = {}
        self._looking = asyncio.Lock()
        self._sessions: OrderedDict[str, ServerSession] = OrderedDict()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK's, and says that changes are told of."""
        changes = NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities, extensions
        )

    async def look(self) -> Mapping[str, Runbook]:
        """Reads the directory anew; its runbooks by their tools' names."""
        async with self._looking:
            self._known = await asyncio.to_thread(self._catalog.runbooks)
            return self._known

    async def stop(self) -> None:
        """Ends all runs and all streams; returns when no kernel is left."""
        self._listeners.close()
        await asyncio.gather(*(run.stop() for run in [*self._runs.values()]))

    @contextlib.asynccontextmanager
    async def _alive(self) -> AsyncGenerator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([watching])
                await self.stop()

    async def _watch(self) -> None:
        """Tells clients when the runbooks are no longer those that they know."""
        told: Sequence[Tool] | None = None
        while True:
            try:
                now = [each.tool for each in (await self.look()).values()]
            except OSError as error:
                _logger.warning("the runbooks cannot be read: %s", error)
            else:
                if told is not None and now != told:
                    await self._bus.publish(ToolsListChanged())
                    for session in [*self._sessions.values()]:
                        await session.send_tool_list_changed()
                told = now
            await asyncio.sleep(WATCH)

    def _remember(self, context: _Context) -> None:
        """Keeps a session of an older protocol, which is told of changes without asking."""
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return
        headers = getattr(context.request, "headers", {})
        name = headers.get("mcp-session-id", "")
        self._sessions[name] = context.session
        self._sessions.move_to_end(name)
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        runbook = self._known.get(name)
        return runbook.tool.input_schema if runbook is not None else None

    async def _list_tools(
        self, context: _Context, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        self._remember(context)
        return ListToolsResult(tools=[each.tool for each in (await self.look()).values()])

    async def _call_tool(
        self, context: _Context, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        arguments = params.arguments or {}
        if params.request_state is not None:
            run = self._runs.get(params.request_state)
            if run is None or (run.tool, run.arguments) != (params.name, arguments):
                raise MCPError(INVALID_PARAMS, "there is no such run that waits for an answer")
        else:
            known = await self.look()
            if params.name not in known:
                raise MCPError(INVALID_PARAMS, _unknown(params.name, known))
            try:
                run = self._started(known[params.name], arguments)
            except ParameterError as error:
                return _failed(error)
        result = await run.attend(context, params.input_responses)
        if isinstance(result, CallToolResult):
            self._runs.pop(run.token, None)
        return result

    def _started(self, runbook: Runbook, arguments: dict[str, Any]) -> ServedRun:
        declared = runbook.info.parameters
        fitted(declared, arguments)
        missing = [each for each in declared or () if each.required and each.name not in arguments]
        if missing:
            names = ", ".join(repr(each.name) for each in missing)
            raise ParameterError(
                f"{runbook.name} needs a value for {names}",
                remedy="; ".join(f"{each.name}: {each.help}" for each in missing if each.help),
            )
        untyped = {each.name for each in declared or () if each.type is Any}
        values = {
            # Text for a parameter without a type would be read as a literal: "1.10" as a number.
            name: repr(value) if isinstance(value, str) and name in untyped else value
            for name, value in arguments.items()
        }
        run = ServedRun(runbook.name, arguments, asks=self._approve == "ask")
        self._runs[run.token] = run
        task = run.start(lambda: self._run(runbook, values, run))
        loop = asyncio.get_running_loop()
        task.add_done_callback(lambda _: loop.call_later(PATIENCE, self._runs.pop, run.token, None))
        return run

    async def _run(
        self, runbook: Runbook, values: dict[str, Any], run: ServedRun
    ) -> CallToolResult:
        run_id = self._kept.new(runbook.name)
        try:
            async with self._places:
                result = await run_notebook(
                    runbook.info.path,
                    output=self._kept.notebook(run_id),
                    parameters=values,
                    approve="all" if self._approve == "all" else "ask",
                    approver=run,
                    on_progress=run.tell,
                )
            notebook = await asyncio.to_thread(self._kept.executed, run_id)
        except AofError as error:
            _logger.warning("%s: %s", runbook.name, error.message)
            return _failed(error)
        except Exception as error:
            _logger.exception("%s could not be run", runbook.name)
            return _failed(AofError(f"{runbook.name} could not be run: {error!r}"))
        await self._bus.publish(ResourcesListChanged())
        return tool_result(runbook, run_id, result, notebook, run.refused)

    async def _list_resources(
        self, context: _Context, _params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        self._remember(context)
        return ListResourcesResult(
            resources=[
                Resource(
                    uri=f"{URI}{run_id}{ending}",
                    name=f"{run_id}{ending}",
                    description=f"The report of the run {run_id}.",
                    mime_type=MIME_TYPES[ending],
                )
                for run_id in await asyncio.to_thread(self._kept.finished)
                for ending in (".md", ".html")
            ]
        )

    async def _list_templates(
        self, _context: _Context, _params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        templates = {
            ".md": "A run's report as Markdown",
            ".html": "A run's report as HTML",
            ".ipynb": "A run's executed notebook",
        }
        return ListResourceTemplatesResult(
            resource_templates=[
                ResourceTemplate(
                    uri_template=f"{URI}{{run_id}}{ending}",
                    name=f"run{ending}",
                    title=title,
                    mime_type=MIME_TYPES[ending],
                )
                for ending, title in templates.items()
            ]
        )

    async def _read_resource(
        self, _context: _Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        found = await asyncio.to_thread(self._kept.read, params.uri)
        if found is None:
            raise MCPError(
                INVALID_PARAMS, f"there is no resource {params.uri}", data={"uri": params.uri}
            )
        text, mime_type = found
        contents = TextResourceContents(uri=params.uri, mime_type=mime_type, text=text)
        return ReadResourceResult(contents=[contents])


def _unknown(name: str, known: Mapping[str, Runbook]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"there is no runbook {name!r}; {hint}"


def _failed(error: AofError) -> CallToolResult:
    text = f"{error.message} ({error.remedy})" if error.remedy else error.message
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
