"""What is kept of a run's placeholders, so that it has the same ones when it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from aof_nb.redact import RedactionState

FILE_NAME = "redaction.json"


def write_redaction(directory: Path, state: RedactionState) -> None:
    """Writes the state beside a run's journal, whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    path = directory / FILE_NAME
    partial = path.with_suffix(".partial")
    file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(msgspec.json.encode(state))
    partial.replace(path)


def read_redaction(directory: Path) -> RedactionState | None:
    """The state beside a run's journal; None if there is none that can be read.

    A run without it goes on: a secret that it meets again has another placeholder then.
    """
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=RedactionState)
    except (OSError, msgspec.MsgspecError):
        return None
