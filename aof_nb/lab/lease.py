"""One supervisor for a directory: a file lock that the kernel takes back when its holder ends.

A process id in a file says nothing after a reboot, when another process may have it.
"""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import BinaryIO

_PATIENCE_SECONDS = 2.0


def take(path: Path) -> BinaryIO | None:
    """Takes the lease for as long as the file stays open; None if another process has it."""
    file = path.open("ab")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Who only looks whether it is taken holds it too, for a moment.
            if time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.02)
        else:
            return file


def is_taken(path: Path) -> bool:
    """Whether a process that lives has the lease."""
    if not path.exists():
        return False
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
