"""MCP servers to test against: the reference ones from npm and PyPI, and one that is odd."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aof_nb import McpServer
from aof_nb.events import Event
from aof_nb.mcp.pool import McpPool, pool
from aof_nb.ports import Tool, ToolContext, ToolOutput

ROOT = Path(__file__).parents[2]
PINS = ROOT / "tests" / "npm-packages.json"
ODD = Path(__file__).with_name("odd_server.py")
Npm = Callable[[str], str]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "state"
    monkeypatch.setenv("AOF_STATE_DIR", str(directory))
    return directory


@pytest.fixture
async def mcp() -> AsyncIterator[McpPool]:
    opened = pool()
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def npm() -> Npm:
    """The path of a program of the pinned npm packages, which are installed if they are not."""
    if shutil.which("npm") is None:
        pytest.fail("tests marked npm need Node 20 with npm; leave them out with -m 'not npm'")
    place = Path(sys.prefix) / "npm"
    place.mkdir(exist_ok=True)
    manifest = place / "package.json"
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / ".installed"
        if not done.exists() or done.read_text() != PINS.read_text():
            manifest.write_text(PINS.read_text())
            (place / "package-lock.json").unlink(missing_ok=True)
            subprocess.run(
                ["npm", "install", "--prefix", place, "--no-audit", "--no-fund", "--silent"],
                check=True,
                timeout=300,
            )
            done.write_text(PINS.read_text())
    return lambda program: str(place / "node_modules" / ".bin" / program)


class Odd:
    """The odd server, and what it has written down."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()

    def spec(self, *wrong: str, **more: Any) -> McpServer:
        arguments = ("-I", "-S", str(ODD), str(self.directory), *wrong)
        return McpServer(**{"name": "odd", "command": sys.executable, "args": arguments} | more)

    def describe(self, **descriptions: str) -> None:
        """Has it describe tools so from its next start on, or when it is asked again."""
        (self.directory / "descriptions").write_text(json.dumps(descriptions))

    def noted(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().split() if path.exists() else []

    @property
    def pid(self) -> int:
        return int((self.directory / "pid").read_text())

    @property
    def capabilities(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.directory / "capabilities").read_text())
        return found


@pytest.fixture
def odd(tmp_path: Path) -> Odd:
    return Odd(tmp_path / "odd")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class HttpServer:
    """A server process that listens on a port of its own, and can be started there again."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self._command = command
        self._env = env | {"PORT": str(self.port)}
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, self._log.read_text()
                time.sleep(0.05)
            else:
                return
        pytest.fail(f"{self._command} does not listen: {self._log.read_text()}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


Serve = Callable[..., HttpServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a command as an HTTP server; it finds its port in ``PORT``."""
    import os

    servers: list[HttpServer] = []

    def start(*command: str) -> HttpServer:
        server = HttpServer(list(command), dict(os.environ), tmp_path / "server.log")
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


class Run:
    """What a run is to a tool: somewhere to tell events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def call(self, tool: Tool, **arguments: object) -> ToolOutput:
        context = ToolContext("run-1", "call-1", self.events.append)
        return await tool.call(arguments, context)


@pytest.fixture
def run() -> Run:
    return Run()


async def offered(mcp: McpPool, *specs: McpServer) -> dict[str, Tool]:
    """The tools of servers, by name; they must all be usable."""
    found = await mcp.tools(specs)
    assert found.warnings == []
    return {tool.spec.name: tool for tool in found.tools}


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Waits for something to become true."""
    import asyncio

    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
