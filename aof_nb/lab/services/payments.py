"""payments: what checkout depends on. Broken, each call holds one of few slots for seconds."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from aof_nb.lab.services.process import Service

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_BANK_SECONDS = (0.012, 0.025)
_STUCK_SECONDS = 4.0
_BANK_CONNECTIONS = 8


class Payments:
    """The service. It has a small pool of connections to a bank."""

    def __init__(self, service: Service) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._service = service
        self._connections = asyncio.Semaphore(_BANK_CONNECTIONS)
        self._stuck = False
        registry = service.registry
        self._charges = Counter("payments_charges", "Charges made.", registry=registry)
        self._seconds = Histogram("payments_charge_seconds", "Time of a charge.", registry=registry)
        self._waiting = Gauge(
            "payments_waiting", "Charges without a bank connection.", registry=registry
        )
        self._in_use = Gauge("payments_bank_connections_in_use", "Of the pool.", registry=registry)
        Gauge("payments_bank_connections_max", "The pool's size.", registry=registry).set(
            _BANK_CONNECTIONS
        )

    def stick(self) -> None:
        """Bank connections hang instead of answering, and are not given back meanwhile."""
        self._stuck = True

    async def charge(self, _: Request) -> Response:
        """POST /charge."""
        from starlette.responses import JSONResponse

        with self._seconds.time():
            self._waiting.inc()
            async with self._connections:
                self._waiting.dec()
                self._in_use.inc()
                if self._stuck:
                    self._service.log("warn", "bank connection hangs; keeping it for the answer")
                    await asyncio.sleep(_STUCK_SECONDS)
                await asyncio.sleep(random.uniform(*_BANK_SECONDS))
                self._in_use.dec()
        self._charges.inc()
        return JSONResponse({"charged": True})


def main() -> None:
    """Serves until it is stopped."""
    from starlette.routing import Route

    service = Service.from_arguments("payments")
    payments = Payments(service)
    service.serve([Route("/charge", payments.charge, methods=["POST"])], fault=payments.stick)


if __name__ == "__main__":
    main()
