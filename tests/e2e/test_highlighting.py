"""Prompts look like Markdown, and definitions like YAML, in JupyterLab."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

import aof_nb
from tests.e2e.browser import chromium
from tests.e2e.jupyterlab import jupyterlab

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXTENSION = Path(__file__).parents[2] / "labextension"
SOURCES = {
    "%%aof_agent sre\nmodel: openai:gpt-5\n": "yaml",
    "%%aof_mcp lab\ncommand: python\n": "yaml",
    "%%aof sre -s inc-42\nIs **checkout** slow?": "markdown",
    "%aof runs": "python",
    "%%time\n1 + 1": "python",
}


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        made = browser.new_page()
        made.set_default_timeout(60_000)
        yield made


def test_the_extension_is_that_of_this_version() -> None:
    package = json.loads((EXTENSION / "package.json").read_text())
    assert package["version"] == aof_nb.__version__
    assert (EXTENSION / package["jupyterlab"]["_build"]["load"]).is_file()


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_cells_are_highlighted(tmp_path: Path, page: Page) -> None:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "aof-test", "display_name": "Python 3"}}
    )
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in SOURCES]
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "cells.ipynb")

    def language(place: int, expected: str) -> None:
        cell = page.locator(".jp-Notebook .jp-CodeCell").nth(place)
        cell.locator(f'.cm-content[data-language="{expected}"]').wait_for()

    with jupyterlab(tmp_path) as url:
        page.goto(url.replace("/lab?", "/lab/tree/cells.ipynb?"))
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for()
        for place, expected in enumerate(SOURCES.values()):
            language(place, expected)
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").last.click()
        # A page that is still settling loses keys that nothing has the focus for.
        page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-focused").wait_for()
        page.keyboard.press("Control+Home")
        page.keyboard.type("%%aof sre\n")
        language(len(SOURCES) - 1, "markdown")
        page.keyboard.press("Control+Home")
        page.keyboard.type("x = 1\n")
        language(len(SOURCES) - 1, "python")
