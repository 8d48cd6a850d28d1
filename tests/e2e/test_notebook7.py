"""Notebook 7: a run with its buttons, the colours of cells, and the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import NotebookPage
from tests.e2e.jupyterlab import jupyterlab
from tests.e2e.turns import MEND

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PANEL = """\
from aof_nb.notebook import commands
commands._PANEL_SECONDS = 1
%aof console runs --panel"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    directory = tmp_path_factory.mktemp("notebook7")
    with jupyterlab(directory, app="notebook") as url:
        yield url, directory / "work"


@pytest.mark.cells(MEND, PANEL, "%%aof_agent sre\nmodel: openai:gpt-5")
def test_a_run_is_approved_and_the_console_shows_it(notebook: NotebookPage) -> None:
    asked = notebook.run(1)
    asked.get_by_role("button", name="Approve", exact=True).click()
    assert "It is up again." in notebook.finished(asked)
    console = notebook.run(2)
    assert "No side panel has appeared" in notebook.finished(console)
    console.locator(".aof-console", has_text="checkout").wait_for()
    languages = [
        notebook.cells.nth(place).locator(".cm-content").get_attribute("data-language")
        for place in (1, 3)
    ]
    assert languages == ["markdown", "yaml"]
