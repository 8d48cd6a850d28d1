"""HTTP on this machine: never through a proxy that the environment names, and without TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Client


def client(port: int, *, timeout: float) -> Client:
    """A client of what listens on a port of this machine; timeout in seconds."""
    from httpx2 import Client

    return Client(**_options(port, timeout))


def async_client(port: int, *, timeout: float) -> AsyncClient:
    """The same for coroutines."""
    from httpx2 import AsyncClient

    return AsyncClient(**_options(port, timeout))


def _options(port: int, timeout: float) -> dict[str, Any]:
    # Plain HTTP has no certificates to verify, and loading them would take 20 ms of CPU.
    return {
        "base_url": f"http://127.0.0.1:{port}",
        "timeout": timeout,
        "trust_env": False,
        "verify": False,
    }
