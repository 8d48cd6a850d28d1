"""The console itself: a header, tabs, and the one task that keeps the visible page up to date."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from aof_nb.errors import AofError
from aof_nb.markdown import html_text
from aof_nb.notebook.console import PAGES
from aof_nb.notebook.console.page import Page
from aof_nb.notebook.console.widgets import close_tree, pulse_class

_logger = logging.getLogger("aof_nb.console")
_PATIENCE_SECONDS = 20.0
_NOTE_SECONDS = 20.0
_CLOSED = "The console of aof_nb was here. It shows nothing without its kernel: open it again with"


class Console:
    """The console, in the cell or panel that shows it.

    It must be made on the loop that it is to work on. Nothing is read while nobody looks at it.

    Args:
        directory: Where the files of agents are.
        variables: The notebook's variables.
        pages: The pages, as in `aof_nb.notebook.console.PAGES`.

    Example:
        >>> async def show():
        ...     from IPython.display import display
        ...     console = Console(directory=Path())
        ...     display(console)
        ...     return console
    """

    def __init__(
        self,
        *,
        directory: Path,
        variables: Mapping[str, Any] | None = None,
        pages: Mapping[str, str] = PAGES,
    ) -> None:
        import ipywidgets

        self.directory = directory.resolve()
        self.variables = variables if variables is not None else {}
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._looked_at = self._loop.time()
        self._appeared = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._classes = list(pages.values())
        self._pages: list[Page | None] = [None] * len(pages)
        self._pulse = pulse_class()()
        self._pulse.on_msg(self._pulsed)
        self._note: Any = ipywidgets.HTML(layout={"display": "none"})
        self._note.add_class("aof-wrap")
        boxes = [ipywidgets.VBox() for _ in pages]
        self._tabs: Any = ipywidgets.Tab(children=boxes, titles=list(pages), selected_index=0)
        self._tabs.observe(self._turned, "selected_index")
        self.widget: Any = ipywidgets.VBox([self._pulse, self._note, self._tabs])
        self.widget.add_class("aof-console")
        self.closed = False
        self._stale = False
        self._notes = 0
        self._refreshing = self._own(self._keep_fresh)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        # What is saved of the console is read where there is no kernel, or no widgets at all.
        instead = {
            "text/plain": f"{_CLOSED} %aof console",
            "text/markdown": f"*{_CLOSED}* `%aof console`",
        }
        return {**self.widget._repr_mimebundle_(**options), **instead}

    @property
    def title(self) -> str:
        """The title of the page that is shown."""
        title: str = self._tabs.titles[self._tabs.selected_index or 0]
        return title

    @property
    def page(self) -> Page | None:
        """The page that is shown; None before it is built."""
        return self._pages[self._tabs.selected_index or 0]

    def show(self, title: str) -> None:
        """Turns to a page.

        Args:
            title: Its title.
        """
        self._tabs.selected_index = list(self._tabs.titles).index(title)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Has work done on the console's loop; it may be called on any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin, work)

    def tell(self, text: str) -> None:
        """Shows a line above the page until it has been there for a while."""
        self._say(text, "aof-note")
        if not self._loop.is_closed():
            fade = functools.partial(self._fade, self._notes)
            self._loop.call_soon_threadsafe(self._loop.call_later, _NOTE_SECONDS, fade)

    def refresh(self) -> None:
        """Has the page that is shown refreshed now; it may be called on any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    async def appears(self, patience: float) -> bool:
        """Whether a page shows the console within some seconds.

        Args:
            patience: Seconds.
        """
        try:
            async with asyncio.timeout(patience):
                await self._appeared.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self) -> None:
        """Ends all that the console does, and closes its widgets."""
        self.closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for page in self._pages:
            if page is not None:
                with contextlib.suppress(Exception):
                    page.close()
        close_tree(self.widget)

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        if not self.closed:
            self._own(lambda: self._guarded(work))

    def _own(self, work: Callable[[], Any]) -> asyncio.Task[None]:
        # What shows a run belongs to the cell that began it, not to whoever works here.
        task = self._loop.create_task(work(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  whatever fails is shown on the page
            self._fail(error)

    async def _keep_fresh(self) -> None:
        while True:
            self._changed.clear()
            index = self._tabs.selected_index or 0
            work = asyncio.ensure_future(self._bring_up(index))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([work, changed], return_when=asyncio.FIRST_COMPLETED)
                if not work.done() and index == (self._tabs.selected_index or 0):
                    await asyncio.wait([work])
            finally:
                for each in (work, changed):
                    each.cancel()
                await asyncio.gather(work, changed, return_exceptions=True)
            page = self._pages[index]
            interval = page.interval if page is not None else _PATIENCE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval if self._is_looked_at() else None):
                    await self._changed.wait()

    def _is_looked_at(self) -> bool:
        return self._loop.time() - self._looked_at < _PATIENCE_SECONDS

    async def _bring_up(self, index: int) -> None:
        try:
            page = self._pages[index]
            if page is None:
                page = await self._built(index)
            await page.refresh()
        except Exception as error:  # noqa: BLE001  a page that fails must not end the others
            self._fail(error)
            self._stale = True
        else:
            if self._stale:
                self._say("", "")

    async def _built(self, index: int) -> Page:
        module, _, name = self._classes[index].partition(":")
        imported = await asyncio.to_thread(import_module, module)
        page: Page = getattr(imported, name)(self)
        self._tabs.children[index].children = [page.build()]
        self._pages[index] = page
        return page

    def _turned(self, _: Any) -> None:
        self._say("", "")
        self.refresh()

    def _pulsed(self, _: Any, content: Mapping[str, Any], __: Any) -> None:
        if content.get("do") == "here" and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._seen, bool(content.get("attached")))

    def _seen(self, attached: bool) -> None:
        if attached:
            self._appeared.set()
        if not self._is_looked_at():
            self._changed.set()
        self._looked_at = self._loop.time()

    def _fail(self, error: Exception) -> None:
        if isinstance(error, AofError):
            remedy = f" → {error.remedy}" if error.remedy else ""
            self._say(f"{error.message}{remedy}", "aof-problem")
            return
        _logger.error("a page of the console has failed", exc_info=error)
        self._say(f"This did not work: {type(error).__name__}: {error}", "aof-problem")

    def _fade(self, note: int) -> None:
        if note != self._notes or self.closed:
            return
        if self._is_looked_at():
            self._say("", "")
        else:
            # Nobody has read it yet.
            self._loop.call_later(_NOTE_SECONDS, self._fade, note)

    def _say(self, text: str, kind: str) -> None:
        self._stale = False
        self._notes += 1
        role = "alert" if kind == "aof-problem" else "status"
        said = html_text(text)
        self._note.value = f"<div class={kind} role={role}>{said}</div>" if text else ""
        self._note.layout.display = None if text else "none"
