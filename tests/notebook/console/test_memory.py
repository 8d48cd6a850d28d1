"""The page of memories: real stores of each kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aof_nb.agent import Agent
from aof_nb.memory import Memory, open_memory
from aof_nb.memory.entries import messages_from
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message, Thinking, ToolCall, ToolResult
from aof_nb.notebook.console import memory_places
from aof_nb.notebook.console.conversation_view import conversation_html, snippet
from aof_nb.notebook.console.frame import Console
from aof_nb.notebook.console.memory import MemoryPage
from aof_nb.notebook.console.memory_places import Places, shown_url, typed_place
from tests.redis_server import redis_server

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
PAGE = {"Memory": "aof_nb.notebook.console.memory:MemoryPage"}
TALK = [
    Message.user("Why is the <b>pool</b> full?"),
    Message("assistant", (ToolCall("c1", "look", {"at": HOSTILE}),)),
    Message("tool", (ToolResult("c1", "look", f"connections: 99 {HOSTILE}"),)),
    Message.assistant(f"**Leaks** in checkout. {HOSTILE} [x](javascript:alert(1))"),
]


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    directory = tmp_path / "books"
    directory.mkdir()
    made = Console(directory=directory, variables={}, pages=PAGE)
    yield made
    await made.aclose()


async def until(holds: Callable[[], Any]) -> Any:
    async with asyncio.timeout(20):
        while not (found := holds()):
            await asyncio.sleep(0.01)
    return found


async def opened(console: Console, url: str = "") -> Any:
    page: Any = await until(lambda: console.page)
    assert isinstance(page, MemoryPage)
    await until(lambda: page._title.value)
    if url:
        page._url.value = url
        label = shown_url(url)
        await until(lambda: label in str(page._place.options[page._place.value or 0]))
        console.refresh()
    return page


def rows(page: Any) -> dict[str, dict[str, str]]:
    return {each["id"]: each["cells"] for each in page._table.widget.rows}


def note(console: Console) -> str:
    return str(console.widget.children[1].value)


def is_shown(widget: Any) -> bool:
    return widget.layout.display != "none"


@pytest.mark.parametrize("kind", ["file", "disk", "redis"])
async def test_sessions_are_listed_opened_and_deleted(
    console: Console, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = f"{kind}:{tmp_path / 'talks'}"
    if kind == "redis":
        url = f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"
    store = open_memory(url)
    await store.append("inc-1", TALK)
    await store.append("inc-2", TALK[:1])
    await store.set_fact("team", "owner", {"name": HOSTILE})
    page = await opened(console, url)
    await until(lambda: set(rows(page)) == {"inc-1", "inc-2"})
    assert rows(page)["inc-1"]["messages"] == "4"
    assert "2 sessions." in page._title.value
    await until(lambda: page._facts.widget.rows)
    assert not is_shown(page._bar)
    page._table.selected = "inc-1"
    await until(lambda: "Leaks" in page._conversation.value)
    assert is_shown(page._bar)
    page._delete.click()
    await until(lambda: is_shown(page._confirm))
    assert "Delete the conversation inc-1, with 4 messages" in page._question.value
    page._keep.click()
    await until(lambda: not is_shown(page._confirm))
    assert await store.info("inc-1") is not None
    page._delete.click()
    await until(lambda: is_shown(page._confirm))
    page._sure.click()
    await until(lambda: set(rows(page)) == {"inc-2"})
    assert await store.info("inc-1") is None
    await until(lambda: page._conversation.value == "")
    assert not is_shown(page._bar)


async def test_what_has_gone_on_since_the_question_is_not_deleted(
    console: Console, tmp_path: Path
) -> None:
    url = f"file:{tmp_path / 'talks'}"
    store = open_memory(url)
    await store.append("inc-1", TALK)
    page = await opened(console, url)
    await until(lambda: rows(page))
    page._table.selected = "inc-1"
    await until(lambda: is_shown(page._bar))
    page._delete.click()
    await until(lambda: is_shown(page._confirm))
    await store.append("inc-1", [Message.user("wait")])
    page._sure.click()
    assert "nothing is deleted" in await until(lambda: note(console))
    assert await store.info("inc-1") is not None


async def test_the_question_goes_with_its_session(console: Console, tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'talks'}"
    store = open_memory(url)
    await store.append("inc-1", TALK)
    await store.append("inc-2", TALK)
    page = await opened(console, url)
    await until(lambda: rows(page))
    page._table.selected = "inc-1"
    await until(lambda: is_shown(page._bar))
    page._delete.click()
    await until(lambda: is_shown(page._confirm))
    page._table.selected = "inc-2"
    await until(lambda: not is_shown(page._confirm))
    page._sure.click()
    await until(lambda: "inc-2" in page._conversation.value)
    assert await store.sessions() == ["inc-1", "inc-2"]


async def test_words_are_found_in_what_was_said(console: Console, tmp_path: Path) -> None:
    url = f"disk:{tmp_path / 'talks'}"
    store = open_memory(url)
    await store.append("inc-1", TALK)
    await store.append("inc-2", [Message.user("something else")])
    page = await opened(console, url)
    await until(lambda: len(rows(page)) == 2)
    page._words.value = "CONNECTIONS:  99"
    await until(lambda: set(rows(page)) == {"inc-1"})
    assert "connections: 99" in rows(page)["inc-1"]["found"]
    assert "1 session found." in page._title.value
    page._words.value = "nowhere"
    await until(lambda: not rows(page))
    page._words.value = ""
    await until(lambda: len(rows(page)) == 2)


async def test_a_search_is_bounded_and_says_so(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file:{tmp_path / 'talks'}"
    store = open_memory(url)
    await store.append("old", [Message.user("needle")])
    await asyncio.sleep(0.01)
    await store.append("new", [Message.user("needle")])
    page = await opened(console, url)
    await until(lambda: len(rows(page)) == 2)
    monkeypatch.setattr("aof_nb.notebook.console.memory._SEARCHED_BYTES", 10)
    page._words.value = "needle"
    await until(lambda: set(rows(page)) == {"new"})
    assert "in the 1 session last written" in page._title.value


async def test_an_export_is_a_new_file_that_can_be_taken_in_again(
    console: Console, tmp_path: Path
) -> None:
    url = f"file:{tmp_path / 'talks'}"
    store = open_memory(url)
    session = f"../../{HOSTILE}"
    await store.append(session, TALK)
    page = await opened(console, url)
    await until(lambda: rows(page))
    page._table.selected = session
    await until(lambda: is_shown(page._bar))
    page._export.click()
    await until(lambda: "Written to" in note(console))
    page._export.click()
    await until(lambda: len(list(console.directory.iterdir())) == 2)
    first, second = sorted(console.directory.iterdir())
    assert first.read_text() == second.read_text() == await store.export(session)
    assert first.stat().st_mode & 0o777 == 0o600
    assert [each.text for each in messages_from(first.read_text())] == [each.text for each in TALK]
    assert json.loads(first.read_text().splitlines()[0])["session"] == session


async def test_hostile_text_stays_text(console: Console, tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'talks'}"
    store = open_memory(url)
    await store.append(HOSTILE, [*TALK, *[Message.user("more")]])
    page = await opened(console, url)
    await until(lambda: rows(page))
    page._table.selected = HOSTILE
    await until(lambda: "Leaks" in page._conversation.value)
    page._delete.click()
    await until(lambda: is_shown(page._confirm))
    for text in (page._conversation.value, page._question.value):
        assert "<img" not in text
        assert "<b>pool" not in text
        assert 'href="javascript' not in text
        assert "\u202e" not in text
    assert "<strong>Leaks</strong>" in page._conversation.value
    assert "User" in page._conversation.value
    assert "\u202e" not in str([each["cells"] for each in page._table.widget.rows])


async def test_a_memory_that_does_not_answer_says_so(console: Console) -> None:
    page = await opened(console)
    page._url.value = "redis://127.0.0.1:1/0"
    assert "aof-problem" in await until(lambda: note(console))
    page._place.value = 0
    await until(lambda: "0 sessions" in page._title.value)


async def test_no_address_with_a_password_stays_in_a_widget(console: Console) -> None:
    page = await opened(console)
    page._url.value = "redis://:pa55@127.0.0.1:1/0"
    await until(lambda: "REDIS_URL" in note(console))
    assert page._url.value == ""
    assert "pa55" not in str(page._place.options)


async def test_memories_of_agents_are_offered(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: aof.dev/v1\nkind: Agent\nmetadata: {name: written}\n"
        f"spec:\n  model: script:none\n  memory: 'file:{tmp_path / 'talks'}'\n"
    )
    (tmp_path / "broken.yaml").write_text("kind: Agent\nspec: [\n")
    held = InMemory()
    agents = {
        "one": Agent(name="one", model="script:none", memory=held),
        "two": Agent(name="two", model="script:none", memory=held),
        "three": Agent(name="three", model="script:none", memory="redis://u:pw@h:1/0"),
        "four": Agent(name="four", model="script:none", memory="in_memory"),
    }
    found = {each.label: each for each in Places(tmp_path).look(agents)}
    assert found[f"file:{tmp_path / 'talks'}"].agents == ("written",)
    assert found["InMemory of this kernel"].agents == ("one", "two")
    assert found["InMemory of this kernel"].open() is held
    assert found["redis://h:1/0"].agents == ("three",)
    assert set(found) == {
        *("disk", f"file:{tmp_path / 'talks'}", "redis://h:1/0", "InMemory of this kernel")
    }
    assert agents["four"].memory == "in_memory"


async def test_what_an_agent_of_this_kernel_remembers_is_shown(
    tmp_path: Path, console: Console
) -> None:
    held: Memory = InMemory()
    await held.append("talk", TALK)
    variables: Any = console.variables
    variables["helper"] = Agent(name="helper", model="script:none", memory=held)
    page = await opened(console)
    console.refresh()
    await until(lambda: len(page._place.options) == 2)
    page._place.value = 1
    await until(lambda: "talk" in rows(page))
    assert "Used by helper." in page._title.value


@pytest.mark.parametrize("url", ["in_memory", "nothing:at/all", "redis://h/0?password=x", ""])
def test_what_names_no_memory_is_refused(url: str) -> None:
    with pytest.raises(memory_places.ConfigurationError):
        typed_place(url)


def test_a_snippet_is_the_text_around_it() -> None:
    talk = [Message.user(f"{'x ' * 100}needle{' y' * 100}")]
    found = snippet(talk, "NEEDLE")
    assert found is not None
    assert found.startswith("…")
    assert found.endswith("…")
    assert "x needle y" in found
    assert len(found) < 140
    assert snippet(talk, "nothing") is None


def test_long_conversations_are_cut_at_the_beginning() -> None:
    talk = [Message.user(f"{n} {'x' * 15_000}") for n in range(100)]
    html = conversation_html(talk, damaged=[f"line 3 {HOSTILE}"])
    assert "The messages before are left out" in html
    assert "<pre>99 x" in html
    assert "<pre>3 x" not in html
    assert len(html) < 600_000
    assert "<img" not in html
    thought = conversation_html([Message("assistant", (Thinking("hm <b>", "p", {}),))])
    assert "hm &lt;b&gt;" in thought


async def test_an_export_keeps_the_letters_of_its_session_in_its_name(
    console: Console, tmp_path: Path
) -> None:
    url = f"file:{tmp_path / 'talks'}"
    session = "störung/日本" + "語" * 200
    await open_memory(url).append(session, TALK)
    page = await opened(console, url)
    await until(lambda: rows(page))
    page._table.selected = session
    await until(lambda: is_shown(page._bar))
    page._export.click()
    await until(lambda: "Written to" in note(console))
    [file] = console.directory.iterdir()
    assert file.name.startswith("störung-日本語語")
