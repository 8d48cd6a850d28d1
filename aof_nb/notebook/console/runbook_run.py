"""A runbook's run that the console carries through: how far it is, and the way to end it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aof_nb.errors import AofError
from aof_nb.journal.runs import run_dir
from aof_nb.journal.stop_request import stoppable
from aof_nb.markdown import html_text
from aof_nb.notebook.console.inbox_approver import InboxApprover
from aof_nb.notebook.console.page import Host
from aof_nb.policy import ApproveMode
from aof_nb.readable import seconds, visible
from aof_nb.run import new_run_id
from aof_nb.runbooks.notebook_result import NotebookResult, NotebookStatus
from aof_nb.runbooks.progress import CellFinished, Progress

_SHOWN_STEPS = 200


class RunbookRun:
    """A runbook's run, with a widget that shows its steps and has a button that ends it.

    Args:
        host: The console.
        notebook: The runbook's file.
        title: What it is called.
        run_id: The run's id; made if not given.
        gone: Called when a person has put the widget away.
    """

    def __init__(
        self,
        host: Host,
        notebook: Path,
        title: str,
        *,
        run_id: str = "",
        gone: Callable[[RunbookRun], None],
    ) -> None:
        import ipywidgets

        self._host, self.notebook, self._title, self._gone = host, notebook, title, gone
        self.run_id = run_id or new_run_id()
        self._steps: list[Progress] = []
        self._notices: list[str] = []
        self._task: asyncio.Task[Any] | None = None
        self._began = time.monotonic()
        self.is_over = self.is_stopped = False
        self._ending = ""
        self._head: Any = ipywidgets.HTML()
        self._body: Any = ipywidgets.HTML()
        for each in (self._head, self._body):
            each.add_class("aof-wrap")
        self._button: Any = ipywidgets.Button(
            description="Stop", icon="stop", layout={"width": "auto", "align_self": "flex-start"}
        )
        self._button.tooltip = f"Ends the run of {visible(title)}, and its kernel"
        self._button.on_click(lambda _: self._clicked())
        self.widget: Any = ipywidgets.VBox([self._head, self._body, self._button])
        self.show()

    async def carry_through(
        self, parameters: Mapping[str, Any], *, approve: ApproveMode = "ask"
    ) -> NotebookResult | None:
        """Runs the runbook; returns None if it was ended by a person.

        Its executed notebook goes to ``runs`` in the console's directory. Cancelling ends it, and
        returns when its kernel is gone.

        Args:
            parameters: Values for its parameters.
            approve: What happens where its agents' policies ask; questions wait in the inbox.

        Raises:
            AofError: If it cannot be run.
        """
        from aof_nb.runbooks.run import run_notebook

        output = await asyncio.to_thread(new_output, self._host.directory, self.notebook)
        return await self._carried(
            lambda: run_notebook(
                self.notebook,
                output=output,
                parameters=parameters,
                approve=approve,
                approver=InboxApprover(),
                on_progress=self._take,
                on_notice=self._notices.append,
                run_id=self.run_id,
            )
        )

    async def go_on(self) -> NotebookResult | None:
        """Goes on with the run that has this id.

        Raises:
            AofError: If it cannot be gone on with.
        """
        from aof_nb.runbooks.resume import resume_playbook

        return await self._carried(
            lambda: resume_playbook(
                self.run_id,
                approver=InboxApprover(),
                on_progress=self._take,
                on_notice=self._notices.append,
            )
        )

    def stop(self) -> None:
        """Ends the run, on the console's loop."""
        if self._task is not None and not self.is_over and not self.is_stopped:
            self.is_stopped = True
            self._task.cancel()

    def show(self) -> None:
        """Brings the widget up to date."""
        took = seconds(round(time.monotonic() - self._began))
        state = self._ending or ("is being ended" if self.is_stopped else f"running for {took}")
        head = (
            f"<div role=status><b>{html_text(self._title)}</b> · {html_text(state)}<br>"
            f'<span class="aof-told">run {html_text(self.run_id)}</span></div>'
        )
        body = _steps(self._steps) + "".join(
            f"<div>{html_text(each)}</div>" for each in self._notices
        )
        for widget, value in ((self._head, head), (self._body, body)):
            if widget.value != value:
                widget.value = value

    def close(self) -> None:
        """Closes its widgets."""
        for each in (self._head, self._body, self._button, self.widget):
            each.close()

    async def _carried(
        self, work: Callable[[], Awaitable[NotebookResult]]
    ) -> NotebookResult | None:
        self._task = task = asyncio.current_task()
        stop, result = None, None
        try:
            async with stoppable(lambda: run_dir(self.run_id)) as stop:
                result = await work()
        except asyncio.CancelledError:
            asked = self.is_stopped or (stop is not None and stop.requested)
            if not asked or task is None or task.uncancel():
                self._end("ended, because the console was closed")
                raise
            self._end("ended by you; what was done until then is in its notebook")
        except AofError as error:
            self._end(f"✗ {error.message}{f' → {error.remedy}' if error.remedy else ''}")
            raise
        except BaseException:
            self._end("✗ failed")
            raise
        else:
            self._notices.extend(result.notices)
            self._end(ending(result, self._host.directory))
        return result

    def _take(self, progress: Progress) -> None:
        self._steps.append(progress)
        self.show()

    def _end(self, said: str) -> None:
        self.is_over, self._ending = True, said
        self._button.description, self._button.icon = "Put away", "times"
        self._button.tooltip = "Takes this off the page; the run stays among the last results"
        self.show()

    def _clicked(self) -> None:
        async def clicked() -> None:
            if self.is_over:
                self._gone(self)
            else:
                self.stop()
                self.show()

        self._host.start(clicked)


def new_output(directory: Path, notebook: Path) -> Path:
    """A new file for an executed notebook; it is made, so that nobody else takes it.

    Raises:
        OSError: If it cannot be made.
    """
    runs = directory / "runs"
    runs.mkdir(exist_ok=True)
    stem = f"{notebook.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        output = runs / f"{stem}{f'-{number}' if number > 1 else ''}.ipynb"
        try:
            output.touch(exist_ok=False)
        except FileExistsError:
            continue
        return output
    raise AssertionError(stem)


def ending(result: NotebookResult, directory: Path) -> str:
    """How a run has ended, and what to do about it, in a few words."""
    took = seconds(result.duration)
    kept = inside(result.output_path, directory)
    match result.status:
        case NotebookStatus.COMPLETED:
            return f"✓ completed in {took}: {kept}"
        case NotebookStatus.TIMEOUT:
            return f"✗ not done after its limit of {seconds(result.time_limit or 0)}: {kept}"
        case NotebookStatus.WAITING:
            many = len(result.waiting)
            what = "an answer" if many == 1 else f"{many} answers"
            return (
                f"? waits for {what}: give them on the page Approvals, then go on with it "
                "among the last results"
            )
        case NotebookStatus.UNDECIDED if result.undecided is not None:
            cell = result.undecided
            return (
                f"? cell {cell.place} ({cell.title}) is marked once: {cell.reason}. To execute it "
                f"again: aofctl resume {result.run_id} --repeat {cell.place}; --skip leaves it out"
            )
    error = result.error
    why = f" in cell {error.cell} ({error.title}): {error.error}: {error.message}" if error else ""
    return f"✗ failed after {took}{why}: {kept}"


def inside(path: Path, directory: Path) -> str:
    """A path, from the console's directory if it is within that."""
    try:
        return str(path.resolve().relative_to(directory.resolve()))
    except ValueError:
        return str(path)


def _steps(steps: list[Progress]) -> str:
    """The steps, each by the last that was told of it."""
    latest: dict[int, Progress] = {each.cell: each for each in steps}
    lines = []
    for each in list(latest.values())[-_SHOWN_STEPS:]:
        place = f"{each.cell}/{each.cells}"
        if not isinstance(each, CellFinished):
            said = f"▶ {place} {each.title} (going on)"
        elif each.passed:
            said = f"- {place} {each.title} ({each.passed})"
        else:
            mark, word = ("✓", "") if each.ok else ("✗", "did not end well, ")
            said = f"{mark} {place} {each.title} ({word}{seconds(each.duration)})"
        lines.append(f"<div>{html_text(said)}</div>")
    return "".join(lines)
