"""Shows a run in its cell: one output, alive while the run goes on, and a record after it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from aof_nb.events import Event, TextDelta
from aof_nb.notebook.budget import Budget
from aof_nb.notebook.record import RunRecord
from aof_nb.notebook.screen import Output, Screen, clicks_arrive
from aof_nb.notebook.view import Handler, RunView
from aof_nb.result import RunResult

INTERVAL = 0.05
"""Seconds between two updates of what is live."""

_OPENING = 0.15
_PATIENCE = 25.0
_ENVELOPE = 200


class Renderer(Protocol):
    """What shows a run to the user."""

    async def prepare(self, event: Event) -> None:
        """Does what takes time before an event is shown."""
        ...

    def event(self, event: Event) -> None:
        """Shows an event."""
        ...

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Shows how the run ended; calls that have not ended are said to be unknown."""
        ...


class CellRenderer:
    """Shows a run in the output of a cell where nobody looks: once, when it has ended.

    Args:
        screen: Where the output goes.
        agent: Who is asked.
        session: The conversation it goes on with.
    """

    def __init__(self, screen: Screen, *, agent: str, session: str | None) -> None:
        self.record = RunRecord(agent, session)
        self._output = Output(screen, live=False)

    async def prepare(self, event: Event) -> None:
        """Draws what a tool has returned."""
        await self.record.prepare(event)

    def event(self, event: Event) -> None:
        """Takes an event over."""
        self.record.take(event)

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Publishes the record."""
        self.record.end(result, interrupted=interrupted, cost=cost)
        data = {"text/markdown": self.record.markdown(), "text/plain": self.record.text()}
        self._output.settle(data, _metadata(self.record, result, interrupted, cost))


class LiveRenderer:
    """Shows a run in the output of a cell that somebody looks at.

    A run that is over at once is shown as its record only. For one that goes on there is a view,
    and until that is ready, or if it never is, the record as far as it has come.

    Args:
        screen: Where the output goes.
        agent: Who is asked.
        session: The conversation it goes on with.
        interval: Seconds between two updates.
        autosave: Whether the notebook is to be saved when there is a view, and when it has ended.
        run_id: The run, as far as it is known before it begins.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        agent: str,
        session: str | None,
        interval: float = INTERVAL,
        autosave: bool = True,
        run_id: str = "",
    ) -> None:
        self.record = RunRecord(agent, session)
        self.record.run_id = run_id
        self._output = Output(screen, live=True)
        self._loop = asyncio.get_running_loop()
        self._interval = interval
        self._budget = Budget()
        self._record_size = 0.0
        self._bundle: dict[str, Any] = {}
        # JupyterLab's extension goes by this.
        self._mark = {"aof": {"autosave": autosave}}
        self._shown: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._ended = False
        self.is_ready = asyncio.Event()
        self.view = RunView(self._loop)
        self.view.on("ready", self._ready)
        self.view.on("record", self._heal)
        self._start = self._loop.call_later(_OPENING, self.open)
        self._output.show({"text/markdown": f"**{self.record.status}**\n"})

    def on(self, action: str, handler: Handler) -> None:
        """Has a handler called with each message of the view that asks for an action."""
        self.view.on(action, handler)

    def open(self) -> None:
        """Opens the view now, as somebody is to be asked something."""
        self._start.cancel()
        if self._opening is None and not self._ended:
            self._opening = self._loop.create_task(self._open(), name="aof run view")

    async def prepare(self, event: Event) -> None:
        """Draws what a tool has returned."""
        await self.record.prepare(event)

    def event(self, event: Event) -> None:
        """Takes an event over; it is shown within the interval."""
        self.record.take(event)
        if isinstance(event, TextDelta):
            self._budget.arrived(len(event.text))
        self.update()

    def update(self) -> None:
        """Has what is new shown within the interval."""
        if self._timer is None and not self._ended:
            self._timer = self._loop.call_later(self._interval, self._tick)

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Puts the record in the view's place."""
        self._ended = True
        self._start.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        self.record.end(result, interrupted=interrupted, cost=cost)
        metadata = _metadata(self.record, result, interrupted, cost)
        data = {"text/markdown": self.record.markdown()}
        self._shown = {"data": data, "metadata": metadata}
        self._output.settle(data, metadata)
        self.view.end(self.record.status)

    async def _open(self) -> None:
        if not clicks_arrive():
            # What the view asks for would not arrive either: it would stay empty.
            self.update()
            return
        await asyncio.to_thread(RunView.load)
        self._bundle = self.view.bundle(self.record.status)
        text = self.record.name()
        self._output.show({**self._bundle, "text/markdown": text}, self._mark)
        await asyncio.sleep(_PATIENCE)
        if not self.is_ready.is_set():
            self._bundle = {}
            self.update()

    def _ready(self, told: Mapping[str, Any]) -> None:
        if self.is_ready.is_set():
            # The pages that are there already are as new as what this one is sent.
            self.view.send(self.record.changes(), self.record.status)
        self.is_ready.set()
        page, items = str(told.get("page", "")), self.record.elements()
        self.view.send_all(page, items, self.record.status, ended=self._ended)

    def _heal(self, _: Any) -> None:
        if self._ended:
            self.view.tell(record=self._shown)

    def _tick(self) -> None:
        self._timer = None
        if self.is_ready.is_set():
            self.view.send(self.record.changes(), self.record.status)
            return
        if self._opening is None:
            return
        if not self._show_record():
            self._timer = self._loop.call_later(self._interval * 10, self._tick)

    def _show_record(self) -> bool:
        """Shows the record as far as it has come, if the budget allows."""
        if not self._budget.allows(self._record_size):
            # A record grows: what does not allow the last one need not be asked about this one.
            return False
        text = self.record.so_far()
        self._record_size = len(text) * 1.1 + _ENVELOPE
        if not self._budget.allows(self._record_size):
            return False
        self._budget.spend(self._record_size)
        mark = self._mark if self._bundle else {}
        self._output.show({**self._bundle, "text/markdown": text}, mark)
        return True


live_renderer: ContextVar[LiveRenderer | None] = ContextVar("aof_live_renderer", default=None)
"""What shows the run that goes on here, if somebody looks at it."""


def _metadata(
    record: RunRecord, result: RunResult, interrupted: bool, cost: float | None
) -> dict[str, Any]:
    told = {
        "run_id": result.run_id,
        "status": "interrupted" if interrupted else result.status.value,
        "duration": round(result.duration, 3),
        "turns": result.turns,
        "tool_calls": result.tool_calls,
        "input_tokens": result.usage.input_tokens,
        "output_tokens": result.usage.output_tokens,
        "cost": cost,
        "calls": record.calls(),
    }
    return {"aof": told}
