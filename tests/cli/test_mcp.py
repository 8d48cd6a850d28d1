"""``aofctl mcp serve`` as a process: what is on its standard output, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client

from tests.cli.conftest import COMMAND, Invoke
from tests.notebooks import write_notebook
from tests.runbooks.test_run import WAIT, alive

NOISE = "import os, sys\nos.write(1, b'raw noise')\nos.system('echo more')\nprint('said')"
BARE = (
    "import os, pathlib, time\npathlib.Path('pids').write_text(f'{os.getpid()} ')\ntime.sleep(1000)"
)


class Server:
    """A server over standard input and output, spoken to by hand."""

    def __init__(self, books: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "mcp", "serve", str(books)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=books.parent,
            text=True,
            start_new_session=True,
        )
        self.errors = ""
        self._reading = threading.Thread(target=self._read_errors, daemon=True)
        self._reading.start()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    def send(self, method: str, number: int | None = None, **params: Any) -> None:
        assert self.process.stdin is not None
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.process.stdin.write(json.dumps(message | ({"id": number} if number else {})) + "\n")
        self.process.stdin.flush()

    def lines(self) -> Iterator[dict[str, Any]]:
        """What comes from standard output, which must be JSON-RPC and nothing else."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            yield message

    def begin(self) -> None:
        self.send(
            "initialize",
            1,
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo={"name": "by hand", "version": "0"},
        )
        assert next(self.lines())["id"] == 1
        self.send("notifications/initialized")

    def end(self) -> int:
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self._reading.join(timeout=10)
        return code


@pytest.fixture
def books(tmp_path: Path) -> Path:
    directory = tmp_path / "books"
    directory.mkdir()
    return directory


@pytest.fixture
def server(books: Path, environment: dict[str, str]) -> Iterator[Server]:
    started = Server(books, environment)
    yield started
    started.process.kill()
    started.process.wait()
    for stream in (started.process.stdin, started.process.stdout, started.process.stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def pids(books: Path) -> list[int]:
    file = books / "pids"
    deadline = time.monotonic() + 90
    while not (file.exists() and file.read_text().endswith(" ")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [int(each) for each in file.read_text().split()]


def gone(started: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nothing_but_the_protocol_is_on_standard_output(books: Path, server: Server) -> None:
    write_notebook(books / "noise.ipynb", NOISE, aof={})
    (books / "broken.ipynb").write_text("{")
    server.begin()
    server.send("tools/call", 2, name="noise", _meta={"progressToken": 7})
    told = []
    for message in server.lines():
        if message.get("id") == 2:
            break
        told.append(message["params"]["progress"])
    assert told == [1, 2]
    assert "said" in message["result"]["structuredContent"]["text"]
    assert server.end() == 0
    assert "WARNING aof_nb.runbooks: left out: " in server.errors
    assert "Traceback" not in server.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_kernels_though_the_client_stays(
    books: Path, server: Server, number: signal.Signals
) -> None:
    write_notebook(books / "wait.ipynb", WAIT, aof={})
    server.begin()
    server.send("tools/call", 2, name="wait")
    started = pids(books)
    server.process.send_signal(number)
    assert server.process.wait(timeout=60) == 128 + number
    assert not any(alive(pid) for pid in started)


def test_the_end_of_the_input_ends_it_and_its_kernels(books: Path, server: Server) -> None:
    write_notebook(books / "wait.ipynb", WAIT, aof={})
    server.begin()
    server.send("tools/call", 2, name="wait")
    started = pids(books)
    assert server.end() == 0
    assert not any(alive(pid) for pid in started)
    assert "Traceback" not in server.errors


def test_a_server_that_is_killed_leaves_no_kernel(books: Path, server: Server) -> None:
    write_notebook(books / "wait.ipynb", BARE, aof={})
    server.begin()
    server.send("tools/call", 2, name="wait")
    started = pids(books)
    server.process.kill()
    gone(started)


def listening(
    books: Path, environment: dict[str, str], **more: str
) -> tuple[subprocess.Popen[str], str, str]:
    """A server over HTTP, its URL, and what it has said until it can be reached."""
    process = subprocess.Popen(
        [*COMMAND, "mcp", "serve", str(books), "--transport", "http", "--port", "0"]
        + [f"--{name}={value}" for name, value in more.items()],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "listening on" in line:
            break
    return process, said.split()[-1].replace("0.0.0.0", "127.0.0.1"), said


def ends_quietly(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_http_wants_the_token_of_the_environment(books: Path, environment: dict[str, str]) -> None:
    write_notebook(books / "one.ipynb", "1", aof={})
    process, url, said = listening(books, environment | {"AOF_MCP_TOKEN": "sesame"})
    assert said.startswith("aofctl: 1 runbook: one\n")
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert httpx2.post(url, json=body).status_code == 401
    ends_quietly(process)


async def test_http_warns_where_all_can_reach_it_and_leaves_its_clients_quietly(
    books: Path, environment: dict[str, str]
) -> None:
    process, url, said = listening(books, environment, host="0.0.0.0")
    assert "whoever reaches 0.0.0.0 can run these runbooks" in said
    assert "there are no runbooks in" in said
    async with Client(url, mode="legacy") as client:
        assert (await client.list_tools()).tools == []
        # By then the client listens for what the server may say unasked.
        await asyncio.sleep(1)
        await asyncio.to_thread(ends_quietly, process)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "80"], "--port is for --transport http"),
        (["--allow-host", "x"], "--allow-host is for --transport http"),
        (["--approve", "perhaps"], "perhaps"),
        (["--concurrency", "0"], "--concurrency"),
    ],
)
def test_what_cannot_be_asked_of_it_is_two(
    invoke: Invoke, books: Path, options: list[str], said: str
) -> None:
    done = invoke("mcp", "serve", books, *options)
    assert done.exit_code == 2
    assert said in done.output


def test_a_place_for_runs_that_cannot_be_made_is_said(
    books: Path, environment: dict[str, str]
) -> None:
    (books / "file").touch()
    done = subprocess.run(
        [*COMMAND, "mcp", "serve", str(books), "--runs", str(books / "file" / "runs")],
        env=dict(os.environ) | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be made: Not a directory" in done.stderr
    assert "--runs" in done.stderr
