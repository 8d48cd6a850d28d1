"""Summaries: what a run did, in short; what is in them does nothing to the reader."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from aof_nb import Agent
from aof_nb.journal.cell_runs import CellRuns
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.notebook_cell import NotebookCell
from aof_nb.journal.playbook_entries import CellBegun, CellEnded, PlaybookBegun, PlaybookEnded
from aof_nb.journal.playbook_recording import read_playbook
from aof_nb.journal.runs import run_dir
from aof_nb.messages import ToolCall
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.runbooks.summary import Summary, summarised
from aof_nb.runbooks.summary_text import as_html, as_markdown
from tests.journal.test_replay import Turns
from tests.journal.test_resume import Restart, ended_before_outcome

NASTY = "<script>alert(1)</script> | `b` \n![x](http://x/y) \x1b[31m"


class Ann:
    """Says yes to the first question and no to the others."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked += 1
        return Answer(
            approved=self.asked == 1, digest=request.digest, by=f"ann {NASTY}", via="test"
        )


@pytest.fixture
async def summary(tmp_path: Path) -> Summary:
    directory = run_dir(f"summarised-{tmp_path.name}")
    journal = Journal(directory)
    journal.write(
        PlaybookBegun(
            run_id=directory.name,
            notebook="/books/n.ipynb",
            time=1_700_000_000.0,
            output="/o.ipynb",
            report="/o.html",
            title=NASTY,
            parameters={"what": NASTY},
            secrets=("token",),
            user="ann",
            host="web1",
        ),
        CellBegun(cell="a", place=3, source="s", time=1_700_000_001.0, title=NASTY),
        CellEnded(cell="a", status="failed", duration=2.5, error=f"ValueError: {NASTY}"),
        PlaybookEnded(status="failed", duration=4.0, error=f"ValueError: {NASTY}"),
    )
    journal.close()
    runs = CellRuns(directory)
    cell = NotebookCell(id="a", source="s", playbook=str(directory))
    restart = Restart()
    calls = [ToolCall(f"c{n}", "restart", {"service": NASTY}) for n in range(2)]
    agent = Agent(name="sre", model=Turns(*((each,) for each in calls), (NASTY,)), tools=[restart])
    for prompt in ("ends", "breaks off"):
        agent.model = Turns(*((each,) for each in calls), (NASTY,))
        run = agent.stream(prompt, approver=Ann(), cell="a")
        async for _ in run:
            pass
        runs.note(cell, "sre", prompt, run_dir(run.run_id))
    ended_before_outcome(run.run_id)
    return summarised(read_playbook(directory / FILE_NAME))


async def test_it_says_who_approved_what_and_what_is_unknown(summary: Summary) -> None:
    assert [(each.approved, each.by.split()[0]) for each in summary.approvals] == [
        (True, "ann"),
        (False, "ann"),
        (True, "ann"),
    ]
    assert all(each.answered and each.answered >= each.asked for each in summary.approvals)
    [unknown] = summary.unknown
    assert (unknown.tool, unknown.agent) == ("restart", "sre")
    [cost] = summary.costs
    assert (cost.model, cost.usage.input_tokens, cost.dollars) == ("test:turns", 7 * 4, None)
    assert [(each.cell, each.status) for each in summary.answers] == [
        (3, "completed"),
        (3, "interrupted"),
    ]
    assert summary.parameters["token"] == "***"
    assert summary.ended == pytest.approx(1_700_000_001.0, abs=5)


async def test_markdown_is_tables_whatever_is_in_them(summary: Summary) -> None:
    text = as_markdown(summary)
    assert "<script>" not in re.sub(r"`+.*?`+", "", text)
    assert "\x1b" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table
    for part in ("## Timeline", "## Approvals", "## Outcome unknown", "## Costs", "| unknown |"):
        assert part in text
    assert f"aofctl resume {summary.recording.run_id}" in text


async def test_html_is_text_whatever_is_in_it(summary: Summary) -> None:
    page = as_html(summary)
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape("<script>alert(1)</script>") in page
    for part in ("Timeline", "Approvals", "Outcome unknown", "Costs"):
        assert f"<h2>{part}</h2>" in page
