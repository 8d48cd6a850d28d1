"""Searches files for a regular expression, as a program of its own.

A pattern can take forever to match, and Python's `re` stops all threads meanwhile; a process
can be ended. It is run by its path and imports nothing of aof_nb, so that it starts at once.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 5_000_000
_LONGEST_LINE = 500


def found_files(start: Path, pattern: str) -> Iterator[Path]:
    """The files below a directory whose names match, sorted; no link is followed."""
    if start.is_file():
        yield start
    for directory, below, names in os.walk(start):
        below.sort()
        for name in sorted(names):
            path = Path(directory, name)
            where = str(path.relative_to(start)) if "/" in pattern else name
            if fnmatch.fnmatchcase(where, pattern) and not path.is_symlink():
                yield path


def matching_lines(path: Path, expression: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """The numbers, from 1, and beginnings of the lines that match; none of a binary file."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return
        data = path.read_bytes()
    except OSError:
        return
    if b"\0" in data[:8192]:
        return
    for number, line in enumerate(data.decode(errors="replace").split("\n"), 1):
        text = line.removesuffix("\r")
        if expression.search(text):
            yield number, text[:_LONGEST_LINE]


def main(root: str, start: str, pattern: str, files: str, most: str) -> None:
    """Prints what is found as ``file:line: text``, files as seen from the root."""
    sys.stdout.reconfigure(line_buffering=True, encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    expression = re.compile(pattern)
    left = int(most)
    for path in found_files(Path(start), files):
        for number, line in matching_lines(path, expression):
            sys.stdout.write(f"{path.relative_to(root)}:{number}: {line}\n")
            left -= 1
            if left <= 0:
                sys.stdout.write("[there may be more]\n")
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
