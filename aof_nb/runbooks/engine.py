"""Executes a notebook's cells in a kernel of this Python, and tells how far it is.

A papermill engine: papermill puts the parameters in and keeps the executed notebook, the engine
owns the kernel. Importing this imports papermill, which takes seconds.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import from_dict
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.iorw import papermill_io

from aof_nb.runbooks.execution import Execution
from aof_nb.runbooks.kernel import ThisPython
from aof_nb.runbooks.playbook import CellTask
from aof_nb.runbooks.progress import CellFailure, CellFinished, CellStarted
from aof_nb.runbooks.saving import SCHEME, WholeFiles
from aof_nb.runbooks.waiting import WaitingApproval

NAME = "aof"
"""The engine's name for `papermill.execute_notebook`."""

GRACE = 5.0
"""Seconds an interrupted cell is given to end before the kernel is killed."""


STARTS = 3
"""Times that a kernel is started at most, before its first cell."""


class _Exit(Exception):
    """A cell left the notebook on purpose, with ``sys.exit(0)``."""


def _failure(place: int, title: str, problem: Exception) -> CellFailure:
    if isinstance(problem, CellExecutionError):
        return CellFailure(place, title, problem.ename, problem.evalue, problem.traceback)
    return CellFailure(place, title, type(problem).__name__, str(problem), "")


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells on one loop, and ends the kernel whatever happens."""

    km: Any

    def __init__(self, nb_man: Any, execution: Execution, **options: Any) -> None:
        super().__init__(nb_man, **options)
        self._execution = execution

    def execute(self, **_: Any) -> Any:
        self.reset_execution_trackers()
        asyncio.run(self._execute())
        return self.nb

    async def _execute(self) -> None:
        execution = self._execution
        watching = asyncio.create_task(self._end_when_stopped())
        try:
            async with contextlib.AsyncExitStack() as kernel:
                await self._start(kernel)
                execution.playbook.kernel_started(self.km.provisioner.pid, self.km.connection_file)
                await self._execute_cells()
                if not await self.km.is_alive():
                    return
                info = await self.async_wait_for_reply(self.kc.kernel_info())
                self.nb.metadata["language_info"] = info["content"]["language_info"]
                self.set_widgets_metadata()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if self.km is not None and self.km.has_kernel:
                await self.km.shutdown_kernel(now=True)
            # Where a kernel did not start nbclient leaves this behind, which fails at exit.
            atexit.unregister(self._cleanup_kernel)

    async def _start(self, kernel: contextlib.AsyncExitStack) -> None:
        """Starts the kernel; again if it dies at once, as where another has taken its port."""
        execution = self._execution
        for left in reversed(range(STARTS)):
            try:
                await kernel.enter_async_context(
                    self.async_setup_kernel(
                        cwd=execution.directory, env=dict(execution.environment)
                    )
                )
            except RuntimeError:
                if not left or execution.stopped:
                    raise
                self.km = None
            else:
                return

    async def _execute_cells(self) -> None:
        execution, playbook = self._execution, self._execution.playbook
        tasks = playbook.tasks()
        for index, task in tasks.items():
            told = (task.place, len(tasks), task.title)
            execution.tell(CellStarted(*told))
            cell = self.nb.cells[index]
            if task.passed:
                self._pass(cell, index, task)
                execution.tell(CellFinished(*told, ok=True, duration=0.0, passed=task.passed))
                continue
            self.nb_man.cell_start(cell, index)
            status, duration = await self._carry_out(cell, index, task)
            ok = status in {"completed", "left"}
            execution.tell(CellFinished(*told, ok=ok, duration=duration))
            if status != "completed":
                return
        # A run may go on when its cell has ended.
        execution.waiting = await asyncio.to_thread(playbook.waiting)

    async def _carry_out(self, cell: Any, index: int, task: CellTask) -> tuple[str, float]:
        """Executes a code cell; returns how it has ended, and the seconds it took."""
        execution, playbook = self._execution, self._execution.playbook
        status, duration = "failed", 0.0
        try:
            await playbook.cell_begun(task, cell)
            started = time.monotonic()
            problem = await self._execute_one(cell, index, task)
            duration = time.monotonic() - started
            status = self._status(task, problem, await asyncio.to_thread(playbook.waiting, task.id))
            failure = execution.failure
            error = "" if failure is None else f"{failure.error}: {failure.message}"
            await playbook.cell_ended(task, cell, status, duration, error)
        finally:
            if status not in {"completed", "left"}:
                self.nb_man.cell_exception(cell, cell_index=index)
            self.nb_man.cell_complete(cell, cell_index=index)
        return status, duration

    def _status(
        self, task: CellTask, problem: Exception | None, waiting: Sequence[WaitingApproval]
    ) -> str:
        execution, status = self._execution, "failed"
        if execution.stopped:
            status, problem = "interrupted", problem or DeadKernelError("the run was stopped")
        elif waiting:
            execution.waiting = waiting
            return "waiting"
        if problem is None:
            return "completed"
        if isinstance(problem, _Exit) and status == "failed":
            return "left"
        execution.failure = _failure(task.place, task.title, problem)
        return status

    async def _execute_one(self, cell: Any, index: int, task: CellTask) -> Exception | None:
        """Has the kernel execute a cell; returns why the notebook ends with it, if it does."""
        shown = cell.source
        cell.source = task.source or shown
        self.kc.session.metadata = dict(task.metadata)
        try:
            await self.async_execute_cell(cell, index)
        except CellExecutionError as error:
            left = error.ename == "SystemExit" and error.evalue in {"", "0"}
            return _Exit() if left else error
        except DeadKernelError:
            return DeadKernelError("the kernel died while it ran the cell")
        finally:
            cell.source = shown
            self.kc.session.metadata = {}
        return None

    def _pass(self, cell: Any, index: int, task: CellTask) -> None:
        """Leaves a cell with what it showed when it was executed."""
        self._execution.playbook.cell_passed(task)
        if task.before is not None and task.before.ended is not None:
            ended = task.before.ended
            cell.outputs = [from_dict(each) for each in ended.outputs or ()]  # type: ignore[no-untyped-call]
            cell.execution_count = ended.execution_count
        self.nb_man.cell_complete(cell, cell_index=index)

    async def _end_when_stopped(self) -> None:
        await self._execution.wait_for_stop()
        manager = self.km
        if manager is not None and manager.has_kernel:
            await manager.interrupt_kernel()
            if self.kc is not None:
                # ipykernel's handler queues the cancellation but does not wake a waiting loop.
                self.kc.kernel_info()
            await asyncio.sleep(GRACE)
            await manager.shutdown_kernel(now=True)


class _Engine(Engine):  # type: ignore[misc]
    """What papermill calls, by its name."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        said = nb.metadata.papermill
        said["input_path"] = str(options["execution"].notebook)
        said["output_path"] = said["output_path"].removeprefix(SCHEME)
        return super().execute_notebook(nb, kernel_name, **options)

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, execution: Execution, **options: Any
    ) -> Any:
        client = _Client(
            nb_man,
            execution,
            kernel_name=kernel_name,
            kernel_manager_class=ThisPython,
            startup_timeout=options.get("start_timeout", 60),
            timeout=None,
        )
        return client.execute()


papermill_engines.register(NAME, _Engine)
# A kernel's sockets may be closed while tornado reads them; it would set up logging of its own to
# say so, into the terminal of who runs the notebook.
logging.getLogger("tornado").addHandler(logging.NullHandler())
papermill_io.register(SCHEME, WholeFiles)
