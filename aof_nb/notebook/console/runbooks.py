"""The runbooks of a directory: their parameters as a form, their runs, what those came to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aof_nb.errors import AofError, ConfigurationError
from aof_nb.markdown import html_text
from aof_nb.notebook.console.forms import SchemaForm
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.runbook_form import form_schema, resolved, split
from aof_nb.notebook.console.runbook_outline import outline
from aof_nb.notebook.console.runbook_results import Results, Shown, level_of, marked
from aof_nb.notebook.console.runbook_run import RunbookRun, inside
from aof_nb.notebook.console.schedule import Job
from aof_nb.notebook.console.schedule_view import ScheduleView
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import fold
from aof_nb.ports import Effect
from aof_nb.readable import local_time, seconds, visible
from aof_nb.runbooks.catalog import Catalog, Runbook
from aof_nb.runbooks.last_runs import LastRun, LastRuns
from aof_nb.truncation import truncate

_COLUMNS = (
    Column("title", "Runbook"),
    Column("file", "File"),
    Column("effect", "Effect"),
    Column("status", "Last result"),
    Column("began", "Last run"),
    Column("about", "What it does", wide=True),
)
_EMPTY = (
    "There is no runbook below this directory. A notebook becomes one by a cell with the tag "
    "parameters, or by aof in its metadata."
)
_EFFECTS = {
    Effect.READ: "It only looks.",
    Effect.WRITE: "It changes things.",
    Effect.DESTRUCTIVE: "It may destroy things.",
}
_APPROVALS = (
    ("ask (page Approvals)", "ask"),
    ("approve nothing", "never"),
    ("approve everything", "all"),
)
_DESCRIPTION_CHARS = 2_000


class RunbooksPage:
    """A table of runbooks, and the one that is selected, to run it.

    Args:
        host: The console.
    """

    interval = 2.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._catalog, self._last = Catalog(host.directory), LastRuns()
        self._runbook: Runbook | None = None
        self._form: SchemaForm | None = None
        self._runs: list[RunbookRun] = []
        self._outlined: tuple[Path, float] | None = None

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._table = Table("Runbooks", _COLUMNS, empty=_EMPTY)
        self._table.on_select(lambda _: self._host.refresh())
        self._wrong: Any = ipywidgets.HTML()
        self._head: Any = ipywidgets.HTML()
        self._steps: Any = ipywidgets.HTML()
        for each in (self._wrong, self._head, self._steps):
            each.add_class("aof-wrap")
        self._going: Any = ipywidgets.VBox([])
        self._fields: Any = ipywidgets.VBox([])
        self._results = Results(self._host.refresh, self._do_go_on)
        self._schedule = ScheduleView(self._changed)
        folded = [
            fold("Last results", self._results.widget, unfolded=True),
            fold("Steps, before it is run", self._steps),
            fold("Schedule", self._schedule.widget),
        ]
        self._detail: Any = ipywidgets.VBox(
            [self._head, self._fields, self._bar(), *folded], layout={"display": "none"}
        )
        return ipywidgets.VBox([self._table.widget, self._wrong, self._going, self._detail])

    def _bar(self) -> Any:
        import ipywidgets

        self._run: Any = ipywidgets.Button(
            description="Run", icon="play", button_style="primary", layout={"width": "auto"}
        )
        self._run.on_click(lambda _: self._do_run())
        self._approve: Any = ipywidgets.Dropdown(
            options=_APPROVALS,
            value="ask",
            description="Approvals",
            layout={"width": "22em"},
        )
        self._approve.tooltip = "What happens where its agents need approval"
        self._approve.style.description_width = "auto"
        self._approve.observe(lambda _: self._changed(), "value")
        return ipywidgets.HBox([self._run, self._approve], layout={"flex_flow": "row wrap"})

    async def refresh(self) -> None:
        """Reads the directory and the runs of its notebooks."""
        known, wrong, last = await asyncio.to_thread(self._look)
        directory = self._host.directory
        self._table.show([_row(each, last, directory) for each in known.values()])
        said = _wrong(wrong, directory)
        if self._wrong.value != said:
            self._wrong.value = said
        for run in self._runs:
            run.show()
        runbook = known.get(self._table.selected)
        self._open(runbook)
        if runbook is None:
            return
        runs = last.get(runbook.info.path.resolve(), [])
        selected = self._results.selected
        shown = await asyncio.to_thread(Shown, runs, self._last, selected, directory)
        self._results.show(shown, here=any(each.run_id == selected for each in self._going_on()))
        await self._outline(runbook.info.path)

    def close(self) -> None:
        """Lets go of what was read."""
        self._last = LastRuns()

    def _look(self) -> tuple[Mapping[str, Runbook], Mapping[Path, str], dict[Path, list[LastRun]]]:
        return self._catalog.runbooks(), self._catalog.problems, self._last.read()

    def _open(self, runbook: Runbook | None) -> None:
        """Shows a runbook; a form that has not changed keeps what is typed into it."""
        before, self._runbook = self._runbook, runbook
        self._detail.layout.display = None if runbook is not None else "none"
        if runbook is None:
            return
        head = _head(runbook, self._host.directory)
        if self._head.value != head:
            self._head.value = head
        schema = form_schema(runbook.info.parameters or ())
        same = before is not None and before.info.path == runbook.info.path
        if before is None or not same or form_schema(before.info.parameters or ()) != schema:
            value = self._form.value if same and self._form is not None else {}
            form = SchemaForm(schema, value)
            form.on_change(self._changed)
            replaced, self._form = self._fields.children, form
            self._fields.children = [form.widget]
            for each in replaced:
                _close(each)
            self._run.description = "Run"
            self._tell_schedule()
        self._run.disabled = any(each.notebook == runbook.info.path for each in self._going_on())
        self._run.tooltip = (
            "It runs already" if self._run.disabled else f"Runs {visible(runbook.info.path.name)}"
        )

    async def _outline(self, path: Path) -> None:
        try:
            stamp = path, (await asyncio.to_thread(path.stat)).st_mtime
            if stamp != self._outlined:
                self._steps.value = await asyncio.to_thread(outline, path)
                self._outlined = stamp
        except (OSError, AofError) as error:
            self._outlined = None
            self._steps.value = f'<div class="aof-problem">{html_text(str(error))}</div>'

    def _changed(self) -> None:
        async def changed() -> None:
            self._tell_schedule()

        self._host.start(changed)

    def _tell_schedule(self) -> None:
        self._schedule.show(self._job)

    def _filled(self) -> tuple[Runbook, dict[str, Any], dict[str, str]]:
        """The selected runbook, and what is filled in for it."""
        runbook, form = self._runbook, self._form
        if runbook is None or form is None:
            raise ConfigurationError("no runbook is selected", remedy="select one in the table")
        if form.problems:
            name, problem = next(iter(form.problems.items()))
            raise ConfigurationError(
                f"{name}: {problem}" if name else problem, remedy="mend the field that is marked"
            )
        return (runbook, *split(runbook.info.parameters or (), form.value))

    def _job(self) -> Job:
        runbook, values, variables = self._filled()
        return Job(
            notebook=runbook.info.path,
            directory=self._host.directory,
            parameters=runbook.info.parameters or (),
            values=values,
            secrets=variables,
            approve=self._approve.value,
            time_limit=runbook.info.metadata.time_limit,
        )

    def _going_on(self) -> Sequence[RunbookRun]:
        return [each for each in self._runs if not each.is_over]

    def _do_run(self) -> None:
        async def run() -> None:
            runbook, values, variables = self._filled()
            parameters = resolved(values, variables)
            if any(each.notebook == runbook.info.path for each in self._going_on()):
                raise ConfigurationError(
                    f"{runbook.info.path.name} runs already", remedy="wait for its end, or stop it"
                )
            title = runbook.info.title or runbook.info.path.name
            begun = self._begun(RunbookRun(self._host, runbook.info.path, title, gone=self._gone))
            try:
                await begun.carry_through(parameters, approve=self._approve.value)
            finally:
                self._host.refresh()

        self._host.start(run)

    def _do_go_on(self) -> None:
        selected = self._results.selected

        async def go_on() -> None:
            runbook = self._runbook
            if runbook is None or any(each.run_id == selected for each in self._going_on()):
                return
            title = runbook.info.title or runbook.info.path.name
            begun = self._begun(
                RunbookRun(self._host, runbook.info.path, title, run_id=selected, gone=self._gone)
            )
            try:
                await begun.go_on()
            finally:
                self._host.refresh()

        self._host.start(go_on)

    def _begun(self, run: RunbookRun) -> RunbookRun:
        self._runs.insert(0, run)
        self._going.children = [each.widget for each in self._runs]
        self._results.select(run.run_id)
        self._host.tell("The run has begun. It is ended when the console is closed.")
        self._host.refresh()
        return run

    def _gone(self, run: RunbookRun) -> None:
        self._runs.remove(run)
        self._going.children = [each.widget for each in self._runs]
        run.close()


def _row(runbook: Runbook, last: Mapping[Path, list[LastRun]], directory: Path) -> TableRow:
    info = runbook.info
    runs = last.get(info.path.resolve(), [])
    effect = info.metadata.effect
    return TableRow(
        id=runbook.name,
        cells={
            "title": info.title or info.path.stem,
            "file": inside(info.path, directory),
            "effect": effect.value if effect is not None else "",
            "status": marked(runs[0].state) if runs else "never run",
            "began": local_time(runs[0].began) if runs else "",
            "about": runbook.tool.description or "",
        },
        level=level_of(runs[0].state) if runs else "",
    )


def _head(runbook: Runbook, directory: Path) -> str:
    info, metadata = runbook.info, runbook.info.metadata
    facts = [
        ("File", inside(info.path, directory)),
        ("Owner", metadata.owner),
        ("Severity", metadata.severity),
        ("Limit", seconds(metadata.time_limit) if metadata.time_limit is not None else ""),
        ("Effect", _EFFECTS[metadata.effect] if metadata.effect is not None else ""),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{html_text(value)}</dd>" for name, value in facts if value)
    about = html_text(truncate(info.description, _DESCRIPTION_CHARS))
    return f"<h3>{html_text(info.title or info.path.stem)}</h3><div>{about}</div><dl>{rows}</dl>"


def _wrong(wrong: Mapping[Path, str], directory: Path) -> str:
    if not wrong:
        return ""
    many = "notebook is" if len(wrong) == 1 else "notebooks are"
    lines = "".join(
        f"<div><code>{html_text(inside(path, directory))}</code>: {html_text(why)}</div>"
        for path, why in wrong.items()
    )
    return f"<details><summary>⚠ {len(wrong)} {many} left out</summary>{lines}</details>"


def _close(widget: Any) -> None:
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()
