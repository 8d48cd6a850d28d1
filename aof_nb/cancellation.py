"""Work that is finished although its task is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uncancelled(work: Awaitable[T]) -> T:
    """Lets a short piece of work finish, then raises a cancellation that came meanwhile.

    Raises:
        asyncio.CancelledError: If its task was cancelled; the work is done all the same.

    Example:
        >>> async def save(journal):
        ...     await uncancelled(journal.sync())
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as again:
            cancelled = again
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        # Retrieved, so that nobody is told of it a second time.
        task.exception()
    raise cancelled
