"""The kernel's interrupt, brought to a loop that waits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def interruptible(*, kernel: bool) -> Generator[None, None, None]:
    """Lets an interrupt cancel the current task at once.

    ipykernel's handler queues the cancellation of the cell, but does not wake a loop that is
    waiting for a model or a person: the cell would run on until something else happens. In
    plain IPython the interrupt would leave the loop and its tasks where they are.

    Args:
        kernel: Whether ipykernel runs the cell.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    outer = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        if kernel and callable(outer):
            outer(number, frame)
            loop.call_soon_threadsafe(lambda: None)
        elif task is not None:
            loop.call_soon_threadsafe(task.cancel)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, outer)
