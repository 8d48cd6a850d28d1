"""A look at what a runbook will do, before it does it: its cells in order, none executed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aof_nb.markdown import html_text, to_html
from aof_nb.runbooks.metadata import cell_metadata
from aof_nb.runbooks.prepared import read_notebook
from aof_nb.runbooks.progress import titles
from aof_nb.truncation import truncate

_CELL_CHARS = 8_000
_ALL_CHARS = 200_000
_MARKS = {
    "once": "once: not executed a second time by itself",
    "safe_to_repeat": "may be executed again",
    "result": "what the runbook comes to",
    "live": "looks at the world or changes it",
}


def outline(path: Path) -> str:
    """A notebook's cells as HTML; it reads the file, so call it in a thread.

    Args:
        path: The notebook.

    Raises:
        ConfigurationError: If it cannot be read, or is no notebook.
    """
    pieces, length = [], 0
    for piece in _pieces(read_notebook(path).cells):
        length += len(piece)
        if length > _ALL_CHARS:
            pieces.append('<p class="aof-told">The rest is left out: open the notebook.</p>')
            break
        pieces.append(piece)
    return "".join(pieces)


def _pieces(cells: list[Any]) -> Iterator[str]:
    titled = titles(cells)
    places = {index: place for place, index in enumerate(titled, start=1)}
    for index, cell in enumerate(cells):
        source = truncate(cell["source"], _CELL_CHARS)
        if cell["cell_type"] == "markdown":
            yield to_html(source)
        elif index in places:
            yield _step(cell, places[index], titled[index], source)


def _step(cell: Any, place: int, title: str, source: str) -> str:
    marks = cell_metadata(cell)
    said = [words for name, words in _MARKS.items() if getattr(marks, name)]
    first = source.lstrip().partition("\n")[0]
    if first.startswith("%%aof"):
        said.insert(0, "asks an agent")
    if "parameters" in cell.get("metadata", {}).get("tags", ()):
        said.insert(0, "the parameters' defaults")
    about = f' <span class="aof-told">{html_text("; ".join(said))}</span>' if said else ""
    return (
        f"<details><summary><b>{place}.</b> {html_text(title)}{about}</summary>"
        f"<pre>{html_text(source)}</pre></details>"
    )
