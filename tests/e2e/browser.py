"""A page of a real Chromium that shows notebooks in a real JupyterLab."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--font-render-hinting=none"),
]
PATIENCE = 20_000


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a screen."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def write(path: Path, cells: list[str]) -> None:
    """Writes a notebook of code cells."""
    made = [nbformat.v4.new_code_cell(each) for each in cells]
    spec = {"name": "aof-test", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": spec}), path)


class NotebookPage:
    """A notebook in a page.

    Args:
        page: The page.
        url: JupyterLab's address, with its token.
        path: The notebook.
    """

    def __init__(self, page: Page, url: str, path: Path) -> None:
        self.page = page
        self.path = path
        self._address = url.replace("/lab?", f"/lab/tree/{path.name}?reset&")
        self._address = self._address.replace("/tree?", f"/notebooks/{path.name}?")
        page.set_default_timeout(PATIENCE)
        self.load()

    def load(self) -> None:
        """Loads the page, anew if it is loaded."""
        self.page.goto(self._address)
        self.cells.first.locator(".cm-content").wait_for()

    def wait_for_kernel(self) -> None:
        """Waits until the kernel is there."""
        idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
        self.page.locator(idle).first.wait_for(state="attached")

    @property
    def cells(self) -> Locator:
        """The notebook's cells."""
        return self.page.locator(".jp-Notebook .jp-CodeCell")

    def run(self, number: int) -> Locator:
        """Begins to execute a cell; returns it.

        A page that is still settling may lose a key, or ask for a kernel first: it is pressed until
        the cell has begun.
        """
        from playwright.sync_api import TimeoutError as NotYet

        cell = self.cells.nth(number)
        prompt = cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[(?:\*|\d+)\]"))
        accept = self.page.locator(".jp-Dialog .jp-mod-accept")
        for _ in range(12):
            with contextlib.suppress(NotYet):
                if accept.count():
                    accept.first.click(timeout=2_000)
                cell.locator(".cm-content").click(timeout=3_000)
                self.page.keyboard.press("Shift+Enter")
                prompt.wait_for(timeout=3_000)
                return cell
        raise AssertionError(f"cell {number} is not executed")

    def finished(self, cell: Locator) -> str:
        """Waits until a cell has been executed; its output's text."""
        cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for()
        return output(cell)

    def save(self) -> nbformat.NotebookNode:
        """Saves the notebook, and reads what was saved."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        end = time.monotonic() + 30
        while self.path.stat().st_mtime_ns == before:
            if time.monotonic() > end:
                raise AssertionError("the notebook was not saved")
            time.sleep(0.1)
        time.sleep(0.2)
        return nbformat.read(self.path, as_version=4)

    def saved(self, wanted: Callable[[nbformat.NotebookNode], bool]) -> nbformat.NotebookNode:
        """Waits until the file holds what is wanted, by nobody's command."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            # The server writes in place: a file that is being written is no notebook yet.
            with contextlib.suppress(nbformat.reader.NotJSONError):
                found = nbformat.read(self.path, as_version=4)
                if wanted(found):
                    return found
            time.sleep(0.1)
        raise AssertionError("the notebook was not saved")


def output(cell: Locator) -> str:
    """What a cell's output says."""
    return " ".join(cell.locator(".jp-OutputArea-output").all_inner_texts())
