"""The log of all runs of this machine, filtered and followed."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aof_nb.journal.log_feed import LEVELS, LogEntry, LogFeed
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.table import Column, Table, TableRow

_SHOWN = 400
_RUNS, _LINES = 40, 500
_NONE = "No run has written anything yet."
_NOT_FOUND = "No entry is like this."
_COLUMNS = (
    Column("time", "Time"),
    Column("level", "Level"),
    Column("agent", "Agent"),
    Column("run", "Run"),
    Column("text", "What happened", wide=True),
)
_COLOURS = {"error": "bad", "warning": "warning"}


class LogsPage:
    """What runs have written to their journals, the newest at the top.

    Args:
        host: The console.
    """

    interval = 1.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._feed = LogFeed(runs=_RUNS, lines=_LINES)
        self._entries: list[LogEntry] = []
        self._looked: str | None = None
        self._runs = _RUNS

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        narrow = {"width": "14em"}
        self._run: Any = ipywidgets.Text(placeholder="any run", description="Run", layout=narrow)
        self._agent: Any = ipywidgets.Text(
            placeholder="any agent", description="Agent", layout=narrow
        )
        self._level: Any = ipywidgets.Dropdown(
            options=[(f"{each} and above" if each != "error" else each, each) for each in LEVELS],
            description="Level",
            layout={"width": "14em"},
        )
        self._text: Any = ipywidgets.Text(
            placeholder="any words", description="Text", layout=narrow
        )
        self._follow: Any = ipywidgets.ToggleButton(
            value=True, description="Follow", icon="play", layout={"width": "auto"}
        )
        self._follow.tooltip = "Show new entries as they are written"
        filters = [self._run, self._agent, self._level, self._text]
        for each in filters:
            each.style.description_width = "auto"
            each.observe(lambda _: self._show(), "value")
        self._run.observe(lambda _: self._host.refresh(), "value")
        self._follow.observe(lambda _: self._host.refresh(), "value")
        bar: Any = ipywidgets.HBox([*filters, self._follow], layout={"flex_flow": "row wrap"})
        self._table = Table("Log entries", _COLUMNS, empty=_NONE, filterable=False)
        self._note: Any = ipywidgets.HTML(layout={"display": "none"})
        self._note.add_class("aof-wrap")
        return ipywidgets.VBox([bar, self._table.widget, self._note])

    async def refresh(self) -> None:
        """Reads what was added to the journals, if the log is followed."""
        run = self._run.value.strip()
        if self._follow.value or run != self._looked or not self._entries:
            self._entries = await asyncio.to_thread(functools.partial(self._feed.read, run=run))
            self._looked = run
            self._show()

    def close(self) -> None:
        """Lets go of what was read."""
        self._entries = []

    def _show(self) -> None:
        run, agent = self._run.value.strip(), self._agent.value.strip().lower()
        words = self._text.value.lower().split()
        least = LEVELS.index(self._level.value)
        found: list[TableRow] = []
        for each in reversed(self._entries):
            said = each.text.lower()
            if (
                LEVELS.index(each.level) >= least
                and each.run_id.startswith(run)
                and agent in each.agent.lower()
                and all(word in said for word in words)
            ):
                found.append(_row(each))
                if len(found) == _SHOWN:
                    break
        self._table.widget.empty = _NOT_FOUND if self._entries else _NONE
        self._table.show(found)
        said = "".join(f"<small>{each} </small>" for each in self._left_out(len(found)))
        if said != self._note.value:
            self._note.value = said
            self._note.layout.display = None if said else "none"

    def _left_out(self, found: int) -> Iterator[str]:
        """What is not shown, so that nobody takes what is for all that there is."""
        if found == _SHOWN:
            yield f"Only the newest {_SHOWN} of these entries are shown."
        of_run = Counter(each.run_id for each in self._entries)
        if len(of_run) >= self._runs:
            yield (
                f"Looked at are the {self._runs} runs that have written last: name a run to see an "
                "older one."
            )
        if max(of_run.values(), default=0) >= _LINES:
            yield f"Of a run, the last {_LINES} entries are looked at."


def _row(entry: LogEntry) -> TableRow:
    return TableRow(
        id=f"{entry.run_id}:{entry.place}",
        cells={
            "time": entry.time,
            "level": entry.level,
            "agent": entry.agent,
            "run": entry.run_id,
            "text": entry.text,
        },
        level=_COLOURS.get(entry.level, ""),
    )
