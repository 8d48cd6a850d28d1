"""Executes a notebook's cells in a kernel of this Python, and tells how far it is.

A papermill engine: papermill puts the parameters in and keeps the executed notebook, the engine
owns the kernel. Importing this imports papermill, which takes seconds.
"""

from __future__ import annotations

import asyncio
import atexit
import time
from typing import Any

from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from aof_nb.runbooks.execution import Execution
from aof_nb.runbooks.kernel import ThisPython
from aof_nb.runbooks.progress import CellFailure, CellFinished, CellStarted, titles

NAME = "aof"
"""The engine's name for `papermill.execute_notebook`."""

GRACE = 5.0
"""Seconds an interrupted cell is given to end before the kernel is killed."""


class _Exit(Exception):
    """A cell left the notebook on purpose, with ``sys.exit(0)``."""


def _failure(place: int, title: str, problem: Exception) -> CellFailure:
    if isinstance(problem, CellExecutionError):
        return CellFailure(place, title, problem.ename, problem.evalue, problem.traceback)
    return CellFailure(place, title, type(problem).__name__, str(problem), "")


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Executes the cells on one loop, and ends the kernel whatever happens."""

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
            async with self.async_setup_kernel(
                cwd=execution.directory, env=dict(execution.environment)
            ):
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

    async def _execute_cells(self) -> None:
        named = titles(self.nb.cells)
        for place, (index, title) in enumerate(named.items(), start=1):
            self._execution.tell(CellStarted(place, len(named), title))
            started = time.monotonic()
            problem = await self._execute_one(self.nb.cells[index], index)
            duration = time.monotonic() - started
            ok = problem is None or isinstance(problem, _Exit)
            self._execution.tell(CellFinished(place, len(named), title, ok, duration))
            if problem is not None:
                if not ok:
                    self._execution.failure = _failure(place, title, problem)
                return

    async def _execute_one(self, cell: Any, index: int) -> Exception | None:
        """Executes a code cell; returns why the notebook ends with it, if it does."""
        problem: Exception | None = None
        self.nb_man.cell_start(cell, index)
        try:
            await self.async_execute_cell(cell, index)
            if self._execution.stopped:
                problem = DeadKernelError("the run was stopped")
        except CellExecutionError as error:
            left = error.ename == "SystemExit" and error.evalue in {"", "0"}
            problem = _Exit() if left else error
        except DeadKernelError:
            problem = DeadKernelError("the kernel died while it ran the cell")
        if problem is not None and not isinstance(problem, _Exit):
            self.nb_man.cell_exception(cell, cell_index=index)
        self.nb_man.cell_complete(cell, cell_index=index)
        return problem

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
