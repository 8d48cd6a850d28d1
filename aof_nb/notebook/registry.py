"""The agents and MCP servers that this kernel's cells have defined.

They are kept in the module, not in the magics, so that reloading the extension loses nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import Usage

agents: dict[str, Agent] = {}
"""By name, as ``%%aof_agent`` defined them."""

servers: dict[str, McpServer] = {}
"""By name, as ``%%aof_mcp`` defined them."""

spent: dict[str, Mapping[str, Usage]] = {}
"""What the runs of this kernel have used, by run and by model."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A run that this kernel has carried through, or gone on with.

    Args:
        agent: Who was asked.
        prompt: What was asked.
        at: When, in seconds of the Unix epoch.
        status: How the run ended.
        duration: Seconds.
    """

    agent: str
    prompt: str
    at: float
    status: str
    duration: float


asked: dict[str, Asked] = {}
"""What was asked in this kernel, by run, the last one at the end."""


def all_agents(variables: Mapping[str, Any]) -> dict[str, Agent]:
    """The agents that cells have defined or variables hold, by name.

    Args:
        variables: The user's variables.
    """
    # A kernel that goes on may define others while this is looked through.
    held = {name: each for name, each in list(variables.items()) if isinstance(each, Agent)}
    return {name: each for name, each in held.items() if not name.startswith("_")} | agents


def find_agent(name: str, variables: Mapping[str, Any]) -> Agent:
    """The agent of that name: one that a cell defined, or a variable that holds one.

    Args:
        name: What it is called.
        variables: The user's variables.

    Raises:
        ConfigurationError: If there is none; names the nearest.
    """
    if name in agents:
        return agents[name]
    held = variables.get(name)
    if isinstance(held, Agent):
        return held
    known = all_agents(variables)
    there = f"there are {', '.join(known)}; or " if known else ""
    raise ConfigurationError(
        f"there is no agent {name!r}{near(name, known)}",
        remedy=f"{there}define it: %%aof_agent {name}, with its model and tools as YAML below",
    )


def near(name: str, known: Iterable[str]) -> str:
    """Says which known name was probably meant; empty if none is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
