"""The page of logs, over journals that runs have written."""

from __future__ import annotations

from pathlib import Path

from aof_nb import Agent
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.log_feed import LogFeed
from aof_nb.journal.runs import run_dir
from aof_nb.notebook.console.logs import LogsPage
from tests.notebook.console.hosts import FakeHost
from tests.notebook.fakes import Says


async def run(answer: str) -> str:
    return (await Agent(name="sre", model=Says([answer])).run("How is it?")).run_id


def texts(page: LogsPage) -> str:
    return "\n".join(each["cells"]["text"] for each in page._table.widget.rows)


async def test_an_older_run_is_found_when_it_is_named(tmp_path: Path) -> None:
    old = await run("The oldest.")
    for number in range(2):
        await run(f"Number {number}.")
    page = LogsPage(FakeHost(tmp_path))
    page.build()
    page._feed, page._runs = LogFeed(runs=2, lines=50), 2
    page._follow.value = False
    await page.refresh()
    assert "The oldest." not in texts(page)
    assert "the 2 runs that have written last" in page._note.value
    page._run.value = old
    assert page._table.widget.empty == "No entry is like this."
    await page.refresh()
    assert "The oldest." in texts(page)
    assert page._note.value == ""


async def test_a_damaged_line_stands_where_it_was_written(tmp_path: Path) -> None:
    path = run_dir(await run("All is well.")) / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b'{"at": 7, "broken\n', lines[-1]]))
    read = LogFeed().read()
    assert [each.level for each in read[-2:]] == ["error", "info"]
    assert read[-2].time == read[-3].time
    assert "damage" in read[-2].text
