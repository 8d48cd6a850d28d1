"""What the services have in common: how they start, log, measure, and end with their supervisor."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.lab.layout import Layout, LogVolume, timestamp

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route


class Service:
    """One service, in the process that runs it.

    Args:
        name: What it is called.
        directory: The lab's directory.
        token: What its operator shows to break it.
        ports: Where the other services listen.
        config: The version of its configuration.
        descriptor: The socket it listens on, inherited; None if it does not listen.
    """

    def __init__(
        self,
        name: str,
        *,
        directory: Path,
        token: str,
        ports: dict[str, int],
        config: int,
        descriptor: int | None,
    ) -> None:
        from prometheus_client import CollectorRegistry, Counter

        self.name = name
        self.layout = Layout(directory)
        self.volume = LogVolume(self.layout.logs)
        self.token = token
        self.ports = ports
        self._descriptor = descriptor
        path = self.layout.config(name, config)
        self.config: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.registry: CollectorRegistry = CollectorRegistry()
        self._dropped = Counter(
            "log_lines_dropped", "Lines that could not be written.", registry=self.registry
        )

    @classmethod
    def from_arguments(cls, name: str) -> Service:
        """The service as its supervisor starts it; it ends when the supervisor has gone."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--directory", type=Path, required=True)
        parser.add_argument("--ports", type=json.loads, required=True)
        parser.add_argument("--config", type=int, default=1)
        parser.add_argument("--fd", type=int)
        options = parser.parse_args()
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
        token = os.environ["AOF_LAB_TOKEN"]
        return cls(
            name,
            directory=options.directory,
            token=token,
            ports=options.ports,
            config=options.config,
            descriptor=options.fd,
        )

    def log(self, level: str, message: str) -> None:
        """Writes to the service's log; on a full volume the line is dropped, and counted."""
        try:
            line = f"{timestamp()} {level.upper():5} {message}"
            self.volume.append(self.layout.log(self.name), line)
        except OSError:
            self._dropped.inc()

    def serve(
        self,
        routes: Sequence[Route] = (),
        *,
        fault: Callable[[], None] | None = None,
        lifespan: Callable[[Any], Any] | None = None,
    ) -> None:
        """Serves HTTP on an inherited socket until the process is stopped.

        Args:
            routes: What the service does.
            fault: Breaks it from within, until it is restarted.
            lifespan: Starlette's, for work in the background.
        """
        import uvicorn
        from prometheus_client import generate_latest
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse, PlainTextResponse
        from starlette.routing import Route

        async def metrics(_: Request) -> Response:
            return PlainTextResponse(generate_latest(self.registry))

        async def health(_: Request) -> Response:
            return JSONResponse({"service": self.name, "status": "up"})

        async def break_(request: Request) -> Response:
            if fault is None or request.headers.get("authorization") != f"Bearer {self.token}":
                return JSONResponse({"error": "not found"}, status_code=404)
            fault()
            return JSONResponse({"status": "broken"})

        app = Starlette(
            routes=[
                Route("/metrics", metrics),
                Route("/healthz", health),
                Route("/-/fault", break_, methods=["POST"]),
                *routes,
            ],
            lifespan=lifespan,
        )
        self.log("info", f"{self.name} started")
        uvicorn.run(
            app,
            fd=self._descriptor,
            log_level="warning",
            loop="asyncio",
            http="h11",
            ws="none",
            timeout_graceful_shutdown=1,
        )


def _end_with_supervisor() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
