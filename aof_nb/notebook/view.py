"""The live view of one run: a widget that is sent what has changed, and sends what is clicked.

To the view go ``{items: [[place, keep, tail], ...], status}``, where `keep` UTF-16 units of an
item's HTML stay and `tail` follows them; ``{all: page, items, status}`` for a page that is new, and
which others pass over; ``{ended: true}``, by itself or with `all`; ``{record: {data, metadata}}``
for one that missed the end; and ``{problem: {call, text}}`` for an answer that cannot be taken.

From it come ``{do: "ready", page}``, where a page names itself, ``{do: "stop"}``,
``{do: "steer", text}``, ``{do: "record"}`` and
``{do: "answer", call, approved, similar, edited, arguments, reason}``, where `call` is the
question's `aof_nb.notebook.cards.Card.key`, as in a problem.
"""

from __future__ import annotations

import asyncio
import functools
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

Handler = Callable[[Mapping[str, Any]], None]

_KEPT_VIEWS = 20
_kept: list[Any] = []
_ended: set[Any] = set()
_layouts: list[Any] = []


@functools.cache
def _widget_class() -> type[Any]:
    import anywidget
    import traitlets

    static = files("aof_nb.notebook") / "static"

    class RunViewWidget(anywidget.AnyWidget):
        _esm = _packed((static / "run_view.js").read_text(encoding="utf-8"))
        _css = _compact((static / "run_view.css").read_text(encoding="utf-8"))
        view_id = traitlets.Unicode().tag(sync=True)

    return RunViewWidget


_UNPACKED = """\
const packed = Uint8Array.from(atob("%s"), (each) => each.charCodeAt(0));
const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
const script = new Blob([await new Response(plain).text()], { type: "text/javascript" });
const url = URL.createObjectURL(script);
const module = await import(url);
URL.revokeObjectURL(url);
export default module.default;
"""


def _packed(script: str) -> str:
    """A module that does what a script's does, in less than half: each view is sent it anew."""
    return _UNPACKED % b64encode(zlib.compress(_compact(script).encode(), 9)).decode()


def _compact(source: str) -> str:
    """A script or style without indentation and comments."""
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if not line.startswith("//"))


def _layout() -> Any:
    """The layout that all views have: one of its own would cost each a kilobyte."""
    from ipywidgets import Layout

    if not _layouts or _layouts[-1].comm is None:
        _layouts[:] = [Layout()]
    return _layouts[-1]


class RunView:
    """A run's live view, in whatever pages show it.

    Handlers run on the loop that made it, whichever thread a message comes on.

    Args:
        loop: The run's event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handlers: dict[str, Handler] = {}
        self._sent: dict[int, str] = {}
        self._status = ""
        self._widget: Any = None

    @staticmethod
    def load() -> None:
        """Imports what a view needs, which takes a while: call it in a thread."""
        _widget_class()

    def bundle(self, text: str) -> dict[str, Any]:
        """The output that shows the view.

        Args:
            text: What stands in its place where no widgets are.
        """
        if self._widget is None:
            self._widget = _widget_class()(layout=_layout())
            self._widget.view_id = self._widget.model_id
            self._widget.on_msg(self._received)
            _keep(self._widget)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": text}

    def on(self, action: str, handler: Handler) -> None:
        """Has a handler called with each message that asks for an action."""
        self._handlers[action] = handler

    def send(self, items: list[tuple[int, str]], status: str) -> None:
        """Sends what is new of items; nothing if nothing is."""
        changed = []
        for place, html in items:
            before = self._sent.get(place, "")
            if html != before:
                keep = _common(before, html)
                changed.append([place, _units(html[:keep]), html[keep:]])
                self._sent[place] = html
        message: dict[str, Any] = {"items": changed} if changed else {}
        if status != self._status:
            message["status"] = self._status = status
        if message:
            self._widget.send(message)

    def send_all(
        self, page: str, items: list[tuple[int, str]], status: str, *, ended: bool = False
    ) -> None:
        """Sends everything, to a page that has nothing yet; what others have is to be as new.

        Args:
            page: What the page has named itself.
            items: All items.
            status: The run's status.
            ended: Whether the run is over.
        """
        self._sent = dict(items)
        self._status = status
        whole = [[place, 0, html] for place, html in items]
        message = {"all": page, "items": whole, "status": status}
        self._widget.send({**message, "ended": True} if ended else message)

    def tell(self, **message: Any) -> None:
        """Sends a message of another kind."""
        if self._widget is not None:
            self._widget.send(message)

    def end(self, status: str) -> None:
        """Tells pages that the run is over; the view may be closed when others need its place."""
        self.tell(ended=True, status=status)
        if self._widget is not None:
            _ended.add(self._widget)

    def _received(self, _: Any, content: Mapping[str, Any], __: Any) -> None:
        handler = self._handlers.get(str(content.get("do")))
        if handler is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(handler, content)


def _keep(widget: Any) -> None:
    """Keeps the last views open, for pages that are loaded after their runs have ended."""
    _kept.append(widget)
    ended = [each for each in _kept if each in _ended]
    for each in ended[: max(0, len(_kept) - _KEPT_VIEWS)]:
        _kept.remove(each)
        _ended.discard(each)
        each.close()


def _common(before: str, after: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        if before[low:middle] == after[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _units(text: str) -> int:
    """A text's length as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
