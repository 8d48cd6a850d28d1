"""A real Redis on loopback, for as long as the tests need one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


@contextmanager
def redis_server(*options: str, port: int | None = None) -> Iterator[str]:
    """Starts a server of its own and gives its address.

    Without the program the tests are skipped, but in CI, which has to have it.
    """
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("CI"):
            raise FileNotFoundError("redis-server is not installed: apt-get install redis-server")
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(5):
            chosen = port or free_port()
            command = [program, "--port", str(chosen), "--bind", "127.0.0.1", "--dir", directory]
            command += ["--save", "", "--appendonly", "no", "--loglevel", "warning", *options]
            log = Path(directory) / "log"
            with log.open("wb") as out:
                server = subprocess.Popen(command, stdout=out, stderr=out)
            try:
                until = time.monotonic() + 30
                while server.poll() is None and time.monotonic() < until:
                    if answers(chosen):
                        yield f"redis://127.0.0.1:{chosen}/0"
                        return
                    time.sleep(0.02)
            finally:
                server.kill()
                server.wait()
        raise RuntimeError(f"redis-server did not start: {log.read_text()}")
