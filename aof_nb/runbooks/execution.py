"""A notebook's execution in a thread of its own, and the hold that the loop keeps on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aof_nb.errors import ConfigurationError
from aof_nb.runbooks.playbook import Playbook
from aof_nb.runbooks.progress import CellFailure, Progress
from aof_nb.runbooks.saving import SCHEME, write_whole
from aof_nb.runbooks.waiting import WaitingApproval


@dataclass
class Execution:
    """One notebook's execution in a thread, as the thread that started it sees it.

    Args:
        directory: The kernel's working directory.
        environment: The kernel's environment.
        tell: Called in the executing thread as cells start and finish.
        playbook: What is done with which cell, and the journal.
        notebook: The notebook's file, for the record.
        failure: The cell that failed, once one has.
        waiting: The approvals that the run waits for, once it does.
    """

    directory: str
    environment: Mapping[str, str]
    tell: Callable[[Progress], None]
    playbook: Playbook
    notebook: Path
    failure: CellFailure | None = None
    waiting: Sequence[WaitingApproval] = ()
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

    def run(self, output: Path) -> None:
        """Executes the notebook; blocks until it has ended. The executed notebook is kept.

        Raises:
            ConfigurationError: If the kernel does not start, or the executed notebook cannot be
                saved.
            JournalError: If the journal cannot be written.
        """
        import papermill
        from papermill.exceptions import PapermillExecutionError

        from aof_nb.runbooks.engine import NAME

        try:
            papermill.execute_notebook(
                self.playbook.notebook,
                SCHEME + _literally(output),
                engine_name=NAME,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                execution=self,
            )
        except PapermillExecutionError:
            if self.failure is None:
                _unmark(output)
        except (RuntimeError, OSError) as error:
            if not self.stopped:
                raise ConfigurationError(
                    f"{self.notebook}: the kernel did not start: {error}",
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
    write_whole(output, nbformat.writes(notebook))  # type: ignore[no-untyped-call]
