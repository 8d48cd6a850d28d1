"""Which files of a directory are meant for aof_nb."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

_SKIPPED = {"node_modules", "venv", "__pycache__", "runs"}
_OURS = re.compile(
    rb"^(apiVersion:\s*[\"']?aof\.|kind:\s*[\"']?(Agent|McpServer|Playbook)\b|model:\s*\S+)",
    re.MULTILINE,
)


def files_in(directory: Path) -> Iterator[Path]:
    """The notebooks and AOF's YAML files below a directory, in order.

    Hidden directories, environments and the directory of executed notebooks are left out, and
    so is YAML that is not AOF's.
    """
    for path in _walked(directory):
        if path.suffix == ".ipynb" or (path.suffix in {".yaml", ".yml"} and _is_ours(path)):
            yield path


def resource_files_in(directory: Path, *, most: int) -> tuple[list[Path], bool]:
    """AOF's YAML files among so many files of a directory, and whether those were all there are.

    Args:
        directory: Where to look, and below.
        most: How many files are looked at, of whatever kind.
    """
    looked_at = list(itertools.islice(_walked(directory), most + 1))
    found = [
        path
        for path in looked_at[:most]
        if path.suffix in {".yaml", ".yml"} and path.is_file() and _is_ours(path)
    ]
    return found, len(looked_at) <= most


def notebooks_in(directory: Path) -> Iterator[Path]:
    """The notebooks among them; no file is opened for it."""
    return (path for path in _walked(directory) if path.suffix == ".ipynb")


def _walked(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(
            each for each in directories if not each.startswith(".") and each not in _SKIPPED
        )
        yield from (Path(parent) / name for name in sorted(names))


def _is_ours(path: Path) -> bool:
    try:
        return _OURS.search(path.read_bytes()) is not None
    except OSError:
        return False
