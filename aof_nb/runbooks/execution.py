"""A notebook's execution in a thread of its own, and the hold that the loop keeps on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.runbooks.progress import CellFailure, Progress


@dataclass
class Execution:
    """One notebook's execution in a thread, as the thread that started it sees it.

    Args:
        directory: The kernel's working directory.
        environment: The kernel's environment.
        tell: Called in the executing thread as cells start and finish.
        failure: The cell that failed, once one has.
    """

    directory: str
    environment: Mapping[str, str]
    tell: Callable[[Progress], None]
    failure: CellFailure | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _noticed: asyncio.Event | None = None

    def stop(self) -> None:
        """Interrupts the running cell, and ends the execution. From any thread, any time."""
        self._stop.set()
        if self._loop is not None and self._noticed is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._noticed.set)

    @property
    def stopped(self) -> bool:
        """Whether it has been told to end."""
        return self._stop.is_set()

    async def wait_for_stop(self) -> None:
        """Waits, on the executing thread's loop, until it is told to end."""
        self._noticed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self.stopped:
            await self._noticed.wait()

    def run(self, path: Path, output: Path, parameters: Mapping[str, Any]) -> None:
        """Executes a notebook; blocks until it has ended. The executed notebook is kept.

        Raises:
            ConfigurationError: If the kernel does not start.
        """
        import papermill
        from papermill.exceptions import PapermillExecutionError

        from aof_nb.runbooks.engine import NAME

        try:
            papermill.execute_notebook(
                _literally(path),
                _literally(output),
                dict(parameters),
                engine_name=NAME,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution=self,
            )
        except PapermillExecutionError:
            if self.failure is None:
                _unmark(output)
        except RuntimeError as error:
            if not self.stopped:
                raise ConfigurationError(
                    f"{path}: the kernel did not start: {error}",
                    remedy="try: python -m ipykernel_launcher --help",
                ) from error


def _literally(path: Path) -> str:
    """A path for papermill, which takes braces for the names of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _unmark(output: Path) -> None:
    """Takes away papermill's error marks: a cell may be tagged as one that raises."""
    import nbformat
    from papermill.execute import remove_error_markers

    notebook = remove_error_markers(nbformat.read(output, as_version=4))  # type: ignore[no-untyped-call]
    nbformat.write(notebook, output)  # type: ignore[no-untyped-call]
