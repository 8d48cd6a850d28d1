"""What was typed into agents' files and not saved: it outlives the console, not the kernel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aof_nb.notebook.console.agent_file import Draft


@dataclass
class Drafts:
    """The drafts of one directory.

    Args:
        opened: Those of files, by their paths.
        new: Those that are no files yet.
    """

    opened: dict[str, Draft] = field(default_factory=dict)
    new: list[Draft] = field(default_factory=list)


_of_directories: dict[Path, Drafts] = {}


def drafts_in(directory: Path) -> Drafts:
    """What was left unsaved in a directory; files that had no changes are read again.

    Args:
        directory: Where the files are.
    """
    drafts = _of_directories.setdefault(directory, Drafts())
    drafts.opened = {path: each for path, each in drafts.opened.items() if each.changed}
    return drafts
