"""An agent's tools, servers and policy as the YAML that declares them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.mcp.spec import McpServer
from aof_nb.policy import Policy
from aof_nb.tools.function import FunctionTool

_SECRET = re.compile(r"token|key|secret|passw|auth|credential", re.IGNORECASE)
_SHORTEST_SECRET = 6
_KEPT = ("tools", "mcp_servers", "policy", "env", "environment")


def declared_yaml(agent: Agent, used: AbstractSet[str]) -> tuple[str, list[str]]:
    """The ``tools``, ``mcp_servers``, ``policy`` and ``env`` of an agent, as YAML.

    Secrets are not written: what stands in the environment, or has a name that says so, is read
    from there.

    Args:
        agent: The agent.
        used: The names of the tools that were called: functions that were not are left out.

    Returns:
        The YAML, and what of the agent cannot be declared in it.
    """
    notes: list[str] = []
    declared: dict[str, Any] = {}
    said = agent.declared or {}
    for field in _KEPT:
        if field in said:
            declared[field] = said[field]
    unused = {
        each.spec.name
        for each in agent.tools
        if isinstance(each, FunctionTool) and each.spec.name not in used
    }
    if "tools" in declared:
        declared["tools"] = [each for each in declared["tools"] if _name(each) not in unused]
    elif agent.tools:
        named = (_tool(each, notes) for each in agent.tools)
        declared["tools"] = [each for each in named if each and _name(each) not in unused]
    if agent.mcp_servers:
        written = {_name(each): each for each in said.get("mcp_servers") or ()}
        declared["mcp_servers"] = [
            # As it was written, so that what it reads from the environment still is.
            dict(as_written)
            if isinstance(as_written := written.get(each.name), Mapping)
            else _without_secrets(_server(each))
            for each in agent.mcp_servers
        ]
    if "policy" not in declared and agent.policy != Policy():
        declared["policy"] = _plain(agent.policy, Policy())
    return _dump(declared), notes


def _name(declared: Any) -> Any:
    return declared.get("name") if isinstance(declared, Mapping) else declared


def _tool(each: Any, notes: list[str]) -> Any:
    if isinstance(each, str):
        return each
    if isinstance(each, FunctionTool):
        return each.spec.name
    if isinstance(each, Mapping):
        return _without_secrets(dict(each))
    if callable(each) and hasattr(each, "__name__"):
        return each.__name__
    notes.append(f"the tool {each.spec.name} was made in Python: add it to tools by hand")
    return None


def _server(server: McpServer) -> dict[str, Any]:
    told = {key: value for key, value in _plain(server).items() if key != "transport"}
    if server.transport == "sse":
        told["transport"] = "sse"
    return told


def _without_secrets(value: Any, key: str = "") -> Any:
    """The same, in which what is secret is read from the environment."""
    if isinstance(value, Mapping):
        return {name: _without_secrets(each, str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return _reference(key, value) if isinstance(value, str) else value


def _reference(key: str, value: str) -> str:
    if value and os.environ.get(key) == value:
        return f"${{{key}}}"
    for name, known in os.environ.items():
        if len(known) >= _SHORTEST_SECRET and _SECRET.search(name):
            value = value.replace(known, f"${{{name}}}")
    if _SECRET.search(key) and "${" not in value:
        return f"${{{re.sub(r'[^A-Za-z0-9]', '_', key).upper()}}}"
    return value


def _plain(struct: Any, default: Any = None) -> dict[str, Any]:
    """A struct's fields that do not have their defaults, as plain values."""
    told = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        usual = getattr(default, field.name) if default is not None else field.default
        if value != usual and value not in ((), {}, None):
            told[field.name] = msgspec.to_builtins(value)
    return {key: _pruned(value) for key, value in told.items()}


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if each not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [_pruned(each) for each in value]
    return value


def _dump(value: dict[str, Any]) -> str:
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(msgspec.to_builtins(value, enc_hook=str) or {"tools": []}, out)
    return out.getvalue()
