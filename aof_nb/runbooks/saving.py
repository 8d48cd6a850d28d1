"""Files that are there whole or not at all: an executed notebook, a report."""

from __future__ import annotations

import os
from pathlib import Path

from aof_nb.errors import ConfigurationError

SCHEME = "aof+whole:"
"""Before a path, it has papermill save the notebook there as a whole."""


def write_whole(path: Path, text: str) -> None:
    """Writes a file, or leaves what was there before as it was.

    Args:
        path: The file; made or replaced.
        text: What it holds.

    Raises:
        OSError: If it cannot be written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class WholeFiles:
    """What papermill calls for paths that begin with `SCHEME`."""

    @staticmethod
    def write(text: str, path: str) -> None:
        """Saves a notebook.

        Raises:
            ConfigurationError: If it cannot be written.
        """
        file = Path(path.removeprefix(SCHEME))
        try:
            write_whole(file, text)
        except OSError as error:
            raise ConfigurationError(
                f"{file} cannot be written: {error.strerror or error}",
                remedy="make room, or mend its permissions",
            ) from error

    @staticmethod
    def pretty_path(path: str) -> str:
        """The path as people know it."""
        return path.removeprefix(SCHEME)
