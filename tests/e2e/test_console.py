"""The console in a cell, in JupyterLab's side panel and in the browser, with real runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.corpora.xss import PAYLOADS
from tests.e2e.browser import NotebookPage, write
from tests.e2e.turns import MEND
from tests.notebook.console.test_mcp import LIBRARY
from tests.notebooks import printed, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"


def opened(notebook: NotebookPage, number: int) -> Locator:
    notebook.finished(notebook.run(number))
    console = notebook.page.locator(".aof-console").last
    console.get_by_role("tab", name="Runs").wait_for()
    return console


def button(console: Locator, label: str) -> Locator:
    """A button of ipywidgets, whose icon is a part of its name."""
    return console.get_by_role("button", name=re.compile(rf"^\W*{label}$"))


def turn(console: Locator, title: str) -> None:
    console.get_by_role("tab", name=title, exact=True).click()


@pytest.mark.cells("%aof console approvals", MEND, "print(restarted)")
def test_a_call_is_approved_in_the_inbox_while_its_cell_waits(notebook: NotebookPage) -> None:
    console = opened(notebook, 1)
    console.get_by_text("Nothing waits for an answer.").wait_for()
    cell = notebook.run(2)
    cell.get_by_role("button", name="Approve", exact=True).wait_for()
    console.get_by_text("1 call waits for an answer.").wait_for()
    for title in ("Logs", "Runs"):
        turn(console, title)
        console.get_by_role("row").filter(has_text="checkout").first.wait_for()
    turn(console, "Approvals")
    assert "checkout" in console.locator(".aof-inbox").inner_text()
    button(console, "Approve").click()
    text = notebook.finished(cell)
    assert re.search(r"Approved by oncall \(console\)", text)
    console.get_by_text("Nothing waits for an answer.").wait_for()
    assert "['checkout']" in notebook.finished(notebook.run(3))


@pytest.mark.cells("%aof console approvals", MEND)
def test_arguments_are_edited_and_a_call_is_denied_in_the_inbox(notebook: NotebookPage) -> None:
    console = opened(notebook, 1)
    cell = notebook.run(2)
    console.get_by_text("1 call waits for an answer.").wait_for()
    console.get_by_text("Edit the arguments").click()
    arguments = console.locator(".aof-inbox textarea")
    arguments.fill('{"service": 5}')
    button(console, "Approve with these arguments").click()
    console.get_by_text("the arguments of restart cannot be taken").wait_for()
    console.get_by_placeholder("Reason, told to the agent with a no").fill("Not at noon.")
    button(console, "Deny").click()
    assert "Not at noon." in notebook.finished(cell)


@pytest.mark.cells(
    "%%aof guard\nWatch it.",
    "%aof console runs",
)
def test_a_run_of_another_process_is_watched_and_stopped(
    notebook: NotebookPage, browser: Browser, lab: tuple[str, Path]
) -> None:
    watching = notebook.run(1)
    watching.get_by_text("watch", exact=True).first.wait_for()
    url, work = lab
    other = work / "another.ipynb"
    write(other, ["%load_ext aof_nb", "%aof console runs"])
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        second = NotebookPage(context.new_page(), url, other)
        second.wait_for_kernel()
        second.finished(second.run(0))
        console = opened(second, 1)
        row = console.locator("tr", has_text="guard").filter(has_text="running").first
        row.click()
        console.get_by_text("Watch it.").first.wait_for()
        button(console, "Stop").click()
        console.get_by_text("is being stopped").wait_for()
        watching.get_by_text("interrupted: the run was ended").wait_for()
        console.locator("tr[aria-selected=true]", has_text="cancelled").wait_for()
        button(console, "Fork").wait_for()
    finally:
        context.close()


@pytest.mark.cells(
    "hostile = Agent(name='hostile', model=Turns(["
    + repr(HOSTILE)
    + ", ToolCall('c1', 'look', {'what': "
    + repr(HOSTILE)
    + "})], ['Done.']), tools=[])\n"
    "await hostile.run(" + repr(HOSTILE) + ")",
    "%aof console logs",
)
def test_logs_are_filtered_and_hostile_text_stays_text(notebook: NotebookPage) -> None:
    notebook.finished(notebook.run(1))
    console = opened(notebook, 2)
    table = console.get_by_role("grid", name="Log entries")
    table.locator("tr", has_text="hostile").first.wait_for()
    console.get_by_label("Agent").fill("nobody at all")
    console.get_by_text("No entry is like this.").wait_for()
    console.get_by_label("Agent").fill("hostile")
    table.locator("tr", has_text="onerror").first.wait_for()
    turn(console, "Runs")
    console.get_by_role("row").filter(has_text="hostile").first.click()
    console.get_by_text("Timeline").wait_for()
    console.get_by_text("onerror").first.wait_for()
    assert notebook.page.title() != "pwned"
    assert console.locator("img, script").count() == 0


AGENT = """\
apiVersion: aof.dev/v1
kind: Agent
metadata: {name: triage}
spec:
  model: script:playbook.yaml  # no key needed
  instructions: |
    Look first.
"""
PLAYBOOK = f"""\
steps:
  - say: |
      **All** is well. {HOSTILE}
"""


@pytest.mark.cells("%aof console agents")
def test_an_agent_is_changed_by_form_and_yaml_tried_and_saved(
    notebook: NotebookPage, lab: tuple[str, Path]
) -> None:
    from playwright.sync_api import expect

    file = lab[1] / "triage.yaml"
    file.write_text(AGENT)
    (lab[1] / "playbook.yaml").write_text(PLAYBOOK)
    console = opened(notebook, 1)
    console.locator("tr", has_text="triage.yaml").click()
    console.get_by_text("Nothing is wrong with it.").wait_for()
    instructions = console.get_by_label("Instructions")
    instructions.click()
    notebook.page.keyboard.press("Control+End")
    # Slowly enough for the page to answer in between.
    instructions.press_sequentially(" Then act. ", delay=60)
    instructions.press_sequentially("Slowly.", delay=60)
    yaml = console.locator(".aof-columns > :last-child textarea")
    changed = AGENT.replace("Look first.", "Look first. Then act. Slowly.")
    expect(yaml).to_have_value(changed)
    yaml.fill(f"{changed}  tols: [shell]\n")
    console.get_by_text("line 8, spec.tols: unknown field 'tols' → did you mean").wait_for()
    yaml.fill(f"{changed}  tools: [shell]\n")
    expect(console.get_by_label("Tools")).to_have_value("shell")
    console.get_by_placeholder("What the agent is asked").fill("How is it?")
    button(console, "Try it").click()
    console.get_by_text("triage: completed").wait_for()
    assert console.locator("strong", has_text="All").count() == 1
    assert notebook.page.title() != "pwned"
    button(console, r"Save \*").click()
    console.get_by_text("Saved as triage.yaml.").wait_for()
    assert file.read_text() == f"{changed}  tools: [shell]\n"


ROOT = Path(__file__).parents[1]
SERVERS = f"""\
import json, sys
from pathlib import Path
from aof_nb import McpServer
payloads = {json.dumps(PAYLOADS)}
odd_place = Path("odd")
odd_place.mkdir(exist_ok=True)
text = "\\n".join(payloads.values())
(odd_place / "descriptions").write_text(json.dumps({{"plain": text, "fail": text}}))
odd_file, library_file = {str(ROOT / "mcp/odd_server.py")!r}, {str(LIBRARY)!r}
odd = McpServer(name="odd", command=sys.executable, args=(odd_file, str(odd_place)))
library = McpServer(name="library", command=sys.executable, args=(library_file, str(odd_place)))
evil = Path("<img src=x onerror=window.__hurt=1>.yaml")
evil.write_text("kind: Agent\\nmetadata: {{name: '<svg onload=window.__hurt=2>'}}\\n")
"""


@pytest.mark.cells(
    SERVERS, "%aof console mcp", "odd_place.joinpath('calls').read_text()", "evil.unlink()"
)
def test_mcp_servers_are_browsed_and_called_and_nothing_of_them_acts(
    notebook: NotebookPage,
) -> None:
    page = notebook.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    notebook.finished(notebook.run(1))
    console = opened(notebook, 2)

    def check(when: str) -> None:
        page.wait_for_timeout(300)
        assert page.evaluate("window.__hurt") is None, when
        away = [each for each in asked if "127.0.0.1" not in each]
        assert all(each.startswith(("data:", "blob:")) for each in away), (when, away)
        assert console.locator("script, iframe, img").count() == 0, when

    for name, tool in (("odd", "broken_json"), ("library", "Lists pods")):
        console.get_by_role("row").filter(has_text=name).first.click()
        button(console, "Connect").click()
        row = console.get_by_role("row").filter(has_text=name).filter(has_text="connected")
        row.first.wait_for()
        console.get_by_role("row").filter(has_text=tool).first.wait_for()
        check(f"{name} is connected")
    console.get_by_role("row").filter(has_text="Lists pods").click()
    console.get_by_label("namespace *").fill("<img src=x onerror=window.__hurt=3>")
    page.keyboard.press("Tab")
    button(console, "Call").click()
    console.get_by_text("library__pods: ok").wait_for()
    check("a tool was called")
    console.get_by_role("row").filter(has_text="Restarts a service").click()
    console.get_by_label("service *").fill("web")
    page.keyboard.press("Tab")
    button(console, "Call").click()
    button(console, "Approve").last.click()
    console.get_by_text("library__restart: ok").wait_for()
    calls = notebook.finished(notebook.run(3))
    assert "pods <img src=x" in calls
    assert "restart web" in calls
    for title in ("Agents", "Runbooks", "Models", "Memory", "Logs", "Runs"):
        turn(console, title)
        page.wait_for_timeout(700)
        check(title)
    turn(console, "Agents")
    console.get_by_role("row").filter(has_text="onerror").first.click()
    check("a file whose name is hostile is opened")
    notebook.finished(notebook.run(4))


@pytest.mark.cells("%aof console models")
def test_providers_say_what_they_need_and_a_model_is_pinged(
    notebook: NotebookPage, lab: tuple[str, Path]
) -> None:
    (lab[1] / "pong.yaml").write_text("steps:\n  - answer: Pong.\n")
    console = opened(notebook, 1)
    row = console.get_by_role("row").filter(has_text="anthropic").first
    assert "ANTHROPIC_API_KEY" in row.inner_text()
    console.get_by_placeholder("provider:model").fill("script:pong.yaml")
    notebook.page.keyboard.press("Tab")
    button(console, "Ping").click()
    console.get_by_text("script:pong.yaml answers.").wait_for()


@pytest.mark.cells("%aof console approvals --panel", MEND)
def test_the_console_is_in_the_side_panel(notebook: NotebookPage) -> None:
    said = notebook.finished(notebook.run(1))
    assert "side panel" in said
    panel = notebook.page.locator("#jp-right-stack .aof-console")
    panel.get_by_text("Nothing waits for an answer.").wait_for()
    cell = notebook.run(2)
    button(panel, "Approve").click()
    assert re.search(r"Approved by oncall \(console\)", notebook.finished(cell))


def test_the_console_is_an_app_in_the_browser(page: Page, tmp_path: Path) -> None:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    environment = os.environ | {"HOME": str(tmp_path), "AOF_STATE_DIR": str(tmp_path / "state")}
    process = subprocess.Popen(
        [sys.executable, "-m", "aof_nb.cli", "console", "--no-browser", str(tmp_path)],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", process.stdout.readline())
        assert found is not None
        address = found[0]
        with urlopen(address.split("?")[0]) as answer:
            assert "/login" in answer.url
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"{address.split('?')[0]}api/kernels/00000000-0000-0000-0000-000000000000")
        page.goto(address)
        console = page.locator(".aof-console")
        console.get_by_role("tab", name="Approvals").click(timeout=60_000)
        console.get_by_text("Nothing waits for an answer.").wait_for()
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.returncode in {0, 130}


@pytest.mark.cells(MEND, "%aof console logs")
def test_a_narrow_console_shows_all_columns_and_takes_keys(notebook: NotebookPage) -> None:
    page = notebook.page
    cell = notebook.run(1)
    cell.get_by_role("button", name="Approve", exact=True).click()
    notebook.finished(cell)
    page.set_viewport_size({"width": 800, "height": 1000})
    console = opened(notebook, 2)
    for title in ("Logs", "Runs", "Models"):
        turn(console, title)
        console.locator(".aof-table:visible tbody tr").first.wait_for()
        beyond = console.evaluate(
            "it => [...it.querySelectorAll('.aof-table-scroll')]"
            ".filter(each => each.scrollWidth > each.clientWidth + 1).length"
        )
        assert beyond == 0, title
    console.get_by_role("tab", name="Models", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate("document.activeElement.getAttribute('role')") == "tab"
    assert page.evaluate(outline) == "solid"
    turn(console, "Runs")
    console.get_by_label("Find").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(outline) == "solid"
    row = console.locator(".aof-table:visible tbody tr[tabindex='0']")
    row.focus()
    page.keyboard.press("Enter")
    console.get_by_text("Timeline").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"


@pytest.mark.cells("%aof console runbooks")
def test_a_runbook_is_run_from_its_form(notebook: NotebookPage, lab: tuple[str, Path]) -> None:
    write_notebook(
        lab[1] / "disk.ipynb",
        "print(service, HOSTILE)".replace("HOSTILE", repr(HOSTILE)),
        parameters="service = None  # whose",
        aof={"title": f"Full disk {HOSTILE}"},
    )
    console = opened(notebook, 1)
    console.get_by_role("row").filter(has_text="Full disk").first.click()
    console.get_by_label("service *").fill("web")
    notebook.page.keyboard.press("Tab")
    button(console, "Run").click()
    console.get_by_text("completed in").wait_for()
    [output] = (lab[1] / "runs").glob("disk-*.ipynb")
    assert printed(output).startswith("web ")
    assert notebook.page.title() != "pwned"


@pytest.mark.cells(
    "from aof_nb.memory import open_memory\nfrom aof_nb.messages import Message\n"
    f"talk = [Message.user({HOSTILE!r}), Message.assistant({'Leaks ' + HOSTILE!r})]\n"
    "_ = await open_memory('disk').append('inc-42', talk)",
    "%aof console memory",
)
def test_a_conversation_is_opened_and_deleted(notebook: NotebookPage) -> None:
    notebook.finished(notebook.run(1))
    console = opened(notebook, 2)
    console.get_by_role("row").filter(has_text="inc-42").click()
    console.get_by_text("Leaks").wait_for()
    button(console, "Delete …").click()
    button(console, "Delete for good").click()
    console.get_by_text("Deleted: inc-42.").wait_for()
    console.get_by_text("There is no conversation in this memory.").wait_for()
    assert notebook.page.title() != "pwned"
