"""loadgen: customers. Some orders a second, whatever becomes of them."""

from __future__ import annotations

import asyncio
import random

from aof_nb.lab.loopback import async_client
from aof_nb.lab.services.process import Service

ORDERS_PER_SECOND = 8
_PATIENCE_SECONDS = 6.0
_SKUS = ("mug", "shirt", "cap", "poster")


async def buy(port: int) -> None:
    """Sends orders for ever, each on its own, at the same pace."""
    from httpx2 import HTTPError

    async with async_client(port, timeout=_PATIENCE_SECONDS) as client:

        async def order() -> None:
            body = {"sku": random.choice(_SKUS), "cents": random.randint(500, 5000)}
            try:
                await client.post("/checkout", json=body)
            except HTTPError:
                return

        async with asyncio.TaskGroup() as orders:
            while True:
                orders.create_task(order())
                await asyncio.sleep(1 / ORDERS_PER_SECOND)


def main() -> None:
    """Buys until it is stopped."""
    service = Service.from_arguments("loadgen")
    asyncio.run(buy(service.ports["checkout"]))


if __name__ == "__main__":
    main()
