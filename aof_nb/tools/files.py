"""File tools below one root: nothing outside it can be read or written."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aof_nb.errors import ToolError
from aof_nb.ports import Effect, Tool
from aof_nb.tools import search
from aof_nb.tools.file_changes import change_of
from aof_nb.tools.function import FunctionTool
from aof_nb.tools.process import run_process
from aof_nb.tools.search import MOST_BYTES

_MOST_ENTRIES = 1000
_SEARCH_SECONDS = 30


class Rooted:
    """A directory that paths cannot leave, whatever ``..`` and links they contain.

    Args:
        root: The directory.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().resolve()

    def find(self, path: str) -> Path:
        """The real path of a path below the root.

        Raises:
            ToolError: If it leads out.
        """
        if "\0" in path:
            raise ToolError("A path cannot contain a zero byte.")
        try:
            found = (self.root / path).resolve()
            found.exists()
        except OSError as error:
            raise ToolError(f"{path[:200]!r} cannot be reached: {error.strerror}.") from error
        except RuntimeError:
            raise ToolError(f"{path!r} is a link to itself.") from None
        if found != self.root and self.root not in found.parents:
            raise ToolError(f"{path!r} leads out of {self.root}, which is all these tools see.")
        return found

    def show(self, path: Path) -> str:
        """A path as seen from the root."""
        return path.relative_to(self.root).as_posix() or "."

    def read_text(self, path: str) -> str:
        """A file's text.

        Raises:
            ToolError: If it is not a text file, is too large, or cannot be read.
        """
        found = self.find(path)
        try:
            if not found.is_file():
                raise ToolError(f"{path!r} is not a file." if found.exists() else f"No {path!r}.")
            size = found.stat().st_size
            if size > MOST_BYTES:
                raise ToolError(f"{path!r} has {size:,} bytes; {MOST_BYTES:,} at most are read.")
            data = found.read_bytes()
        except OSError as error:
            raise ToolError(f"{path!r} cannot be read: {error.strerror}.") from error
        if b"\0" in data[:8192]:
            raise ToolError(f"{path!r} is binary ({size:,} bytes).")
        return data.decode(errors="replace")


def file_tools(root: str | os.PathLike[str] = ".") -> list[Tool]:
    """``read_file``, ``list_directory``, ``search_files`` and ``write_file`` below a root.

    Example:
        >>> [each.spec.name for each in file_tools()]
        ['read_file', 'list_directory', 'search_files', 'write_file']
    """
    rooted = Rooted(root)

    def read_file(path: str, first_line: int = 1, lines: int | None = None) -> str:
        """Reads a text file, or some of its lines.

        Args:
            path: The file, as seen from the root.
            first_line: Where to begin, counted from 1; negative counts from the end.
            lines: How many lines; all if not given.
        """
        content = io.StringIO(rooted.read_text(path)).readlines()
        start = max(0, len(content) + first_line) if first_line < 0 else max(0, first_line - 1)
        chosen = content[start:] if lines is None else content[start : start + max(0, lines)]
        return "".join(chosen) or "(empty)"

    def list_directory(path: str = ".") -> str:
        """Lists a directory: names, with a slash for directories and the size for files.

        Args:
            path: The directory, as seen from the root.
        """
        found = rooted.find(path)
        if not found.is_dir():
            raise ToolError(f"{path!r} is not a directory.")
        entries = sorted(found.iterdir(), key=lambda entry: entry.name)
        rows = [
            f"{entry.name}/"
            if entry.is_dir()
            else f"{entry.name} ({entry.lstat().st_size:,} bytes)"
            for entry in entries[:_MOST_ENTRIES]
        ]
        if len(entries) > _MOST_ENTRIES:
            rows.append(f"[... {len(entries) - _MOST_ENTRIES} more]")
        return "\n".join(rows) or "(empty)"

    async def search_files(pattern: str, path: str = ".", files: str = "*", most: int = 100) -> str:
        """Finds the lines that match a regular expression, as ``file:line: text``.

        Args:
            pattern: The regular expression (Python's syntax).
            path: The directory or file to search, as seen from the root.
            files: Shell-style pattern of file names; of paths, if it has a slash.
            most: Matches to return at the most.
        """
        found = await asyncio.to_thread(rooted.find, path)
        if "\0" in pattern + files:
            raise ToolError("A pattern cannot contain a zero byte.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ToolError(f"The pattern is not a regular expression: {error}.") from None
        words = [str(rooted.root), str(found), pattern, files, str(most)]
        finished = await run_process(
            [sys.executable, "-I", "-S", search.__file__, *words], seconds=_SEARCH_SECONDS
        )
        if finished.timed_out:
            raise ToolError(
                f"{finished.output}[stopped after {_SEARCH_SECONDS} s]",
                remedy="search fewer files, or with a simpler pattern",
            )
        if finished.exit_code != 0:
            raise ToolError(f"The search failed: {finished.output[-1000:]}")
        return finished.output.rstrip("\n") or "no match"

    def write_file(path: str, content: str) -> str:
        """Writes a text file, replacing it if it exists. Its directory is made if missing.

        Args:
            path: The file, as seen from the root.
            content: All that the file is to contain.
        """
        found = rooted.find(path)
        if found.is_dir():
            raise ToolError(f"{path!r} is a directory.")
        _replace(found, content)
        return f"wrote {len(content.encode()):,} bytes to {rooted.show(found)}"

    read, write = Effect.READ, Effect.WRITE
    return [
        FunctionTool(read_file, effect=read),
        FunctionTool(list_directory, effect=read),
        FunctionTool(search_files, effect=read),
        _WritesFile(write_file, rooted, effect=write, exclusive=True),
    ]


class _WritesFile(FunctionTool[..., str]):
    """The tool ``write_file``, which can say beforehand what it would change."""

    def __init__(self, function: Callable[..., str], rooted: Rooted, **settings: Any) -> None:
        super().__init__(function, **settings)
        self._rooted = rooted

    def preview(self, arguments: Mapping[str, Any]) -> str:
        """The difference between the file as it is now and as it would be."""
        found = self._rooted.find(str(arguments["path"]))
        return change_of(found, self._rooted.show(found), str(arguments["content"]))


def _replace(path: Path, content: str) -> None:
    """Writes a file so that it is the old one or the new one, never half of it."""
    try:
        data = content.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"{path.name!r} cannot be written as UTF-8: {error.reason}.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(partial).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ToolError(f"{path.name!r} cannot be written: {error.strerror}.") from error
