"""The AOF files of a directory: what they declare, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError, ResourceError
from aof_nb.notebook.console.agent_file import decoded, read_bytes
from aof_nb.resources import check_text
from aof_nb.resources.documents import LATER, is_playbook, read_document
from aof_nb.resources.found import resource_files_in
from aof_nb.resources.problems import Findings, Problem
from aof_nb.yaml_text import parse_documents

_LOOKED_AT = 5_000
_OF_OTHER_KINDS = {f"kind {kind} is not supported yet" for kind in LATER}


@dataclass(frozen=True)
class Declared:
    """A document of a file.

    Args:
        path: The file, from the directory.
        place: Which of the file's documents it is, from 0; empty ones do not count.
        kind: ``Agent``, or what else it is; empty if the file cannot be read.
        name: What it is called.
        model: The model it names.
        tools: The tools and MCP servers it names.
        problems: What is wrong with its file.
    """

    path: str
    place: int
    kind: str
    name: str
    model: str = ""
    tools: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def is_agent(self) -> bool:
        """Whether it can be edited as an agent."""
        return self.kind == "Agent"


class AgentFiles:
    """The documents of all AOF files in a directory; a file is read again when it has changed.

    Args:
        directory: Where to look, and below.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[Path, tuple[tuple[int, int, int], list[Declared]]] = {}
        self.complete = True
        """Whether all files were looked at."""

    def read(self) -> list[Declared]:
        """The documents, in the order of their files. It takes time."""
        paths, self.complete = resource_files_in(self._directory, most=_LOOKED_AT)
        known = self._known
        self._known = {}
        found: list[Declared] = []
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            before = known.get(path)
            if before is None or before[0] != stamp:
                name = path.relative_to(self._directory).as_posix()
                before = stamp, list(_declared(path, name))
            self._known[path] = before
            found += before[1]
        return found


def _declared(path: Path, name: str) -> Iterator[Declared]:
    try:
        text = decoded(read_bytes(path), name)[0]
    except ConfigurationError as error:
        problem = Problem(name, None, "", error.message, error.remedy)
        yield Declared(name, 0, "", path.stem, problems=(problem,))
        return
    yield from documents_of(text, file=name, folder=path.parent)


def documents_of(text: str, *, file: str, folder: Path) -> list[Declared]:
    """The documents of a text, each with what is wrong with the whole text.

    Args:
        text: The YAML.
        file: The file's name.
        folder: Where it is.
    """
    problems = tuple(problems_of(text, file=file, folder=folder))
    try:
        values = parse_documents(text, file=file)
    except ResourceError:
        return [Declared(file, 0, "", Path(file).stem, problems=problems)]
    return [_one(file, place, value, problems) for place, value in enumerate(values)]


def problems_of(text: str, *, file: str, folder: Path) -> list[Problem]:
    """What ``aofctl validate`` finds wrong with a text.

    That there is something of a kind that is not supported yet is no fault of the agents beside it.

    Args:
        text: The YAML.
        file: The file's name.
        folder: Where it is.
    """
    problems = check_text(text, file=file, folder=folder)
    others = [each for each in problems if each.message in _OF_OTHER_KINDS]
    if not others or len(others) == len(parse_documents(text, file=file)):
        return problems
    return [replace(each, severity="warning") if each in others else each for each in problems]


def _one(file: str, place: int, value: Any, problems: tuple[Problem, ...]) -> Declared:
    stem = Path(file).stem
    if is_playbook(value):
        return Declared(file, place, "Playbook", stem, problems=problems)
    document = read_document(value, file)
    if isinstance(document, Findings):
        kind = str(value.get("kind") or "") if isinstance(value, dict) else ""
        metadata = value.get("metadata") if isinstance(value, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return Declared(file, place, kind, str(name or stem), problems=problems)
    spec = document.spec
    named = [*_names(spec.get("tools")), *_names(spec.get("mcp_servers"))]
    name = document.name or str(spec.get("name") or "") or stem
    model = str(spec.get("model") or "")
    return Declared(file, place, document.kind, name, model, tuple(named), problems)


def _names(written: Any) -> Iterator[str]:
    for each in written if isinstance(written, list) else ():
        if isinstance(each, dict):
            yield str(each.get("name") or each.get("type") or "?")
        else:
            yield str(each)
