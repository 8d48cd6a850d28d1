"""A console for pages that are tested without one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any


async def until(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """Waits for something to become true, and returns it."""
    async with asyncio.timeout(seconds):
        while not (found := holds()):
            await asyncio.sleep(0.01)
    return found


class FakeHost:
    """Does what a page asks, and keeps what it is told."""

    def __init__(self, directory: Path, **variables: Any) -> None:
        self.directory = directory
        self.variables: Mapping[str, Any] = variables
        self.told: list[str] = []
        self.failures: list[BaseException] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.refreshes = 0
        self.shown: list[str] = []
        self.widget: Any = None

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.get_running_loop().create_task(self._do(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self.failures.append(error)

    def tell(self, text: str) -> None:
        self.told.append(text)

    def show(self, title: str) -> None:
        self.shown.append(title)

    def refresh(self) -> None:
        self.refreshes += 1

    async def idle(self) -> None:
        """Waits until all work is done."""
        await until(lambda: not self.tasks)

    async def end(self) -> None:
        """Cancels what goes on, as closing the console does."""
        tasks = list(self.tasks)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
