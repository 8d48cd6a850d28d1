"""The console's frame: one page at a time, and nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console import PAGES
from aof_nb.notebook.console.frame import Console
from aof_nb.notebook.console.page import Page
from tests.notebook.console import pages

NAMES = ("Plain", "Other", "Broken", "Stuck")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    pages.MADE.clear()
    classes = {name: f"tests.notebook.console.pages:{name}" for name in NAMES}
    made = Console(directory=tmp_path, pages=classes)
    yield made
    await made.aclose()


async def until(holds: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := holds()):
            await asyncio.sleep(0.005)
    return found


def note(console: Console) -> str:
    return str(console.widget.children[1].value)


async def built(console: Console) -> Any:
    return await until(lambda: console.page)


async def test_a_page_is_built_when_it_is_first_shown_and_only_it_is_refreshed(
    console: Console,
) -> None:
    plain = await built(console)
    await plain.again.wait()
    assert [type(each).__name__ for each in pages.MADE] == ["Plain"]
    console.show("Other")
    other = await built(console)
    await other.again.wait()
    before = plain.refreshed
    other.refreshed, other.again = 0, asyncio.Event()
    await other.again.wait()
    assert plain.refreshed == before
    console.show("Plain")
    await until(lambda: plain.refreshed > before)
    assert len(pages.MADE) == 2


async def test_a_page_that_fails_says_so_with_its_remedy_until_it_works(console: Console) -> None:
    console.show("Broken")
    said = await until(lambda: note(console))
    assert "the &lt;b&gt;disk&lt;/b&gt; is full → make room" in said
    assert "role=alert" in said
    await (await built(console)).again.wait()
    await until(lambda: not note(console))


async def test_a_page_that_hangs_keeps_nobody_from_another(console: Console) -> None:
    console.show("Stuck")
    stuck = await built(console)
    await stuck.again.wait()
    console.show("Plain")
    await (await built(console)).again.wait()
    assert stuck.refreshed == -1


async def test_work_that_fails_on_another_thread_is_shown(console: Console) -> None:
    async def fails() -> None:
        raise ConfigurationError("no such agent", remedy="make one")

    thread = threading.Thread(target=console.start, args=(fails,))
    thread.start()
    thread.join()
    assert "no such agent → make one" in await until(lambda: note(console))
    assert await built(console)


async def test_a_note_goes_once_it_could_be_read(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await built(console)
    monkeypatch.setattr("aof_nb.notebook.console.frame._NOTE_SECONDS", 0.02)
    monkeypatch.setattr("aof_nb.notebook.console.frame._PATIENCE_SECONDS", -1.0)
    console.tell("mute is disconnected.")
    await asyncio.sleep(0.1)
    assert "role=status>mute is disconnected." in note(console)
    monkeypatch.setattr("aof_nb.notebook.console.frame._PATIENCE_SECONDS", 20.0)
    await until(lambda: not note(console))


async def test_a_note_does_not_take_the_next_one_or_a_problem_with_it(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise ConfigurationError("no such agent", remedy="make one")

    await built(console)
    monkeypatch.setattr("aof_nb.notebook.console.frame._NOTE_SECONDS", 0.02)
    console.tell("The first.")
    monkeypatch.setattr("aof_nb.notebook.console.frame._NOTE_SECONDS", 60.0)
    console.tell("The second.")
    await asyncio.sleep(0.1)
    assert "The second." in note(console)
    monkeypatch.setattr("aof_nb.notebook.console.frame._NOTE_SECONDS", 0.02)
    console.tell("The third.")
    console.start(fails)
    await until(lambda: "no such agent" in note(console))
    await asyncio.sleep(0.1)
    assert "no such agent" in note(console)


async def test_without_a_kernel_it_says_how_it_is_opened(console: Console) -> None:
    from nbconvert import HTMLExporter, MarkdownExporter
    from nbformat import v4

    data = console._repr_mimebundle_()
    output = v4.new_output("display_data", data)
    saved = v4.new_notebook(cells=[v4.new_code_cell("%aof console", outputs=[output])])
    for exporter in (HTMLExporter(), MarkdownExporter()):
        body, _ = exporter.from_notebook_node(saved)
        assert body.count("It shows nothing without its kernel") == 1
    assert data["text/plain"].endswith("open it again with %aof console")
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == console.widget.model_id


async def test_closing_ends_work_and_widgets(console: Console) -> None:
    began, ended = asyncio.Event(), []

    async def works() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    page = await built(console)
    console.start(works)
    await began.wait()
    before = set(asyncio.all_tasks())
    await console.aclose()
    assert ended == [True]
    assert page.closed
    assert page.label.comm is None
    assert len(asyncio.all_tasks()) == len(before) - 2
    console.start(works)


async def test_nothing_is_read_while_nobody_looks(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await built(console)
    monkeypatch.setattr("aof_nb.notebook.console.frame._PATIENCE_SECONDS", -1.0)
    await asyncio.sleep(0.05)
    before = page.refreshed
    await asyncio.sleep(0.05)
    assert page.refreshed == before
    monkeypatch.undo()
    monkeypatch.setattr("aof_nb.notebook.console.frame._PATIENCE_SECONDS", 0.0)
    console.widget.children[0]._handle_custom_msg({"do": "here"}, [])
    await until(lambda: page.refreshed > before)


@pytest.mark.parametrize("title", list(PAGES))
def test_each_page_is_there(title: str) -> None:
    from importlib import import_module

    module, _, name = PAGES[title].partition(":")
    page: type[Page] = getattr(import_module(module), name)
    assert page.interval > 0
