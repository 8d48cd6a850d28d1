"""The memories that there are to look at: those that agents name, and where they are by default."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from aof_nb.agent import Agent
from aof_nb.errors import AofError, ConfigurationError
from aof_nb.memory import Memory, open_memory

_REDIS = frozenset({"redis", "rediss", "unix"})


@dataclass(frozen=True)
class Place:
    """A memory.

    Args:
        label: What it is called, without passwords.
        url: What names it; empty if it is there only in this kernel.
        store: The memory that an agent of this kernel holds, without an URL.
        agents: The agents that keep their conversations in it.
    """

    label: str
    url: str = ""
    store: Memory | None = None
    agents: tuple[str, ...] = ()

    def open(self) -> Memory:
        """The memory.

        Raises:
            ConfigurationError: If there is no such memory.
        """
        return self.store if self.store is not None else open_memory(self.url)


@dataclass
class Places:
    """The memories of a directory's agents and of a kernel's.

    Args:
        directory: Where the agents' files are.
    """

    directory: Path
    _read: dict[Path, tuple[tuple[int, int], list[tuple[str, str]]]] = field(default_factory=dict)

    def look(self, agents: Mapping[str, Agent]) -> list[Place]:
        """The memories; it reads files, so call it in a thread.

        Args:
            agents: The kernel's agents, by name.
        """
        urls: dict[str, list[str]] = {each: [] for each in _defaults()}
        held: list[Place] = []
        for name, agent in agents.items():
            if isinstance(agent.memory, str):
                urls.setdefault(agent.memory, []).append(name)
            elif agent.memory is not None:
                known = next((each for each in held if each.store is agent.memory), None)
                if known is not None:
                    held.remove(known)
                names = (*(known.agents if known is not None else ()), name)
                kind = type(agent.memory).__name__
                held.append(Place(f"{kind} of this kernel", store=agent.memory, agents=names))
        for url, name in self._written():
            urls.setdefault(url, []).append(name)
        found = [
            Place(shown_url(url), url=url, agents=tuple(dict.fromkeys(names)))
            for url, names in urls.items()
            # What is in the memory of another process, or of nobody yet, is not to be had.
            if not url.startswith("in_memory")
        ]
        return [*found, *held]

    def _written(self) -> list[tuple[str, str]]:
        """What the agents' files name: memories, and the agents."""
        from aof_nb.resources.found import files_in

        read: dict[Path, tuple[tuple[int, int], list[tuple[str, str]]]] = {}
        for path in files_in(self.directory):
            if path.suffix == ".ipynb":
                continue
            try:
                stat = path.stat()
                stamp = stat.st_mtime_ns, stat.st_size
                before = self._read.get(path)
                if before is None or before[0] != stamp:
                    before = stamp, list(_memories_of(path))
            except (OSError, UnicodeDecodeError, AofError):
                continue
            read[path] = before
        self._read = read
        return [each for _, found in read.values() for each in found]


def typed_place(text: str) -> Place:
    """The memory that a person has named.

    Args:
        text: Its URL.

    Raises:
        ConfigurationError: If there is no such memory, or it is named with a password, which
            would be saved with the notebook.
    """
    url = text.strip()
    kind, _, rest = url.partition(":")
    if kind in _REDIS and ("@" in rest.partition("?")[0] or "password" in rest.lower()):
        raise ConfigurationError(
            "an address with a password would be saved with the notebook",
            remedy="set REDIS_URL to it where the kernel is started, and name the memory redis",
        )
    if url.startswith("in_memory"):
        raise ConfigurationError(
            "in_memory names no memory that is there", remedy="name file:PATH, disk or redis"
        )
    open_memory(url)
    return Place(shown_url(url), url=url)


def shown_url(url: str) -> str:
    """A memory's URL as it may be shown: without user, password and options.

    Example:
        >>> shown_url("redis://me:secret@cache:6379/0?prefix=team-a")
        'redis://cache:6379/0 (prefix team-a)'
    """
    named, _, query = url.partition("?")
    kind, _, rest = named.partition(":")
    prefix = "".join(f" (prefix {each})" for name, each in parse_qsl(query) if name == "prefix")
    if kind not in _REDIS or not rest:
        return f"{named}{prefix}"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return kind
    return f"{kind}://{parts.hostname or ''}{port}{parts.path}{prefix}"


def _defaults() -> Iterator[str]:
    from aof_nb.paths import state_dir

    yield "disk"
    if (state_dir() / "conversations").is_dir():
        yield "file"
    if os.environ.get("REDIS_URL"):
        yield "redis"


def _memories_of(path: Path) -> Iterator[tuple[str, str]]:
    """The memories that a file's agents name, each with the agent's name."""
    from aof_nb.resources.documents import Document, is_playbook, read_document
    from aof_nb.resources.memory import memory_of
    from aof_nb.resources.schema import AgentSpec
    from aof_nb.yaml_text import parse_documents

    for value in parse_documents(path.read_text(encoding="utf-8"), file=str(path)):
        document = None if is_playbook(value) else read_document(value, str(path))
        if not isinstance(document, Document) or document.kind != "Agent":
            continue
        findings = document.findings
        spec = findings.validated(AgentSpec, document.spec, document.prefix)
        if spec is not None:
            url, _ = memory_of(spec.memory, findings, (*document.prefix, "memory"))
            if url is not None and not findings.errors:
                yield url, document.name or spec.name or "agent"
