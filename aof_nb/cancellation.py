"""Work that is finished although its task is cancelled; work of which the first result counts."""

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


async def first_of(*works: Awaitable[T]) -> T:
    """The result of whichever ends first; the others are cancelled, and have ended then.

    Args:
        works: Of those that have ended at the same time, the foremost counts.

    Raises:
        Exception: What the first that has ended has raised.

    Example:
        >>> async def answer(asking, watching):
        ...     return await first_of(asking, watching)
    """
    tasks = [asyncio.ensure_future(each) for each in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(each for each in tasks if each.done()).result()
    finally:
        for each in tasks:
            each.cancel()
        await uncancelled(asyncio.gather(*tasks, return_exceptions=True))
