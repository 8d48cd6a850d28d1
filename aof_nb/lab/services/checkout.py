"""checkout: takes an order, charges it with payments, writes it down and logs it for the audit."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from aof_nb.lab.layout import timestamp
from aof_nb.lab.loopback import async_client
from aof_nb.lab.services.process import Service

if TYPE_CHECKING:
    from httpx2 import AsyncClient
    from starlette.requests import Request
    from starlette.responses import Response

SCHEMA = """
PRAGMA journal_mode = wal;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, sku TEXT, cents INTEGER, state TEXT, created REAL
);
CREATE INDEX IF NOT EXISTS orders_by_state ON orders (state);
"""


class Failed(Exception):
    """An order that cannot be taken.

    Args:
        status: The HTTP status.
        reason: In a word, as the metrics count it.
        message: As the log tells it.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Checkout:
    """The service."""

    def __init__(self, service: Service) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._service = service
        self._payments = service.config["payments"]
        self._database = service.config["database"]
        self._client: AsyncClient | None = None
        registry = service.registry
        self._requests = Counter(
            "checkout_requests", "Orders asked for.", ["status"], registry=registry
        )
        self._errors = Counter("checkout_errors", "Orders refused.", ["reason"], registry=registry)
        self._attempts = Counter(
            "checkout_payment_attempts", "Calls of payments.", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "checkout_request_seconds", "Time to an answer.", registry=registry
        )
        self._in_flight = Gauge("checkout_requests_in_flight", "Being answered.", registry=registry)
        self._depth = Gauge(
            "checkout_order_queue_depth", "Orders not yet fulfilled.", registry=registry
        )
        used = Gauge("log_volume_used_bytes", "Taken on the log volume.", registry=registry)
        used.set_function(service.volume.used)
        quota = Gauge("log_volume_quota_bytes", "What the log volume holds.", registry=registry)
        quota.set(service.volume.quota)
        with contextlib.closing(sqlite3.connect(service.layout.database)) as database:
            database.executescript(SCHEMA)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncGenerator[None, None]:
        """Keeps the client of payments."""
        timeout = self._payments["timeout_ms"] / 1000
        async with async_client(self._service.ports["payments"], timeout=timeout) as self._client:
            yield

    async def order(self, request: Request) -> Response:
        """POST /checkout: 201 with the order's id, or why not."""
        from starlette.responses import JSONResponse

        begun = time.perf_counter()
        order = {"id": uuid.uuid4().hex[:12], **await request.json()}
        self._in_flight.inc()
        try:
            await self._take(order)
        except Failed as failure:
            self._errors.labels(failure.reason).inc()
            self._requests.labels(str(failure.status)).inc()
            self._service.log("error", f"order {order['id']} failed: {failure}")
            return JSONResponse({"error": str(failure)}, status_code=failure.status)
        finally:
            self._in_flight.dec()
            self._seconds.observe(time.perf_counter() - begun)
        self._requests.labels("201").inc()
        return JSONResponse({"order": order["id"]}, status_code=201)

    async def _take(self, order: dict[str, Any]) -> None:
        depth = await asyncio.to_thread(self._pending)
        self._depth.set(depth)
        most = self._service.config["queue"]["max_depth"]
        if depth >= most:
            raise Failed(
                503, "queue_full", f"{depth} orders wait for the worker, at most {most} may"
            )
        await self._charge(order)
        await asyncio.to_thread(self._write, order)

    async def _charge(self, order: dict[str, Any]) -> None:
        from httpx2 import HTTPError, TimeoutException

        assert self._client is not None
        timeout, attempts = self._payments["timeout_ms"], 1 + self._payments["retries"]
        problem = ""
        for attempt in range(1, attempts + 1):
            try:
                response = await self._client.post("/charge", json=order)
                response.raise_for_status()
            except TimeoutException:
                self._attempts.labels("timeout").inc()
                problem = f"payments did not answer within {timeout} ms"
            except HTTPError as error:
                self._attempts.labels("error").inc()
                problem = f"payments failed: {error}"
            else:
                self._attempts.labels("ok").inc()
                return
            if attempt < attempts:
                self._service.log(
                    "warn", f"order {order['id']}: {problem} (attempt {attempt}/{attempts})"
                )
        raise Failed(502, "payments", f"{problem}, {attempts} attempts")

    def _pending(self) -> int:
        with contextlib.closing(self._connect()) as database:
            [count] = database.execute(
                "SELECT count(*) FROM orders WHERE state = 'pending'"
            ).fetchone()
            return int(count)

    def _write(self, order: dict[str, Any]) -> None:
        row = (order["id"], order.get("sku"), order.get("cents"), "pending", time.time())
        try:
            with contextlib.closing(self._connect()) as database, database:
                database.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", row)
                line = f"{timestamp()} order={order['id']} sku={order.get('sku')}"
                layout = self._service.layout
                self._service.volume.append(layout.audit, line, archive=layout.archived_audit())
        except sqlite3.OperationalError as error:
            raise Failed(503, "database", f"cannot write to shop.db: {error}") from error
        except OSError as error:
            raise Failed(
                500, "audit_log", f"cannot write the audit log: {error.strerror}"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        timeout = self._database["busy_timeout_ms"] / 1000
        return sqlite3.connect(self._service.layout.database, timeout=timeout)


def main() -> None:
    """Serves until it is stopped."""
    from starlette.routing import Route

    service = Service.from_arguments("checkout")
    checkout = Checkout(service)
    service.serve(
        [Route("/checkout", checkout.order, methods=["POST"])], lifespan=checkout.lifespan
    )


if __name__ == "__main__":
    main()
