"""reports: reads the database now and then. Broken, it holds a write transaction for ever."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncGenerator
from typing import Any

from aof_nb.lab.services.process import Service

_EVERY_SECONDS = 2.0


class Reports:
    """The service."""

    def __init__(self, service: Service) -> None:
        from prometheus_client import Counter, Gauge

        self._service = service
        self._rebuild: sqlite3.Connection | None = None
        self._opened = 0.0
        registry = service.registry
        self._runs = Counter("reports_runs", "Reports made.", registry=registry)
        Gauge(
            "reports_open_write_transaction_seconds",
            "Age of its write transaction.",
            registry=registry,
        ).set_function(lambda: time.time() - self._opened if self._rebuild else 0.0)

    def hold(self) -> None:
        """Begins to rebuild a table, and never commits."""
        if self._rebuild is None:
            self._rebuild = sqlite3.connect(
                self._service.layout.database, timeout=5, check_same_thread=False
            )
            self._rebuild.execute("BEGIN IMMEDIATE")
            self._rebuild.execute("CREATE TABLE IF NOT EXISTS daily (day TEXT, cents INTEGER)")
            self._opened = time.time()
            self._service.log("info", "rebuilding table daily: BEGIN IMMEDIATE on shop.db")

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncGenerator[None, None]:
        """Reports in the background."""
        task = asyncio.create_task(self._report())
        yield
        task.cancel()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            if self._rebuild is not None:
                held = time.time() - self._opened
                self._service.log(
                    "warn", f"rebuilding table daily: transaction open for {held:.0f} s"
                )
                continue
            with contextlib.suppress(sqlite3.OperationalError):
                count = await asyncio.to_thread(self._count)
                self._runs.inc()
                self._service.log("info", f"report: {count} orders fulfilled so far")

    def _count(self) -> int:
        with contextlib.closing(sqlite3.connect(self._service.layout.database)) as database:
            [count] = database.execute(
                "SELECT count(*) FROM orders WHERE state = 'done'"
            ).fetchone()
            return int(count)


def main() -> None:
    """Reports until it is stopped."""
    service = Service.from_arguments("reports")
    reports = Reports(service)
    service.serve(fault=reports.hold, lifespan=reports.lifespan)


if __name__ == "__main__":
    main()
