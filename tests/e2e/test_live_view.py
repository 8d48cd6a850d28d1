"""A person in front of runs: approves, changes, refuses, stops, reloads the page."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.corpora.xss import PAYLOADS
from tests.e2e.browser import NotebookPage, output
from tests.e2e.turns import MEND

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RESTARTED = "print(restarted)"


@pytest.mark.cells(MEND, RESTARTED)
def test_an_answer_streams_and_is_approved(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    status = cell.get_by_role("status").first
    assert "waiting for your approval" in status.inner_text()
    approve.focus()
    notebook.page.keyboard.press("Enter")
    lengths = set()
    while "turns · 1 tool call" not in (text := output(cell)):
        lengths.add(len(text))
        time.sleep(0.03)
    assert len(lengths) > 5
    assert re.search(r"Approved by oncall \(notebook\), 20\d\d-", text)
    assert "['checkout']" in notebook.finished(notebook.run(2))
    saved = notebook.save()
    [record] = saved.cells[1].outputs
    assert set(record.data) == {"text/markdown"}
    assert record.metadata.aof.status == "completed"


@pytest.mark.cells("%%aof checkout --approval-timeout 12s\nMend it.", RESTARTED)
def test_a_question_that_nobody_answers_counts_down_and_is_denied(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    left = cell.locator("[data-left]")
    left.wait_for()
    shown = set()
    while left.count() and len(shown) < 3:
        shown.add(left.inner_text())
        time.sleep(0.1)
    assert all(re.fullmatch(r"[\d.]+ s left to answer", each) for each in shown), shown
    assert left.get_attribute("aria-hidden") == "true"
    assert "denied" in cell.get_by_label("Approval needed").inner_text()
    said = cell.locator(".aof-said[aria-live=polite]")
    while left.count() and not said.inner_text():
        time.sleep(0.1)
    assert re.fullmatch(r"[\d.]+ s left to answer: Approval needed: restart", said.inner_text())
    assert "nobody answered within 12 s" in notebook.finished(cell)
    assert "[]" in notebook.finished(notebook.run(2))


WRITER = """\
from aof_nb.tools.files import file_tools
open("app.yaml", "w").write("replicas: 2\\npool: 10\\n")
change = {"path": "app.yaml", "content": "replicas: 2\\npool: 40\\n"}
writes = Turns(["I raise the limit.", ToolCall("w1", "write_file", change)], ["Done."])
writer = Agent(name="writer", model=writes, tools=file_tools("."))"""


@pytest.mark.cells(WRITER, "%%aof writer\nMend it.", "print(open('app.yaml').read())")
def test_what_changes_in_a_file_is_shown_before_it_is_written(notebook: NotebookPage) -> None:
    notebook.finished(notebook.run(1))
    cell = notebook.run(2)
    card = cell.get_by_label("Approval needed")
    card.wait_for()
    assert card.locator(".aof-removed", has_text="pool").inner_text() == "-pool: 10"
    assert card.locator(".aof-added", has_text="pool").inner_text() == "+pool: 40"
    card.get_by_role("button", name="Approve", exact=True).click()
    notebook.finished(cell)
    assert "pool: 40" in notebook.finished(notebook.run(3))


@pytest.mark.cells("%%aof checkout --dry-run\nMend it.", RESTARTED)
def test_a_dry_run_lists_what_it_would_have_done(notebook: NotebookPage) -> None:
    text = notebook.finished(notebook.run(1))
    assert "Dry run: 1 call was not executed." in text
    assert "1. restart: Restarts a service. · It changes something." in text
    assert "[]" in notebook.finished(notebook.run(2))


@pytest.mark.cells(MEND, RESTARTED)
def test_a_refusal_with_its_reason_reaches_the_model(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    cell.locator("summary", has_text="Deny with a reason").click()
    cell.get_by_label("Reason").fill("there is a change freeze")
    cell.get_by_role("button", name="Deny for this reason").click()
    text = notebook.finished(cell)
    assert "Denied by oncall (notebook)" in text
    assert "there is a change freeze" in text
    assert "[]" in notebook.finished(notebook.run(2))


@pytest.mark.cells(MEND, RESTARTED)
def test_arguments_are_changed_before_they_are_approved(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    cell.locator("summary", has_text="Edit the arguments").click()
    area = cell.get_by_label("Arguments as JSON")
    approve = cell.get_by_role("button", name="Approve with these arguments")
    area.fill('{"service": 7}')
    approve.click()
    problem = cell.get_by_role("alert")
    problem.filter(has_text='7 is not of type "string"').wait_for()
    area.fill('{"service": "payments"}')
    approve.click()
    assert "with changed arguments: service=payments" in notebook.finished(cell)
    assert "['payments']" in notebook.finished(notebook.run(2))


THREE = """\
runs = [mender(name) for name in ("a", "b", "c")]
from aof_nb.notebook.cell_run import RunOptions, run_in_cell
shell = get_ipython()
await asyncio.gather(*(run_in_cell(shell, each, "Mend it.", RunOptions()) for each in runs))
restarted"""


@pytest.mark.cells(THREE)
def test_three_agents_side_by_side_keep_their_places(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    views = cell.locator(".aof-run")
    for number in range(3):
        views.nth(number).get_by_role("button", name="Approve", exact=True).wait_for()
    views.nth(1).get_by_role("button", name="Approve", exact=True).click()
    cell.locator(
        ".jp-OutputArea-output", has_text=re.compile(r"^b\b.*tool call", re.DOTALL)
    ).wait_for()
    areas = cell.locator(".jp-OutputArea-output")
    assert [areas.nth(n).inner_text().split()[0] for n in range(3)] == ["a", "b", "c"]
    assert views.count() == 2
    views.nth(0).get_by_role("button", name="Deny", exact=True).click()
    views.last.get_by_role("button", name="Approve", exact=True).click()
    text = notebook.finished(cell)
    assert "['b', 'c']" in text
    assert [areas.nth(n).inner_text().split()[0] for n in range(3)] == ["a", "b", "c"]


@pytest.mark.cells("%%aof guard\nWatch it.", "went_on = True", "'went_on' in globals()")
def test_the_stop_button_ends_the_run_and_the_queue(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    notebook.run(2)
    watch = cell.locator("summary", has_text="watch")
    watch.get_by_role("img", name="read").wait_for()
    watch.locator("[data-ticks]", has_text=re.compile(r"^· [0-9.]+ s$")).wait_for()
    began = time.monotonic()
    cell.get_by_role("button", name="Stop").click()
    cell.locator(".jp-OutputArea-output", has_text="the run was ended").wait_for()
    print(f"stopped in {(time.monotonic() - began) * 1000:.0f} ms, seen in the browser")
    assert "interrupted, outcome unknown" in output(cell)
    assert "False" in notebook.finished(notebook.run(3))


@pytest.mark.cells(MEND)
def test_what_is_said_meanwhile_is_kept(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    line = cell.get_by_label("Say something to the agent")
    line.fill("mind the *cache*")
    cell.get_by_role("button", name="Send").click()
    assert line.get_attribute("placeholder") == "Taken down: the next turn is asked with it"
    assert line.input_value() == ""
    approve.click()
    assert "you said: mind the *cache*" in notebook.finished(cell)


@pytest.mark.cells(MEND, RESTARTED)
def test_the_page_is_loaded_again_in_the_middle(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    cell.get_by_role("button", name="Approve", exact=True).wait_for()
    notebook.saved(lambda found: "widget-view" in json.dumps(found.cells[1].outputs))
    notebook.load()
    cell = notebook.cells.nth(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    assert "Looking." in output(cell)
    approve.click()
    cell.locator(".jp-OutputArea-output", has_text="2 turns · 1 tool call").wait_for()
    cell.locator(".aof-run").wait_for(state="detached")
    assert "up again" in output(cell)
    saved = notebook.saved(lambda found: "widget-view" not in json.dumps(found.cells[1].outputs))
    [record] = saved.cells[1].outputs
    assert set(record.data) == {"text/markdown"}
    assert "It is **up** again." in record.data["text/markdown"]
    assert not notebook.page.locator(".jp-Dialog").count()


@pytest.mark.cells(MEND)
def test_two_pages_show_one_run(notebook: NotebookPage, lab: tuple[str, Path]) -> None:
    cell = notebook.run(1)
    card = cell.get_by_label("Approval needed")
    card.wait_for()
    notebook.saved(lambda found: "widget-view" in json.dumps(found.cells[1].outputs))
    card.evaluate("card => { window.card = card; }")
    other = NotebookPage(notebook.page.context.new_page(), lab[0], notebook.path)
    seen = other.cells.nth(1)
    approve = seen.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    assert output(seen) == output(cell)
    assert notebook.page.evaluate("window.card.isConnected")
    approve.click()
    assert "up again" in notebook.finished(cell)
    seen.locator(".aof-run").wait_for(state="detached")
    assert "up again" in output(seen)
    saved = notebook.saved(lambda found: "widget-view" not in json.dumps(found.cells[1].outputs))
    assert "It is **up** again." in saved.cells[1].outputs[0].data["text/markdown"]
    other.page.wait_for_timeout(1000)
    for page in (notebook.page, other.page):
        assert not page.locator(".jp-Dialog").count()
    other.page.close()


@pytest.mark.cells(MEND)
def test_what_has_changed_on_disk_is_not_written_over(notebook: NotebookPage) -> None:
    # The server tells the page how it left the file: what is changed before that seems the page's.
    with notebook.page.expect_response(lambda told: told.request.method == "PUT"):
        cell = notebook.run(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    notebook.saved(lambda found: "widget-view" in json.dumps(found.cells[1].outputs))
    notebook.page.wait_for_timeout(500)
    changed = nbformat.read(notebook.path, as_version=4)
    changed.cells[1].source = "from elsewhere"
    nbformat.write(changed, notebook.path)
    approve.click()
    notebook.finished(cell)
    notebook.page.wait_for_timeout(1500)
    assert not notebook.page.locator(".jp-Dialog").count()
    assert nbformat.read(notebook.path, as_version=4).cells[1].source == "from elsewhere"


@pytest.mark.cells(MEND)
def test_a_save_of_the_users_waits_for_ours(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    notebook.saved(lambda found: "widget-view" in json.dumps(found.cells[1].outputs))
    # The pause that there is between two saves.
    notebook.page.wait_for_timeout(1500)
    slow = {"offline": False, "latency": 500, "downloadThroughput": -1, "uploadThroughput": -1}
    session = notebook.page.context.new_cdp_session(notebook.page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    approve.click()
    notebook.finished(cell)
    notebook.page.keyboard.press("Escape")
    # The file is written; the page does not know it yet.
    notebook.saved(lambda found: "widget-view" not in json.dumps(found.cells[1].outputs))
    notebook.page.keyboard.press("Control+s")
    notebook.page.wait_for_timeout(2500)
    assert not notebook.page.locator(".jp-Dialog").count()


@pytest.mark.cells(f"%config AOF.autosave = False\n{RESTARTED}", MEND)
def test_nothing_is_saved_where_nobody_wants_it(notebook: NotebookPage) -> None:
    notebook.finished(notebook.run(1))
    before = notebook.path.stat().st_mtime_ns
    cell = notebook.run(2)
    cell.get_by_role("button", name="Approve", exact=True).click()
    notebook.finished(cell)
    notebook.page.wait_for_timeout(1500)
    assert notebook.path.stat().st_mtime_ns == before


@pytest.mark.cells("%%aof checkout --approve all\nMend it.")
def test_a_saved_notebook_reads_without_a_kernel(notebook: NotebookPage, browser: Browser) -> None:
    notebook.finished(notebook.run(1))
    notebook.save()
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(str(notebook.path))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(html)
    assert page.locator("details summary", has_text="restart").is_visible()
    assert page.locator("strong", has_text="up").first.is_visible()
    context.close()


METRICS = """\
@tool(effect="read", sends=False)
def query_range(query: str) -> str:
    "Asks Prometheus."
    result = [{"metric": {"pod": f"web-{n}"}, "values": [[15 * k, str(k)] for k in range(99)]}
              for n in range(20)]
    return json.dumps({"data": {"resultType": "matrix", "result": result}})
asks = [ToolCall("m1", "query_range", {"query": "up"}), ToolCall("m2", "watch", {"service": "a"})]
metrics = Agent(name="metrics", model=Turns(["I ask.", *asks]), tools=[query_range, watch])"""


@pytest.mark.cells(METRICS, "%%aof metrics\nShow it.")
def test_a_plot_is_seen_and_its_numbers_are_searched_and_copied(notebook: NotebookPage) -> None:
    page = notebook.page
    page.context.grant_permissions(["clipboard-read"])
    notebook.finished(notebook.run(1))
    cell = notebook.run(2)
    row = cell.locator(".aof-row", has_text="query_range")
    row.get_by_role("img", name="the series of the table below").wait_for()
    search = row.get_by_label("Search the output")
    search.fill("WEB-1")
    assert row.locator("tbody tr:visible").count() == 3
    assert row.get_by_text("3 lines").is_visible()
    search.fill("")
    assert row.locator("tbody tr:visible").count() == 12
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    row.get_by_role("button", name="Copy").click()
    row.get_by_role("button", name="Copied").wait_for()
    search.fill("")
    page.keyboard.press("Control+v")
    assert 'pod="web-11"' in search.input_value()
    row.locator("summary").click()
    cell.get_by_label("Say something to the agent").fill("go on")
    cell.get_by_role("button", name="Stop").click()
    cell.locator(".jp-OutputArea-output", has_text="the run was ended").wait_for()


@pytest.mark.cells(MEND)
def test_a_question_does_not_outlive_its_kernel(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    approve = cell.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("0")
    notebook.page.keyboard.press("0")
    notebook.page.locator(".jp-Dialog .jp-mod-warn").click()
    cell.get_by_role("status").first.filter(has_text="The kernel has ended").wait_for()
    assert approve.is_disabled()
    assert not cell.get_by_role("button", name="Stop").is_visible()


@pytest.mark.cells(MEND)
def test_a_view_whose_kernel_has_died_is_read_as_text(notebook: NotebookPage) -> None:
    cell = notebook.run(1)
    cell.get_by_role("button", name="Approve", exact=True).wait_for()
    notebook.saved(lambda found: "widget-view" in json.dumps(found.cells[1].outputs))
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("0")
    notebook.page.keyboard.press("0")
    notebook.page.locator(".jp-Dialog .jp-mod-warn").click()
    cell.get_by_role("status").first.filter(has_text="The kernel has ended").wait_for()
    notebook.load()
    cell = notebook.cells.nth(1)
    cell.locator(".jp-OutputArea-output code", has_text="%aof resume").wait_for()
    assert "checkout" in output(cell)
    assert "model not found" not in output(cell)


HURT = f"""\
import itertools
payloads = {json.dumps(PAYLOADS)}
@tool(effect="read", sends=False)
def read_file(path: str) -> str:
    "Reads a file."
    return "\\n\\n".join(payloads.values())
@tool(effect="read", sends=False)
def rows() -> list:
    "A table."
    return [{{"kind": kind, "text": text}} for kind, text in payloads.items()]
text = "\\n\\n".join(payloads.values())
@tool(sends=False)
def break_off(service: str) -> str:
    "Asks first."
    return service
last = ToolCall("c3", "break_off", {{"service": text}})
paths = enumerate(payloads.values())
names = [ToolCall(f"f{{n}}", "read_file", {{"path": each}}) for n, each in paths]
model = Turns([text[:200], *names, ToolCall("c2", "rows", {{}})], [last], [text])
victim = Agent(name="victim", model=model, tools=[read_file, rows, break_off])
"""


@pytest.mark.cells(HURT, "%%aof victim\nShow it.", "1")
def test_nothing_that_is_shown_acts(notebook: NotebookPage, browser: Browser) -> None:
    page = notebook.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))

    def check(when: str) -> None:
        page.wait_for_timeout(500)
        assert page.evaluate("window.__hurt") is None, when
        away = [each for each in asked if "127.0.0.1" not in each and not each.startswith("data:")]
        assert not [each for each in away if not each.startswith("blob:")], when
        for link in cell.locator(".jp-OutputArea-output a").all():
            target = link.get_attribute("href") or ""
            assert re.match(r"https?://|#|mailto:", target), (when, target)
            link.hover(force=True, timeout=2000) if link.is_visible() else None

    notebook.finished(notebook.run(1))
    cell = notebook.run(2)
    approve = cell.locator(".aof-card").get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    page.evaluate("document.querySelectorAll('.aof-run details').forEach(each => each.open = true)")
    check("in the live view")
    assert cell.get_by_role("button", name="Approve", exact=True).count() == 1
    approve.click()
    notebook.finished(cell)
    page.evaluate("document.querySelectorAll('.jp-Cell details').forEach(e => e.open = true)")
    check("in the record")
    notebook.save()
    notebook.load()
    cell = notebook.cells.nth(2)
    cell.locator(".jp-OutputArea-output").first.wait_for()
    check("opened again")
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_filename(str(notebook.path))
    exported = browser.new_page()
    exported.route("**/*", lambda route: route.abort())
    asked.clear()
    exported.set_content(html)
    exported.wait_for_timeout(500)
    assert exported.evaluate("window.__hurt") is None, "exported"
    exported.close()
