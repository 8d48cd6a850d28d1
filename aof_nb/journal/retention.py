"""How long runs are kept: whole directories of the oldest ones are deleted, by age and by size.

Nothing is deleted unless it is asked for, by ``aofctl runs prune`` or by ``AOF_RUNS_MAX_AGE`` and
``AOF_RUNS_MAX_SIZE``. A run that goes on or waits for an approval stays, however old it is, and so
do the runs that belong to a notebook's run as long as that can be resumed.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aof_nb.durations import duration
from aof_nb.errors import ConfigurationError
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.recording import State
from aof_nb.journal.runs import DOOMED, runs_dir
from aof_nb.journal.summary import RunSummary, summarise

MAX_AGE_VARIABLE = "AOF_RUNS_MAX_AGE"
"""The environment variable that says after what time a run is deleted, such as ``30d``."""
MAX_SIZE_VARIABLE = "AOF_RUNS_MAX_SIZE"
"""The environment variable that says how much room runs may take, such as ``2GB``."""
_STAMP = ".pruned"
_DAY_SECONDS = 86400.0
_KEPT_STATES = frozenset({State.RUNNING.value, State.WAITING.value})

_logger = logging.getLogger("aof_nb.journal")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Args:
        max_age: Seconds since a run last wrote anything; None for ever.
        max_size: Bytes of all runs together; None for as much as there is.
    """

    max_age: float | None = None
    max_size: int | None = None

    @classmethod
    def from_environment(cls) -> Retention:
        """What ``AOF_RUNS_MAX_AGE`` and ``AOF_RUNS_MAX_SIZE`` say.

        Raises:
            ConfigurationError: If one of them is no duration, or no size.
        """
        age = os.environ.get(MAX_AGE_VARIABLE, "").strip()
        size = os.environ.get(MAX_SIZE_VARIABLE, "").strip()
        return cls(
            max_age=parse_age(age, MAX_AGE_VARIABLE) if age else None,
            max_size=parse_size(size, MAX_SIZE_VARIABLE) if size else None,
        )


class PrunedRun(msgspec.Struct, frozen=True):
    """A run that is deleted, or would be.

    Args:
        run_id: The run's id.
        size: Bytes.
        last: When it last wrote anything, in seconds of the Unix epoch.
    """

    run_id: str
    size: int
    last: float


def parse_age(text: str, where: str) -> float:
    """An age in seconds, such as ``30d``.

    Raises:
        ConfigurationError: If it is none.
    """
    try:
        return duration(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{where}: {text!r} is no duration", remedy="write 12h, 30d or 8w"
        ) from error


def parse_size(text: str, where: str) -> int:
    """A size in bytes, such as ``2GB``.

    Raises:
        ConfigurationError: If it is none.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError as error:
        raise ConfigurationError(
            f"{where}: {text!r} is no size", remedy="write 500MB, 2GB or 1.5GiB"
        ) from error


def prune(retention: Retention, *, dry_run: bool = False) -> list[PrunedRun]:
    """Deletes the runs that are not to be kept, the oldest first.

    Args:
        retention: What is to be kept.
        dry_run: Whether they are only named.

    Returns:
        The runs that are deleted, or would be.
    """
    if not dry_run:
        _finish_what_was_begun()
    found = sorted(_measured(), key=lambda each: (each[1].last, each[1].run_id))
    total = sum(run.size for _, run in found)
    now = time.time()
    pruned = []
    for directory, run in found:
        too_old = retention.max_age is not None and now - run.last > retention.max_age
        too_much = retention.max_size is not None and total > retention.max_size
        if not (too_old or too_much) or _is_kept(directory, run, now):
            continue
        if dry_run or _deleted(directory):
            total -= run.size
            pruned.append(run)
    return pruned


def _measured() -> Iterator[tuple[Path, PrunedRun]]:
    for directory in runs_dir().iterdir():
        if directory.name.startswith(DOOMED) or not directory.is_dir():
            continue
        size, last = 0, 0.0
        for file in [*directory.rglob("*"), directory]:
            with contextlib.suppress(OSError):
                status = file.lstat()
                size += status.st_size
                last = max(last, status.st_mtime)
        yield directory, PrunedRun(directory.name, size, last)


def _is_kept(directory: Path, run: PrunedRun, now: float) -> bool:
    journal = directory / FILE_NAME
    if journal.exists():
        found = summarise(journal)
        return found.status in _KEPT_STATES or _is_needed(found)
    # A run without a journal does not say whether it goes on.
    return now - run.last < _DAY_SECONDS


def _is_needed(run: RunSummary) -> bool:
    """Whether a notebook's run can still be resumed that would do again what this run has done."""
    if not run.notebook_run:
        return False
    journal = runs_dir() / run.notebook_run / FILE_NAME
    return journal.exists() and summarise(journal).status != State.COMPLETED.value


def _deleted(directory: Path) -> bool:
    """Deletes a run, as far as other processes can tell at once; not one that goes on."""
    with contextlib.ExitStack() as held:
        try:
            file = (directory / FILE_NAME).open("rb")
        except OSError:
            pass
        else:
            held.enter_context(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        doomed = directory.with_name(f"{DOOMED}{directory.name}")
        try:
            directory.rename(doomed)
        except OSError as error:
            _logger.warning("run %s cannot be deleted: %s", directory.name, error)
            return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _finish_what_was_begun() -> None:
    """Deletes what a process that has ended meanwhile had begun to."""
    for doomed in runs_dir().glob(f"{DOOMED}*"):
        shutil.rmtree(doomed, ignore_errors=True)


_begun = threading.Lock()


def prune_in_background() -> str:
    """Prunes by the environment's settings, at most once a day, in a thread of its own.

    Returns:
        What is wrong with the settings; nothing if they are fine, or there are none.
    """
    if not (os.environ.get(MAX_AGE_VARIABLE) or os.environ.get(MAX_SIZE_VARIABLE)):
        return ""
    try:
        retention = Retention.from_environment()
    except ConfigurationError as error:
        return f"no runs are deleted: {error.message}; {error.remedy}"
    if _is_due() and _begun.acquire(blocking=False):
        thread = threading.Thread(
            target=_prune_once, args=(retention,), name="aof runs prune", daemon=True
        )
        thread.start()
    return ""


def _is_due() -> bool:
    try:
        return time.time() - (runs_dir() / _STAMP).stat().st_mtime > _DAY_SECONDS
    except OSError:
        return True


def _prune_once(retention: Retention) -> None:
    try:
        descriptor = os.open(runs_dir() / _STAMP, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # One process at a time; the day begins when one has come to the end.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.utime(descriptor, (0, 0))
            for run in prune(retention):
                _logger.info("run %s is deleted, %d bytes", run.run_id, run.size)
            os.utime(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _logger.warning("old runs are not deleted: %s", error)
    finally:
        _begun.release()
