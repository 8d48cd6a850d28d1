"""AOF's YAML in all its shapes, and exact words for what is wrong with it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb import Agent, ContextPolicy, McpServer, load
from aof_nb.errors import ResourceError
from aof_nb.policy import Action
from aof_nb.ports import ToolSpec
from aof_nb.resources import agent_from_yaml, load_all, load_document, mcp_server_from_yaml

WHOLE = """\
apiVersion: {version}
kind: Agent
metadata:
  name: sre
  labels: {{team: shop}}
spec:
  model: openai:gpt-5
  {instructions}: You are a careful SRE.
  tools:
    - shell
    - name: kubectl
      config: {{allowed_commands: ["kubectl get"], timeout_secs: 30}}
  mcp_servers:
    - name: lab
      transport: stdio
      command: python
      args: [-m, aof_nb.lab.server, 8080]
      timeout_secs: 120
  memory: InMemory
  max_iterations: 7
  temperature: 0.2
  max_tokens: 1000
"""


@pytest.mark.parametrize("version", ["aof.dev/v1", "aof.dev/v1alpha1", "aof.sh/v1alpha1"])
@pytest.mark.parametrize("instructions", ["instructions", "system_prompt", "system"])
def test_an_agent_in_aofs_shape(version: str, instructions: str) -> None:
    agent = load(WHOLE.format(version=version, instructions=instructions))
    assert isinstance(agent, Agent)
    assert (agent.name, agent.model) == ("sre", "openai:gpt-5")
    assert agent.instructions == "You are a careful SRE."
    assert agent.tools == [
        "shell",
        {"name": "kubectl", "config": {"allow": ["kubectl get", "kubectl get *"], "timeout": 30}},
    ]
    [server] = agent.mcp_servers
    assert (server.args, server.timeout) == (("-m", "aof_nb.lab.server", "8080"), 120)
    assert agent.memory == "in_memory"
    assert agent.limits.max_turns == 7
    assert (agent.sampling.temperature, agent.sampling.max_tokens) == (0.2, 1000)
    assert agent.labels == {"team": "shop"}


def test_the_flat_form_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "triage.yaml").write_text("steps: [{answer: hi}]\n")
    file = tmp_path / "sre.yaml"
    file.write_text("name: sre\nmodel: script:triage.yaml\nmax_turns: 3\n")
    agent = load(file)
    assert isinstance(agent, Agent)
    assert agent.model == f"script:{tmp_path / 'triage.yaml'}"
    assert agent.limits.max_turns == 3


def test_several_documents() -> None:
    found = load_all("name: lab\nurl: http://127.0.0.1:1/mcp\n---\nname: a\nmodel: openai:gpt-5\n")
    assert [type(each) for each in found] == [McpServer, Agent]
    with pytest.raises(ResourceError, match="2 resources"):
        load("name: a\nmodel: m:m\n---\nname: b\nmodel: m:m\n")


def test_one_of_several_documents_is_loaded_whatever_the_others_are(tmp_path: Path) -> None:
    text = "kind: Trigger\n---\n---\nname: a\nmodel: openai:gpt-5\n---\nmodel: 3\n"
    loaded = load_document(text, 1, file="a.yaml", folder=tmp_path)
    assert isinstance(loaded, Agent)
    assert loaded.name == "a"
    with pytest.raises(ResourceError, match=r"a\.yaml:7: model: model is text"):
        load_document(text, 2, file="a.yaml", folder=tmp_path)
    with pytest.raises(ResourceError, match="there is no document 4"):
        load_document(text, 3, file="a.yaml", folder=tmp_path)


def test_servers_may_be_named() -> None:
    lab = mcp_server_from_yaml("command: python\nargs: [-V]\n", name="lab")
    agent = agent_from_yaml(
        "model: openai:gpt-5\nmcp_servers: [lab]\n", name="sre", servers={"lab": lab}
    )
    assert agent.mcp_servers == [lab]
    with pytest.raises(ResourceError, match=r"<cell>:2: mcp_servers\[0\]") as caught:
        agent_from_yaml("model: m:m\nmcp_servers: [lob]\n", servers={"lab": lab})
    assert "did you mean 'lab'" in caught.value.remedy


def test_two_servers_of_one_name() -> None:
    with pytest.raises(ResourceError, match=r"<cell>:3: mcp_servers\[0\]: there are two") as caught:
        agent_from_yaml("model: m:m\nmcp_servers:\n  - {name: a, command: x}\n  - a\n")
    assert "and 1 more problem" in str(caught.value)


def test_a_policy_and_limits() -> None:
    agent = agent_from_yaml(
        "model: m:m\npolicy:\n  destructive: deny\n  rules:\n"
        "    - {action: allow, tool: 'lab__*'}\nlimits: {max_turns: 4, max_seconds: 2m, "
        "max_cost: 0.5}\n"
    )
    spec = ToolSpec(name="lab__x", description="", input_schema={})
    assert agent.policy.decide(spec, {}) is Action.ALLOW
    assert agent.policy.destructive is Action.DENY
    assert (agent.limits.max_turns, agent.limits.max_seconds) == (4, 120.0)
    assert agent.limits.max_cost == 0.5


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("{}", ContextPolicy()),
        ("{window: 32768, keep_last: 5}", ContextPolicy(window=32_768, keep_last=5)),
        (
            "{window: {ollama: 8192}, warn_at: 0.5}",
            ContextPolicy(window={"ollama": 8192}, warn_at=0.5),
        ),
        ("{summary_model: false, compact_at: 1}", ContextPolicy(summary_model=False, compact_at=1)),
        ("{summary_model: 'openai:gpt-5-mini'}", ContextPolicy(summary_model="openai:gpt-5-mini")),
    ],
)
def test_what_happens_to_a_long_conversation(written: str, policy: ContextPolicy) -> None:
    assert agent_from_yaml(f"model: m:m\ncontext: {written}\n").context == policy


def test_aofs_tool_configuration_becomes_policy() -> None:
    agent = agent_from_yaml(
        "model: m:m\ntools:\n  - {name: shell, config: {blocked_commands: ['rm -rf /']}}\n"
        "  - {name: file, config: {read_only: true, allowed_paths: [/workspace]}}\n"
        "  - {name: git, enabled: false}\n"
    )
    assert agent.tools == [
        {"name": "shell", "config": {}},
        {"name": "files", "config": {"root": "/workspace"}},
    ]
    shell = ToolSpec(name="shell", description="", input_schema={})
    assert agent.policy.decide(shell, {"argv": "rm -rf /home"}) is Action.DENY
    write = ToolSpec(name="write_file", description="", input_schema={})
    assert agent.policy.decide(write, {}) is Action.DENY


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "t0ken")
    server = mcp_server_from_yaml(
        "url: ${URL_OF_TEST:-http://localhost/mcp}\nheaders: {Authorization: 'Bearer "
        "${TOKEN_OF_TEST}'}\n",
        name="x",
    )
    assert (server.url, dict(server.headers)) == (
        "http://localhost/mcp",
        {"Authorization": "Bearer t0ken"},
    )
    with pytest.raises(ResourceError, match=r"<cell>:2: env.A: .*UNSET_OF_TEST is not set"):
        mcp_server_from_yaml("command: x\nenv: {A: '${UNSET_OF_TEST}'}\n", name="x")


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("model: m:m\ninstrutions: x\n", "<cell>:2: instrutions: unknown field", "instructions"),
        ("name: a\n", "<cell>:1: model: model is missing", "add model"),
        ("model: m:m\ntemperature: 7\n", "<cell>:2: temperature: input should be less", ""),
        ("model: m:m\nmax_tokens: many\n", "<cell>:2: max_tokens: .*not 'many'", ""),
        (
            "model: m:m\npolicy:\n  wirte: ask\n",
            "<cell>:3: policy.wirte: unknown field",
            "did you mean 'write'",
        ),
        (
            "model: m:m\npolicy:\n  rules:\n    - tool: x\n      action: maybe\n",
            r"<cell>:5: policy.rules\[0\].action: .*'allow', 'ask' or 'deny'",
            "",
        ),
        ("model: m:m\nlimits: {max_seconds: soon}\n", "not a duration", "write 30s"),
        ("model: m:m\ncontext: {window: 8k}\n", "context.window: not a window, not '8k'", "8"),
        ("model: m:m\ncontext: {window: {ollama: 0}}\n", "context.window: not a window", "tokens"),
        ("model: m:m\ncontext: {warn_at: 80}\n", "context.warn_at: .*equal to 1", ""),
        ("model: m:m\ncontext: {summary_model: true}\n", "not a model", "false for no summary"),
        ("model: m:m\ncontext: {keep_lst: 3}\n", "unknown field", "did you mean 'keep_last'"),
        ("model: m:m\nsystem: a\nsystem_prompt: b\n", "say the same", "keep one"),
        ("kind: Agnet\n", "<cell>:1: kind: unknown kind 'Agnet'", "did you mean 'Agent'"),
        ("kind: Fleet\n", "kind Fleet is not supported yet", "Agent"),
        (
            "apiVersion: aof.dev/v9\nkind: Agent\nmetadata: {name: a}\nspec: {model: m:m}\n",
            "<cell>:1: apiVersion: unknown",
            "aof.dev/v1",
        ),
        (
            "apiVersion: aof.dev/v1\nkind: Agent\nmetadata: {nam: a}\nspec: {model: m:m}\n",
            "metadata.name",
            "",
        ),
        ("model: [m\n", "<cell>:.*not valid YAML", ""),
        ("- a\n", "a resource is a mapping", ""),
        ("", "it is empty", ""),
        ("model: m:m\ntools: [[x]]\n", r"tools\[0\]: a tool is a name or a mapping", ""),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str, remedy: str) -> None:
    with pytest.raises(ResourceError, match=said) as caught:
        agent_from_yaml(text)
    assert remedy in caught.value.remedy


def test_a_server_that_is_none() -> None:
    with pytest.raises(ResourceError, match="either a command or a url"):
        mcp_server_from_yaml("args: [x]\n", name="x")
    with pytest.raises(ResourceError, match="cannot be read"):
        load("no/such/file.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "a:b", "${X}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["name", "config", "command", "env", "type", "rules"]), inner
        )
    ),
    max_leaves=6,
)
FIELDS = ["model", "name", "tools", "mcp_servers", "memory", "policy", "limits", "env", "labels"]


@given(st.dictionaries(st.sampled_from(FIELDS), values, max_size=5))
def test_nothing_but_a_resource_error_comes_of_nonsense(spec: dict[str, object]) -> None:
    with contextlib.suppress(ResourceError):
        agent_from_yaml(json.dumps(spec))
