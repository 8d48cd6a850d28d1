"""A thread that is there while there is work for it."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE = 1.0
_PATIENCE_AT_EXIT = 5.0


class Worker:
    """Carries work out one piece after the other, always in the same thread.

    The thread ends when nothing has come for a second, and with the process.

    Args:
        rest: Called in the thread before it ends, to close what the work has opened.
    """

    def __init__(self, rest: Callable[[], None]) -> None:
        self._rest = rest
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._waiting = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        _workers.add(self)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Has a piece of work done.

        Args:
            work: What is done; what it raises is its future's exception.
        """
        future: Future[T] = Future()
        with self._lock:
            self._waiting.put((future, work))
            # After a fork there is no thread, whatever the parent had.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, args=(self._last,), name="aof-memory", daemon=True
                )
                self._thread.start()
        return future

    def close(self) -> None:
        """Has the thread end when it has done what is waiting, and waits for it."""
        with self._lock:
            thread = self._thread
            if thread is not None:
                self._waiting.put(None)
        if thread is not None:
            thread.join(_PATIENCE_AT_EXIT)

    def _work(self, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        while (order := self._next()) is not None:
            future, work = order
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # noqa: BLE001 - it is the future's
                    future.set_exception(error)
            del order, future, work
        self._rest()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        order = None
        with contextlib.suppress(queue.Empty):
            order = self._waiting.get(timeout=_IDLE)
        if order is None:
            with self._lock:
                with contextlib.suppress(queue.Empty):
                    order = self._waiting.get_nowait()
                if order is None:
                    self._last, self._thread = self._thread, None
        return order


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for worker in list(_workers):
        worker.close()
