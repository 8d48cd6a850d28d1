"""Where aof_nb keeps what outlives a process."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir() -> Path:
    """The directory for runs, logs and memory: ``AOF_STATE_DIR``, or the platform's place.

    It is made if it is missing, readable by its owner only.
    """
    named = os.environ.get("AOF_STATE_DIR")
    if named:
        directory = Path(named).expanduser()
    else:
        from platformdirs import user_state_path

        directory = user_state_path("aof", appauthor=False)
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def make_private(directory: Path) -> bool:
    """Makes a directory, and what is missing above it, for its owner only.

    Returns:
        Whether it was missing.

    Raises:
        OSError: If it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if not directory.is_dir():
            raise
        return False
    except FileNotFoundError:
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
    return True
