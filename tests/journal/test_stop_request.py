"""Stopping a run of another process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aof_nb import Agent, tool
from aof_nb.errors import ConfigurationError
from aof_nb.events import RunStatus, ToolStarted
from aof_nb.journal.recording import State
from aof_nb.journal.runs import run_dir
from aof_nb.journal.stop_request import is_stop_requested, request_stop, stoppable
from aof_nb.journal.summary import summaries
from aof_nb.messages import ToolCall
from tests.notebook.fakes import Says


@tool(effect="read")
async def watch() -> str:
    """Watches for ever."""
    await asyncio.sleep(600)
    return ""


async def test_a_run_is_stopped_within_a_second() -> None:
    agent = Agent(name="guard", model=Says([ToolCall("c1", "watch", {})]), tools=[watch])
    run = agent.stream("Watch.")
    asked = 0.0

    async def carry_through() -> None:
        nonlocal asked
        try:
            async with stoppable(lambda: run_dir(run.run_id)):
                async for event in run:
                    if isinstance(event, ToolStarted):
                        request_stop(run_dir(run.run_id))
                        asked = time.monotonic()
        finally:
            await run.aclose()

    task = asyncio.create_task(asyncio.wait_for(carry_through(), 20))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - asked < 1
    assert run.result.status is RunStatus.CANCELLED
    assert not is_stop_requested(run_dir(run.run_id))


async def test_a_request_of_before_stops_no_later_run(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    async with stoppable(lambda: tmp_path) as stop:
        await asyncio.sleep(0.6)
    assert not stop.requested
    assert not is_stop_requested(tmp_path)


async def test_a_run_that_has_ended_cannot_be_stopped() -> None:
    result = await Agent(name="guard", model=Says(["Done."])).run("Watch.")
    with pytest.raises(ConfigurationError, match="does not go on any more"):
        request_stop(run_dir(result.run_id))


def test_aofctl_run_ends_with_what_it_has_started(tmp_path: Path) -> None:
    (tmp_path / "watch.yaml").write_text(
        "apiVersion: aof.dev/v1\nkind: Agent\nmetadata: {name: watcher}\n"
        "spec:\n  model: script:play.yaml\n  tools: [shell]\n"
        "  policy: {destructive: allow, write: allow}\n"
    )
    (tmp_path / "play.yaml").write_text(
        'steps:\n  - id: look\n    call: {tool: shell, arguments: {argv: "sleep 600"}}\n'
        "  - answer: Done.\n"
    )
    environment = os.environ | {"AOF_STATE_DIR": str(tmp_path / "state")}
    process = subprocess.Popen(
        [sys.executable, "-m", "aof_nb.cli", "run", "watch.yaml", "-i", "Watch."],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
            end = time.monotonic() + 60
            while not (found := [r for r in summaries() if r.turns and r.tool_calls]):
                assert time.monotonic() < end
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.1)
            request_stop(run_dir(found[0].run_id))
            _, said = process.communicate(timeout=20)
            [run] = summaries()
        assert process.returncode == 1
        assert "was stopped: somebody asked for it" in said
        assert "Traceback" not in said
        assert run.status == State.CANCELLED
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
