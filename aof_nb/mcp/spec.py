"""What a user declares of an MCP server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from aof_nb.errors import ConfigurationError

Transport: TypeAlias = Literal["stdio", "http", "sse"]


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP server: a command to start, or a URL to connect to.

    Args:
        name: Unique among an agent's servers; prefixes its tools' names.
        command: The program of a stdio server.
        args: Its arguments.
        env: Variables added to the few it inherits.
        cwd: Its working directory.
        url: The endpoint of a remote server.
        headers: Sent with each HTTP request.
        transport: ``stdio``, ``http`` (streamable HTTP) or ``sse``; found out from the rest
            if not given.
        timeout: Seconds for the connection, and for a call without progress.
        tools: Shell-style patterns of the tools to offer; all if empty.

    Raises:
        ConfigurationError: If neither or both of command and url are given.

    Example:
        >>> McpServer(name="time", command="mcp-server-time").transport
        'stdio'
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = {}
    transport: Transport | None = None
    timeout: float = 60.0
    tools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.command is None) == (self.url is None):
            raise ConfigurationError(
                f"MCP server {self.name!r}: give either a command or a url",
                remedy="command: with args: starts a local server; url: connects to a remote one",
            )
        if self.transport is None:
            msgspec.structs.force_setattr(self, "transport", "stdio" if self.command else "http")
        elif (self.transport == "stdio") != (self.command is not None):
            raise ConfigurationError(
                f"MCP server {self.name!r}: transport {self.transport!r} does not go with "
                f"{'command' if self.command else 'url'}",
                remedy="stdio goes with command, http and sse go with url",
            )
        for field in ("args", "tools"):
            msgspec.structs.force_setattr(self, field, tuple(getattr(self, field)))
