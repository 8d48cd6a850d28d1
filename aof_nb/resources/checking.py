"""Everything that is wrong with files: YAML resources and notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aof_nb.errors import ResourceError
from aof_nb.mcp.spec import McpServer
from aof_nb.resources.documents import is_playbook, read_document
from aof_nb.resources.found import files_in
from aof_nb.resources.loading import make, make_all
from aof_nb.resources.problems import Findings, Problem, near
from aof_nb.tools import tool
from aof_nb.yaml_text import parse_documents

_MAGIC = re.compile(r"\s*%%(aof_agent|aof_mcp|aof)[ \t]+([^\s-]\S*)")
_PLACEHOLDER = re.compile(r"(?<![{$])\{[A-Za-z_]\w*\}(?!\})")
_UNKNOWN = "value-of-a-variable"
_DEFINITION = re.compile(
    r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)|^(\w+)[ \t]*=|^[ \t]*(?:from|import)\b(.*)",
    re.MULTILINE,
)


def check(path: str | Path) -> list[Problem]:
    """Finds what is wrong with a YAML file, a notebook, or all of them in a directory.

    Those with severity ``warning`` do not keep a resource from being loaded.

    Args:
        path: The file or directory; of a directory, AOF's files and the notebooks.

    Returns:
        The problems, in the files' order; empty if all is well.

    Example:
        >>> [str(each) for each in check("no/such/agent.yaml")]
        ['no/such/agent.yaml: cannot be read: No such file or directory (check the path)']
    """
    path = Path(path)
    if path.is_dir():
        return [problem for each in files_in(path) for problem in check(each)]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [Problem(str(path), None, "", f"cannot be read: {reason}", "check the path")]
    if path.suffix == ".ipynb":
        return list(_notebook(text, str(path)))
    return list(_yaml(text, str(path), folder=path.parent))


def check_text(text: str, *, file: str, folder: Path) -> list[Problem]:
    r"""Finds what is wrong with YAML that is not in a file yet.

    Args:
        text: The YAML.
        file: What it is called, for problems.
        folder: Where its file will be: scripts are looked for there first.

    Example:
        >>> [str(each) for each in check_text("model: 3\n", file="a.yaml", folder=Path())]
        ['a.yaml:1: model: model is text, not 3 (put it in quotes)']
    """
    return list(_yaml(text, file, folder=folder))


def _yaml(text: str, file: str, *, folder: Path) -> Iterator[Problem]:
    try:
        documents = parse_documents(text, file=file)
    except ResourceError as error:
        yield _problem(error)
        return
    if not documents:
        yield Problem(file, 1, "", "the file is empty", "write a resource")
    if any(is_playbook(value) for value in documents):
        yield from _playbook(text, file)
        return
    read = [read_document(value, file) for value in documents]
    make_all(read, folder=folder)
    for each in read:
        yield from each.problems if isinstance(each, Findings) else each.findings.problems


def _playbook(text: str, file: str) -> Iterator[Problem]:
    from aof_nb.models.playbook import parse_playbook

    try:
        parse_playbook(text, file=file)
    except ResourceError as error:
        yield _problem(error)


def _notebook(text: str, file: str) -> Iterator[Problem]:
    try:
        cells = json.loads(text)["cells"]
        sources = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells]
    except (ValueError, KeyError, TypeError):
        yield Problem(file, None, "", "not a notebook", "save it from Jupyter, as nbformat 4")
        return
    agents: set[str] = set()
    servers: dict[str, McpServer] = {}
    functions: dict[str, Any] = {}
    uses_python_agents = any("Agent(" in source or "load(" in source for source in sources)
    for number, source in enumerate(sources, start=1):
        magic = _MAGIC.match(source)
        if magic is None:
            functions |= dict.fromkeys(_defined(source), _a_function)
            continue
        kind, name = magic.groups()
        place = f"{file}#cell-{number}"
        if kind == "aof":
            if name not in agents and not uses_python_agents:
                remedy = near(name, agents) if agents else f"define it with %%aof_agent {name}"
                yield Problem(place, 1, "", f"no cell before it defines agent {name!r}", remedy)
        elif kind == "aof_agent":
            agents.add(name)
            yield from _cell(source, place, name, servers, functions, kind="Agent")
        else:
            servers.setdefault(name, McpServer(name=name, command="-"))
            yield from _cell(source, place, name, servers, {}, kind="McpServer")


@tool
def _a_function() -> None:
    """Stands for a function of the notebook, which is not there before it runs."""


def _defined(source: str) -> set[str]:
    """The names that Python code defines or imports."""
    return {
        name
        for match in _DEFINITION.finditer(source)
        for name in re.findall(r"\w+", match[1] or match[2] or match[3])
    }


def _cell(
    source: str,
    place: str,
    name: str,
    servers: dict[str, McpServer],
    functions: dict[str, Any],
    *,
    kind: str,
) -> Iterator[Problem]:
    # The magic line stays as an empty one, so that lines are counted as the cell shows them.
    body = "\n" + _PLACEHOLDER.sub(_UNKNOWN, source.partition("\n")[2])
    try:
        documents = parse_documents(body, file=place)
    except ResourceError as error:
        yield _problem(error)
        return
    if len(documents) != 1:
        yield Problem(place, 1, "", "the cell's body is one YAML document", "key: value")
        return
    document = read_document(documents[0], place, flat_kind=kind)
    if isinstance(document, Findings):
        yield from document.problems
        return
    make(document, name=name, servers=servers, functions=functions)
    # What a variable will hold is not known here, so nothing is wrong with it yet.
    yield from (each for each in document.findings.problems if _UNKNOWN not in each.message)


def _problem(error: ResourceError) -> Problem:
    return Problem(error.file, error.line, error.field, error.detail, error.remedy)
