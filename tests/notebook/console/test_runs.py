"""The page of runs, over journals that runs have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from aof_nb import Agent, tool
from aof_nb.events import RunStatus
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.run_index import RunIndex
from aof_nb.journal.runs import run_dir
from aof_nb.journal.summary import RunSummary
from aof_nb.messages import ToolCall
from aof_nb.notebook.console import runs
from aof_nb.notebook.console.charts import run_charts
from aof_nb.notebook.console.run_detail import RunDetail, pieces_of
from aof_nb.notebook.console.runs import RunsPage
from aof_nb.policy import Answer
from tests.notebook.console.hosts import FakeHost
from tests.notebook.fakes import Says


async def run(prompt: str, name: str = "sre") -> str:
    result = await Agent(name=name, model=Says(["Done."])).run(prompt)
    return result.run_id


async def shown(directory: Path) -> RunsPage:
    page = RunsPage(FakeHost(directory))
    page.build()
    await page.refresh()
    return page


def prompts(page: RunsPage) -> list[str]:
    return [each["cells"]["step"] for each in page._table.widget.rows]


async def test_what_the_table_has_not_is_found_by_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_SHOWN", 2)
    first = await run("Why is checkout slow?", "checkout")
    for number in range(3):
        await run(f"Look at disk {number}.")
    page = await shown(tmp_path)
    assert prompts(page) == ["Look at disk 2.", "Look at disk 1."]
    assert "the newest 2 of 4 runs" in page._more.value
    for words in ("SLOW checkout", first[-8:]):
        page._words.value = words
        await page.refresh()
        assert prompts(page) == ["Why is checkout slow?"]
        assert page._more.value == ""
    page._words.value = "none like this"
    await page.refresh()
    assert page._table.widget.empty == "No run of this time is like this."


async def test_a_run_without_a_time_does_not_hide_the_others(tmp_path: Path) -> None:
    await run("Look.")
    damaged = await run("Damaged.")
    [path] = [each.path for each in RunIndex().read() if each.run_id == damaged]
    first, _, rest = path.read_text().partition("\n")
    entry = json.loads(first) | {"time": 1e300}
    path.write_text(f"{json.dumps(entry)}\n{rest}")
    page = await shown(tmp_path)
    page._period.value = None
    await page.refresh()
    began = {each["cells"]["began"] for each in page._table.widget.rows}
    assert "unknown" in began
    assert len(began) == 2


async def test_a_long_run_that_goes_on_sends_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aof_nb.journal.reading import read_timeline
    from aof_nb.notebook.console import run_detail

    @tool(effect="read")
    def look(number: int) -> str:
        """Looks."""
        return str(number)

    monkeypatch.setattr(run_detail, "_LATEST_ITEMS", 3)
    turns = [[ToolCall(f"c{each}", "look", {"number": each})] for each in range(6)]
    await Agent(name="sre", model=Says(*turns, ["Done."]), tools=[look]).run("Look.")
    [path] = [each.path for each in RunIndex().read()]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: 2 * len(lines) // 3]))
    detail = RunDetail()
    detail.show(pieces_of(read_timeline(path)))
    before = detail.widget.children
    path.write_bytes(b"".join(lines))
    sent: list[Any] = []
    for each in before:
        each.observe(lambda change: sent.append(change.owner), "value")
    detail.show(pieces_of(read_timeline(path)))
    after = detail.widget.children
    assert len(before) == len(after) == 6
    assert set(map(id, before[3:])) != set(map(id, after[3:]))
    assert not {id(each) for each in sent} & {id(each) for each in after[4:-1]}
    assert all(isinstance(each, ipywidgets.HTML) for each in after)


def test_charts_say_when_they_begin_and_that_a_price_is_unknown() -> None:
    began = 1_800_000_000.0
    charts = run_charts(
        [RunSummary(run_id="r", status="failed", path=Path("r"), began=began)], within=None
    )
    assert "<b>Failed runs</b> 1" in charts
    assert charts.count("<span>2027-01-1") == 4
    assert "$0 and unknown" not in charts


async def test_a_run_that_waits_is_answered_and_gone_on_with_and_then_forked(
    tmp_path: Path,
) -> None:
    restarted: list[str] = []

    @tool
    def restart(service: str) -> str:
        """Restarts a service."""
        restarted.append(service)
        return f"{service} restarted"

    call = ToolCall("c1", "restart", {"service": "web"})

    def mender(*turns: Any) -> Agent:
        return Agent(name="mender", model=Says(*turns), tools=[restart])

    waiting = await mender([call]).run("Mend it.")
    assert waiting.status is RunStatus.WAITING
    host = FakeHost(tmp_path, mender=mender(["It is up."], ["It is up."]))
    page = RunsPage(host)
    page.build()
    page._table.selected = waiting.run_id
    await page.refresh()
    assert not page._resume.disabled
    record = Approvals(run_dir(waiting.run_id))
    [pending] = record.pending()
    record.answer(pending.request, Answer(approved=True, digest=pending.request.digest, by="sam"))
    page._resume.click()
    await host.idle()
    assert host.failures == []
    assert host.told[-1] == f"The run {waiting.run_id} is over: completed."
    assert restarted == ["web"]
    await page.refresh()
    assert page._resume.disabled
    page._turn.value = 2
    page._fork.click()
    await host.idle()
    assert host.failures == []
    fork = page._table.selected
    assert fork != waiting.run_id
    assert host.told[-1] == f"The run {fork} is over: completed."
    assert restarted == ["web"]
    await page.refresh()
    assert {each["id"] for each in page._table.widget.rows} == {waiting.run_id, fork}
