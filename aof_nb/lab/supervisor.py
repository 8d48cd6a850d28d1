"""The supervisor: runs the shop, and restarts, rolls back, frees and breaks when it is told to.

``python -m aof_nb.lab.supervisor DIRECTORY``. It listens on loopback and takes orders from who
shows the token in ``supervisor.json``, which only its owner can read.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.lab import lease
from aof_nb.lab.children import SERVICES, Children
from aof_nb.lab.faults import FAULTS, Breaker, deployed, lay_out
from aof_nb.lab.layout import (
    Layout,
    LogVolume,
    append_line,
    read_lines,
    timestamp,
    version_before,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class Refused(Exception):
    """What was asked cannot be done; the text says why."""


class Supervisor:
    """Runs the shop in a directory.

    Args:
        layout: Where that is.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.token = secrets.token_hex(16)
        lay_out(self.layout)
        self.children = Children(self.layout, self.token)
        self._breaker = Breaker(self.layout, self.children, self.token)
        self._fault: str | None = None
        self.children["checkout"].config = 2
        for name in SERVICES:
            self.children.start(name)

    def carry_out(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Does what is asked, and records what has changed something.

        Raises:
            Refused: If it cannot be done.
        """
        operations: dict[str, Callable[..., Any]] = {
            "restart_service": self._restart,
            "roll_back": self._roll_back,
            "free_space": self._free,
            "inject": self._inject,
            "status": self._status,
        }
        if operation not in operations:
            raise Refused(f"there is no operation {operation!r}")
        outcome = operations[operation](**arguments)
        if operation not in {"status", "inject"}:
            entry = {"time": timestamp(), "action": operation, "arguments": arguments}
            append_line(self.layout.actions, entry)
        return outcome

    def _status(self) -> dict[str, Any]:
        return {
            "services": self.children.describe(),
            "fault": self._fault,
            "ports": self.children.ports,
        }

    def _inject(self, fault: str) -> dict[str, Any]:
        if fault not in FAULTS:
            raise Refused(f"there is no fault {fault!r}")
        self._breaker.inject(fault)
        self._fault = fault
        return {"fault": fault}

    def _restart(self, service: str) -> dict[str, Any]:
        self._known(service)
        self.children.restart(service)
        return {"service": service, "restarted": True}

    def _roll_back(self, service: str, version: int | None = None) -> dict[str, Any]:
        self._known(service)
        child = self.children[service]
        known = {
            each["version"]
            for each in read_lines(self.layout.deploys)
            if each["service"] == service
        }
        target = version or version_before(self.layout, service, child.config)
        if target is None:
            raise Refused(f"{service} has no version before {child.config}")
        if target not in known:
            raise Refused(f"{service} never had a version {target}")
        left, child.config = child.config, target
        deployed(self.layout, service, target, author="operator", note=f"rolled back from {left}")
        self.children.restart(service)
        return {"service": service, "from_version": left, "to_version": target}

    def _free(self, volume: str) -> dict[str, Any]:
        if volume != "logs":
            raise Refused(f"there is no volume {volume!r}; there is: logs")
        files = LogVolume(self.layout.logs).rotated()
        freed = sum(path.stat().st_size for path in files)
        for path in files:
            path.unlink()
        return {"volume": volume, "deleted": [path.name for path in files], "freed_bytes": freed}

    def _known(self, service: str) -> None:
        if service not in SERVICES:
            raise Refused(f"there is no service {service!r}; there are: {', '.join(SERVICES)}")


def main() -> None:
    """Supervises until it is stopped."""
    import uvicorn
    from httpx2 import HTTPError
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    layout = Layout(Path(sys.argv[1]))
    held = lease.take(layout.lease)
    if held is None:
        return
    layout.supervisor.unlink(missing_ok=True)
    # uvicorn raises the signal again when it has shut down: then, the children are still to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    supervisor = Supervisor(layout)
    expected = f"Bearer {supervisor.token}"

    async def operate(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("authorization", ""), expected):
            return JSONResponse({"error": "the token is missing or wrong"}, status_code=401)
        operation = request.path_params["operation"]
        try:
            arguments = await request.json()
            outcome = await run_in_threadpool(supervisor.carry_out, operation, arguments)
        except (Refused, TypeError, HTTPError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse(outcome)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    _announce(supervisor, listener.getsockname()[1])
    app = Starlette(routes=[Route("/{operation}", operate, methods=["POST"])])
    try:
        uvicorn.run(
            app, fd=listener.fileno(), log_level="warning", loop="asyncio", http="h11", ws="none"
        )
    finally:
        supervisor.children.close()
        layout.supervisor.unlink(missing_ok=True)
        held.close()


def _announce(supervisor: Supervisor, port: int) -> None:
    path = supervisor.layout.supervisor
    written = path.with_suffix(".new")
    written.touch(mode=0o600)
    written.write_text(
        json.dumps(
            {
                "pid": os.getpid(),
                "port": port,
                "token": supervisor.token,
                "started": time.time(),
            }
        )
    )
    written.replace(path)


if __name__ == "__main__":
    main()
