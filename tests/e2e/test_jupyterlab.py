"""A person in JupyterLab: runs an agent, approves while it runs, interrupts another."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.e2e import incident
from tests.e2e.browser import chromium, output
from tests.e2e.jupyterlab import jupyterlab

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, ViewportSize

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

IMAGES = Path(__file__).parents[2] / "docs/images"
PLAIN = ".jp-cell-toolbar, .jp-Collapser { visibility: hidden }"


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium() as browser:
        size: ViewportSize = {"width": 1180, "height": 1300}
        made = browser.new_page(viewport=size, device_scale_factor=2)
        made.set_default_timeout(60_000)
        yield made


def test_approve_while_it_runs_and_interrupt_another(tmp_path: Path, page: Page) -> None:
    work = tmp_path / "work"
    work.mkdir()
    notebook = incident.write(work)
    with jupyterlab(tmp_path) as url:
        page.goto(url.replace("/lab?", f"/lab/tree/{notebook.name}?"))
        cells = page.locator(".jp-Notebook .jp-CodeCell")
        cells.first.locator(".cm-content").click()
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for()
        page.keyboard.press("Shift+Enter")

        cell = cells.nth(1)
        page.keyboard.press("Shift+Enter")
        approve = cell.get_by_role("button", name="Approve", exact=True)
        approve.wait_for()
        assert json.loads((work / "checkout.json").read_text())["version"] == "v42"
        cell.locator(".jp-OutputArea-output", has_text="waiting for your approval").wait_for()
        photograph(page, cell, "approval.png")
        approve.click()
        lengths = streamed(cell)
        assert len(lengths) >= 3, lengths
        assert json.loads((work / "checkout.json").read_text())["version"] == "v41"
        shown = output(cell)
        assert "checkout is healthy again" in shown
        assert re.search(r"Approved by oncall \(notebook\), 20", shown)
        assert "rollout.yaml (scripted) · 4 turns · 4 tool calls" in shown
        assert cell.get_by_role("button").count() == 0 or not approve.is_visible()
        photograph(page, cell, "cell.png")

        interrupted = cells.nth(2)
        interrupted.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Shift+Enter")
        interrupted.locator("summary", has_text="watch").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("i")
        page.keyboard.press("i")
        started = time.monotonic()
        interrupted.locator(".jp-OutputArea-output", has_text="the run was ended").wait_for()
        print(f"interrupted in {(time.monotonic() - started) * 1000:.0f} ms, seen in the browser")
        assert "interrupted, outcome unknown" in output(interrupted)
        page.keyboard.press("Control+s")
        saved = wait_for_saved(notebook)
    assert not (work / "went_on").exists()
    assert "widget-view" not in saved
    assert "checkout is healthy again" in saved


def streamed(cell: Locator) -> list[int]:
    """The lengths the output had while it grew, until the footer came."""
    lengths: list[int] = []
    end = time.monotonic() + 60
    while time.monotonic() < end:
        text = output(cell)
        if len(text) not in lengths:
            lengths.append(len(text))
        if "4 tool calls" in text:
            return lengths
        time.sleep(0.05)
    raise AssertionError(text)


def photograph(page: Page, cell: Locator, name: str) -> None:
    """The executed cell, for the README and the documentation."""
    if os.environ.get("AOF_SCREENSHOTS") == "1":
        page.wait_for_timeout(500)
        IMAGES.mkdir(parents=True, exist_ok=True)
        cell.screenshot(path=IMAGES / name, style=PLAIN)


def wait_for_saved(path: Path) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        saved = nbformat.read(path, as_version=4)
        if "the run was ended" in str(saved.cells[2].outputs):
            return path.read_text()
        time.sleep(0.2)
    raise AssertionError("the notebook was not saved")
