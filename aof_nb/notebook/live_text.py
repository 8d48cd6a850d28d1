"""Markdown that appears while it is being written, for bytes in proportion to its length.

Re-sending the whole answer at each token grows with its square. Here, finished blocks are sent
once; only what follows them is live, and how often that is sent again is bounded by a budget.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from aof_nb.markdown import finished, to_html
from aof_nb.notebook.screen import Bundle, Output, Screen

INTERVAL = 0.05
"""Seconds between two updates of the live block."""

_PAUSE = 0.5
_SETTLE_CHARS = 300
_ENVELOPE = 130


class Budget:
    """What a run may spend on re-sending text that is not finished.

    In proportion to the text that has arrived, so that twice the answer costs twice the bytes;
    and to the time that has passed, as text that comes all at once needs no intermediate states.

    Args:
        clock: Seconds, monotonic.
    """

    START = 1500
    PER_BYTE = 6.0
    PER_SECOND = 8000.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened: float | None = None
        self._arrived = 0
        self._spent = 0.0

    def arrived(self, size: int) -> None:
        """Notes that more text has come."""
        if self._opened is None:
            self._opened = self._clock()
        self._arrived += size

    def allows(self, size: float) -> bool:
        """Whether that many bytes may be spent now."""
        elapsed = 0.0 if self._opened is None else self._clock() - self._opened
        allowance = self.START + min(self.PER_BYTE * self._arrived, self.PER_SECOND * elapsed)
        return self._spent + size <= allowance

    def spend(self, size: float) -> None:
        """Notes that bytes were sent."""
        self._spent += size


def bundle(text: str) -> Bundle:
    """Markdown as a finished output."""
    text = text.strip("\n")
    return {"text/html": to_html(_fenced(text)), "text/plain": text}


def voided(text: str) -> Bundle:
    """Markdown as an output that no longer counts: struck out."""
    whole = bundle(text)
    html = f'<div style="opacity:.55;text-decoration:line-through">{whole["text/html"]}</div>'
    return {"text/html": html, "text/plain": f"[void] {whole['text/plain']}"}


def _fenced(text: str) -> str:
    """An answer that is JSON, as a run with an output schema gives, laid out as code."""
    if not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        return f"```json\n{msgspec.json.format(text)}\n```"
    except msgspec.DecodeError:
        return text


class LiveText:
    """One stretch of an answer, between two tool calls.

    Args:
        screen: Where it appears.
        live: Whether outputs can be replaced.
        by_block: Whether blocks appear as they are finished; if not, the whole appears at once.
        budget: What may be spent on the unfinished end.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        screen: Screen,
        *,
        live: bool,
        by_block: bool,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = screen
        self._live = live
        self._by_block = by_block
        self._budget = budget
        self._clock = clock
        self._output = Output(screen, live=live)
        self._text = ""
        self._arriving: list[str] = []
        self._looked_at = 0
        self._unsent = False
        self._next = 0.0
        self._last_write = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._settled: list[tuple[Output, str]] = []
        self._bundle = bundle

    def write(self, text: str) -> None:
        """Adds text; it appears within the interval, or as the budget allows."""
        self._arriving.append(text)
        self._budget.arrived(len(text.encode()))
        if not self._by_block:
            return
        self._unsent = True
        self._last_write = now = self._clock()
        if now >= self._next:
            self._tick()
        elif self._timer is None:
            self._wait(self._next - now)

    def close(self) -> None:
        """Shows all there is, for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gather()
        if self._text.strip() or self._output.shown:
            self._settle(len(self._text))

    def void(self) -> None:
        """Strikes out all there is, for good: another text takes its place."""
        shown = list(self._settled)
        self._bundle = voided
        self.close()
        for output, text in shown:
            output.show(voided(text))

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._tick)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = self._clock() + INTERVAL
        self._gather()
        # Looking for block ends costs by the length of what is live: look again when it has
        # grown by a share of itself, so that a long code block is not read over and over.
        if len(self._text) >= self._looked_at * 1.125:
            self._looked_at = len(self._text)
            end = finished(self._text)
            if end >= _SETTLE_CHARS:
                self._settle(end)
        if not (self._live and self._unsent and self._text.strip()):
            return
        size = len(self._text.encode()) * 1.1 + _ENVELOPE
        if self._budget.allows(size) or self._clock() - self._last_write >= _PAUSE:
            self._budget.spend(size)
            self._output.show({"text/html": to_html(self._text)})
            self._unsent = False
        else:
            self._wait(INTERVAL)

    def _gather(self) -> None:
        self._text += "".join(self._arriving).replace("\r", "")
        self._arriving.clear()

    def _settle(self, end: int) -> None:
        self._output.settle(self._bundle(self._text[:end]))
        self._settled.append((self._output, self._text[:end]))
        self._text = self._text[end:]
        self._unsent = bool(self._text)
        self._looked_at = 0
        self._output = Output(self._screen, live=self._live)
