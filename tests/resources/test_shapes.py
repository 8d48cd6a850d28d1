"""The three shapes of a file, each with all that it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aof_nb import Agent, McpServer, load
from aof_nb.policy import Action, Policy, Rule
from aof_nb.ports import Effect, Sampling
from aof_nb.resources import check, load_all

SHAPES = Path(__file__).parent / "shapes"


def loaded(name: str) -> Agent:
    agent = load(SHAPES / name)
    assert isinstance(agent, Agent)
    return agent


def test_v1_with_its_server_beside_it() -> None:
    agent = loaded("v1.yaml")
    lab = McpServer(name="lab", command="python", args=("-m", "aof_nb.lab.server"), timeout=120)
    assert load_all(SHAPES / "v1.yaml")[0] == lab
    assert agent.mcp_servers == [lab]
    assert (agent.name, agent.model) == ("shop-sre", "anthropic:claude-sonnet-5")
    assert (agent.labels, agent.description) == ({"team": "shop"}, "Looks after the shop.")
    assert agent.instructions == "You are a careful SRE."
    assert agent.tools == [
        "shell",
        {"name": "kubectl", "config": {"allow": ["kubectl get", "kubectl get *"], "timeout": 30}},
    ]
    assert (agent.memory, agent.max_context_messages) == ("disk", 40)
    rule = Rule(action=Action.ALLOW, tool="lab__*", effect=Effect.WRITE)
    assert agent.policy == Policy(write=Action.DENY, rules=(rule,))
    limits = agent.limits
    assert (limits.max_turns, limits.max_seconds, limits.max_tokens) == (12, 300, 200_000)
    assert check(SHAPES / "v1.yaml") == []


def test_v1alpha1_with_tools_by_type() -> None:
    agent = loaded("v1alpha1.yaml")
    assert agent.model == "google:gemini-2.5-flash"
    assert agent.instructions == "You find out what fills disks.\n"
    config = {"allow": ["df", "du"], "cwd": "/var", "timeout": 10}
    assert agent.tools == [{"name": "shell", "config": config}]
    assert agent.mcp_servers == [
        McpServer(
            name="files",
            command="npx",
            args=("-y", "@modelcontextprotocol/server-filesystem", "/var"),
            env={"LEVEL": "info"},
        )
    ]
    assert (agent.memory, agent.max_context_messages) == ("file:./doctor", 20)
    assert agent.sampling == Sampling(temperature=0.1, max_tokens=800)
    assert check(SHAPES / "v1alpha1.yaml") == []


def test_the_flat_form() -> None:
    agent = loaded("flat.yaml")
    assert agent.name == "reader"
    assert agent.tools == [{"name": "read_file", "config": {"root": "/var/log"}}]
    [server] = agent.mcp_servers
    assert (server.transport, server.url) == ("http", "http://127.0.0.1:9/mcp")
    assert server.tools == ("find_*",)
    assert agent.sampling == Sampling(temperature=0, reasoning_effort="low", stop=("END",))
    assert check(SHAPES / "flat.yaml") == []


@pytest.mark.parametrize("name", ["v1.yaml", "v1alpha1.yaml", "flat.yaml"])
def test_what_an_agent_declares_can_be_made(name: str) -> None:
    from aof_nb.tools import resolve_tools

    assert resolve_tools(loaded(name).tools)
