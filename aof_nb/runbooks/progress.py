"""How far a notebook's run is, in terms of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec


class CellStarted(msgspec.Struct, frozen=True, tag="cell_started"):
    """A code cell starts: its place among the code cells, counted from 1, and its title."""

    cell: int
    cells: int
    title: str


class CellFinished(msgspec.Struct, frozen=True, tag="cell_finished", omit_defaults=True):
    """A code cell has ended; `duration` is in seconds.

    `passed` is ``kept`` where it was executed before and not a second time, ``skipped`` where it
    was left out by the user's word.
    """

    cell: int
    cells: int
    title: str
    ok: bool
    duration: float
    passed: str = ""


class CellFailure(msgspec.Struct, frozen=True):
    """The cell that failed, and with what.

    Args:
        cell: Its place among the code cells, counted from 1.
        title: Its title.
        error: The exception's name.
        message: The exception's message.
        traceback: As the kernel told it, with terminal colours.
    """

    cell: int
    title: str
    error: str
    message: str
    traceback: str = ""


Progress: TypeAlias = CellStarted | CellFinished


def titles(cells: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    r"""A title for each code cell with anything in it, by the cell's index.

    It is the last heading of the text right above the cell, or else the cell's first line.

    Example:
        >>> titles([{"cell_type": "markdown", "source": "# Look"},
        ...         {"cell_type": "code", "source": "df -h"},
        ...         {"cell_type": "code", "source": "# more\nfree"}])
        {1: 'Look', 2: 'more'}
    """
    found: dict[int, str] = {}
    heading = ""
    for index, cell in enumerate(cells):
        lines = [line.strip() for line in cell["source"].splitlines() if line.strip()]
        if cell["cell_type"] == "markdown":
            headings = [line for line in lines if line.startswith("#")]
            heading = headings[-1].lstrip("# ") if headings else heading
        elif cell["cell_type"] == "code":
            if lines:
                found[index] = heading or lines[0].lstrip("# ") or lines[0]
            heading = ""
    return found


def heading(cells: Sequence[Mapping[str, Any]]) -> str:
    """A notebook's title: its first heading; empty if it has none."""
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for line in cell["source"].splitlines():
                if line.startswith("#"):
                    return str(line.lstrip("# ").strip())
    return ""


def introduction(cells: Sequence[Mapping[str, Any]]) -> str:
    r"""A notebook's first paragraph, on one line; empty if it has none.

    Example:
        >>> introduction([{"cell_type": "markdown", "source": "# Look\n\nAt the\ndisks.\n\nMore."}])
        'At the disks.'
    """
    for cell in cells:
        if cell["cell_type"] == "markdown":
            for block in cell["source"].split("\n\n"):
                lines = [line.strip() for line in block.splitlines() if line.strip()]
                paragraph = [line for line in lines if not line.startswith("#")]
                if paragraph:
                    return " ".join(paragraph)
    return ""
