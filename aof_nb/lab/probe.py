"""Asking the shop itself: real orders, timed."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aof_nb.lab.loopback import client

_ORDERS_PER_SECOND = 10
_PATIENCE_SECONDS = 3.0
_MOST_ERRORS = 0.1
_SLOWEST_P95_MS = 1000.0


@dataclass(frozen=True)
class Probe:
    """What became of some real orders.

    Args:
        requests: How many were sent.
        errors: How many were not taken.
        p95_ms: The 95th percentile of the time to an answer.
        example: One of the errors.
    """

    requests: int
    errors: int
    p95_ms: float
    example: str = ""

    @property
    def error_rate(self) -> float:
        """The share of orders that were not taken, 0 to 1."""
        return self.errors / self.requests

    @property
    def healthy(self) -> bool:
        """Whether customers can buy: at most one order in ten fails, and p95 is below a second."""
        return self.error_rate <= _MOST_ERRORS and self.p95_ms <= _SLOWEST_P95_MS

    def __str__(self) -> str:
        state = "healthy" if self.healthy else "FAILING"
        example = f" ({self.example})" if self.example else ""
        return (
            f"{state}: {self.errors} of {self.requests} orders failed, "
            f"p95 {self.p95_ms:.0f} ms{example}"
        )


def probe(port: int, seconds: float) -> Probe:
    """Sends orders to checkout at a steady pace.

    Args:
        port: Where checkout listens.
        seconds: For how long.
    """
    from httpx2 import HTTPError

    count = max(5, round(seconds * _ORDERS_PER_SECOND))
    with client(port, timeout=_PATIENCE_SECONDS) as shop:

        def order(place: int) -> tuple[float, str]:
            due = begun + place / _ORDERS_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            sent = time.monotonic()
            try:
                response = shop.post("/checkout", json={"sku": "probe", "cents": 100})
                wrong = "" if response.status_code == 201 else str(response.json()["error"])
            except HTTPError as error:
                wrong = f"{type(error).__name__}: {error}"
            return 1000 * (time.monotonic() - sent), wrong

        with ThreadPoolExecutor(count) as pool:
            begun = time.monotonic()
            answers = list(pool.map(order, range(count)))
    errors = [wrong for _, wrong in answers if wrong]
    p95 = statistics.quantiles((took for took, _ in answers), n=20)[-1]
    return Probe(count, len(errors), p95, errors[-1] if errors else "")
