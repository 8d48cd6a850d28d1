"""Replay: a run that repeats a recorded one, without a network and without side effects."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from aof_nb.errors import AofError, ConfigurationError, ReplayMismatch
from aof_nb.journal.cassette import cassette
from aof_nb.journal.journal import FILE_NAME, is_held
from aof_nb.journal.recording import Recording
from aof_nb.ports import Model

VARIABLE = "AOF_REPLAY"
"""The environment variable that names what all runs of a process repeat."""
OTHERWISE_VARIABLE = "AOF_REPLAY_OTHERWISE"
"""The environment variable that names who is asked what was not recorded."""
PACE_VARIABLE = "AOF_REPLAY_PACE"
"""The environment variable that says how much of the recorded waits is kept."""
RECORD_VARIABLE = "AOF_RECORD"
"""The environment variable that names the cassette that all runs of a process are added to."""


@dataclass(frozen=True)
class Replay:
    """What a run repeats, and how exactly.

    Args:
        journal: A run's journal, a cassette, a run's directory or id; or what was read of one run.
        otherwise: Who is asked from the first request on that was not recorded; None for nobody,
            so that the run fails and says what changed.
        pace: What becomes of the recorded waits: 1 keeps them, 0 leaves them out.
        compares: Whether what is asked must be what was recorded; else what was recorded is only
            given in its order.

    Example:
        >>> Replay("triage.journal.jsonl", otherwise="openai:gpt-5").pace
        0.0
    """

    journal: str | Path | Recording
    otherwise: str | Model | None = None
    pace: float = 0.0
    compares: bool = True

    @property
    def path(self) -> Path:
        """The file that holds the recording.

        Raises:
            ConfigurationError: If there is none.
        """
        if isinstance(self.journal, Recording):
            return self.journal.path
        return journal_path(self.journal)

    def find(self, agent: str, prompt: str, cell: str = "") -> Recording | None:
        """The recorded run that a run repeats; None if another model is to be asked instead.

        Raises:
            JournalError: If the recording cannot be read.
            ReplayMismatch: If there is no such run, and nobody to ask.
        """
        if isinstance(self.journal, Recording):
            return self.journal
        try:
            return cassette(self.path).take(agent, prompt, cell)
        except ReplayMismatch:
            if self.otherwise is None:
                raise
            return None

    def note(self, mismatch: ReplayMismatch) -> None:
        """Keeps what did not fit with the recording: not every cell shows why its run failed."""
        with contextlib.suppress(AofError):
            cassette(self.path).mismatches.append(mismatch)

    @classmethod
    def from_environment(cls) -> Replay | None:
        """What ``AOF_REPLAY`` says; None if it says nothing.

        Raises:
            ConfigurationError: If ``AOF_REPLAY_PACE`` is no number.
        """
        path = os.environ.get(VARIABLE)
        if not path:
            return None
        pace = os.environ.get(PACE_VARIABLE, "0")
        try:
            waits = float(pace)
        except ValueError as error:
            raise ConfigurationError(
                f"{PACE_VARIABLE} is {pace!r}", remedy="give a number: 1 as recorded, 0 at once"
            ) from error
        return cls(path, otherwise=os.environ.get(OTHERWISE_VARIABLE) or None, pace=waits)


def journal_path(named: str | Path) -> Path:
    """The file that holds a recording.

    Args:
        named: A journal, a cassette, a run's directory, or a run's id; ``last`` for the last one
            that does not go on any more.

    Raises:
        ConfigurationError: If there is none.
    """
    path = Path(named).expanduser()
    if path.is_dir():
        path /= FILE_NAME
    if path.is_file():
        return path
    if "/" not in str(named) and "." not in str(named):
        from aof_nb.journal.runs import find_run, run_directories

        if named == "last":
            # The newest of all may be the one that asks for a recording.
            for directory in run_directories():
                if not is_held(directory / FILE_NAME):
                    return directory / FILE_NAME
        return find_run(str(named)) / FILE_NAME
    raise ConfigurationError(
        f"there is no recording {str(named)!r}",
        remedy="name a journal, a cassette or a run; record one with --record",
    )


def record_path() -> Path | None:
    """The cassette that ``AOF_RECORD`` names; None if it names none."""
    path = os.environ.get(RECORD_VARIABLE)
    return Path(path).expanduser() if path else None
