"""A JupyterLab and a Chromium for a module's tests; a notebook in a page for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import NotebookPage, chromium, write
from tests.e2e.jupyterlab import jupyterlab
from tests.e2e.turns import SETUP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    directory = tmp_path_factory.mktemp("lab")
    with jupyterlab(directory) as url:
        yield url, directory / "work"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def notebook(
    lab: tuple[str, Path], page: Page, request: pytest.FixtureRequest
) -> Iterator[NotebookPage]:
    url, work = lab
    path = work / f"{re.sub(r'[^a-z]+', '-', request.node.name)}.ipynb"
    write(path, [SETUP, *request.node.get_closest_marker("cells").args])
    opened = NotebookPage(page, url, path)
    opened.wait_for_kernel()
    opened.finished(opened.run(0))
    yield opened
    page.keyboard.press("Escape")
