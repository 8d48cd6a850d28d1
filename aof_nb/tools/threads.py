"""Threads for functions that may never return."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_own_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function in a thread of its own, with the caller's context.

    The loop's own threads, which `asyncio.to_thread` uses, are few, and its end and the
    process's wait for them. A user's function may hang, or wait for another run that needs a
    thread itself: it shall hold up nobody but its caller, who may be cancelled.

    Args:
        function: What to call; it goes on, unheard, if the caller is cancelled.
        *arguments: Its arguments.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result = context.run(function, *arguments)
        except BaseException as error:  # noqa: BLE001  it is the caller's
            settle(_fail, answer, error)
        else:
            settle(_succeed, answer, result)

    def settle(how: Callable[..., None], *what: Any) -> None:
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(how, *what)

    threading.Thread(target=work, name="aof tool", daemon=True).start()
    return await answer


def _succeed(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
