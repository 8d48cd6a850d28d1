"""The lab over MCP: what it offers, and that it says when there is no lab."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from aof_nb import McpServer
from aof_nb.lab import Lab
from aof_nb.mcp.pool import McpTools, pool
from aof_nb.ports import Effect, ToolContext

CONTEXT = ToolContext("run", "call", lambda _: None)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))


async def tools_of(server: McpServer) -> McpTools:
    offered = await pool().tools([server])
    assert offered.warnings == []
    return offered


async def test_its_tools_and_their_effects_over_stdio(lab: Lab) -> None:
    args = ("-m", "aof_nb.lab.server", "--directory", str(lab.directory))
    offered = await tools_of(McpServer(name="lab", command=sys.executable, args=args))
    tools = {tool.spec.name.removeprefix("lab__"): tool for tool in offered.tools}
    assert {name: tool.spec.effect for name, tool in tools.items()} == {
        "list_services": Effect.READ,
        "read_log": Effect.READ,
        "search_logs": Effect.READ,
        "query_metrics": Effect.READ,
        "read_config": Effect.READ,
        "diff_config": Effect.READ,
        "deploy_history": Effect.READ,
        "disk_usage": Effect.READ,
        "restart_service": Effect.WRITE,
        "roll_back": Effect.WRITE,
        "free_space": Effect.DESTRUCTIVE,
    }
    asked = {
        "list_services": ({}, "checkout"),
        "read_log": ({"service": "reports", "lines": 1}, "report"),
        "query_metrics": ({"service": "checkout", "name": "log_volume*"}, "log_volume_used_bytes"),
        "read_config": ({"service": "checkout"}, "timeout_ms"),
        "diff_config": ({"service": "checkout"}, "rounding"),
        "deploy_history": ({}, "mira"),
        "disk_usage": ({}, "quota_bytes"),
        "search_logs": ({"pattern": "started"}, "started"),
    }
    for name, (arguments, said) in asked.items():
        output = await tools[name].call(arguments, CONTEXT)
        assert not output.is_error
        assert said in output.content
    wrong = await tools["read_log"].call({"service": "nginx"}, CONTEXT)
    assert wrong.is_error
    assert "payments, checkout" in wrong.content
    await pool().close()


async def test_over_http_and_without_a_lab(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "aof_nb.lab.server", "--http", str(port), "--directory", str(tmp_path)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        spec = McpServer(name="lab", url=f"http://127.0.0.1:{port}/mcp")
        for _ in range(100):
            offered = await pool().tools([spec])
            if not offered.warnings:
                break
            await asyncio.sleep(0.2)
        [tool] = [each for each in offered.tools if each.spec.name == "lab__disk_usage"]
        output = await tool.call({}, CONTEXT)
        assert output.is_error
        assert "aofctl lab up" in output.content
        await pool().close()
    finally:
        server.terminate()
        await server.wait()
