"""A server's tools: what each is, and a form to call it."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from aof_nb.argument_checks import edited_arguments
from aof_nb.errors import ConfigurationError
from aof_nb.events import ApprovalAnswered, ApprovalRequested, Event, Notice, ToolFinished
from aof_nb.journal.approvals import PendingApproval
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.runs import run_dir
from aof_nb.journal.summary import RunSummary, summarise
from aof_nb.markdown import html_text
from aof_nb.mcp.definition import definition_of
from aof_nb.mcp.findings import findings
from aof_nb.mcp.tool import McpTool
from aof_nb.messages import Outcome
from aof_nb.notebook.console import markup, mcp_text
from aof_nb.notebook.console.agent_form import INPUT_WIDTH
from aof_nb.notebook.console.approvals import Question
from aof_nb.notebook.console.forms import SchemaForm
from aof_nb.notebook.console.mcp_call import call_run
from aof_nb.notebook.console.mcp_question import ServerQuestion
from aof_nb.notebook.console.mcp_servers import KnownServer
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.stoppable import Stoppable, Stopped
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button, close_tree
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.readable import indented_json, seconds
from aof_nb.run import Run
from aof_nb.stoppable_run import carry_through

_COLUMNS = (
    Column("tool", "Tool"),
    Column("effect", "Effect"),
    Column("look", "Look"),
    Column("does", "What it does", wide=True),
)
_DEFAULTS = "the defaults"
_LOOK_SECONDS = 0.2
_OUTCOMES = {
    Outcome.OK: '<b class="aof-good">✓</b>',
    Outcome.ERROR: '<b class="aof-bad">✗</b>',
    Outcome.DENIED: '<b class="aof-bad">⊘</b>',
    Outcome.INTERRUPTED: '<b class="aof-warning">?</b>',
}


class ToolsPane:
    """The tools of one server.

    Args:
        host: The console.
    """

    def __init__(self, host: Host) -> None:
        import ipywidgets

        self._host = host
        self._server: KnownServer | None = None
        self._tools: dict[str, McpTool] = {}
        self._chosen = self._calling = ""
        self._form: SchemaForm | None = None
        self._question: Question | None = None
        self._table = Table("Tools", _COLUMNS, empty=mcp_text.NOT_ASKED)
        self._table.on_select(lambda _: host.start(self._open))
        self._about: Any = ipywidgets.HTML()
        self._fields: Any = ipywidgets.VBox()
        self._json: Any = ipywidgets.Textarea(value="{}", rows=4, layout={"width": INPUT_WIDTH})
        self._json.tooltip = "Arguments as JSON"
        self._as_json: Any = ipywidgets.Checkbox(
            description="Write the arguments as JSON", indent=False, layout={"width": "auto"}
        )
        self._as_json.observe(self._turned, "value")
        self._policy: Any = ipywidgets.Dropdown(
            options=[(_DEFAULTS, "")], description="Policy of", layout={"width": "22em"}
        )
        self._policy.style.description_width = "auto"
        self._call = button("Call", "play", self._begin)
        self._work = Stoppable(host, self._call)
        self._asked: Any = ipywidgets.VBox()
        self._answer: Any = ipywidgets.HTML()
        for each in (self._about, self._answer):
            each.add_class("aof-wrap")
        bar = ipywidgets.HBox(
            [self._call, self._work.button, self._policy, self._as_json],
            layout={"flex_flow": "row wrap"},
        )
        self._box: Any = ipywidgets.VBox(
            [self._about, self._fields, bar, self._asked, self._answer],
            layout={"display": "none"},
        )
        self.widget: Any = ipywidgets.VBox([self._table.widget, self._box])

    def show(self, server: KnownServer | None, tools: list[McpTool] | None) -> None:
        """Shows the tools of a server that models may be told of.

        Args:
            server: Whose.
            tools: Its tools; None if it has not been asked.
        """
        self._table.widget.empty = mcp_text.NOT_ASKED if tools is None else "It offers no tools."
        tools = tools or []
        agents = [] if server is None else list(server.agents)
        options = [(each, each) for each in agents] or [(_DEFAULTS, "")]
        if tuple(options) != tuple(self._policy.options):
            self._policy.options = options
        if self._question is not None:
            self._question.say_since(self._run)
        other = (server and server.id) != (self._server and self._server.id)
        self._server = server
        self._tools = {each.spec.name: each for each in tools}
        self._table.show([_row(each) for each in tools])
        if other or self._table.selected not in self._tools:
            self._table.selected = ""
        if other and not self._work.busy:
            self._answer.value = ""
        known = self._tools.get(self._chosen)
        if known is None:
            self._chosen = ""
            self._box.layout.display = "none"

    async def _open(self) -> None:
        tool = self._tools.get(self._table.selected)
        self._box.layout.display = "none" if tool is None else None
        if tool is None or tool.spec.name == self._chosen:
            return
        self._chosen = tool.spec.name
        told = definition_of(tool.definition)
        lines = html_text(told.description.strip()) or markup.told("It does not say.")
        self._about.value = (
            f"<h3>{html_text(told.name)} "
            f"{markup.told(f'{tool.spec.effect.value} · agents know it as {tool.spec.name}')}"
            f'</h3>{mcp_text.notes(findings(told))}<div style="white-space:pre-wrap">{lines}</div>'
        )
        self._close_form()
        self._form = SchemaForm(tool.spec.input_schema)
        self._json.value = "{}"
        self._as_json.value = False
        self._fields.children = [self._form.widget]
        if not self._work.busy:
            self._answer.value = ""

    def _close_form(self) -> None:
        self._fields.children = []
        if self._form is not None:
            close_tree(self._form.widget)
            self._form = None

    def _turned(self, change: Any) -> None:
        form = self._form
        if form is None:
            return
        if change["new"]:
            text = indented_json(
                form.value, encode=functools.partial(msgspec.json.encode, enc_hook=str)
            )
            self._json.value = text
            self._fields.children = [self._json]
            return
        self._fields.children = [form.widget]
        try:
            typed = msgspec.json.decode(self._json.value)
        except msgspec.DecodeError:
            return
        if isinstance(typed, dict):
            form.value = typed

    def _arguments(self, tool: McpTool) -> dict[str, Any]:
        """What is filled in.

        Raises:
            ConfigurationError: If it cannot be called with that.
        """
        form = self._form
        if self._as_json.value or form is None:
            try:
                return edited_arguments(tool.spec, self._json.value)
            except ValueError as error:
                raise ConfigurationError(
                    f"{tool.definition.name} cannot be called like this: {error}",
                    remedy="change the arguments, and call it again",
                ) from None
        if form.problems:
            said = "; ".join(
                f"{name}: {problem}" if name else problem for name, problem in form.problems.items()
            )
            raise ConfigurationError(
                f"{tool.definition.name} cannot be called like this: {said}",
                remedy="correct the fields that are marked",
            )
        return form.value

    def _begin(self) -> None:
        tool, server, name = self._tools.get(self._chosen), self._server, self._policy.value

        async def begin() -> None:
            if tool is None or server is None:
                return
            arguments = self._arguments(tool)
            agent = server.agents.get(name)
            self._calling = server.spec.name
            run = call_run(
                server.spec, tool.spec.name, arguments, agent=agent, approver=_Asking(self)
            )
            await self._carry(run, tool)

        self._host.start(begin)

    async def _carry(self, run: Run, tool: McpTool) -> None:
        ended: list[ToolFinished] = []
        warnings: list[str] = []
        unanswered: set[str] = set()
        own = tool.spec.name

        def take(event: Event) -> None:
            if isinstance(event, ApprovalRequested):
                unanswered.add(event.call_id)
            elif isinstance(event, ApprovalAnswered):
                unanswered.discard(event.call_id)
            elif isinstance(event, ToolFinished):
                ended.append(event)
            elif isinstance(event, Notice):
                warnings.append(event.text)

        begun = time.monotonic()
        self._answer.value = f'<div role="status">Calls {html_text(own)} …</div>'
        try:
            await self._work.carry(carry_through(run, take))
        except Stopped:
            if not ended:
                took = seconds(time.monotonic() - begun)
                effect = (
                    "Nobody had approved it: it was not carried out."
                    if unanswered
                    else "It may have taken effect: look before you repeat it."
                )
                self._answer.value = markup.problem(
                    f"The call of {own} was stopped after {took}. {effect}"
                )
                return
        except BaseException:
            self._answer.value = ""
            raise
        finally:
            self._host.refresh()
        if ended:
            self._answer.value = await asyncio.to_thread(_finished, ended[0], run.run_id)
            return
        said = "".join(f"<div>{markup.told(f'⚠ {each}')}</div>" for each in warnings)
        result = run.result
        why = result.error.message if result.error is not None else result.status.value
        self._answer.value = said + markup.problem(f"{own} was not called: {why}")

    def ask(self, question: Question, run: RunSummary) -> None:
        """Shows a question of a call."""
        self._question, self._run = question, run
        question.say_since(run)
        self._asked.children = [question.widget]

    def asked(self, question: Question) -> None:
        """Takes a question away."""
        self._question = None
        self._asked.children = []
        question.close()

    async def answer(self, question: ServerQuestion) -> Mapping[str, Any] | None:
        """Has a person answer what a server asks, while a call of this page goes on.

        Args:
            question: What is asked.
        """
        answering = asyncio.ensure_future(question.answered())
        self._asked.children = [*self._asked.children, question.widget]
        try:
            while self._work.busy and not answering.done():
                await asyncio.wait([answering], timeout=_LOOK_SECONDS)
            return answering.result() if answering.done() else None
        finally:
            self._asked.children = [
                each for each in self._asked.children if each is not question.widget
            ]
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    def calls(self, server: str) -> bool:
        """Whether a call of this server's goes on, that was made here."""
        return self._work.busy and self._calling == server

    @property
    def host(self) -> Host:
        """The console."""
        return self._host


class _Asking:
    """Asks on the page whether a call may be made; its record may be answered elsewhere, too."""

    def __init__(self, pane: ToolsPane) -> None:
        self._pane = pane

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Waits until it is withdrawn, because its record was answered or the call was stopped."""
        path = run_dir(request.run_id) / FILE_NAME
        run = await asyncio.to_thread(summarise, path)
        question = Question(
            self._pane.host, run, PendingApproval(request=request, time=time.time())
        )
        self._pane.ask(question, run)
        try:
            await asyncio.Event().wait()
        finally:
            self._pane.asked(question)
        raise AssertionError(request.call_id)


def _row(tool: McpTool) -> TableRow:
    told = definition_of(tool.definition)
    found = findings(told)
    return TableRow(
        id=tool.spec.name,
        cells={
            "tool": told.name,
            "effect": tool.spec.effect.value,
            "look": mcp_text.notable(found),
            "does": told.description.strip().partition("\n")[0],
        },
        level="warning" if found else "",
    )


def _finished(event: ToolFinished, run_id: str) -> str:
    head = f"{event.name}: {event.outcome.value}, {seconds(event.duration)}"
    whole = " The output was cut; the run holds all of it." if event.artifact else ""
    about = markup.told(f"run {run_id}; the page Runs has it.{whole}")
    return (
        f'<div role="status">{_OUTCOMES[event.outcome]} {html_text(head)} {about}</div>'
        f"{mcp_text.result(event.content, event.data)}"
    )
