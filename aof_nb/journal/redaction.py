"""What is kept of a run's placeholders, so that it has the same ones when it goes on."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aof_nb.paths import write_private
from aof_nb.redact import RedactionState

FILE_NAME = "redaction.json"


def write_redaction(directory: Path, state: RedactionState) -> None:
    """Writes the state beside a run's journal, whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_private(directory / FILE_NAME, msgspec.json.encode(state))


def read_redaction(directory: Path) -> RedactionState | None:
    """The state beside a run's journal; None if there is none that can be read.

    A run without it goes on: a secret that it meets again has another placeholder then.
    """
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=RedactionState)
    except (OSError, msgspec.MsgspecError):
        return None
