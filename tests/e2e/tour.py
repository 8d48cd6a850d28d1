"""Takes the pictures of ``docs/tour.md``: ``python -m tests.e2e.tour [DIRECTORY]``."""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from tests.e2e import incident
from tests.e2e.browser import NotebookPage, chromium, write
from tests.e2e.jupyterlab import jupyterlab
from tests.e2e.turns import TURNS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

IMAGES = Path(__file__).parents[2] / "docs/images/tour"
_CLEAN = ".jp-cell-toolbar, .jp-Collapser { visibility: hidden }"
_DARK = {"theme": "JupyterLab Dark"}
_COLOURS = 128

MORE = (
    TURNS
    + '''
import math, os, sys
from aof_nb import McpServer

Turns.usage = Usage(input_tokens=1840, output_tokens=212)

@tool(effect="read", sends=False)
def query_range(query: str, minutes: int) -> dict:
    """Asks Prometheus for a range."""
    begin = 1_796_000_000
    def series(version, values):
        return {"metric": {"service": "checkout", "version": version}, "values": values}
    fast = [[begin + 15 * n, f"{0.12 + 0.02 * math.sin(n / 3):.3f}"] for n in range(60)]
    slow = [
        [begin + 15 * n, f"{0.12 + max(0, n - 25) * 0.03 + 0.05 * math.sin(n):.3f}"]
        for n in range(60)
    ]
    found = {"resultType": "matrix", "result": [series("v41", fast), series("v42", slow)]}
    return {"status": "success", "data": found}

query = "histogram_quantile(0.99, rate(checkout_seconds_bucket[1m]))"
metrics = Agent(
    name="metrics",
    model=Turns(
        ["I ask for the latency.", ToolCall("c1", "query_range", {"query": query, "minutes": 15})],
        ["v42 needs **ten times** as long as v41 since 14:02."],
    ),
    tools=[query_range],
)

def looks(name, service):
    seen = ToolCall("c1", "read_log", {"service": "checkout", "lines": 2})
    back = ToolCall("c2", "roll_back", {"service": service, "to": "v41"})
    return Agent(name=name, model=Turns([f"I look at {service}.", seen], [back], ["Done."]),
                 tools=[read_log, roll_back])

eu, us, ap = looks("eu", "checkout-eu"), looks("us", "checkout-us"), looks("ap", "checkout-ap")
change = {"path": "app.yaml", "content": "pool_size: 20\\ntimeout_s: 5\\nretries: 3\\n"}
writer = Agent(
    name="writer",
    model=Turns(["The pool is small.", ToolCall("c1", "write_file", change)], ["It is mended."]),
    tools=["write_file"],
)
Path("app.yaml").write_text("pool_size: 1\\ntimeout_s: 5\\nretries: 3\\n")
said = [Message.user("Why was checkout slow?"),
        Message.assistant("Rollout v42 cut the connection pool from 20 to 1.")]
from aof_nb.memory import open_memory
await open_memory("disk").append("inc-42", said)
os.environ["PATH"] = f"{sys.prefix}/bin:{os.environ['PATH']}"
clock = McpServer(name="clock", command="mcp-server-time")
'''
)
CELLS = {
    "setup": incident.SETUP,
    "more": MORE,
    "sre": "%%aof sre\nCheckout answers slowly since {since}: find the cause, then repair it.",
    "metrics": "%%aof metrics\nShow me the latency of checkout.",
    "three": "from aof_nb.notebook.cell_run import RunOptions, run_in_cell\n"
    "runs = (run_in_cell(get_ipython(), each, 'Mend it.', RunOptions()) for each in (eu, us, ap))\n"
    "await asyncio.gather(*runs)\nNone",
    "dry": "%%aof writer --dry-run\nMend app.yaml.",
    "diff": "%%aof writer\nMend app.yaml.",
    "waiting": "%%aof us\nMend checkout in the US.",
    "console": "%aof console",
    "panel": "%aof console runs --panel",
}
PLACE = list(CELLS)


def take(images: Path) -> None:
    """Takes all pictures.

    Args:
        images: The directory that they are written into.
    """
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        directory = Path(place)
        _furnish(directory)
        with jupyterlab(directory) as url:
            _take_light(browser, url, directory / "work", images)
        settings = directory / "jupyter/settings/@jupyterlab/apputils-extension"
        (settings / "themes.jupyterlab-settings").write_text(json.dumps(_DARK))
        with jupyterlab(directory) as url:
            _take_dark(browser, url, directory / "work", images)


def _furnish(directory: Path) -> None:
    work = directory / "work"
    work.mkdir()
    incident.write(work).unlink()
    write(work / "incident.ipynb", list(CELLS.values()))
    (work / "triage.yaml").write_text(
        "apiVersion: aof.dev/v1\nkind: Agent\nmetadata:\n  name: triage\nspec:\n"
        "  model: anthropic:claude-sonnet-5  # the one that the team pays for\n"
        "  instructions: |\n    You look into incidents. Read logs before you change anything.\n"
        "  tools: [shell, read_file]\n  policy: {write: ask, destructive: deny}\n  memory: disk\n"
    )
    runbook = nbformat.v4.new_notebook(metadata={"aof": {"title": "Restart a service"}})
    cell = nbformat.v4.new_code_cell(
        "service = None  # type: str, whose instances are restarted\nbatch: int = 2  # at a time",
        metadata={"tags": ["parameters"]},
    )
    runbook.cells = [cell, nbformat.v4.new_code_cell("print(service, batch)")]
    nbformat.write(runbook, work / "restart.ipynb")


def _begun(browser: Browser, url: str, work: Path, *, width: int) -> NotebookPage:
    """The notebook in a page of some width, with all that its cells need."""
    page = browser.new_page(viewport={"width": width, "height": 1400}, device_scale_factor=1.5)
    notebook = NotebookPage(page, url, work / "incident.ipynb")
    notebook.wait_for_kernel()
    for name in ("setup", "more"):
        notebook.finished(notebook.run(PLACE.index(name)))
    return notebook


def _take_three(notebook: NotebookPage, path: Path) -> None:
    """Three agents that wait, who are then let go on."""
    three = notebook.run(PLACE.index("three"))
    approve = three.get_by_role("button", name="Approve", exact=True)
    approve.nth(2).wait_for()
    _picture(notebook.page, three, path)
    for left in (2, 1, 0):
        approve.first.click()
        approve.nth(left).wait_for(state="detached")
    notebook.finished(three)


def _take_light(browser: Browser, url: str, work: Path, images: Path) -> None:
    notebook = _begun(browser, url, work, width=1280)
    page = notebook.page

    def cell(name: str) -> Locator:
        return notebook.run(PLACE.index(name))

    sre = cell("sre")
    approve = sre.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    _picture(page, sre, images / "approval.png")
    sre.get_by_text("Edit the arguments").click()
    _picture(page, sre.locator(".aof-card").first, images / "edit.png")
    approve.click()
    notebook.finished(sre)
    for row in sre.locator(".jp-OutputArea-output summary").all()[:1]:
        row.click()
    _picture(page, sre, images / "record.png")
    metrics = cell("metrics")
    notebook.finished(metrics)
    page.wait_for_timeout(500)
    _picture(page, metrics, images / "plot.png")
    _take_three(notebook, images / "three.png")
    dry = cell("dry")
    notebook.finished(dry)
    _picture(page, dry, images / "dry_run.png")
    diff = cell("diff")
    diff.get_by_role("button", name="Approve", exact=True).wait_for()
    _picture(page, diff, images / "diff.png")
    diff.get_by_role("button", name="Approve", exact=True).click()
    notebook.finished(diff)
    notebook.finished(cell("console"))
    console = page.locator(".aof-console").last
    waiting = notebook.cells.nth(PLACE.index("waiting"))
    cell("waiting")
    waiting.get_by_role("button", name="Approve", exact=True).wait_for()
    page.set_viewport_size({"width": 1280, "height": 2400})
    _take_console(page, console, images)
    console.get_by_role("tab", name="Approvals", exact=True).click()
    console.get_by_text("1 call waits").wait_for()
    console.get_by_role("button", name="Deny").click()
    notebook.finished(waiting)
    notebook.finished(cell("panel"))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator("#jp-right-stack tr", has_text="metrics").first.wait_for()
    _widen(page)
    page.locator("#jp-right-stack tr", has_text="metrics").first.click()
    page.wait_for_timeout(1200)
    _save(page.screenshot(style=_CLEAN), images / "panel.png")
    page.close()


def _take_console(page: Page, console: Locator, images: Path) -> None:
    def turn(title: str) -> None:
        console.get_by_role("tab", name=title, exact=True).click()
        page.wait_for_timeout(1500)

    turn("Agents")
    console.get_by_role("row").filter(has_text="triage.yaml").click()
    console.get_by_text("Nothing is wrong with it.").wait_for()
    _picture(page, console, images / "console_agents.png")
    turn("Runs")
    console.get_by_role("row").filter(has_text="sre").first.click()
    console.get_by_text("Timeline").wait_for()
    _picture(page, console, images / "console_runs.png")
    turn("Approvals")
    _picture(page, console, images / "console_approvals.png")
    turn("Logs")
    _picture(page, console, images / "console_logs.png")
    turn("MCP")
    console.get_by_role("row").filter(has_text="clock").first.click()
    console.get_by_role("button", name=re.compile(r"\bConnect$")).click()
    console.get_by_role("row").filter(has_text="convert_time").click()
    page.wait_for_timeout(800)
    _picture(page, console, images / "console_mcp.png")
    turn("Models")
    _picture(page, console, images / "console_models.png")
    turn("Memory")
    console.get_by_role("row").filter(has_text="inc-42").first.click()
    page.wait_for_timeout(800)
    _picture(page, console, images / "console_memory.png")
    turn("Runbooks")
    console.get_by_role("row").filter(has_text="Restart a service").first.click()
    console.get_by_label("service *").fill("checkout")
    page.wait_for_timeout(800)
    _picture(page, console, images / "console_runbooks.png")


def _take_dark(browser: Browser, url: str, work: Path, images: Path) -> None:
    notebook = _begun(browser, url, work, width=800)
    page = notebook.page
    _take_three(notebook, images / "dark.png")
    notebook.finished(notebook.run(PLACE.index("console")))
    console = page.locator(".aof-console").last
    console.get_by_role("tab", name="Runs", exact=True).click()
    console.get_by_role("row").filter(has_text="metrics").first.click()
    page.wait_for_timeout(1500)
    _picture(page, console, images / "console_dark.png")
    page.close()


def _widen(page: Page) -> None:
    handle = page.locator("#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)").last
    box = handle.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 1, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] - 280, box["y"] + 200, steps=8)
    page.mouse.up()


def _picture(page: Page, shown: Locator, path: Path) -> None:
    shown.scroll_into_view_if_needed()
    page.mouse.move(2, 2)
    page.wait_for_timeout(400)
    _save(shown.screenshot(style=_CLEAN), path)


def _save(picture: bytes, path: Path) -> None:
    """Writes a picture with few colours: what is shown is text, and the repository stays small."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
