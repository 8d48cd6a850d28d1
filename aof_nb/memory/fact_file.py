"""Facts in files of JSON lines: a file a namespace, a line a fact."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.memory.entries import FORMAT, encode, expiry, json_of, nameable, now, token
from aof_nb.memory.locked_file import (
    aside_of,
    file_name,
    first_line,
    make_private,
    name_of,
    opened,
    read_all,
    remove,
    replace,
    set_aside,
)
from aof_nb.memory.store import Fact, check_version

_logger = logging.getLogger("aof_nb.memory")


class _Head(msgspec.Struct, frozen=True):
    namespace: str
    aof_memory: int = FORMAT


_decode_head = msgspec.json.Decoder(_Head).decode
_decode = msgspec.json.Decoder(Fact).decode


class _Read(msgspec.Struct, frozen=True):
    facts: dict[str, Fact]
    aside: list[bytes]
    damaged: list[str]
    expired: bool

    @property
    def is_tidy(self) -> bool:
        return not (self.aside or self.expired)


class FactFiles:
    """Keeps facts in a directory that several processes may share.

    Args:
        directory: Where; it may be missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def set(
        self, namespace: str, key: str, value: Any, ttl: float | None, expected: str | None
    ) -> str:
        """Keeps a value under a key; see `Memory.set_fact`."""
        nameable(namespace, key)
        what = f"fact {key!r} of {namespace!r}"
        data, expires, path = json_of(what, value), expiry(ttl), self._path(namespace)
        fact = Fact(key, msgspec.Raw(data), token(), expires)
        make_private(self._directory)
        with opened(path, write=True, create=True) as file:
            assert file is not None
            read = _read(file, path)
            try:
                known = read.facts.get(key)
                check_version(what, expected, known.version if known else "")
                _write(path, namespace, read, {**read.facts, key: fact})
            except BaseException:
                if not os.fstat(file).st_size:
                    path.unlink()
                raise
        return fact.version

    def all(self, namespace: str) -> dict[str, Fact]:
        """A namespace's facts by their keys, without those that have expired."""
        nameable(namespace)
        return self._read_tidied(self._path(namespace), namespace)

    def delete(self, namespace: str, key: str) -> None:
        """Deletes a fact; it need not exist."""
        nameable(namespace, key)
        path = self._path(namespace)
        with opened(path, write=True) as file:
            if file is None:
                return
            read = _read(file, path)
            _write(path, namespace, read, {k: v for k, v in read.facts.items() if k != key})

    def namespaces(self) -> list[str]:
        """The namespaces that have facts, sorted."""
        found = []
        for path in self._directory.glob("*.jsonl"):
            name = name_of(path.stem)
            if name is None:
                with opened(path) as file:
                    name = None if file is None else _named(first_line(file))
                if name is None:
                    _logger.warning("%s does not say what namespace it is", path)
                    continue
            if self._read_tidied(path, name):
                found.append(name)
        return sorted(found)

    def _read_tidied(self, path: Path, namespace: str) -> dict[str, Fact]:
        with opened(path) as file:
            if file is None:
                return {}
            read = _read(file, path)
        if not read.is_tidy:
            with opened(path, write=True) as file:
                if file is None:
                    return {}
                read = _read(file, path)
                try:
                    _write(path, namespace, read, read.facts)
                except OSError as error:
                    _logger.warning("%s is left as it is: %s", path, error)
        return read.facts

    def _path(self, namespace: str) -> Path:
        return self._directory / f"{file_name(namespace)}.jsonl"


def _named(line: bytes) -> str | None:
    try:
        return _decode_head(line).namespace
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _read(file: int, path: Path) -> _Read:
    facts: dict[str, Fact] = {}
    aside, damaged = [], []
    time, expired = now(), False
    for number, line in enumerate(read_all(file).split(b"\n"), 1):
        if not line.strip() or (number == 1 and _named(line) is not None):
            continue
        try:
            fact = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            aside.append(line)
            damaged.append(f"line {number} of {path} is damaged ({error})")
        else:
            if fact.expires is not None and fact.expires <= time:
                expired = True
            else:
                facts[fact.key] = fact
    return _Read(facts, aside, damaged, expired)


def _write(path: Path, namespace: str, read: _Read, facts: dict[str, Fact]) -> None:
    for each in read.damaged:
        _logger.warning("%s; it is kept in %s", each, aside_of(path).name)
    set_aside(path, read.aside)
    if facts:
        lines = (_Head(namespace), *(facts[key] for key in sorted(facts)))
        replace(path, b"".join(encode(each) + b"\n" for each in lines))
    elif read.aside:
        path.unlink()
    else:
        remove(path)
