"""Whole tool outputs, kept beside the run when the model is shown a part of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from aof_nb.paths import make_private

_LONGEST_NAME = 100


class Artifacts:
    """A directory of one run's artifacts, readable by its owner only.

    The directory is made when the first artifact is saved.

    Args:
        directory: Where the run's artifacts go, or what finds it when it is needed.
    """

    def __init__(self, directory: Path | Callable[[], Path]) -> None:
        self._directory = directory

    @staticmethod
    def name(call_id: str) -> str:
        """The file name for a call's output, always the same for an id and only for that."""
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", call_id)[:_LONGEST_NAME].lstrip(".")
        if safe != call_id or not safe:
            digest = hashlib.sha256(call_id.encode(errors="surrogatepass")).hexdigest()
            safe = f"{safe}-{digest[:16]}"
        return f"{safe}.txt"

    async def save(self, call_id: str, text: str) -> Path:
        """Writes a call's whole output and returns its path.

        Raises:
            OSError: If it cannot be written.
        """
        return await asyncio.to_thread(self._write, self.name(call_id), text)

    def _write(self, name: str, text: str) -> Path:
        directory = self._where()
        make_private(directory)
        path = directory / name
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
        partial.replace(path)
        return path

    def _where(self) -> Path:
        return self._directory() if callable(self._directory) else self._directory


class RecordedArtifacts(Artifacts):
    """A recorded run's artifacts as its replay tells of them: nothing is written anew."""

    async def save(self, call_id: str, text: str) -> Path:
        """The path that the call's output had."""
        return self._where() / self.name(call_id)
