"""The page of runbooks: real notebooks in real kernels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

from aof_nb.journal.approvals import Approvals
from aof_nb.journal.runs import run_dir
from aof_nb.journal.summary import waiting_calls
from aof_nb.notebook.console.frame import Console
from aof_nb.notebook.console.runbooks import RunbooksPage
from aof_nb.policy import Answer
from tests.notebooks import printed, write_notebook

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
PAGE = {"Runbooks": "aof_nb.notebook.console.runbooks:RunbooksPage"}


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    directory = tmp_path / "books"
    directory.mkdir()
    made = Console(directory=directory, pages=PAGE)
    await until(lambda: made.page)
    yield made
    await made.aclose()


async def until(holds: Callable[[], Any], within: float = 60) -> Any:
    async with asyncio.timeout(within):
        while not (found := holds()):
            await asyncio.sleep(0.02)
    return found


def page_of(console: Console) -> Any:
    page = console.page
    assert isinstance(page, RunbooksPage)
    return page


def states(widget: Any) -> Iterator[dict[str, Any]]:
    """What the page is sent of a widget and all within it."""
    yield widget.get_state()
    for child in getattr(widget, "children", ()):
        yield from states(child)


def rows(console: Console) -> dict[str, dict[str, str]]:
    table = page_of(console)._table.widget
    return {each["id"]: each["cells"] for each in table.rows}


def results(console: Console) -> list[str]:
    """The states of the last results, looked at anew: a run is over before its record says so."""
    console.refresh()
    return [each["cells"]["status"] for each in page_of(console)._results._table.widget.rows]


def note(console: Console) -> str:
    return str(console.widget.children[1].value)


def field(page: Any, name: str) -> Any:
    boxes = [each for each in page._form.widget.children if isinstance(each, ipywidgets.VBox)]
    inputs = [box.children[0] for box in boxes]
    return next(each for each in inputs if each.description.removesuffix(" *") == name)


async def opened(console: Console, name: str) -> Any:
    console.refresh()
    page = page_of(console)
    await until(lambda: name in rows(console))
    page._table.selected = name
    await until(lambda: page._runbook is not None and page._runbook.name == name)
    await until(lambda: page._steps.value)
    return page


async def ran(page: Any) -> Any:
    """Runs what is filled in, and waits for its end."""
    known = len(page._runs)
    page._run.click()
    await until(lambda: len(page._runs) > known)
    run = page._runs[0]
    await until(lambda: run.is_over)
    return run


def shown(run: Any) -> str:
    return f"{run._head.value}{run._body.value}"


async def test_runbooks_are_listed_and_wrong_ones_named(console: Console) -> None:
    books = console.directory
    write_notebook(
        books / "disk.ipynb",
        "md:# Full disk\n\nFrees room.",
        parameters="path = '/'",
        aof={"effect": "destructive", "time_limit": "10m"},
    )
    write_notebook(books / "plain.ipynb", "print(1)")
    write_notebook(
        books / f"bad {HOSTILE.partition('/')[0]}.ipynb", parameters="this is = no ( python"
    )
    page = await opened(console, "disk")
    assert list(rows(console)) == ["disk"]
    row = rows(console)["disk"]
    assert (row["title"], row["effect"], row["status"]) == ("Full disk", "destructive", "never run")
    await until(lambda: page._wrong.value)
    assert "1 notebook is left out" in page._wrong.value
    assert "the parameters cell is not Python" in page._wrong.value
    assert "<img" not in page._wrong.value
    assert "It may destroy things." in page._head.value
    assert "10 min" in page._head.value


async def test_a_run_takes_what_is_filled_in_and_shows_its_steps(console: Console) -> None:
    notebook = write_notebook(
        console.directory / "add.ipynb",
        "md:## Sum",
        "print(replicas + 1, repr(service), hosts)",
        parameters="replicas = 1\nservice = None  # whose\nhosts: list[str] = []",
    )
    page = await opened(console, "add")
    page._run.click()
    assert "service: &quot;&quot; is shorter" in await until(lambda: note(console))
    assert page._runs == []
    field(page, "service").value = "web"
    field(page, "replicas").value = "4"
    field(page, "hosts").value = '["a"]'
    run = await ran(page)
    assert "✓ completed" in shown(run)
    assert "Sum" in run._body.value
    [output] = (console.directory / "runs").glob("add-*.ipynb")
    assert printed(output) == "5 'web' ['a']\n"
    assert f"runs/{output.name}" in shown(run)
    await until(lambda: results(console) == ["✓ completed"])
    [row] = page._results._table.widget.rows
    assert row["cells"]["what"] == f"runs/{output.name}"
    await until(lambda: "The report" in page._results._report.value)
    await until(lambda: rows(console)["add"]["status"] == "✓ completed")
    assert page._results.selected == run.run_id
    assert notebook.exists()
    run._button.click()
    await until(lambda: not page._runs)
    assert page._going.children == ()


async def test_a_failure_says_where_and_hostile_text_stays_text(console: Console) -> None:
    write_notebook(
        console.directory / "fail.ipynb",
        f"md:# {HOSTILE}\n\n<script>alert(2)</script> [x](javascript:alert(3))",
        f"raise ValueError({HOSTILE!r})",
        parameters="x = 1",
    )
    page = await opened(console, "fail")
    run = await ran(page)
    assert "✗ failed" in shown(run)
    assert "ValueError" in shown(run)
    await until(lambda: "The report" in page._results._report.value)
    parts = [page._head, page._steps, page._schedule._entry, page._results._report]
    for text in [shown(run), *(each.value for each in parts)]:
        assert text
        assert "<img" not in text
        assert "<script" not in text
        assert 'href="javascript' not in text
        assert "\u202e" not in text
    assert page._results._button.layout.display is None
    for table in (page._table, page._results._table):
        assert "\u202e" not in str(table.widget.rows)


async def test_stopping_a_run_leaves_no_process(console: Console, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    write_notebook(
        console.directory / "long.ipynb",
        f"import os, pathlib, time\npathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)",
        parameters="x = 1",
    )
    page = await opened(console, "long")
    page._run.click()
    await until(lambda: told.exists() and told.read_text())
    pid = int(told.read_text())
    [run] = page._runs
    assert "running for" in shown(run)
    assert "(going on)" in run._body.value
    await until(lambda: page._run.disabled)
    page._do_run()
    assert "runs already" in await until(
        lambda: note(console) if "already" in note(console) else ""
    )
    run._button.click()
    await until(lambda: run.is_over)
    assert "ended by you" in shown(run)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await until(lambda: results(console) == ["· cancelled"])
    await until(lambda: not page._run.disabled)


async def test_closing_the_console_ends_its_runs(console: Console, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    write_notebook(
        console.directory / "long.ipynb",
        f"import os, pathlib, time\npathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)",
        parameters="x = 1",
    )
    page = await opened(console, "long")
    page._run.click()
    await until(lambda: told.exists() and told.read_text())
    await console.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


@pytest.mark.parametrize("asks", [True, False])
async def test_questions_wait_in_the_inbox(console: Console, asks: bool) -> None:
    write_notebook(
        console.directory / "ask.ipynb",
        "%load_ext aof_nb" if asks else "pass",
        "from aof_nb.runbooks import Steps\n"
        "def restart(service: str) -> str:\n"
        "    'Restarts it.'\n"
        "    return f'restarted {service}'\n"
        "steps = Steps(tools=[restart])\n"
        "print(await steps.call('restart', service='web'))",
        parameters="x = 1",
    )
    page = await opened(console, "ask")
    page._run.click()
    run, pending = await until(lambda: next(iter(waiting_calls()), None))
    request = pending.request
    assert request.arguments == {"service": "web"}
    [mine] = page._runs
    if not asks:
        # Nothing in its kernel asks this console: the run ends, and goes on later.
        await until(lambda: mine.is_over)
        assert "? waits for an answer" in shown(mine)
    Approvals(run_dir(run.run_id)).answer(request, Answer(approved=True, digest=request.digest))
    if not asks:
        await until(lambda: page._results._button.layout.display is None)
        page._results._button.click()
        await until(lambda: len(page._runs) == 2)
        mine = page._runs[0]
    await until(lambda: mine.is_over)
    assert "✓ completed" in shown(mine)
    [output] = (console.directory / "runs").glob("ask-*.ipynb")
    assert "restarted web" in printed(output)


async def test_a_run_that_failed_goes_on_when_it_can(console: Console) -> None:
    there = console.directory / "there"
    write_notebook(
        console.directory / "later.ipynb",
        "import pathlib\nprint(pathlib.Path('there').read_text())",
        parameters="x = 1",
    )
    page = await opened(console, "later")
    run = await ran(page)
    assert "FileNotFoundError" in shown(run)
    there.write_text("it is")
    await until(lambda: page._results._button.layout.display is None)
    page._results._button.click()
    await until(lambda: len(page._runs) == 2)
    again = page._runs[0]
    await until(lambda: again.is_over)
    assert again.run_id == run.run_id
    assert "✓ completed" in shown(again)
    await until(lambda: page._results._table.widget.rows[0]["cells"]["status"] == "✓ completed")
    assert page._results._button.layout.display == "none"


async def test_secrets_are_named_and_never_shown(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notebook(
        console.directory / "secret.ipynb", "print(len(api_token))", parameters="api_token = ''"
    )
    page = await opened(console, "secret")
    field(page, "api_token").value = "not a variable!"
    page._run.click()
    said = await until(lambda: note(console))
    assert "give the name of an environment variable" in said
    field(page, "api_token").value = "MY_TOKEN"
    page._run.click()
    await until(lambda: "MY_TOKEN is not set" in note(console))
    assert page._runs == []
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    run = await ran(page)
    assert "✓ completed" in shown(run)
    assert "MY_TOKEN" in page._schedule._entry.value
    [output] = (console.directory / "runs").glob("secret-*.ipynb")
    assert printed(output) == "12\n"
    assert "s3cr3t-value" not in output.read_text()
    console.refresh()
    await until(lambda: "The report" in page._results._report.value)
    sent = str(list(states(console.widget)))
    assert "MY_TOKEN" in sent
    assert "s3cr3t-value" not in sent


async def test_the_schedule_follows_what_is_typed(console: Console) -> None:
    write_notebook(console.directory / "at night.ipynb", "print(n)", parameters="n = 1")
    page = await opened(console, "at_night")
    field(page, "n").value = "7"
    await until(lambda: "-p n=7" in page._schedule._entry.value)
    assert "30 3 * * * cd " in page._schedule._entry.value
    page._schedule.times.value = "61 * * * *"
    await until(lambda: "aof-problem" in page._schedule._entry.value)
    page._schedule.times.value = "@daily"
    page._schedule.kind.value = "systemd"
    await until(lambda: "OnCalendar=*-*-* 00:00:00" in page._schedule._entry.value)


async def test_what_is_typed_stays_while_the_notebook_changes(console: Console) -> None:
    notebook = write_notebook(console.directory / "n.ipynb", parameters="n = 1")
    page = await opened(console, "n")
    field(page, "n").value = "7"
    console.refresh()
    form = page._form
    write_notebook(notebook, "print(1)", parameters="n = 1\nmore = 'x'")
    console.refresh()
    await until(lambda: page._form is not form)
    assert page._form.value == {"n": 7}
    assert field(page, "more").placeholder == "x if left empty"
