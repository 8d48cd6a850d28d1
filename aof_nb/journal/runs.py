"""Where the runs are kept: one directory a run, below the state directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.recording import Recording, read_recording
from aof_nb.paths import make_private, state_dir

DOOMED = ".pruned-"
"""What the name of a run's directory begins with while the run is deleted."""

LAST = "last"
"""What names the run that began last, so that no run can be called so."""

# What a shell, a terminal and a file system take without a second thought.
_ID = re.compile(r"(?![.\s-])[^\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]+(?<!\s)")
_LONGEST_ID = 200


def runs_dir() -> Path:
    """The directory of all runs, readable by its owner only."""
    directory = state_dir() / "runs"
    make_private(directory)
    return directory


def run_dir(run_id: str) -> Path:
    """The directory of a run, whether it is there or not.

    Raises:
        ConfigurationError: If the id is none that a run can have.

    Example:
        >>> run_dir("20261126-031500-123a1b2c3").name
        '20261126-031500-123a1b2c3'
    """
    check_run_id(run_id)
    return state_dir() / "runs" / run_id


def check_run_id(run_id: str) -> None:
    """Makes sure that a run can have an id.

    Raises:
        ConfigurationError: If it cannot.
    """
    if not _ID.fullmatch(run_id) or run_id == LAST or len(run_id.encode()) > _LONGEST_ID:
        raise ConfigurationError(
            f"{run_id[:_LONGEST_ID]!r} cannot be a run's id",
            remedy="use letters, digits, - and _, as in the ids that aofctl list runs shows",
        )


def find_run(named: str) -> Path:
    """The directory of the run that an id, its beginning, or ``last`` names.

    Raises:
        ConfigurationError: If there is none, or the beginning is that of several.
    """
    if named != LAST and (exact := run_dir(named)).joinpath(FILE_NAME).exists():
        return exact
    directories = list(run_directories())
    if named == LAST and (last := next(filter(_has_begun, directories), None)) is not None:
        return last
    found = [each for each in directories if each.name.startswith(named)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.name for each in found[:3])
        raise ConfigurationError(
            f"{named!r} is the beginning of {len(found)} runs: {names}...",
            remedy="give more of the id",
        )
    import difflib

    near = difflib.get_close_matches(named, [each.name for each in directories], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(f"there is no run {named!r}", remedy=f"{hint}see aofctl list runs")


def _has_begun(directory: Path) -> bool:
    """Whether a run's first entry is whole: one that was killed before has nothing to tell."""
    try:
        with (directory / FILE_NAME).open("rb") as file:
            return file.readline().endswith(b"\n")
    except OSError:
        return False


def run_directories() -> Iterator[Path]:
    """The directories of all runs that have a journal, the one that began last first."""
    found = [(_began(path), path.parent) for path in journals()]
    yield from (directory for _, directory in sorted(found, reverse=True))


def journals() -> Iterator[Path]:
    """The journals of all runs, in no order."""
    for path in runs_dir().glob(f"*/{FILE_NAME}"):
        if not path.parent.name.startswith(DOOMED):
            yield path


class _Begun(msgspec.Struct):
    time: float


_decode_begun = msgspec.json.Decoder(_Begun).decode


def _began(journal: Path) -> float:
    """When a run began: ids may be anything, and two may have a second in common."""
    try:
        with journal.open("rb") as file:
            return _decode_begun(file.readline()).time
    except (OSError, UnicodeDecodeError, RecursionError, msgspec.DecodeError):
        pass
    try:
        return journal.stat().st_mtime
    except OSError:
        return 0.0


def read_run(named: str) -> Recording:
    """Reads the journal of the run that an id, its beginning, or ``last`` names.

    Raises:
        ConfigurationError: If there is no such run.
        JournalError: If its journal cannot be read.
    """
    return read_recording(find_run(named) / FILE_NAME)


def recordings() -> Iterator[Recording]:
    """All runs whose journals can be read, the newest first."""
    for directory in run_directories():
        try:
            yield read_recording(directory / FILE_NAME)
        except JournalError:
            continue
