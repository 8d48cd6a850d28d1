"""AOF's ways of writing tools: what becomes a tool, a server, a rule, and what is said."""

from __future__ import annotations

import pytest

from aof_nb import tool
from aof_nb.agent import Agent
from aof_nb.errors import ResourceError
from aof_nb.policy import Action
from aof_nb.ports import ToolSpec
from aof_nb.resources import agent_from_yaml
from aof_nb.tools import resolve_tools

SERVER = "mcp_servers: [{name: github, command: npx}]\n"


def agent(text: str) -> Agent:
    return agent_from_yaml(f"model: openai:gpt-5\n{text}")


def decided(made: Agent, tool: str, arguments: dict[str, object]) -> Action:
    spec = ToolSpec(name=tool, description="", input_schema={})
    return made.policy.decide(spec, arguments)


def test_blocked_commands_are_denied_whatever_else_is_allowed() -> None:
    made = agent(
        "tools:\n"
        "  - {name: shell, config: {blocked_commands: ['rm -rf /', mkfs]}}\n"
        "  - {name: kubectl, config: {blocked_commands: [kubectl delete]}}\n"
        "policy: {rules: [{action: allow, tool: '*'}]}\n"
    )
    assert decided(made, "shell", {"argv": ["rm", "-rf", "/home"]}) is Action.DENY
    assert decided(made, "shell", {"argv": "mkfs.ext4 /dev/sda"}) is Action.DENY
    assert decided(made, "shell", {"argv": "df -h"}) is Action.ALLOW
    assert decided(made, "kubectl", {"args": ["delete", "pod", "x"]}) is Action.DENY
    assert decided(made, "kubectl", {"args": ["get", "pod"]}) is Action.ALLOW


def test_a_shell_that_expands_is_denied_by_its_own_argument() -> None:
    made = agent("tools: [{name: shell, config: {expand: true, blocked_commands: [mkfs]}}]\n")
    assert decided(made, "shell", {"command": "mkfs /dev/sda"}) is Action.DENY


def test_files_that_are_read_only() -> None:
    made = agent("tools: [{name: file, config: {allowed_paths: [/srv], read_only: true}}]\n")
    assert made.tools == [{"name": "files", "config": {"root": "/srv"}}]
    assert decided(made, "write_file", {}) is Action.DENY


def test_http_and_its_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "t0ken")
    made = agent(
        "tools:\n  - type: HTTP\n    timeout_secs: 5\n    config:\n"
        "      allowed_methods: [GET, POST]\n      allow_hosts: localhost\n"
        "      headers: {Authorization: 'Bearer ${TOKEN_OF_TEST}'}\n"
    )
    assert made.tools == [
        {
            "name": "http",
            "config": {
                "methods": ["GET", "POST"],
                "allow_hosts": ["localhost"],
                "headers": {"Authorization": "Bearer t0ken"},
                "timeout": 5,
            },
        }
    ]
    assert resolve_tools(made.tools)


def test_the_agents_environment_reaches_commands_and_servers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NAMESPACE_OF_TEST", "shop")
    made = agent(
        "environment: {NS: '${NAMESPACE_OF_TEST}', LEVEL: 3, GONE: '${UNSET_OF_TEST}'}\n"
        "tools: [kubectl, http, {name: shell, config: {env: {LEVEL: '4'}}}]\n" + SERVER
    )
    assert made.tools == [
        {"name": "kubectl", "config": {"env": {"NS": "shop", "LEVEL": "3"}}},
        "http",
        {"name": "shell", "config": {"env": {"NS": "shop", "LEVEL": "4"}}},
    ]
    assert dict(made.mcp_servers[0].env) == {"NS": "shop", "LEVEL": "3"}
    [record] = caplog.records
    assert "<cell>:2: environment.GONE: left out" in record.getMessage()


@pytest.mark.parametrize(
    ("tools", "offered"),
    [
        ("{name: search_code, source: mcp, server: github}", ("search_code",)),
        ("{name: github, type: MCP}", ()),
        ("{name: mcp, config: {server: github}}", ()),
        ("{name: x, source: mcp, server: github}, {type: MCP, server: github}", ()),
    ],
)
def test_tools_named_of_a_server(tools: str, offered: tuple[str, ...]) -> None:
    made = agent(f"tools: [{tools}]\n{SERVER}")
    assert made.tools == []
    assert made.mcp_servers[0].tools == offered


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("[shel]", "tools[0]: there is no built-in tool 'shel' (did you mean 'shell'?)"),
        ("[{nam: shell}]", "tools[0].nam: unknown field 'nam' (did you mean 'name'?)"),
        ("[{config: {}}]", "tools[0]: the tool has no name"),
        ("[{type: MCP}]", "tools[0]: it does not say which MCP server"),
        ("[{name: http, config: {timeout: soon}}]", "tools[0].config.timeout: not a duration"),
        ("[{name: git, config: {env: {A: [b]}}}]", "tools[0].config.env.A: A is text"),
        ("[{name: git, config: {env: {A: '${UNSET_OF_TEST}'}}}]", "UNSET_OF_TEST is not set"),
        ("[{type: MCP, config: {command: [npx]}}]", "tools[0].config: the server has no name"),
        ("[{type: MCP, config: {name: github, command: x}}]", "two MCP servers 'github'"),
        ("shell", "tools: tools is a list, not 'shell'"),
    ],
)
def test_what_is_wrong_with_tools(tools: str, said: str) -> None:
    with pytest.raises(ResourceError) as caught:
        agent(f"tools: {tools}\n{SERVER}")
    assert str(caught.value).startswith("<cell>:2: tools")
    assert said in f"{caught.value} ({caught.value.remedy})"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("[github]", "tools[0]: there is no built-in tool 'github'"),
        ("[flux_logs]", "use flux, which runs its program"),
        ("[{name: git, config: {allowed: [log]}}]", "allowed has no effect on git"),
        ("[{name: files, timeout: 3}]", "a timeout has no effect on files"),
        ("[{name: files, config: {allowed_paths: [/a, /b]}}]", "only the first is used: /a"),
        ("[{name: x, source: mcp, server: githib}]", "(did you mean 'github'?)"),
        ("[{name: git, source: plugin}]", "source 'plugin' has no effect"),
    ],
)
def test_what_has_no_effect_is_said_once(
    tools: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent(f"tools: {tools}\n{SERVER}")
    [record] = caplog.records
    assert said in record.getMessage()
    assert record.getMessage().startswith("<cell>:2: tools")


def test_a_tool_that_is_not_enabled_is_none() -> None:
    assert agent("tools: [{name: git, enabled: false}]\n").tools == []


def test_functions_with_tool_above_them() -> None:
    @tool
    def disks() -> str:
        """The disks."""
        return "fine"

    variables = {"disks": disks, "plain": print, "shell": "a string"}
    made = agent_from_yaml("model: m:m\ntools: [disks, shell]\n", functions=variables)
    assert made.tools == [disks, "shell"]
    with pytest.raises(ResourceError, match="plain is not a tool yet") as caught:
        agent_from_yaml("model: m:m\ntools: [plain]\n", functions=variables)
    assert "@tool" in caught.value.remedy
