"""The playbook finds every fault through the MCP server, and repairs it only if it may."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aof_nb import Agent, McpServer
from aof_nb.lab import FAULTS, TRIAGE, Lab
from aof_nb.messages import Outcome

REPAIRS = {
    "bad-config": ("roll_back", {"service": "checkout", "version": None}),
    "memory-leak": ("restart_service", {"service": "worker"}),
    "db-lock": ("restart_service", {"service": "reports"}),
    "disk-full": ("free_space", {"volume": "logs"}),
    "slow-dependency": ("restart_service", {"service": "payments"}),
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))


def agent_for(lab: Lab) -> Agent:
    server = McpServer(
        name="lab",
        command=sys.executable,
        args=("-m", "aof_nb.lab.server", "--directory", str(lab.directory)),
    )
    return Agent(name="sre", model=f"script:{TRIAGE}", mcp_servers=[server])


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_agent_repairs_it_if_it_may(lab: Lab, fault: str) -> None:
    assert (await asyncio.to_thread(lab.wait_until_healthy)).healthy
    await asyncio.to_thread(lab.inject, fault)
    agent = agent_for(lab)

    refused = await agent.run("Checkout fails. Find the cause and mend it.", approve="never")
    assert "refused" in refused.text
    denied = [
        result.name
        for message in refused.messages
        for result in message.tool_results
        if result.outcome is Outcome.DENIED
    ]
    assert len(denied) == 1
    assert not (await asyncio.to_thread(lab.probe)).healthy

    before = len(lab.actions())
    mended = await agent.run("Checkout fails. Find the cause and mend it.", approve="all")
    assert mended.models == ("script:triage.yaml (scripted)",)
    assert "**Cause:**" in mended.text
    [action] = lab.actions()[before:]
    assert (action["action"], action["arguments"]) == REPAIRS[fault]
    assert (await asyncio.to_thread(lab.wait_until_healthy)).healthy


async def test_without_a_fault_it_touches_nothing(lab: Lab) -> None:
    await asyncio.to_thread(lab.restart_service, "checkout")
    await asyncio.to_thread(lab.wait_until_healthy)
    for name in ("checkout", "worker", "reports"):
        (lab.directory / "volumes" / "logs" / f"{name}.log").write_text("")
    before = len(lab.actions())
    result = await agent_for(lab).run("Is all well?", approve="all")
    assert "no evidence" in result.text
    assert len(lab.actions()) == before
