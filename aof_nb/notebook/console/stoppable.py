"""Work of a page that a button can stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.widgets import button

T = TypeVar("T")


class Stopped(Exception):
    """The work was stopped by a person."""


class Stoppable:
    """One piece of work at a time, with a button that stops it.

    Args:
        host: The console.
        starts: The buttons that cannot be used meanwhile.
    """

    def __init__(self, host: Host, *starts: Any) -> None:
        self._host, self._starts = host, starts
        self._task: asyncio.Task[Any] | None = None
        self.button = button("Stop", "stop", lambda: host.start(self._stop), disabled=True)

    @property
    def busy(self) -> bool:
        """Whether work goes on."""
        return self._task is not None

    async def carry(self, work: Coroutine[Any, Any, T]) -> T:
        """Carries work through, on the console's loop; ends it when this is cancelled.

        Args:
            work: What to do; it is closed if other work goes on.

        Raises:
            Stopped: If it was stopped, or other work goes on.
        """
        if self._task is not None:
            work.close()
            raise Stopped
        self._task = task = asyncio.ensure_future(work)
        self._show()
        try:
            await asyncio.wait([task])
        finally:
            self._task = None
            self._show()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            raise Stopped
        return task.result()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _show(self) -> None:
        self.button.disabled = not self.busy
        for each in self._starts:
            each.disabled = self.busy
