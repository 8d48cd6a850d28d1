"""The reference servers, over all transports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aof_nb import McpServer
from aof_nb.errors import OutcomeUnknown, ToolError
from aof_nb.events import ToolProgress
from aof_nb.mcp.pool import McpPool
from aof_nb.notebook.results import shown
from aof_nb.ports import Effect
from tests.mcp.conftest import HttpServer, Npm, Run, Serve, offered, until

PYTHON_SERVERS = Path(sys.prefix) / "bin"
TRANSPORTS = ["stdio", "http", "sse"]


class Everything:
    """server-everything over one transport."""

    def __init__(self, transport: str, program: str, serve: Serve) -> None:
        self.transport = transport
        self.server: HttpServer | None = None
        self.tag = secrets.token_hex()
        if transport == "stdio":
            self.where: dict[str, Any] = {
                "command": "node",
                "args": (program,),
                "env": {"EVERYTHING": self.tag},
            }
            return
        self.server = serve("node", program, {"http": "streamableHttp", "sse": "sse"}[transport])
        path = {"http": "mcp", "sse": "sse"}[transport]
        url = f"http://127.0.0.1:{self.server.port}/{path}"
        self.where = {"url": url, "transport": transport}

    def kill(self) -> None:
        """Kills it at once; one that is not ours to start is started again."""
        if self.server is not None:
            self.server.kill()
            self.server.start()
            return
        [pid] = (
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and self._is_the_server(path)
        )
        os.kill(pid, signal.SIGKILL)

    def _is_the_server(self, process: Path) -> bool:
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes()
            return command[0] == b"node" and f"EVERYTHING={self.tag}".encode() in environment
        return False

    def spec(self, **more: Any) -> McpServer:
        return McpServer(name="every", **self.where, **more)


@pytest.fixture
def everything(request: pytest.FixtureRequest, npm: Npm, serve: Serve) -> Everything:
    return Everything(request.param, npm("mcp-server-everything"), serve)


over_all = pytest.mark.parametrize("everything", TRANSPORTS, indirect=True)
over_network = pytest.mark.parametrize("everything", TRANSPORTS[1:], indirect=True)


@pytest.mark.npm
@over_all
async def test_everything_answers_with_all_kinds_of_content(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec())
    assert (await run.call(tools["every__echo"], message="hi ☃")).content == "Echo: hi ☃"
    assert tools["every__echo"].spec.effect is Effect.READ
    assert tools["every__gzip-file-as-resource"].spec.effect is Effect.WRITE

    weather = await run.call(tools["every__get-structured-content"], location="New York")
    assert set(weather.data) == {"temperature", "conditions", "humidity"}

    image = await run.call(tools["every__get-tiny-image"])
    assert "[image: image/png, 4,033 bytes]" in image.content
    assert image.data["content"][1]["mimeType"] == "image/png"
    assert len(image.data["content"][1]["data"]) > 5000
    shows = shown(image.content, image.data)
    assert shows is not None
    assert image.data["content"][1]["data"] in shows.markdown

    links = await run.call(tools["every__get-resource-links"], count=2)
    assert "[resource: demo://resource/dynamic/" in links.content

    resource = await run.call(
        tools["every__get-resource-reference"], resourceType="Text", resourceId=1
    )
    assert "[resource: demo://resource/dynamic/text/1]\nResource 1: This is" in resource.content
    blob = await run.call(tools["every__get-resource-reference"], resourceType="Blob", resourceId=2)
    assert "[resource: demo://resource/dynamic/blob/2, text/plain, " in blob.content

    wrong = await run.call(tools["every__get-sum"], a="one", b=2)
    assert wrong.is_error
    assert [status.state for status in mcp.status()] == ["open"]


@pytest.mark.npm
@over_all
async def test_everything_tells_its_progress_and_outlives_its_time_by_it(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec(timeout=5))
    done = await run.call(tools["every__trigger-long-running-operation"], duration=7, steps=7)
    assert "completed" in done.content
    assert run.events == [
        ToolProgress("call-1", "", float(step), 7.0) for step in range(1, len(run.events) + 1)
    ]
    assert len(run.events) >= 6


@pytest.mark.npm
@over_all
async def test_a_read_is_made_again_when_the_server_is_killed_in_the_middle_of_it(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec())
    operation = tools["every__trigger-long-running-operation"]
    assert operation.spec.effect is Effect.READ
    call = asyncio.create_task(run.call(operation, duration=2, steps=2))
    await until(lambda: len(run.events) == 1)
    everything.kill()
    done = await call
    assert "completed" in done.content
    progress = [event.progress for event in run.events if isinstance(event, ToolProgress)]
    assert progress == [1.0, 1.0, 2.0]


@pytest.mark.npm
@over_all
async def test_a_write_is_not_made_again_when_the_server_is_killed_in_the_middle_of_it(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec())
    write = tools["every__gzip-file-as-resource"]
    assert write.spec.effect is Effect.WRITE
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/never-answers"
        call = asyncio.create_task(run.call(write, name="x", data=url, outputType="resource"))
        fetching, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with fetching:
            everything.kill()
            with pytest.raises(OutcomeUnknown):
                await call
        listener.settimeout(1)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert (await run.call(tools["every__echo"], message="a")).content == "Echo: a"


@pytest.mark.npm
@over_network
async def test_a_read_finds_a_server_that_was_started_again(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec())
    assert everything.server is not None
    everything.server.kill()
    everything.server.start()
    assert (await run.call(tools["every__echo"], message="a")).content == "Echo: a"


@pytest.mark.npm
@over_network
async def test_a_write_to_a_server_that_is_away_was_surely_not_carried_out(
    mcp: McpPool, everything: Everything, run: Run
) -> None:
    tools = await offered(mcp, everything.spec())
    write = tools["every__toggle-subscriber-updates"]
    assert write.spec.effect is Effect.WRITE
    assert everything.server is not None
    everything.server.kill()
    with pytest.raises(ToolError, match="cannot be used: ConnectError") as caught:
        await run.call(write)
    assert not isinstance(caught.value, OutcomeUnknown)
    everything.server.start()
    assert not (await run.call(write)).is_error


@pytest.mark.npm
async def test_filesystem_reads_writes_and_keeps_to_its_directory(
    mcp: McpPool, npm: Npm, run: Run, tmp_path: Path
) -> None:
    place = tmp_path / "files"
    place.mkdir()
    server = McpServer(
        name="fs", command=npm("mcp-server-filesystem"), args=(str(place),), tools=("*file",)
    )
    tools = await offered(mcp, server)
    assert set(tools) == {"fs__read_file", "fs__read_text_file", "fs__read_media_file"} | {
        "fs__write_file",
        "fs__edit_file",
        "fs__move_file",
    }
    assert tools["fs__write_file"].spec.effect is Effect.DESTRUCTIVE
    written = await run.call(tools["fs__write_file"], path=f"{place}/a.txt", content="ä\n")
    assert not written.is_error
    assert (place / "a.txt").read_text() == "ä\n"
    read = await run.call(tools["fs__read_text_file"], path=f"{place}/a.txt")
    assert read.content.rstrip() == "ä"
    refused = await run.call(tools["fs__read_text_file"], path="/etc/passwd")
    assert refused.is_error
    assert "outside allowed directories" in refused.content


async def test_git_commits_and_tells_the_log(mcp: McpPool, run: Run, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)
    for setting in ("user.name=Ann", "user.email=ann@example.org"):
        name, _, value = setting.partition("=")
        subprocess.run(["git", "-C", tmp_path / "repo", "config", name, value], check=True)
    (tmp_path / "repo" / "a.txt").write_text("a")
    repo = str(tmp_path / "repo")
    server = McpServer(name="git", command=str(PYTHON_SERVERS / "mcp-server-git"))
    tools = await offered(mcp, server)
    assert tools["git__git_log"].spec.effect is Effect.READ
    assert tools["git__git_reset"].spec.effect is Effect.DESTRUCTIVE
    await run.call(tools["git__git_add"], repo_path=repo, files=["a.txt"])
    await run.call(tools["git__git_commit"], repo_path=repo, message="Add a")
    log = await run.call(tools["git__git_log"], repo_path=repo)
    assert "Add a" in log.content


async def test_time_converts(mcp: McpPool, run: Run) -> None:
    server = McpServer(name="time", command=str(PYTHON_SERVERS / "mcp-server-time"))
    tools = await offered(mcp, server)
    arguments = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    converted = await run.call(tools["time__convert_time"], **arguments)
    assert "T21:00:00+09:00" in converted.content
