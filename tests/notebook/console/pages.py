"""Pages that the frame's tests show."""

from __future__ import annotations

import asyncio
from typing import Any

import ipywidgets

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console.page import Host

MADE: list[Plain] = []


class Plain:
    """A page that counts."""

    interval = 0.01

    def __init__(self, host: Host) -> None:
        self.host = host
        self.refreshed = 0
        self.closed = False
        self.again = asyncio.Event()
        MADE.append(self)

    def build(self) -> Any:
        self.label = ipywidgets.Label()
        return self.label

    async def refresh(self) -> None:
        self.refreshed += 1
        self.label.value = str(self.refreshed)
        if self.refreshed >= 3:
            self.again.set()

    def close(self) -> None:
        self.closed = True


class Other(Plain):
    """Another one."""


class Broken(Plain):
    """One that fails the first two times."""

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.refreshed >= 3:
            self.again.set()
            return
        raise ConfigurationError("the <b>disk</b> is full", remedy="make room")


class Stuck(Plain):
    """One whose refresh takes for ever."""

    async def refresh(self) -> None:
        self.again.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.refreshed = -1
            raise
