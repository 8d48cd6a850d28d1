"""Cassettes: journals of several runs in one file, to be replayed, such as beside a notebook."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from aof_nb.errors import JournalError, ReplayMismatch
from aof_nb.journal.difference import unified
from aof_nb.journal.entries import Line, RunBegun, decode_line
from aof_nb.journal.recording import Recording, encoded, read_recording, read_recordings

_open_cassettes: dict[Path, Cassette] = {}


def cassette_beside(notebook: Path) -> Path:
    """The cassette of a notebook.

    Example:
        >>> cassette_beside(Path("runbooks/triage.ipynb")).name
        'triage.journal.jsonl'
    """
    return notebook.with_suffix(".journal.jsonl")


def begin_cassette(path: Path) -> None:
    """Makes room for a new cassette: the old one, if there is one, is removed.

    Raises:
        JournalError: If what is there is no cassette, or the new one could not be written.
    """
    try:
        if path.exists() and (path.is_dir() or path.stat().st_size):
            # Nothing but a cassette is to be lost by a mistyped name.
            read_recordings(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise JournalError(
            f"the cassette {path} cannot be written: {error.strerror}", remedy="name another place"
        ) from error
    rewind(path)


def add_to_cassette(path: Path, journal: Path) -> None:
    """Adds a run to a cassette, in place of what it has of the same run.

    Where the agent's file is on this machine is left out.

    Raises:
        JournalError: If it cannot be written.
    """
    recording = read_recording(journal)
    first = recording.lines[0]
    begun = msgspec.structs.replace(recording.begun, source="")
    try:
        rest = journal.read_bytes().partition(b"\n")[2]
        whole = encoded([Line(first.at, begun)]) + rest[: rest.rfind(b"\n") + 1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path) as file:
            kept = _others(file.read(), recording.run_id)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            partial.write_bytes(kept + whole)
            partial.replace(path)
    except OSError as error:
        raise JournalError(
            f"the cassette {path} cannot be written: {error.strerror}", remedy="name another place"
        ) from error


@contextlib.contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """The file, for this one to replace: whoever waited for it would hold the one before."""
    while True:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.seek(0)
                    yield file
                    return


def _others(data: bytes, run_id: str) -> bytes:
    """The lines of other runs, as they are."""
    kept, of = [], ""
    for line in io.BytesIO(data):
        if b"run_begun" in line:
            with contextlib.suppress(msgspec.DecodeError):
                read = decode_line(line)
                if read is not None and isinstance(read.entry, RunBegun):
                    of = read.entry.run_id
        if of != run_id:
            kept.append(line if line.endswith(b"\n") else line + b"\n")
    return b"".join(kept)


class Cassette:
    """The runs of a file, each to be replayed in its turn.

    Args:
        path: The file.

    Raises:
        JournalError: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self.recordings = read_recordings(path)
        self.mismatches: list[ReplayMismatch] = []
        self._used: set[int] = set()

    @property
    def unused(self) -> list[Recording]:
        """The runs that were not taken yet."""
        return [each for n, each in enumerate(self.recordings) if n not in self._used]

    def is_out_of_date(self) -> bool:
        """Whether the file is another one than was read: recorded anew, or gone on with."""
        return self._stamp != _stamp(self.path)

    def take_over(self, before: Cassette) -> None:
        """Counts the runs as taken that were taken from the file as it was before."""
        taken = {before.recordings[place].run_id for place in before._used}
        self._used = {n for n, each in enumerate(self.recordings) if each.run_id in taken}

    def take(self, agent: str, prompt: str, cell: str = "") -> Recording:
        """The recorded run that a run repeats: the first of its agent and prompt not taken yet.

        When all are taken, as where a cell is run again, the last one is given again.

        Args:
            agent: The agent's name; empty for any.
            prompt: What is asked.
            cell: The notebook cell's id, which is preferred where it is known.

        Raises:
            ReplayMismatch: If there is none; with what changed against the nearest one.
        """
        alike = [
            place
            for place, each in enumerate(self.recordings)
            if agent in {"", each.begun.agent} and each.begun.prompt == prompt
        ]
        of_cell = [place for place in alike if cell and self.recordings[place].begun.cell == cell]
        for places in (of_cell, alike):
            for place in places:
                if place not in self._used:
                    self._used.add(place)
                    return self.recordings[place]
        if alike:
            return self.recordings[(of_cell or alike)[-1]]
        raise self._mismatch(agent, prompt, cell)

    def _mismatch(self, agent: str, prompt: str, cell: str) -> ReplayMismatch:
        remedy = "record it again with --record, or undo the change"
        unused = self.unused or self.recordings
        of_agent = [each for each in unused if agent in {"", each.begun.agent}]
        of_cell = [each for each in of_agent if cell and each.begun.cell == cell]
        if not of_agent:
            names = ", ".join(dict.fromkeys(each.begun.agent for each in self.recordings))
            return ReplayMismatch(
                f"{self.path} holds no run of agent {agent!r}; it has runs of: {names}",
                remedy=remedy,
            )
        nearest = (of_cell or of_agent)[0]
        return ReplayMismatch(
            f"{f'agent {agent!r}' if agent else 'a model'} is asked for something else than was "
            f"recorded in {self.path}",
            difference=unified("prompt", nearest.begun.prompt, prompt),
            remedy=remedy,
        )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def cassette(path: Path) -> Cassette:
    """The cassette in a file, whose runs this process takes in turn.

    Raises:
        JournalError: If it cannot be read.
    """
    path = path.expanduser().resolve()
    known = _open_cassettes.get(path)
    if known is None or known.is_out_of_date():
        _open_cassettes[path] = read = Cassette(path)
        if known is not None:
            read.take_over(known)
    return _open_cassettes[path]


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has made of a cassette, for whoever watches it.

    Args:
        runs: How many of its runs were taken.
        unused: The others, each by its agent and its prompt.
        mismatches: What did not fit, in order.
    """

    runs: int
    unused: list[tuple[str, str]]
    mismatches: list[str]


def taken(path: str | Path) -> str:
    """What this process has made of a cassette so far: a `Taken`, as JSON.

    Raises:
        JournalError: If it cannot be read.
    """
    read = cassette(Path(path))
    told = Taken(
        runs=len(read.recordings) - len(read.unused),
        unused=[(each.begun.agent, each.begun.prompt) for each in read.unused],
        mismatches=[each.message for each in read.mismatches],
    )
    return msgspec.json.encode(told).decode()


def rewind(path: Path) -> None:
    """Forgets which runs of a cassette were taken, and what was read of it."""
    _open_cassettes.pop(path.expanduser().resolve(), None)
