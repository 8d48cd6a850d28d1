"""``--replay``, ``--otherwise`` and ``--record``: what a run repeats, or is recorded to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aof_nb.journal.cassette import begin_cassette, cassette_beside
from aof_nb.journal.replay import (
    OTHERWISE_VARIABLE,
    RECORD_VARIABLE,
    VARIABLE,
    Replay,
    journal_path,
)

BESIDE = "beside"
"""What names the cassette that lies beside a file."""


@dataclass(frozen=True)
class Tape:
    """What a run repeats, or is recorded to; at most one of both.

    Args:
        replay: What it repeats.
        record: The cassette it is recorded to.
    """

    replay: Replay | None = None
    record: Path | None = None

    def begin(self) -> None:
        """Makes room for the new cassette.

        Raises:
            JournalError: If there is none to be had.
        """
        if self.record is not None:
            begin_cassette(self.record)

    @property
    def environment(self) -> dict[str, str]:
        """The same for the agents of another process."""
        variables: dict[str, str] = {}
        if self.replay is not None:
            variables[VARIABLE] = str(self.replay.path)
            if isinstance(self.replay.otherwise, str):
                variables[OTHERWISE_VARIABLE] = self.replay.otherwise
        if self.record is not None:
            variables[RECORD_VARIABLE] = str(self.record)
        return variables


def tape_of(file: Path, replay: str | None, otherwise: str | None, record: str | None) -> Tape:
    """What the options say.

    Args:
        file: The agent's file, or the notebook.
        replay: A journal, a cassette, a run's id or directory, or ``beside``.
        otherwise: The model that is asked what was not recorded.
        record: A cassette, or ``beside``.

    Raises:
        ConfigurationError: If there is no such recording.
    """
    beside = cassette_beside(file.resolve())
    played = recorded = None
    if replay is not None:
        path = journal_path(beside if replay == BESIDE else replay)
        played = Replay(path.resolve(), otherwise=otherwise)
    if record is not None:
        recorded = beside if record == BESIDE else Path(record).expanduser().resolve()
    return Tape(played, recorded)
