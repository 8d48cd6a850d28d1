"""Servers end with their loop, and with their process, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mcp.conftest import Odd, alive

USE = """
import asyncio, os, signal, sys
from aof_nb import McpServer
from aof_nb.mcp.pool import pool
from aof_nb.ports import ToolContext

directory, odd_server, how = sys.argv[1:]
spec = McpServer(name="odd", command=sys.executable, args=("-I", odd_server, directory))

async def main():
    found = await pool().tools([spec])
    tools = {tool.spec.name: tool for tool in found.tools}
    context = ToolContext("r", "c", lambda event: None)
    await tools["odd__count"].call({}, context)
    if how == "call":
        asyncio.create_task(tools["odd__silent"].call({}, context))
        await asyncio.sleep(0.3)
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
    if how == "kill":
        print("ready", flush=True)
        await asyncio.sleep(60)

if how == "anyio":
    import anyio
    anyio.run(main)
else:
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
print("left", flush=True)
"""


def command(odd: Odd, how: str) -> list[str]:
    odd_server = Path(__file__).with_name("odd_server.py")
    return [sys.executable, "-X", "dev", "-c", USE, str(odd.directory), str(odd_server), how]


@pytest.mark.parametrize("how", ["idle", "call", "interrupt", "anyio"])
def test_a_loop_that_ends_leaves_no_process_and_no_warning(odd: Odd, how: str) -> None:
    ended = subprocess.run(
        command(odd, how), capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.stdout == "left\n"
    # Debug mode also tells of callbacks that took long, which a loaded machine makes them.
    complaints = [line for line in ended.stderr.splitlines() if not line.startswith("Executing")]
    assert complaints == []
    assert not alive(odd.pid)


def test_kill_minus_nine_of_the_process_ends_its_servers(odd: Odd) -> None:
    user = subprocess.Popen(command(odd, "kill"), stdout=subprocess.PIPE, text=True)
    try:
        assert user.stdout is not None
        assert user.stdout.readline() == "ready\n"
        assert alive(odd.pid)
        launcher = int(Path(f"/proc/{odd.pid}/stat").read_text().rpartition(")")[2].split()[1])
    finally:
        user.kill()
        user.communicate()
    deadline = time.monotonic() + 3
    while (alive(odd.pid) or alive(launcher)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(odd.pid)
    assert not alive(launcher)


def test_a_server_that_ignores_everything_is_killed_too(tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-I', '-S', '-c',\n"
        "    'import os, time; os.setsid(); time.sleep(300)'])\n"
        "print(os.getpid(), child.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    child = Path(__file__).parents[2] / "aof_nb" / "mcp" / "child.py"
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", child, sys.executable, "-I", "-S", stubborn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    pids = [int(pid) for pid in launcher.stdout.readline().split()]
    try:
        assert [alive(pid) for pid in pids] == [True, True]
        launcher.communicate(timeout=30)
        assert [alive(pid) for pid in pids] == [False, False]
    finally:
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_importing_aof_nb_does_not_import_the_sdk() -> None:
    code = "import sys, aof_nb; aof_nb.McpServer; aof_nb.Agent; print('mcp' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
