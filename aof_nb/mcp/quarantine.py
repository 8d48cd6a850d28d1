"""Which of a server's tools models are told of, and what people are told of the rest."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aof_nb.errors import McpError
from aof_nb.markdown import revealed
from aof_nb.mcp.definition import Definition, definition_of
from aof_nb.mcp.findings import findings, in_words
from aof_nb.mcp.pins import ServerPins, check
from aof_nb.mcp.spec import McpServer
from aof_nb.readable import counted, printable

if TYPE_CHECKING:
    from mcp_types import Tool as McpToolDefinition

_MOST_NAMED = 3


@dataclass
class Admitted:
    """What a server's definitions have come to.

    Args:
        tools: Those that models may be told of.
        warnings: What people should know, a line each.
    """

    tools: list[McpToolDefinition] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def admit(
    server: McpServer,
    offered: Sequence[McpToolDefinition],
    wanted: Collection[str],
    others: Collection[str] = (),
) -> Admitted:
    """Holds a server's tools against what is known of them. It reads and writes files.

    Args:
        server: The server.
        offered: All that it offers now.
        wanted: The names of those that an agent may use.
        others: Names of tools that are not this server's.
    """
    admitted = Admitted()
    if not offered:
        return admitted
    definitions = [definition_of(each) for each in offered]
    try:
        pins = check(server, definitions)
    except McpError as error:
        admitted.warnings.append(f"{error.message}; its tools are not offered; {error.remedy}")
        return admitted
    except OSError as error:
        # Without a place for state nothing is known of any server, and runs go on.
        pins = ServerPins(server=server.name, place="", tools={})
        admitted.warnings.append(
            f"MCP server {server.name!r}: its tools' definitions cannot be kept, so that changes "
            f"will not be noticed: {error}"
        )
    changed: list[str] = []
    for each, definition in zip(offered, definitions, strict=True):
        if each.name not in wanted:
            continue
        pin = pins.tools.get(each.name)
        if pin is None or pin.definition == definition:
            admitted.tools.append(each)
        else:
            changed.append(each.name)
    name = printable(revealed(server.name))
    if changed:
        theirs = "its definition has" if len(changed) == 1 else "their definitions have"
        admitted.warnings.append(
            f"MCP server {name!r}: {_named(changed)} left out, as {theirs} changed; "
            f"aofctl mcp diff {shlex.quote(name)} shows how, "
            f"aofctl mcp accept {shlex.quote(name)} accepts it"
        )
    admitted.warnings += _found(name, pins, admitted.tools, definitions, others)
    return admitted


def _found(
    name: str,
    pins: ServerPins,
    tools: Sequence[McpToolDefinition],
    definitions: Sequence[Definition],
    others: Collection[str],
) -> list[str]:
    """A line on what was found in definitions that no person has accepted."""
    shown = {each.name for each in tools}
    found = [
        finding
        for definition in definitions
        if definition.name in shown
        and not ((pin := pins.tools.get(definition.name)) and pin.accepted)
        for finding in findings(definition, others)
    ]
    if not found:
        return []
    first = found[0]
    more = len({each.tool for each in found}) - 1
    rest = f", and {counted(more, 'more tool')}" if more else ""
    line = (
        f"MCP server {name!r}: look at the definition of {_named([first.tool])}{rest}: "
        f"{in_words(first)}; aofctl mcp tools {shlex.quote(name)} shows all, "
        f"aofctl mcp accept {shlex.quote(name)} ends this warning"
    )
    return [line]


def _named(tools: Sequence[str]) -> str:
    named = [printable(revealed(each)) for each in dict.fromkeys(tools)]
    more = len(named) - _MOST_NAMED
    shown = ", ".join(named[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
