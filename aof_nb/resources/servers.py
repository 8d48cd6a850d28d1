"""MCP servers from their specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.mcp.spec import McpServer, Transport
from aof_nb.resources.interpolation import Unset, interpolate
from aof_nb.resources.problems import Findings, Path, near
from aof_nb.resources.schema import ServerSpec


def make_server(
    spec: Mapping[str, Any],
    findings: Findings,
    prefix: Path,
    *,
    name: str = "",
    env: Mapping[str, str] | None = None,
) -> McpServer | None:
    """A server from its spec; None if it has problems, which are noted.

    Args:
        spec: As it was written.
        findings: Takes the problems.
        prefix: Where the spec stands in its document.
        name: If the spec has none.
        env: Variables it gets besides its own.
    """
    parsed = findings.validated(ServerSpec, spec, prefix)
    if parsed is None:
        return None
    for field in ("init_options", "auto_reconnect"):
        if field in spec:
            findings.warn((*prefix, field), f"{field} has no effect yet")
    given = parsed.name or name
    if not given:
        findings.add(prefix, "the server has no name", "name: ...")
        return None
    filled = _filled(parsed, findings, prefix)
    if filled is None:
        return None
    transport: Transport | None = None
    if parsed.transport is not None:
        transport = "http" if parsed.transport == "streamable-http" else parsed.transport
    try:
        return McpServer(
            name=given,
            command=filled["command"],
            args=tuple(filled["args"]),
            env={**(env or {}), **filled["env"]},
            cwd=filled["cwd"],
            url=filled["url"],
            headers=filled["headers"],
            transport=transport,
            tools=tuple(parsed.tools),
            **({} if parsed.timeout is None else {"timeout": parsed.timeout}),
        )
    except ConfigurationError as error:
        findings.add(prefix, error.message, error.remedy)
        return None


def named_server(
    name: str, servers: Mapping[str, McpServer], findings: Findings, path: Path
) -> McpServer | None:
    """A server that was declared elsewhere; None if there is none, which is noted."""
    found = servers.get(name)
    if found is None:
        remedy = near(name, servers) if servers else "declare it with %%aof_mcp, or write it out"
        findings.add(path, f"there is no MCP server {name!r}", remedy)
    return found


def _filled(parsed: ServerSpec, findings: Findings, prefix: Path) -> dict[str, Any] | None:
    written = parsed.model_dump(include={"command", "args", "env", "cwd", "url", "headers"})
    complete = True

    def fill(value: Any, path: Path) -> Any:
        nonlocal complete
        if isinstance(value, list):
            return [fill(each, (*path, place)) for place, each in enumerate(value)]
        if isinstance(value, dict):
            return {key: fill(each, (*path, key)) for key, each in value.items()}
        try:
            return interpolate(value) if isinstance(value, str) else value
        except Unset as unset:
            findings.unset(path, unset.name)
            complete = False
            return value

    filled = {field: fill(value, (*prefix, field)) for field, value in written.items()}
    return filled if complete else None
