"""Where aof_nb keeps what outlives a process."""

from __future__ import annotations

import os
import secrets
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


def write_private(path: Path, data: bytes, *, once: bool = False, sync: bool = False) -> None:
    """Writes a file for its owner only, whole or not at all.

    Args:
        path: The file.
        data: What is to stand in it.
        once: Whether it must not be there yet.
        sync: Whether to wait until it is on the disk.

    Raises:
        FileExistsError: If it is there, and was to be written once.
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "answer.json"
        >>> write_private(path, b"{}")
        >>> path.read_bytes(), oct(path.stat().st_mode & 0o777)
        (b'{}', '0o600')
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if once:
            path.hardlink_to(partial)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
