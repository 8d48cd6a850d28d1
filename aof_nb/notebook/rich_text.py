"""Shows a run's events with a terminal's means: Markdown, colours, and a status that is alive."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.text import Text
from rich.theme import Theme

from aof_nb.call_description import withheld_lines
from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    CallWithheld,
    ContextCompacted,
    Event,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    answered_in_a_line,
    in_a_line,
)
from aof_nb.markdown import finished
from aof_nb.messages import Outcome
from aof_nb.notebook.footer import footer_line
from aof_nb.notebook.rows import Row
from aof_nb.readable import printable, seconds, visible
from aof_nb.result import RunResult

if TYPE_CHECKING:
    from rich.console import JustifyMethod

_STYLES = {
    "markdown.code": "bold cyan",
    "markdown.h1": "bold underline",
    "markdown.h2": "bold",
    "markdown.h3": "bold dim",
    "markdown.block_quote": "dim",
}
_MARKS = {Outcome.OK: "green", Outcome.ERROR: "red", Outcome.DENIED: "red"}
_WIDEST = 110
_LIVE_SECONDS = 0.1
_ROWS = 6


_alive: RichRenderer | None = None
"""What holds the terminal's last lines: of several runs, the one that began first."""


class _Heading(Heading):
    """A heading at the left, without a box around it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.tag != "h1":
            yield Text("")
        self.text.justify = _LEFT
        yield self.text


_LEFT: JustifyMethod = "left"


class _Markdown(Markdown):
    """Markdown in which HTML is text: rich would leave it out, and with it what is in it."""

    elements = {**Markdown.elements, "heading_open": _Heading}  # noqa: RUF012  as in its base

    def __init__(self, markup: str, code_theme: str) -> None:
        # The targets of links are told: a terminal would hide them.
        super().__init__("", code_theme=code_theme, hyperlinks=False)
        parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
        self.markup, self.parsed = markup, parser.parse(markup)


class RichRenderer:
    """Prints each block of the answer when it is whole, and a line for each call that has ended.

    In a terminal the block that is being written, the calls that run and how long it all takes
    stand below, and are gone in the end.

    Args:
        agent: Who is asked.
        live: Whether what is printed can be taken back, as a terminal can.
        theme: ``light``, ``dark``, or ``auto`` for what the terminal says of itself.
        interval: Seconds between two updates of what is alive.
        console: Where it is printed; standard output if not given.
    """

    def __init__(
        self,
        agent: str,
        *,
        live: bool,
        theme: str = "auto",
        interval: float = _LIVE_SECONDS,
        console: Console | None = None,
    ) -> None:
        self._agent = printable(agent)
        self._console = console or _console(live=live)
        self._code_theme = f"ansi_{_background() if theme == 'auto' else theme}"
        self._rows: dict[str, tuple[Row, float]] = {}
        self._asking: set[str] = set()
        self._text = ""
        self._doing = "waits for the model"
        self._began = time.monotonic()
        self._interval = max(interval, _LIVE_SECONDS)
        self._live: Live | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._alive = live
        self._ended = False
        self._spinner = Spinner("dots", style="cyan")
        self._tick()

    async def prepare(self, event: Event) -> None:
        """Nothing of it takes time."""

    def event(self, event: Event) -> None:
        """Takes an event over."""
        match event:
            case TextDelta(text=text):
                self._doing = "writes"
                self._text += text
                if "\n" in text:
                    self._print_finished()
            case ThinkingDelta():
                self._doing = "thinks"
            case ToolCallDelta():
                self._doing = "asks for tools"
            case ToolStarted(call=call, effect=effect):
                self._print_text()
                self._rows[call.id] = Row(call, effect), time.monotonic()
                self._doing = "works"
            case ToolProgress() if event.call_id in self._rows:
                self._rows[event.call_id][0].take(event)
            case ToolFinished() if event.call_id in self._rows:
                row, _ = self._rows.pop(event.call_id)
                row.take(event)
                self._asking.discard(event.call_id)
                self._print(_line(row))
                self._doing = "waits for the model"
            case ApprovalRequested() if event.call_id in self._rows:
                self._print_text()
                self._rows[event.call_id][0].take(event)
                self._asking.add(event.call_id)
                self._stop()
            case ApprovalAnswered():
                line = answered_in_a_line(event)
                if event.call_id in self._rows:
                    row, _ = self._rows[event.call_id]
                    row.take(event)
                    line = row.answered(event)
                self._asking.discard(event.call_id)
                self._say(line, "bold")
                self._tick()
            case CallWithheld(tool=tool, does=does):
                self._say(f"not executed: {tool}: {' · '.join(does)}", "bold")
            case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
                self._say(in_a_line(event), "yellow")
            case Notice(text=text, level=level):
                self._say(f"{level}: {text}", "yellow" if level == "warning" else "dim")
            case LimitReached():
                self._say(in_a_line(event), "yellow")
            case _:
                self._print_text()

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Prints how the run ended."""
        if self._ended:
            return
        self._ended = True
        self._stop()
        self._print_text()
        for row, _ in self._rows.values():
            row.state = Outcome.INTERRUPTED
            self._print(_line(row))
        if result.withheld is not None:
            self._print(Text(printable("\n".join(withheld_lines(result.withheld)))))
        how, line = footer_line(result, interrupted=interrupted, cost=cost)
        line = f"{' · ' if how else ''}{line}"
        self._print(Text.assemble((printable(how), "bold red"), (printable(line), "dim")))

    def __rich__(self) -> RenderableType:
        """What stands below while the run goes on."""
        space = max(self._console.size.height - len(self._rows) - 3, 3)
        tail = "\n".join(self._text.splitlines()[-space:])
        return Group(*self._below(tail))

    def _below(self, tail: str) -> Iterator[RenderableType]:
        if tail.strip():
            yield self._markdown(tail)
        now = time.monotonic()
        for row, began in list(self._rows.values())[-_ROWS:]:
            yield Text(
                f"{printable(row.text())} {seconds(now - began - row.waited)}",
                no_wrap=True,
                overflow="ellipsis",
            )
        took = seconds(max(round(now - self._began), 1))
        self._spinner.update(
            text=Text(f"{self._agent} {self._doing} · {took} · Ctrl-C stops it", style="dim")
        )
        yield self._spinner

    def _tick(self) -> None:
        """Brings what stands below up to date, and will again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not self._alive or self._ended or self._asking:
            return
        global _alive  # noqa: PLW0603  a terminal has one last line, whoever runs beside
        if self._live is None and _alive is None:
            _alive = self
            self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        if self._live is not None:
            self._live.refresh()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _stop(self) -> None:
        """Takes away what stands below: somebody is asked there, or it is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._live is not None:
            global _alive
            live, self._live, _alive = self._live, None, None
            text, self._text = self._text, ""
            live.stop()
            self._text = text

    def _print_finished(self) -> None:
        if end := finished(self._text):
            whole, self._text = self._text[:end], self._text[end:]
            self._print_block(whole)

    def _print_text(self) -> None:
        whole, self._text = self._text, ""
        if whole.strip():
            self._print_block(whole)

    def _markdown(self, text: str) -> Markdown:
        return _Markdown(visible(text.expandtabs()), self._code_theme)

    def _print_block(self, text: str) -> None:
        """Prints Markdown and one empty line, whatever space its elements take around them."""
        lines = [_stripped(each) for each in self._console.render_lines(self._markdown(text))]
        while lines and not lines[0]:
            del lines[0]
        while lines and not lines[-1]:
            del lines[-1]
        if lines:
            ended = (segment for line in lines for segment in (*line, Segment.line()))
            self._print(Segments(ended), "")

    def _say(self, text: str, style: str) -> None:
        self._print_text()
        self._print(Text(printable(text), style=style))

    def _print(self, *what: Any) -> None:
        for each in what:
            self._console.print(each)


def _stripped(line: list[Segment]) -> list[Segment]:
    """A line without the spaces at its end: nobody wants to copy them."""
    while line and not line[-1].text.strip():
        line = line[:-1]
    if line:
        last = line[-1]
        line = [*line[:-1], Segment(last.text.rstrip(), last.style)]
    return line


def _line(row: Row) -> Text:
    """A call that has ended; its sign is coloured, and is a sign without colour too."""
    head, *below = printable(row.text()).split("\n")
    text = Text(head)
    name = len(printable(row.call.name))
    text.stylize(_MARKS.get(row.state, "yellow") if isinstance(row.state, Outcome) else "", 0, 1)
    text.stylize("bold", 2, 2 + name)
    text.stylize("dim", 2 + name)
    if row.effect in {"write", "destructive"}:
        text.append(f"  {row.effect}", style="yellow" if row.effect == "write" else "bold red")
    for line in below:
        text.append(f"\n{line}", style="dim")
    return text


def _console(*, live: bool) -> Console:
    theme = Theme(_STYLES)
    if live:
        made = Console(theme=theme, highlight=False, markup=False, emoji=False)
        made.width = min(made.width, _WIDEST)
        return made
    return Console(
        theme=theme,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=True,
        force_jupyter=False,
        force_interactive=False,
        color_system="standard",
        width=80,
    )


def _background() -> str:
    """What some terminals say of their background; dark if nothing is said."""
    colour = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if colour in {"7", "15"} else "dark"
