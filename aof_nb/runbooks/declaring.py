"""An agent's tools, servers and policy as the YAML that declares them."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.mcp.spec import McpServer
from aof_nb.policy import Policy
from aof_nb.tools.function import FunctionTool

_SECRET = re.compile(r"token|key|secret|passw|auth|credential", re.IGNORECASE)
_KEPT = ("tools", "mcp_servers", "policy", "env", "environment")


def declared_yaml(agent: Agent) -> tuple[str, list[str]]:
    """The ``tools``, ``mcp_servers``, ``policy`` and ``env`` of an agent, as YAML.

    Secrets are not written: what stands in the environment, or has a name that says so, is read
    from there.

    Returns:
        The YAML, and what of the agent cannot be declared in it.
    """
    notes: list[str] = []
    declared: dict[str, Any] = {}
    said = agent.declared or {}
    for field in _KEPT:
        if field in said:
            declared[field] = said[field]
    if "tools" not in declared and agent.tools:
        declared["tools"] = [name for each in agent.tools if (name := _tool(each, notes))]
    if agent.mcp_servers:
        declared["mcp_servers"] = [_server(each) for each in agent.mcp_servers]
    if "policy" not in declared and agent.policy != Policy():
        declared["policy"] = _plain(agent.policy, Policy())
    return _dump(declared), notes


def _tool(each: Any, notes: list[str]) -> Any:
    if isinstance(each, str):
        return each
    if isinstance(each, FunctionTool):
        return each.spec.name
    if callable(each) and hasattr(each, "__name__"):
        return each.__name__
    if isinstance(each, dict):
        return each
    notes.append(f"the tool {each.spec.name} was made in Python: add it to tools by hand")
    return None


def _server(server: McpServer) -> dict[str, Any]:
    told = {key: value for key, value in _plain(server).items() if key != "transport"}
    if server.transport == "sse":
        told["transport"] = "sse"
    for field in ("env", "headers"):
        if field in told:
            told[field] = {key: _reference(key, value) for key, value in told[field].items()}
    return told


def _reference(key: str, value: str) -> str:
    for name, known in os.environ.items():
        if value and known and value == known:
            return f"${{{name}}}"
    return f"${{{key}}}" if _SECRET.search(key) else value


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
