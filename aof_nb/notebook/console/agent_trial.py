"""Tries an agent out: a prompt, what it says while it says it, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    Event,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStatus,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnStarted,
)
from aof_nb.journal.wording import call_line, dollars, shortened
from aof_nb.markdown import html_text, to_html
from aof_nb.messages import Outcome
from aof_nb.notebook.console.agent_form import INPUT_WIDTH
from aof_nb.notebook.console.inbox_approver import InboxApprover
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.widgets import button
from aof_nb.readable import counted, seconds
from aof_nb.result import RunResult
from aof_nb.run import Run
from aof_nb.stoppable_run import carry_through
from aof_nb.truncation import truncate

_PACE_SECONDS = 0.1
_TEXT_CHARS = 20_000
_LINE_CHARS = 160
_PIECES = 100


class AgentTrial:
    """A prompt for one agent at a time.

    Args:
        host: The console.
        prepare: Makes the agent as it stands now, and says in which file it is saved as such;
            empty if in none.
    """

    def __init__(self, host: Host, prepare: Callable[[], Awaitable[tuple[Agent, str]]]) -> None:
        import ipywidgets

        self._host, self._prepare = host, prepare
        self._carrying: asyncio.Task[bool] | None = None
        self._begun = False
        self.prompt: Any = ipywidgets.Textarea(
            placeholder="What the agent is asked", rows=3, layout={"width": INPUT_WIDTH}
        )
        self.prompt.tooltip = "Prompt"
        self.run = button(
            "Try it",
            "play",
            lambda: host.start(self._try),
            tip="Runs the agent as it stands here, saved or not",
        )
        self.stop = button(
            "Stop",
            "stop",
            lambda: host.start(self._stop),
            tip="Ends the run as an interrupt would",
            disabled=True,
        )
        self.answer = button(
            "Answer on the page Approvals",
            "arrow-right",
            lambda: host.show("Approvals"),
            tip="The run goes on here when it is answered there",
        )
        self.answer.layout.display = "none"
        self.status: Any = ipywidgets.HTML()
        self.output: Any = ipywidgets.HTML()
        for each in (self.status, self.output):
            each.add_class("aof-wrap")
        about: Any = ipywidgets.HTML(
            "<small>It does what it is asked, with its own tools and under its own policy. Calls "
            "that need an approval are answered on the page Approvals.</small>"
        )
        about.add_class("aof-wrap")
        buttons: Any = ipywidgets.HBox(
            [self.run, self.stop, self.answer], layout={"flex_flow": "row wrap"}
        )
        self.widget: Any = ipywidgets.VBox([about, self.prompt, buttons, self.status, self.output])

    def clear(self) -> None:
        """Forgets what was tried, unless it still goes on."""
        if not self._begun:
            self.status.value = self.output.value = ""

    async def _try(self) -> None:
        prompt = str(self.prompt.value).strip()
        if not prompt:
            raise ConfigurationError("there is no prompt", remedy="write what the agent is asked")
        if self._begun:
            raise ConfigurationError("a run goes on here", remedy="wait for its end, or stop it")
        self._begun, self.run.disabled = True, True
        try:
            agent, source = await self._prepare()
            # Without a journal, nobody could answer its questions.
            run = replace(agent, journal=True).stream(
                prompt, approver=InboxApprover(), source=source
            )
            await self._carry(agent.name, run)
        finally:
            self._begun, self.run.disabled, self.stop.disabled = False, False, True

    async def _carry(self, name: str, run: Run) -> None:
        heard = Heard()
        self.output.value = ""
        self._say(f"▶ {name} works · run {run.run_id}")
        self._carrying = asyncio.create_task(carry_through(run, heard.take))
        self.stop.disabled = False
        try:
            while not self._carrying.done():
                await asyncio.wait([self._carrying], timeout=_PACE_SECONDS)
                await self._show(heard)
        finally:
            carrying, self._carrying = self._carrying, None
            self.answer.layout.display = "none"
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
        if not carrying.cancelled():
            carrying.result()
        self._say(outcome(run.result))
        self._host.refresh()

    async def _show(self, heard: Heard) -> None:
        if heard.changed:
            heard.changed = False
            self.answer.layout.display = None if heard.waiting else "none"
            self.output.value = await asyncio.to_thread(heard.html)

    async def _stop(self) -> None:
        if self._carrying is not None:
            self._carrying.cancel()

    def _say(self, text: str) -> None:
        self.status.value = f'<div role="status">{html_text(text)}</div>'


class Heard:
    """What was heard of a run: its text, a line for whatever else happened, and what waits."""

    def __init__(self) -> None:
        self.changed = False
        self.waiting: set[str] = set()
        self._pieces: list[tuple[str, str]] = []
        self._turn = 0
        self._names: dict[str, str] = {}

    def take(self, event: Event) -> None:
        """Takes in an event."""
        match event:
            case TurnStarted():
                self._turn = len(self._pieces)
            case TextDelta(text):
                if len(self._pieces) > self._turn and self._pieces[-1][0] == "text":
                    self._pieces[-1] = "text", self._pieces[-1][1] + text
                else:
                    self._pieces.append(("text", text))
            case ResponseSuperseded(model):
                del self._pieces[self._turn :]
                self._line("warning", f"! what {model} has said is asked for again")
            case ToolStarted(call=call):
                self._names[call.id] = call.name
                arguments = call.arguments if isinstance(call.arguments, dict) else {}
                self._line("told", f"▸ {shortened(call_line(call.name, arguments), _LINE_CHARS)}")
            case ApprovalRequested(call_id=call_id, tool=tool, reason=reason):
                self.waiting.add(call_id)
                self._line(
                    "warning", f"? {tool} waits for an answer on the page Approvals: {reason}"
                )
            case ApprovalAnswered(call_id=call_id, approved=approved, by=by):
                self.waiting.discard(call_id)
                self._line("told", f"· {'approved' if approved else 'denied'} by {by}")
            case ToolFinished(
                call_id=call_id, name=name, outcome=ended, content=content, duration=duration
            ):
                self.waiting.discard(call_id)
                good = ended is Outcome.OK
                why = "" if good else f": {shortened(' '.join(content.split()), _LINE_CHARS)}"
                said = f"{'✓' if good else '✗'} {name}: {ended.value} · {seconds(duration)}{why}"
                self._line("good" if good else "bad", said)
            case Notice(text=text):
                self._line("warning", f"! {text}")
            case LimitReached(detail=detail):
                self._line("warning", f"! {detail}")
            case RetryScheduled(model=model, reason=reason):
                self._line("warning", f"! {model} is asked again: {reason}")
            case ModelFellBack(model=model, fallback=fallback, reason=reason):
                self._line("warning", f"! {fallback} is asked instead of {model}: {reason}")
            case _:
                return
        self.changed = True

    def _line(self, level: str, text: str) -> None:
        self._pieces.append((level, text))

    def html(self) -> str:
        """All of it, as HTML that can do no harm."""
        pieces = list(self._pieces)
        left = len(pieces) - _PIECES
        parts = [f"<small>{left} entries before are left out.</small>"] if left > 0 else []
        for kind, text in pieces[-_PIECES:]:
            if kind == "text":
                parts.append(to_html(truncate(text, _TEXT_CHARS)))
            else:
                parts.append(f'<div class="aof-{kind}">{html_text(text)}</div>')
        return "".join(parts)


def outcome(result: RunResult) -> str:
    """How a run has ended, in one line.

    Args:
        result: What came of it.
    """
    mark = "✓" if result.status is RunStatus.COMPLETED else "✗"
    facts = [
        f"{mark} {result.agent}: {result.status.value}",
        counted(result.turns, "turn"),
        seconds(result.duration),
        dollars(result.cost),
        f"run {result.run_id}, on the page Runs",
    ]
    said = " · ".join(each for each in facts if each)
    if result.error is not None:
        remedy = f" → {result.error.remedy}" if result.error.remedy else ""
        said += f" · {result.error.message}{remedy}"
    return said
