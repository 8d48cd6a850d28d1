"""worker: fulfils orders. Broken, it keeps every receipt it renders until its memory is used up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator
from typing import Any

from aof_nb.lab.services.process import Service

_POLL_SECONDS = 0.1
_RECEIPT_BYTES = 2 * 2**20
_LEAK_BYTES = 16 * 2**20
_LIMIT_BYTES = 192 * 2**20


class Worker:
    """The service. Its memory is limited as a container's is: what goes beyond is refused."""

    def __init__(self, service: Service) -> None:
        import psutil
        from prometheus_client import Counter, Gauge

        self._service = service
        self._process = psutil.Process()
        self._kept: list[bytes] = []
        self._leaking = False
        registry = service.registry
        self._done = Counter("worker_orders_done", "Orders fulfilled.", registry=registry)
        self._failed = Counter(
            "worker_orders_failed", "Tries that failed.", ["reason"], registry=registry
        )
        Gauge("worker_memory_bytes", "Resident.", registry=registry).set_function(self._resident)
        Gauge("worker_memory_limit_bytes", "What it may take.", registry=registry).set(_LIMIT_BYTES)

    def leak(self) -> None:
        """From now on, rendered receipts are never let go."""
        self._leaking = True

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncGenerator[None, None]:
        """Works in the background."""
        task = asyncio.create_task(self._work())
        yield
        task.cancel()

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await asyncio.to_thread(self._fulfil)
            except sqlite3.OperationalError as error:
                self._failed.labels("database").inc()
                self._service.log("error", f"cannot fulfil orders: {error}")
            except MemoryError as error:
                self._failed.labels("memory").inc()
                self._service.log("error", f"cannot render a receipt: {error}")
                await asyncio.sleep(0.4)

    def _fulfil(self) -> None:
        with contextlib.closing(
            sqlite3.connect(self._service.layout.database, timeout=1)
        ) as database:
            waiting = database.execute(
                "SELECT id FROM orders WHERE state = 'pending' ORDER BY created LIMIT 20"
            ).fetchall()
            for (order,) in waiting:
                receipt = self._render()
                with database:
                    database.execute("UPDATE orders SET state = 'done' WHERE id = ?", (order,))
                self._done.inc()
                if self._leaking:
                    self._kept.append(receipt)
                    resident = self._resident() // 2**20
                    limit = _LIMIT_BYTES // 2**20
                    self._service.log(
                        "warn",
                        f"memory: {resident} of {limit} MiB, {len(self._kept)} receipts kept",
                    )

    def _render(self) -> bytes:
        size = _LEAK_BYTES if self._leaking else _RECEIPT_BYTES
        resident = self._resident()
        if resident + size > _LIMIT_BYTES:
            raise MemoryError(f"{resident // 2**20} of {_LIMIT_BYTES // 2**20} MiB are in use")
        return b"r" * size

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)


def main() -> None:
    """Works until it is stopped."""
    service = Service.from_arguments("worker")
    worker = Worker(service)
    service.serve(fault=worker.leak, lifespan=worker.lifespan)


if __name__ == "__main__":
    main()
