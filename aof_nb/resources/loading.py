"""Resources from files and text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from aof_nb.agent import Agent
from aof_nb.errors import ResourceError
from aof_nb.mcp.spec import McpServer
from aof_nb.resources.agents import make_agent
from aof_nb.resources.documents import Document, is_playbook, read_document
from aof_nb.resources.problems import Findings
from aof_nb.resources.servers import make_server
from aof_nb.yaml_text import parse_documents

Resource: TypeAlias = Agent | McpServer

_logger = logging.getLogger("aof_nb.resources")


def load(source: str | Path) -> Resource:
    r"""Loads one agent or MCP server.

    Args:
        source: A YAML file's path, or YAML text of more than one line.

    Raises:
        ResourceError: If it is wrong, naming file, line and field; or if it holds more than
            one resource.

    Example:
        >>> load("name: sre\nmodel: openai:gpt-5\n").name
        'sre'
    """
    found = load_all(source)
    agents = [each for each in found if isinstance(each, Agent)]
    wanted = agents or found
    if not wanted:
        raise ResourceError(
            "there is no agent and no MCP server in it",
            file=_text_and_file(source)[1],
            remedy="give an agent's file; a playbook is named by an agent, as model: script:FILE",
        )
    if len(wanted) != 1:
        file = _text_and_file(source)[1]
        raise ResourceError(
            f"{len(wanted)} resources where one is wanted",
            file=file,
            remedy="use load_all for a file of several",
        )
    return wanted[0]


def load_all(source: str | Path) -> list[Resource]:
    """Loads every agent and MCP server of a file or a text, in its order.

    An agent may name the servers of the same file in its ``mcp_servers``. Playbooks are left
    out.

    Raises:
        ResourceError: If one is wrong.
    """
    text, file, folder = _text_and_file(source)
    documents = parse_documents(text, file=file)
    read = [read_document(each, file) for each in documents if not is_playbook(each)]
    resources = make_all(read, folder=folder)
    return [_made(each, made) for each, made in zip(read, resources, strict=True)]


def load_document(text: str, place: int, *, file: str, folder: Path) -> Resource:
    r"""Loads one resource of a text of several; nothing need be right with the others.

    What is only a warning is not logged: `check_text` tells it.

    Args:
        text: The YAML.
        place: Which of its documents, from 0; empty ones do not count.
        file: The text's name, for errors.
        folder: Where its file is: scripts are looked for there first.

    Raises:
        ResourceError: If it is wrong, or there are not so many.

    Example:
        >>> text = "kind: Trigger\n---\nname: sre\nmodel: openai:gpt-5\n"
        >>> load_document(text, 1, file="a.yaml", folder=Path()).name
        'sre'
    """
    read = [read_document(each, file) for each in parse_documents(text, file=file)]
    if place >= len(read):
        said = "the file is empty" if not read else f"there is no document {place + 1}"
        raise ResourceError(said, file=file, remedy="write it")
    document, resource = read[place], make_all(read, folder=folder)[place]
    findings = document if isinstance(document, Findings) else document.findings
    if findings.errors or resource is None:
        raise findings.error()
    return resource


def agent_from_yaml(
    text: str,
    *,
    name: str | None = None,
    file: str = "<cell>",
    servers: Mapping[str, McpServer] | None = None,
    functions: Mapping[str, Any] | None = None,
) -> Agent:
    r"""An agent from YAML: its fields alone, or a whole document of kind Agent.

    Args:
        text: The YAML.
        name: What it is called, whatever the text says.
        file: The text's name, for errors.
        servers: MCP servers that ``mcp_servers`` may name.
        functions: Where ``tools`` finds functions decorated with `tool`, such as a
            notebook's variables; what is no tool there is passed over.

    Raises:
        ResourceError: If it is wrong.

    Example:
        >>> agent_from_yaml("model: openai:gpt-5\ntools: [shell]\n", name="sre").tools
        ['shell']
    """
    document = read_document(_only(text, file), file, flat_kind="Agent")
    made = _made(document, make(document, name=name, servers=servers, functions=functions))
    if not isinstance(made, Agent):
        raise ResourceError("this is not an agent", file=file, remedy="kind: Agent")
    return made


def mcp_server_from_yaml(text: str, *, name: str, file: str = "<cell>") -> McpServer:
    """An MCP server from YAML: its fields alone, or a whole document of kind McpServer.

    Args:
        text: The YAML.
        name: What it is called.
        file: The text's name, for errors.

    Raises:
        ResourceError: If it is wrong.
    """
    document = read_document(_only(text, file), file, flat_kind="McpServer")
    made = _made(document, make(document, name=name))
    if not isinstance(made, McpServer):
        raise ResourceError("this is not an MCP server", file=file, remedy="command: or url:")
    return made


def make(
    document: Document | Findings,
    *,
    name: str | None = None,
    servers: Mapping[str, McpServer] | None = None,
    functions: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Resource | None:
    """A resource from its document; None if it has problems, which its findings hold."""
    if isinstance(document, Findings):
        return None
    if document.kind == "McpServer":
        spec = {**document.spec, **({"name": name} if name else {})}
        return make_server(spec, document.findings, document.prefix, name=document.name)
    return make_agent(
        document,
        name=name,
        servers=servers or {},
        functions=functions or {},
        folder=folder or Path(),
    )


def make_all(documents: Sequence[Document | Findings], *, folder: Path) -> list[Resource | None]:
    """The resources of one file; its agents may name its servers."""
    made: dict[int, Resource | None] = {}
    servers: dict[str, McpServer] = {}
    for place, each in enumerate(documents):
        if isinstance(each, Document) and each.kind == "McpServer":
            made[place] = server = make(each)
            if isinstance(server, McpServer):
                servers[server.name] = server
    return [
        made[place] if place in made else make(each, servers=servers, folder=folder)
        for place, each in enumerate(documents)
    ]


def _made(document: Document | Findings, resource: Resource | None) -> Resource:
    findings = document if isinstance(document, Findings) else document.findings
    if findings.errors or resource is None:
        raise findings.error()
    if findings.problems:
        _logger.warning("%s", "\n".join(map(str, findings.problems)))
    return resource


def _only(text: str, file: str) -> Any:
    documents = parse_documents(text, file=file)
    if len(documents) != 1:
        said = "it is empty" if not documents else f"{len(documents)} documents where one is wanted"
        raise ResourceError(said, file=file, line=1, remedy="write its fields as key: value")
    return documents[0]


def _text_and_file(source: str | Path) -> tuple[str, str, Path]:
    if isinstance(source, str) and "\n" in source:
        return source, "<text>", Path()
    path = Path(source).expanduser()
    try:
        return path.read_text(encoding="utf-8"), str(path), path.parent
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError(
            f"cannot be read: {reason}", file=str(path), remedy="check the path"
        ) from error
