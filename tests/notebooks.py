"""Small notebooks for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def write_notebook(
    path: Path,
    *cells: str,
    parameters: str | None = None,
    kernel: str = "python3",
    aof: Mapping[str, Any] | None = None,
    tags: Mapping[int, list[str]] | None = None,
) -> Path:
    """Writes a notebook.

    Args:
        path: Where to.
        cells: The cells' sources; those that begin with ``md:`` are Markdown.
        parameters: The source of the parameters cell, if there is one.
        kernel: The kernel the notebook names.
        aof: Its metadata as a runbook.
        tags: Tags of cells, by their place among `cells`.
    """
    made = []
    if parameters is not None:
        made.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for place, source in enumerate(cells):
        text = source.removeprefix("md:")
        made.append(new_markdown_cell(text) if text != source else new_code_cell(source))
        if tags and place in tags:
            made[-1].metadata["tags"] = tags[place]
    notebook = new_notebook(cells=made)
    if aof is not None:
        notebook.metadata["aof"] = aof
    notebook.metadata.kernelspec = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(notebook, path)
    return path


def printed(path: Path) -> str:
    """What the cells of an executed notebook printed."""
    notebook = nbformat.read(path, as_version=4)
    return "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
    )
