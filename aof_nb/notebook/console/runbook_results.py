"""What a runbook's runs came to: a table of them, and the report of the one that is selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aof_nb.journal.recording import State
from aof_nb.journal.wording import dollars, shortened
from aof_nb.markdown import html_text, to_html
from aof_nb.notebook.console.runbook_run import inside
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.readable import local_time, seconds
from aof_nb.runbooks.last_runs import LastRun, LastRuns
from aof_nb.truncation import truncate

SHOWN = 50
_REPORT_BYTES = 400_000
_REPORT_CHARS = 40_000
_ERROR_CHARS = 200
_COLUMNS = (
    Column("status", "Status"),
    Column("began", "Began"),
    Column("took", "Took", number=True),
    Column("cost", "Cost", number=True),
    Column("what", "Executed notebook, or what went wrong", wide=True),
)
_MARKS = {State.RUNNING: "▶", State.WAITING: "?", State.COMPLETED: "✓", State.FAILED: "✗"}
_LEVELS = {
    State.FAILED: "bad",
    State.TIMEOUT: "bad",
    State.WAITING: "warning",
    State.INTERRUPTED: "warning",
}
_CELL_MARKS = {"completed": "✓", "left": "✓", "failed": "✗", "waiting": "?", "unknown": "▶"}


class Results:
    """The last results of one runbook.

    Args:
        selected: Called when a run is selected, on any thread.
        go_on: Called when a person wants to go on with the selected run, on any thread.
    """

    def __init__(self, selected: Callable[[], None], go_on: Callable[[], None]) -> None:
        import ipywidgets

        self._table = Table("Last results", _COLUMNS, empty="It has not been run yet.")
        self._table.on_select(lambda _: selected())
        self._button: Any = ipywidgets.Button(
            description="Go on with this run", icon="play", layout={"width": "auto"}
        )
        self._button.tooltip = "In a fresh kernel; what its agents did is not done twice"
        self._button.layout.align_self, self._button.layout.display = "flex-start", "none"
        self._button.on_click(lambda _: go_on())
        self._report: Any = ipywidgets.HTML()
        self._report.add_class("aof-wrap")
        self._read: tuple[str, State, int] | None = None
        self.widget: Any = ipywidgets.VBox([self._table.widget, self._button, self._report])

    @property
    def selected(self) -> str:
        """The id of the selected run; empty if none is."""
        return self._table.selected

    def select(self, run_id: str) -> None:
        """Selects a run."""
        self._table.selected = run_id

    def show(self, shown: Shown, *, here: bool) -> None:
        """Shows runs.

        Args:
            shown: What was read.
            here: Whether the selected run is carried through by this console.
        """
        self._table.show(shown.rows)
        if self._report.value != shown.report:
            self._report.value = shown.report
        resumable = shown.run is not None and not here and shown.run.state in _RESUMABLE
        self._button.layout.display = None if resumable else "none"


_RESUMABLE = frozenset(
    {State.WAITING, State.FAILED, State.INTERRUPTED, State.CANCELLED, State.TIMEOUT}
)


class Shown:
    """What there is to show of a runbook's runs. It reads files, so make it in a thread.

    Args:
        runs: The runs, the newest first.
        last: Where their costs are known.
        selected: The id of the selected run.
        directory: The console's directory.
    """

    def __init__(
        self, runs: Sequence[LastRun], last: LastRuns, selected: str, directory: Path
    ) -> None:
        self.rows = [_row(each, last, directory) for each in runs[:SHOWN]]
        self.run = next((each for each in runs if each.run_id == selected), None)
        self.report = _report(self.run, directory) if self.run is not None else ""


def marked(state: State) -> str:
    """A run's state with its mark."""
    return f"{_MARKS.get(state, '·')} {state.value}"


def level_of(state: State) -> str:
    """How a row with a run's state is shown."""
    return _LEVELS.get(state, "")


def _row(run: LastRun, last: LastRuns, directory: Path) -> TableRow:
    cost = last.cost(run)
    what = " ".join(run.error.split()) or inside(run.output, directory)
    return TableRow(
        id=run.run_id,
        cells={
            "status": marked(run.state),
            "began": local_time(run.began),
            "took": seconds(run.duration),
            "cost": dollars(cost),
            "what": shortened(what, _ERROR_CHARS),
        },
        sort={"took": run.duration, "cost": -1.0 if cost is None else cost},
        level=level_of(run.state),
    )


def _report(run: LastRun, directory: Path) -> str:
    steps = "".join(
        f"<div>{_CELL_MARKS.get(status, '·')} {html_text(title)} "
        f'<span class="aof-told">{html_text(status)}</span></div>'
        for title, status in run.cells
    )
    rows = "".join(
        f"<dt>{name}</dt><dd><code>{html_text(value)}</code></dd>"
        for name, value in (
            ("Run", run.run_id),
            ("Executed notebook", inside(run.output, directory)),
            ("Report", inside(run.report, directory)),
        )
    )
    error = f'<div class="aof-problem">{html_text(run.error)}</div>' if run.error else ""
    beside = run.report.with_suffix(".md")
    try:
        with beside.open("rb") as file:
            text = file.read(_REPORT_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    said = to_html(truncate(text, _REPORT_CHARS)) if text.strip() else ""
    folded = f"<details><summary>The report</summary>{said}</details>" if said else ""
    return f"<dl>{rows}</dl>{error}<h4>Steps</h4>{steps}{folded}"
