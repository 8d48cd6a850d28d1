"""Protocol 2026-07-28, which has no handshake, no session and no unsolicited notifications."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aof_nb import McpServer
from aof_nb.events import ToolProgress
from aof_nb.mcp.elicitation import accept_defaults
from aof_nb.mcp.pool import McpPool
from tests.mcp.conftest import Run, Serve, offered, until

SERVER = Path(__file__).with_name("modern_server.py")


@pytest.fixture(params=["stdio", "http"])
def modern(request: pytest.FixtureRequest, serve: Serve) -> McpServer:
    if request.param == "stdio":
        return McpServer(name="modern", command=sys.executable, args=(str(SERVER),))
    port = serve(sys.executable, str(SERVER), "http").port
    return McpServer(name="modern", url=f"http://127.0.0.1:{port}/mcp")


async def test_calls_progress_log_messages_and_changed_tools(
    mcp: McpPool, modern: McpServer, run: Run, state: Path
) -> None:
    tools = await offered(mcp, modern)
    assert (await run.call(tools["modern__version"])).content == "2026-07-28"
    assert (await run.call(tools["modern__add"], a=2, b=3)).data == {"result": 5}
    assert (await run.call(tools["modern__steps"], count=2)).content == "done"
    assert run.events == [
        ToolProgress("call-1", f"step {step}", float(step), 2.0) for step in (1, 2)
    ]
    assert "[warning] the disk is nearly full" in (state / "mcp" / "modern.log").read_text()
    await run.call(tools["modern__learn"])
    assert "modern__learnt" in await offered(mcp, modern)


async def test_questions_are_answered_by_the_handler(
    mcp: McpPool, modern: McpServer, run: Run
) -> None:
    mcp.on_elicitation = accept_defaults
    tools = await offered(mcp, modern)
    assert (await run.call(tools["modern__with_reason"])).content == "because of OPS-1"


async def test_without_a_handler_a_question_fails_the_call(
    mcp: McpPool, modern: McpServer, run: Run
) -> None:
    from aof_nb.errors import ToolError

    tools = await offered(mcp, modern)
    with pytest.raises(ToolError, match="mcp:modern"):
        await run.call(tools["modern__with_reason"])


async def test_cancelling_a_call_ends_it_on_the_server(
    mcp: McpPool, modern: McpServer, run: Run, state: Path, tmp_path: Path
) -> None:
    tools = await offered(mcp, modern)
    waiting = asyncio.create_task(run.call(tools["modern__wait"]))
    log = state / "mcp" / "modern.log" if modern.command else tmp_path / "server.log"
    await until(lambda: "waiting" in log.read_text())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: "no more waiting" in log.read_text())
    assert (await run.call(tools["modern__add"], a=1, b=1)).data == {"result": 2}
