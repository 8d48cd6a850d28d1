"""The shop's processes: started, watched, started again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from aof_nb.lab.layout import Layout

SERVICES = ("payments", "checkout", "worker", "reports", "loadgen")
_STOP_SECONDS = 2.0


@dataclass
class Child:
    """One service's process, and the socket that outlives it."""

    name: str
    listener: socket.socket | None
    config: int = 1
    restarts: int = 0
    started: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def port(self) -> int | None:
        """Where it listens."""
        return None if self.listener is None else int(self.listener.getsockname()[1])


class Children:
    """Starts the services, and starts again what ends by itself.

    The listening sockets are opened here and inherited, so that a service keeps its port, and
    connections wait, while it is restarted. A service ends when its standard input does, which
    is when this process has gone.

    Args:
        layout: The lab's files.
        token: What a service wants to see before it lets itself be broken.
    """

    def __init__(self, layout: Layout, token: str) -> None:
        self._layout = layout
        self._token = token
        self._closing = False
        self._children = {
            name: Child(name, None if name == "loadgen" else _listen()) for name in SERVICES
        }
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def ports(self) -> dict[str, int]:
        """Where the services listen."""
        found = {name: child.port for name, child in self._children.items()}
        return {name: port for name, port in found.items() if port is not None}

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def start(self, name: str) -> None:
        """Starts a service."""
        child = self._children[name]
        command = [sys.executable, "-m", f"aof_nb.lab.services.{name}"]
        command += ["--directory", str(self._layout.directory), "--ports", json.dumps(self.ports)]
        command += ["--config", str(child.config)]
        inherited = []
        if child.listener is not None:
            inherited = [child.listener.fileno()]
            command += ["--fd", str(inherited[0])]
        with child.lock, self._layout.console.open("ab") as console:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                pass_fds=inherited,
                env={**os.environ, "AOF_LAB_TOKEN": self._token},
                cwd=self._layout.directory,
            )
            child.started = time.time()

    def restart(self, name: str) -> None:
        """Stops a service and starts it again."""
        child = self._children[name]
        with child.lock:
            self._end(child)
            child.restarts += 1
            self.start(name)

    def close(self) -> None:
        """Stops all services."""
        self._closing = True
        for child in self._children.values():
            if child.process is not None:
                child.process.terminate()
        for child in self._children.values():
            with child.lock:
                self._end(child)

    def describe(self) -> list[dict[str, Any]]:
        """Each service, as `Lab.list_services` tells it."""
        import psutil

        described = []
        for child in self._children.values():
            pid = child.process.pid if child.process and child.process.poll() is None else None
            try:
                memory = psutil.Process(pid).memory_info().rss if pid else 0
            except psutil.Error:
                memory = 0
            described.append(
                {
                    "name": child.name,
                    "state": "running" if pid else "stopped",
                    "pid": pid,
                    "port": child.port,
                    "uptime_seconds": round(time.time() - child.started, 1) if pid else 0.0,
                    "restarts": child.restarts,
                    "memory_bytes": memory,
                    "config_version": child.config,
                }
            )
        return described

    def _end(self, child: Child) -> None:
        process = child.process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _watch(self) -> None:
        while not self._closing:
            time.sleep(0.5)
            for child in self._children.values():
                with child.lock:
                    ended = child.process is not None and child.process.poll() is not None
                    if ended and not self._closing:
                        self.restart(child.name)


def _listen() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener
