"""Whatever is written, it is an agent, a server, or a ResourceError that says what is wrong."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel

from aof_nb.errors import ResourceError
from aof_nb.resources import agent_from_yaml, load_all, mcp_server_from_yaml
from aof_nb.resources.problems import known_fields
from aof_nb.resources.schema import (
    AgentSpec,
    LimitsSpec,
    MemorySpec,
    PolicySpec,
    RuleSpec,
    SamplingSpec,
    ServerSpec,
)
from aof_nb.resources.tool_schema import FilesConfig, HttpConfig, ShellConfig, ToolEntry

WORDS = ["", "x", "shell", "mcp", "Shell", "http", "files", "git", "m:m", "ask", "30s", "disk:x"]
VARIABLES = ["${UNSET_OF_TEST}", "${UNSET_OF_TEST:-x}", "${", "$"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.sampled_from(WORDS + VARIABLES)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WORDS, "name", "type", "config"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def written(
    model: type[BaseModel], /, **nested: SearchStrategy[object]
) -> SearchStrategy[dict[str, object]]:
    """Mappings with fields of a model, in any spelling, and now and then another one."""
    names = [*known_fields(model, ()), "other"]
    field = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), nested.get(name, anything) | anything)
    )
    return st.lists(field, max_size=3).map(dict)


configs = written(ShellConfig) | written(FilesConfig) | written(HttpConfig) | written(ServerSpec)
tools = st.lists(st.sampled_from(WORDS) | written(ToolEntry, config=configs), max_size=3)
servers = st.lists(st.sampled_from(WORDS) | written(ServerSpec), max_size=3)
policies = written(PolicySpec, rules=st.lists(written(RuleSpec), max_size=2))
agents = written(
    AgentSpec,
    tools=tools,
    mcp_servers=servers,
    memory=written(MemorySpec),
    policy=policies,
    limits=written(LimitsSpec),
    parameters=written(SamplingSpec),
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "apiVersion": st.sampled_from(["aof.dev/v1", "x"]) | anything,
        "kind": st.sampled_from(["Agent", "McpServer", "Fleet", "Playbook"]) | anything,
        "metadata": st.fixed_dictionaries({"name": anything}) | anything,
        "spec": agents | written(ServerSpec) | anything,
        "other": anything,
    },
)
slow = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@slow
@given(agents)
def test_an_agents_fields(spec: dict[str, object]) -> None:
    with contextlib.suppress(ResourceError):
        agent_from_yaml(json.dumps({"model": "m:m", **spec}))


@slow
@given(written(ServerSpec))
def test_a_servers_fields(spec: dict[str, object]) -> None:
    with contextlib.suppress(ResourceError):
        mcp_server_from_yaml(json.dumps({"command": "x", **spec}), name="x")


@slow
@given(st.lists(documents, max_size=3))
def test_whole_documents(written: list[dict[str, object]]) -> None:
    text = "\n---\n".join(json.dumps(each) for each in written)
    with contextlib.suppress(ResourceError):
        load_all(text + "\n")


@slow
@given(st.text(alphabet="abk:-{}[]&*!|>%@`'\"#?,\n \t0.1~=<\\\x00\x85é", max_size=30))
def test_any_text(text: str) -> None:
    with contextlib.suppress(ResourceError):
        agent_from_yaml(text)


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x\n", "a: &a [*a]\n", "? [a]: b\n"])
def test_yaml_that_is_more_than_data(text: str) -> None:
    with pytest.raises(ResourceError):
        agent_from_yaml(text)
