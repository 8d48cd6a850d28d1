"""The MCP servers that a notebook and the files beside it know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.errors import AofError
from aof_nb.mcp.pins import ServerPins, pinned, pins_of, place_of
from aof_nb.mcp.spec import McpServer
from aof_nb.notebook import registry
from aof_nb.redact import Redactor
from aof_nb.resources import load_all
from aof_nb.resources.found import files_in


@dataclass
class KnownServer:
    """A server that is declared somewhere.

    Args:
        id: What it is known by on the page.
        spec: The server, with all of its tools.
        where: How it is reached, without secrets.
        origins: Where it is declared.
        agents: Who uses it, by a name that tells them apart.
        pins: What is known of its tools; None if it was never connected.
    """

    id: str
    spec: McpServer
    where: str
    origins: list[str] = field(default_factory=list)
    agents: dict[str, Agent] = field(default_factory=dict)
    pins: ServerPins | None = None


@dataclass
class Found:
    """What there is.

    Args:
        servers: By their ids.
        strangers: What is known of servers that are no longer declared.
        problems: What could not be read, and what to do about it.
    """

    servers: dict[str, KnownServer] = field(default_factory=dict)
    strangers: list[ServerPins] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


Declared = list[tuple[str, Agent | McpServer]]


def declared_in_files(directory: Path) -> tuple[Declared, list[str]]:
    """The agents and servers of a directory's YAML files, and what is wrong with files.

    Args:
        directory: Where to look.
    """
    found: Declared = []
    problems: list[str] = []
    for file in files_in(directory):
        if file.suffix == ".ipynb":
            continue
        try:
            place = str(file.relative_to(directory))
            found += [(place, each) for each in load_all(file)]
        except AofError as error:
            problems.append(f"{error.message} → {error.remedy}" if error.remedy else error.message)
    return found, problems


def declared_in_notebook(variables: Mapping[str, Any]) -> Declared:
    """The agents and servers that cells have defined or variables hold.

    Args:
        variables: The notebook's variables.
    """
    held = [
        (f"variable {name}", each)
        for name, each in list(variables.items())
        if isinstance(each, McpServer) and not name.startswith("_")
    ]
    cells = [("%%aof_mcp", each) for each in list(registry.servers.values())]
    agents = [("this notebook", each) for each in registry.all_agents(variables).values()]
    return [*cells, *held, *agents]


def known_servers(declared: Declared) -> Found:
    """The servers of what is declared, and what is known of their tools. It reads files.

    Args:
        declared: The agents and servers, with where they are declared.
    """
    found = Found()
    redactor = Redactor.from_environment()
    for place, each in declared:
        if isinstance(each, McpServer):
            _known(found, each, redactor).origins.append(place)
            continue
        for spec in each.mcp_servers:
            known = _known(found, spec, redactor)
            known.origins.append(f"agent {each.name}")
            same = each.name in known.agents and known.agents[each.name] is not each
            known.agents[f"{each.name} ({place})" if same else each.name] = each
    try:
        for known in found.servers.values():
            known.pins = pins_of(known.spec)
        here = [each.pins for each in found.servers.values()]
        found.strangers = [each for each in pinned() if each not in here]
    except AofError as error:
        found.problems.append(f"{error.message} → {error.remedy}")
    return found


def _known(found: Found, spec: McpServer, redactor: Redactor) -> KnownServer:
    spec = msgspec.structs.replace(spec, tools=())
    key = f"{spec.name}:{hash(msgspec.json.encode(spec, order='deterministic')):x}"
    if key not in found.servers:
        words = " ".join([place_of(spec), *spec.args])
        found.servers[key] = KnownServer(key, spec, redactor.text(words))
    return found.servers[key]
