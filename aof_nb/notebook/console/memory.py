"""The memories: their conversations, to look at, search, take along and delete."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.markdown import html_text, revealed
from aof_nb.memory import Memory, SessionInfo
from aof_nb.notebook.console.conversation_view import conversation_html, snippet
from aof_nb.notebook.console.memory_places import Place, Places, typed_place
from aof_nb.notebook.console.memory_tables import (
    FACTS,
    MOST,
    SESSIONS,
    fact_rows,
    session_row,
    size,
)
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.table import Table
from aof_nb.notebook.console.widgets import button, fold
from aof_nb.notebook.registry import all_agents
from aof_nb.paths import write_private
from aof_nb.readable import counted, visible

_SHOWN_MESSAGES = 200
_SEARCHED_MESSAGES = 2_000
_SEARCHED_BYTES = 100_000_000
_NAME_BYTES = 150
_EMPTY = (
    "There is no conversation in this memory. An agent keeps one here where its memory is this "
    "one and it is asked in a session: %%aof AGENT --session NAME."
)


class MemoryPage:
    """A table of a memory's sessions, and the one that is selected.

    Args:
        host: The console.
    """

    interval = 5.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._looked = Places(host.directory)
        self._typed: list[Place] = []
        self._places: list[Place] = []
        self._stores: dict[str, Memory] = {}
        self._found: dict[str, str] | None = None
        self._note = ""
        self._search: asyncio.Task[Any] | None = None
        self._read: tuple[int, str, str] | None = None
        self._doomed: tuple[Memory, SessionInfo] | None = None

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._table = Table("Sessions", SESSIONS, empty=_EMPTY)
        self._table.on_select(lambda _: self._selected())
        self._facts = Table("Facts", FACTS, empty="There are no facts in this memory.")
        self._title: Any = ipywidgets.HTML()
        self._conversation: Any = ipywidgets.HTML()
        for each in (self._title, self._conversation):
            each.add_class("aof-wrap")
        folded = fold("Facts that agents keep", self._facts.widget)
        parts = [self._title, self._table.widget, *self._actions(), self._conversation, folded]
        return ipywidgets.VBox([self._choice(), *parts])

    def _choice(self) -> Any:
        import ipywidgets

        self._place: Any = ipywidgets.Dropdown(description="Memory", layout={"width": "24em"})
        self._place.observe(lambda _: self._turned(), "value")
        self._url: Any = ipywidgets.Text(
            placeholder="another: file:PATH, disk:PATH, redis", layout={"width": "17em"}
        )
        self._url.tooltip = "The URL of another memory"
        self._words: Any = ipywidgets.Text(
            placeholder="words in the conversations", description="Search", layout={"width": "22em"}
        )
        for each in (self._place, self._words):
            each.style.description_width = "auto"
        opens = button("Open", "folder-open", self._do_open, tip="Shows the memory with this URL")
        searches = button("Search", "search", self._do_search, tip="In the texts of all sessions")
        self._words.continuous_update = self._url.continuous_update = False
        self._words.observe(lambda _: self._do_search(), "value")
        self._url.observe(lambda _: self._do_open(), "value")
        row = {"flex_flow": "row wrap"}
        return ipywidgets.HBox([self._place, self._url, opens, self._words, searches], layout=row)

    def _actions(self) -> list[Any]:
        import ipywidgets

        self._export = button("Export", "download", self._do_export, tip="Writes it to a file")
        self._delete = button("Delete …", "trash", self._do_delete, tip="Asks before it deletes")
        self._bar: Any = ipywidgets.HBox([self._export, self._delete])
        self._question: Any = ipywidgets.HTML()
        self._question.add_class("aof-wrap")
        self._sure = button("Delete for good", "trash", self._do_sure, tip="There is no way back")
        self._sure.button_style = "danger"
        self._keep = button("Keep it", "times", self._do_keep, tip="Deletes nothing")
        buttons = ipywidgets.HBox([self._sure, self._keep])
        self._confirm: Any = ipywidgets.VBox([self._question, buttons])
        self._confirm.add_class("aof-inbox")
        self._confirm.add_class("aof-grave")
        for each in (self._bar, self._confirm):
            each.layout.display = "none"
        return [self._bar, self._confirm]

    async def refresh(self) -> None:
        """Looks at the sessions of the memory that is chosen, and at the one that is selected."""
        agents = all_agents(self._host.variables)
        self._offer(await asyncio.to_thread(self._looked.look, agents))
        place = self._places[self._place.value or 0]
        store = await self._store(place)
        known = {each.session: each for each in await self._sessions(store)}
        found = self._found
        shown = [each for each in known.values() if found is None or each.session in found]
        self._table.show([session_row(each, (found or {}).get(each.session, "")) for each in shown])
        self._say(place, len(known), len(shown))
        self._facts.show(await fact_rows(store))
        await self._open(store, known.get(self._table.selected))

    def close(self) -> None:
        """Lets go of the memories."""
        self._stores = {}

    def _offer(self, places: list[Place]) -> None:
        """Has the memories to choose from, and leaves the one that is chosen."""
        before = self._places[self._place.value] if self._places else None
        self._places = [*places, *(each for each in self._typed if each.url not in _urls(places))]
        labels = [f"{place}. {_label(each)}" for place, each in enumerate(self._places, 1)]
        options = [(label, place) for place, label in enumerate(labels)]
        chosen = next((at for at, each in enumerate(self._places) if _same(each, before)), 0)
        if tuple(options) != tuple(self._place.options):
            self._place.options = options
        if self._place.value != chosen:
            self._place.value = chosen

    async def _store(self, place: Place) -> Memory:
        if place.store is not None:
            return place.store
        if place.url not in self._stores:
            self._stores[place.url] = await asyncio.to_thread(place.open)
        return self._stores[place.url]

    async def _chosen(self) -> tuple[Place, Memory]:
        if not self._places:
            raise ConfigurationError("no memory is chosen", remedy="choose one above")
        place = self._places[self._place.value or 0]
        return place, await self._store(place)

    @staticmethod
    async def _sessions(store: Memory) -> list[SessionInfo]:
        """The sessions, the last written first."""
        names = await store.sessions()
        found = [await store.info(each) for each in names[:MOST]]
        there = [each for each in found if each is not None]
        return sorted(there, key=lambda each: each.updated, reverse=True)

    def _say(self, place: Place, known: int, shown: int) -> None:
        agents = f" Used by {', '.join(place.agents)}." if place.agents else ""
        most = f", the first {MOST:,} by name" if known >= MOST else ""
        found = (
            f" {counted(shown, 'session')} found{self._note}." if self._found is not None else ""
        )
        said = f"{counted(known, 'session')}{most}.{found}{agents}"
        value = f'<div role="status">{html_text(said)}</div>'
        if self._title.value != value:
            self._title.value = value

    async def _open(self, store: Memory, info: SessionInfo | None) -> None:
        self._bar.layout.display = None if info is not None else "none"
        if self._doomed is not None and (
            info is None or self._doomed[0] is not store or info.session != self._doomed[1].session
        ):
            self._forget()
        if info is None:
            self._read, self._conversation.value = None, ""
            return
        stamp = id(store), info.session, info.version
        if stamp == self._read:
            return
        conversation = await store.load(info.session, limit=_SHOWN_MESSAGES)
        body = await asyncio.to_thread(conversation_html, conversation, conversation.damaged)
        newest = (
            f"the newest {len(conversation)} of {counted(info.messages, 'message')}"
            if len(conversation) < info.messages
            else counted(info.messages, "message")
        )
        head = f'<h3>{html_text(info.session)}</h3><div class="aof-told">{html_text(newest)}</div>'
        self._conversation.value = head + body
        self._read = stamp

    def _selected(self) -> None:
        self._host.refresh()

    def _turned(self) -> None:
        """Another memory has other sessions."""
        if self._place.value is None:
            return
        self._found, self._table.selected = None, ""
        self._host.refresh()

    def _do_open(self) -> None:
        typed = str(self._url.value)

        async def opens() -> None:
            if not typed.strip():
                return
            try:
                place = await asyncio.to_thread(typed_place, typed)
            except ConfigurationError:
                # What was refused may hold a password.
                self._url.value = ""
                raise
            self._url.value = ""
            known = [*self._places]
            if place.url not in _urls(known):
                self._typed.append(place)
                known.append(place)
            self._offer([each for each in known if each.url not in _urls(self._typed)])
            self._place.value = next(
                at for at, each in enumerate(self._places) if each.url == place.url
            )
            self._host.refresh()

        self._host.start(opens)

    def _do_search(self) -> None:
        words = str(self._words.value).strip()

        async def search() -> None:
            if self._search is not None:
                self._search.cancel()
            self._search = asyncio.current_task()
            if not words:
                self._found = None
                self._host.refresh()
                return
            _, store = await self._chosen()
            found: dict[str, str] = {}
            left = _SEARCHED_BYTES
            sessions = await self._sessions(store)
            for number, each in enumerate(sessions):
                left -= each.size
                if left < 0 and number:
                    self._note = f", in the {counted(number, 'session')} last written"
                    break
                conversation = await store.load(each.session, limit=_SEARCHED_MESSAGES)
                place = await asyncio.to_thread(snippet, conversation, words)
                if place is not None:
                    found[each.session] = place
            else:
                self._note = ""
            self._found = found
            self._host.refresh()

        self._host.start(search)

    def _do_export(self) -> None:
        named = self._table.selected

        async def export() -> None:
            _, store = await self._chosen()
            text = await store.export(named)
            if not text:
                raise ConfigurationError(f"there is no session {named!r}", remedy="select one")
            path = await asyncio.to_thread(_written, self._host.directory, named, text)
            self._host.tell(
                f"Written to {path.name}, as JSON lines; aofctl memory import takes it in again."
            )

        self._host.start(export)

    def _do_delete(self) -> None:
        named = self._table.selected

        async def ask() -> None:
            place, store = await self._chosen()
            info = await store.info(named)
            if info is None:
                raise ConfigurationError(f"there is no session {named!r}", remedy="select one")
            self._doomed = store, info
            said = (
                f"Delete the conversation {info.session}, with {counted(info.messages, 'message')} "
                f"({size(info.size)}), from {_label(place)}? There is no way back."
            )
            self._question.value = f'<div role="alert">{html_text(said)}</div>'
            self._confirm.layout.display = None

        self._host.start(ask)

    def _do_sure(self) -> None:
        async def delete() -> None:
            if self._doomed is None:
                return
            store, doomed = self._doomed
            self._forget()
            info = await store.info(doomed.session)
            if info is None or info.version != doomed.version:
                raise ConfigurationError(
                    f"{doomed.session} is not what it was when you were asked: nothing is deleted",
                    remedy="look at it, and delete it again",
                )
            await store.delete(doomed.session)
            self._table.selected = ""
            if self._found is not None:
                self._found.pop(doomed.session, None)
            self._host.tell(f"Deleted: {doomed.session}.")
            self._host.refresh()

        self._host.start(delete)

    def _do_keep(self) -> None:
        async def keep() -> None:
            self._forget()

        self._host.start(keep)

    def _forget(self) -> None:
        self._doomed = None
        self._confirm.layout.display = "none"


def _written(directory: Path, session: str, text: str) -> Path:
    """Writes an export to a new file, for its owner only."""
    plain = (
        re.sub(r"[^\w-]+", "-", session)
        .encode(errors="ignore")[:_NAME_BYTES]
        .decode(errors="ignore")
    )
    plain = plain.strip("-") or "session"
    stem = f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        path = directory / f"{stem}{f'-{number}' if number > 1 else ''}.jsonl"
        try:
            write_private(path, text.encode(), once=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}", remedy="make room, or mend its mode"
            ) from error
        return path
    raise AssertionError(stem)


def _urls(places: Sequence[Place]) -> set[str]:
    return {each.url for each in places if each.url}


def _same(one: Place, other: Place | None) -> bool:
    return other is not None and (one.url, one.store) == (other.url, other.store)


def _label(place: Place) -> str:
    return revealed(visible(place.label))
