"""The definitions of servers' tools that are known, and the changed ones that nobody has accepted.

The first definition of a tool that is seen holds. A server that changes it later may have been
taken over, or only updated: a person tells. Each server has a private file in the state
directory. A server is known by its name and how it is reached, so that servers of the same name
in two notebooks do not meet.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from aof_nb.errors import McpError
from aof_nb.mcp.definition import Definition
from aof_nb.mcp.spec import McpServer
from aof_nb.paths import make_private, state_dir, write_private
from aof_nb.tool_names import safe_name


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """A tool's definition that holds.

    Args:
        definition: As models are told it.
        since: When it was first seen, or accepted; seconds since the epoch.
        accepted: Whether a person has accepted it.
        changed: What the server offers instead, which is not offered to models.
        changed_at: When that was first seen.
    """

    definition: Definition
    since: float
    accepted: bool = False
    changed: Definition | None = None
    changed_at: float | None = None


class ServerPins(msgspec.Struct, frozen=True, kw_only=True):
    """A server's tools.

    Args:
        server: The server's name.
        place: How it is reached: the address without credentials and query, or the program.
        tools: By their names on the server.
    """

    server: str
    place: str
    tools: dict[str, Pin]

    @property
    def changed(self) -> dict[str, Pin]:
        """Those whose definitions have changed."""
        return {name: pin for name, pin in self.tools.items() if pin.changed is not None}


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has accepted.

    Args:
        tool: The tool's name on its server.
        definition: What holds from now on.
        changed: Whether another one had held.
    """

    tool: str
    definition: Definition
    changed: bool


_decode = msgspec.json.Decoder(ServerPins).decode


def check(server: McpServer, offered: Sequence[Definition]) -> ServerPins:
    """Compares what a server offers with what is known, and writes down what is new.

    A changed definition stays written down until it is accepted, or the server takes it back.
    It reads and writes files.

    Args:
        server: The server.
        offered: All definitions it offers now.

    Raises:
        McpError: If what is known cannot be read.
        OSError: If what is new cannot be written.

    Example:
        >>> time = McpServer(name="time", url="http://127.0.0.1:9/mcp")
        >>> now = Definition(name="now", description="Tells the time.", input_schema={})
        >>> check(time, [now]).changed
        {}
        >>> late = msgspec.structs.replace(now, description="Tells the time late.")
        >>> list(check(time, [late]).changed)
        ['now']
    """
    path = _path(server)
    now = time.time()
    known = _read(path)
    if known is not None and _compared(known, offered, now) == known:
        return known
    with _locked(path):
        known = _read(path) or ServerPins(server=server.name, place=place_of(server), tools={})
        compared = _compared(known, offered, now)
        write_private(path, msgspec.json.encode(compared))
    return compared


def pinned(server: str | None = None) -> list[ServerPins]:
    """What is known of the servers that were ever connected, by name.

    Args:
        server: Only those of this name.

    Raises:
        McpError: If a file cannot be read.
    """
    found = [pins for path in sorted(_directory().glob("*.json")) if (pins := _read(path))]
    return sorted(
        (each for each in found if server in (None, each.server)), key=lambda each: each.server
    )


def accept(
    server: str, tool: str | None = None, *, seen: Sequence[Definition] | None = None
) -> list[Accepted]:
    """Has the definitions hold that a server offered last, and silences what was found in them.

    Args:
        server: The server's name.
        tool: The tool's name on it; all of its tools if not given.
        seen: The definitions that a person was shown: no other is accepted, such as one that has
            changed since. Any, if not given.

    Returns:
        What was accepted that had not been before.

    Raises:
        McpError: If there is no such server or tool, or its file cannot be read or written.

    Example:
        >>> accept("no-such-server")
        Traceback (most recent call last):
        aof_nb.errors.McpError: no MCP server called 'no-such-server' was ever connected
    """
    accepted: list[Accepted] = []
    servers = tools = 0
    for path in sorted(_directory().glob("*.json")):
        pins = _read(path)
        if pins is None or pins.server != server:
            continue
        servers += 1
        try:
            with _locked(path):
                pins = _read(path) or pins
                chosen = {name: pin for name, pin in pins.tools.items() if tool in (None, name)}
                tools += len(chosen)
                fresh = {
                    name: _accepted(pin)
                    for name, pin in chosen.items()
                    if not _settled(pin) and (seen is None or offered_by(pin) in seen)
                }
                accepted += [
                    Accepted(
                        tool=name,
                        definition=pin.definition,
                        changed=chosen[name].changed is not None,
                    )
                    for name, pin in fresh.items()
                ]
                held = msgspec.structs.replace(pins, tools=pins.tools | fresh)
                write_private(path, msgspec.json.encode(held))
        except OSError as error:
            raise McpError(f"{path} cannot be written: {error.strerror}") from error
    if not servers:
        raise McpError(
            f"no MCP server called {server!r} was ever connected",
            remedy="aofctl mcp tools shows those that were",
        )
    if not tools:
        raise McpError(
            f"MCP server {server!r} has never offered a tool {tool!r}",
            remedy=f"aofctl mcp tools {server} shows its tools",
        )
    return accepted


def pins_of(server: McpServer) -> ServerPins | None:
    """What is known of one server; None if it was never connected.

    Args:
        server: Which.

    Raises:
        McpError: If its file cannot be read.
    """
    return _read(_path(server))


def offered_by(pin: Pin) -> Definition:
    """What the server offered last of a tool, whether it holds or not."""
    return pin.changed or pin.definition


def _settled(pin: Pin) -> bool:
    return pin.accepted and pin.changed is None


def _accepted(pin: Pin) -> Pin:
    return Pin(definition=offered_by(pin), since=time.time(), accepted=True)


def _compared(known: ServerPins, offered: Sequence[Definition], now: float) -> ServerPins:
    tools = dict(known.tools)
    for each in offered:
        tools.setdefault(each.name, Pin(definition=each, since=now))
    changed: dict[str, Definition] = {}
    for each in offered:
        if each != tools[each.name].definition:
            changed.setdefault(each.name, each)
    for name in {each.name for each in offered}:
        pin = tools[name]
        if pin.changed != changed.get(name):
            at = now if name in changed else None
            tools[name] = msgspec.structs.replace(pin, changed=changed.get(name), changed_at=at)
    return msgspec.structs.replace(known, tools=tools)


def _read(path: Path) -> ServerPins | None:
    try:
        return _decode(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise McpError(
            f"what is known of an MCP server's tools cannot be read: {path}: {error}",
            remedy="delete the file; what the server offers then holds",
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    """Holds off other processes while a file is read, changed and replaced."""
    make_private(path.parent)
    descriptor = os.open(path.with_name(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(server: McpServer) -> Path:
    reached = msgspec.json.encode([server.name, server.url, server.command, server.args])
    digest = hashlib.sha256(reached).hexdigest()[:16]
    return _directory() / f"{safe_name(server.name)}-{digest}.json"


def place_of(server: McpServer) -> str:
    """How a server is reached: the address without credentials and query, or the program."""
    if server.url is None:
        return server.command or ""
    address = urlsplit(server.url)
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"


def _directory() -> Path:
    return state_dir() / "mcp" / "pins"
