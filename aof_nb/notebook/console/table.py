"""A table of a page: what it shows is text, and one row may be selected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aof_nb.markdown import revealed
from aof_nb.notebook.console.widgets import table_class
from aof_nb.readable import visible


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        key: What the rows call it.
        label: Its heading.
        number: Whether it is aligned as numbers are, and sorted with the greatest first.
        wide: Whether it takes the room that is left, and breaks its lines.
    """

    key: str
    label: str
    number: bool = False
    wide: bool = False


@dataclass(frozen=True)
class TableRow:
    """A row.

    Args:
        id: What it is known by when it is selected.
        cells: Its texts, by column.
        sort: What it is sorted by, by column, where that is not the text.
        level: How it is shown: ``good``, ``bad``, ``warning`` or nothing; its text says so too.
    """

    id: str
    cells: Mapping[str, str]
    sort: Mapping[str, float] = field(default_factory=dict)
    level: str = ""


class Table:
    """A table that is filtered, sorted and moved about in with the keyboard, in the page.

    Args:
        label: What it is a table of, for who cannot see it.
        columns: Its columns.
        empty: What stands in its place while it has no rows.
        filterable: Whether it has a field of its own for words that the rows must have.

    Example:
        >>> table = Table("Runs", [Column("run", "Run")], empty="No runs yet.")
        >>> table.show([TableRow("r1", {"run": "r1"})])
        >>> table.selected
        ''
    """

    def __init__(
        self, label: str, columns: Sequence[Column], *, empty: str, filterable: bool = True
    ) -> None:
        self.widget: Any = table_class()(
            label=label,
            columns=[
                {"key": each.key, "label": each.label, "number": each.number, "wide": each.wide}
                for each in columns
            ],
            empty=empty,
            filterable=filterable,
        )

    @property
    def selected(self) -> str:
        """The id of the selected row; empty if none is."""
        selected: str = self.widget.selected
        return selected

    @selected.setter
    def selected(self, row_id: str) -> None:
        self.widget.selected = row_id

    def show(self, rows: Sequence[TableRow]) -> None:
        """Shows these rows; nothing is sent if they are those that it has."""
        shown = [
            {
                "id": each.id,
                "cells": {key: revealed(visible(text)) for key, text in each.cells.items()},
                "sort": dict(each.sort),
                "level": each.level,
            }
            for each in rows
        ]
        if shown != self.widget.rows:
            self.widget.rows = shown

    def on_select(self, chosen: Callable[[str], None]) -> None:
        """Has a function called with the id of each row that is selected, on any thread."""
        self.widget.observe(lambda change: chosen(change["new"]), "selected")
