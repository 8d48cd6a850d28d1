"""The runs of all kernels and workers of this machine, from their journals."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.log_feed import LogFeed
from aof_nb.journal.reading import read_timeline
from aof_nb.journal.recording import FINAL, State, check_resumable
from aof_nb.journal.run_index import RunIndex
from aof_nb.journal.runs import read_run, run_dir
from aof_nb.journal.stop_request import is_stop_requested, request_stop
from aof_nb.journal.summary import RunSummary
from aof_nb.journal.wording import dollars, shortened
from aof_nb.notebook.console.charts import run_charts
from aof_nb.notebook.console.inbox_approver import InboxApprover
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.run_detail import Pieces, RunDetail, pieces_of
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button, fold
from aof_nb.notebook.recorded import agent_of
from aof_nb.readable import local_time, seconds
from aof_nb.run import Run
from aof_nb.stoppable_run import carry_through

_SHOWN = 300
_NONE = "No run has begun in this time."
_NOT_FOUND = "No run of this time is like this."
_DAY = 86_400.0
_PERIODS = (
    ("last hour", 3600.0),
    ("last day", _DAY),
    ("last week", 7 * _DAY),
    ("last 30 days", 30 * _DAY),
    ("all", None),
)
_COLUMNS = (
    Column("status", "Status"),
    Column("agent", "Agent"),
    Column("began", "Began"),
    Column("took", "Time at work", number=True),
    Column("turns", "Turns", number=True),
    Column("cost", "Cost", number=True),
    Column("step", "Current step, or what was asked", wide=True),
)
_LEVELS = {State.FAILED.value: "bad", "damaged": "bad", State.WAITING.value: "warning"}
_MARKS = {
    State.RUNNING.value: "▶",
    State.WAITING.value: "?",
    State.COMPLETED.value: "✓",
    State.FAILED.value: "✗",
    "damaged": "✗",
}
_PATIENCE_SECONDS = 3.0
_PAUSES = 5
_TEXT_CHARS = 200


class RunsPage:
    """A table of runs, charts of what they cost, and the run that is selected.

    Args:
        host: The console.
    """

    interval = 1.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._index, self._feed = RunIndex(), LogFeed(runs=20, lines=1)
        self._read: tuple[str, int] = ("", 0)
        self._turns = 0
        self._costly = 0.0

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._period: Any = ipywidgets.Dropdown(
            options=_PERIODS, value=_DAY, description="Began", layout={"width": "16em"}
        )
        states = [("any", ""), *((each.value, each.value) for each in State)]
        self._status: Any = ipywidgets.Dropdown(
            options=states, description="Status", layout={"width": "14em"}
        )
        # The table has the newest only, so that what it has not must be looked for here.
        self._words: Any = ipywidgets.Text(
            placeholder="agent, run, or words of the prompt",
            description="Find",
            layout={"width": "22em"},
        )
        for each in (self._period, self._status, self._words):
            each.style.description_width = "auto"
            each.observe(lambda _: self._host.refresh(), "value")
        self._table = Table("Runs", _COLUMNS, empty=_NONE, filterable=False)
        self._more: Any = ipywidgets.HTML(layout={"display": "none"})
        self._more.add_class("aof-wrap")
        self._table.on_select(lambda _: self._host.refresh())
        self._charts: Any = ipywidgets.HTML()
        self._charts.add_class("aof-wrap")
        self._detail = RunDetail()
        filters: Any = ipywidgets.HBox(
            [self._period, self._status, self._words], layout={"flex_flow": "row wrap"}
        )
        table = [self._table.widget, self._more]
        folded = fold("Cost, tokens, time and failures", self._charts, unfolded=True)
        return ipywidgets.VBox([filters, *table, self._actions(), self._detail.widget, folded])

    def _actions(self) -> Any:
        import ipywidgets

        self._stop = button(
            "Stop", "stop", self._do_stop, tip="Ends the run as an interrupt would", disabled=True
        )
        self._resume = button(
            "Resume",
            "play",
            self._do_resume,
            tip="Goes on with the run; nothing is done twice",
            disabled=True,
        )
        self._fork = button(
            "Fork",
            "code-fork",
            self._do_fork,
            tip="A new run that has the turns before this one",
            disabled=True,
        )
        self._turn: Any = ipywidgets.BoundedIntText(
            value=1, min=1, max=1, description="from turn", layout={"width": "10em"}
        )
        self._turn.style.description_width = "auto"
        self._model: Any = ipywidgets.Text(
            placeholder="its own", description="with model", layout={"width": "18em"}
        )
        self._model.style.description_width = "auto"
        self._bar: Any = ipywidgets.HBox(
            [self._stop, self._resume, self._fork, self._turn, self._model],
            layout={"flex_flow": "row wrap", "display": "none"},
        )
        return self._bar

    async def refresh(self) -> None:
        """Looks at all journals, and reads the selected run's again if it has grown."""
        within, status, words = self._period.value, self._status.value, self._words.value
        runs, rows, charts = await asyncio.to_thread(self._look, within, status, words)
        self._table.widget.empty = _NOT_FOUND if status or words.strip() else _NONE
        self._table.show(rows)
        self._say_more(len(runs))
        if charts != self._charts.value:
            self._charts.value = charts
        await self._open(next((each for each in runs if each.run_id == self._table.selected), None))

    def close(self) -> None:
        """Lets go of what was read."""
        self._index = RunIndex()

    def _say_more(self, found: int) -> None:
        said = (
            f"<small>These are the newest {_SHOWN} of {found:,} runs: find others by words.</small>"
            if found > _SHOWN
            else ""
        )
        if said != self._more.value:
            self._more.value = said
            self._more.layout.display = None if said else "none"

    def _look(
        self, within: float | None, status: str, words: str
    ) -> tuple[list[RunSummary], list[TableRow], str]:
        runs = self._index.read(within=within)
        charts = run_charts(runs, within=within)
        if status:
            runs = [each for each in runs if each.status == status]
        if wanted := words.lower().split():
            runs = [each for each in runs if all(word in _text(each) for word in wanted)]
        steps = {each.run_id: each.text for each in self._feed.read()}
        return runs, [_row(each, steps) for each in runs[:_SHOWN]], charts

    async def _open(self, run: RunSummary | None) -> None:
        if run is None:
            self._bar.layout.display = "none"
            self._detail.show({})
            self._read, self._costly = ("", 0), 0.0
            return
        stamp = run.run_id, await asyncio.to_thread(_written, run.path)
        other = stamp[0] != self._read[0]
        changed = stamp != self._read or run.status == State.RUNNING.value
        if other or (changed and (time.monotonic() > self._costly or run.status in FINAL)):
            began = time.monotonic()
            self._turns, pieces = await asyncio.to_thread(_opened, run)
            self._detail.show(pieces)
            self._read = stamp
            # A long journal is read whole each time: not at each look, or little else is done.
            self._costly = time.monotonic() + _PAUSES * (time.monotonic() - began)
        running = run.status == State.RUNNING.value
        self._stop.disabled = not running
        self._resume.disabled = running or run.status in FINAL
        self._fork.disabled = not self._turns
        self._turn.max = max(1, self._turns)
        self._bar.layout.display = None

    def _do_stop(self) -> None:
        named = self._table.selected

        async def stop() -> None:
            directory = run_dir(named)
            await asyncio.to_thread(request_stop, directory)
            end = time.monotonic() + _PATIENCE_SECONDS
            while await asyncio.to_thread(is_stop_requested, directory):
                if time.monotonic() > end:
                    raise ConfigurationError(
                        f"nobody who carries {named} through has taken the request to stop",
                        remedy="end the program that began it; cells and aofctl run do take it",
                    )
                await asyncio.sleep(0.1)
            self._host.tell(f"The run {named} is being stopped.")
            self._host.refresh()

        self._host.start(stop)

    def _do_resume(self) -> None:
        named, model = self._table.selected, self._model.value.strip() or None

        async def resume() -> None:
            def prepared() -> Run:
                recording = read_run(named)
                check_resumable(recording)
                agent = agent_of(recording, self._host.variables)
                return agent.resumed(recording, approver=InboxApprover(), model=model)

            await self._carry(await asyncio.to_thread(prepared), f"Goes on with the run {named}.")

        self._host.start(resume)

    def _do_fork(self) -> None:
        named, model = self._table.selected, self._model.value.strip() or None
        turn = int(self._turn.value)

        async def fork() -> None:
            def prepared() -> Run:
                recording = read_run(named)
                agent = agent_of(recording, self._host.variables)
                return agent.fork(recording, turn, approver=InboxApprover(), model=model)

            run = await asyncio.to_thread(prepared)
            await self._carry(run, f"The run {run.run_id} begins at turn {turn} of {named}.")

        self._host.start(fork)

    async def _carry(self, run: Run, said: str) -> None:
        self._host.tell(f"{said} It is stopped when the console is closed.")
        self._table.selected = run.run_id
        self._host.refresh()
        await carry_through(run)
        result = run.result
        why = f": {result.error.message}" if result.error is not None else ""
        self._host.tell(f"The run {run.run_id} is over: {result.status.value}{why}.")
        self._host.refresh()


def _written(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _text(run: RunSummary) -> str:
    return f"{run.run_id} {run.agent} {run.status} {run.prompt} {run.error or ''}".lower()


def _opened(run: RunSummary) -> tuple[int, Pieces]:
    """How many turns a run has, and what is shown of it."""
    timeline = read_timeline(run_dir(run.run_id) / FILE_NAME)
    return max((each.number for each in timeline.turns), default=1), pieces_of(timeline)


def _row(run: RunSummary, steps: dict[str, str]) -> TableRow:
    going_on = run.status in {State.RUNNING.value, State.WAITING.value}
    step = steps.get(run.run_id, "") if going_on else ""
    asked = " ".join(run.prompt.split())
    cost = run.cost
    return TableRow(
        id=run.run_id,
        cells={
            "status": f"{_MARKS.get(run.status, '·')} {run.status}",
            "agent": run.agent,
            "began": local_time(run.began),
            "took": seconds(run.duration),
            "turns": str(run.turns),
            "cost": dollars(cost),
            "step": shortened(step or run.error or asked, _TEXT_CHARS),
        },
        sort={"took": run.duration, "turns": run.turns, "cost": -1.0 if cost is None else cost},
        level=_LEVELS.get(run.status, ""),
    )
