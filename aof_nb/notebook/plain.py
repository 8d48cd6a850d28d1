"""Shows a run's events as plain text, where a terminal or a console looks at the cell."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

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
    ToolStarted,
    answered_in_a_line,
    in_a_line,
)
from aof_nb.messages import Outcome
from aof_nb.notebook.footer import footer_line
from aof_nb.notebook.rows import Row
from aof_nb.notebook.screen import Frontend
from aof_nb.readable import printable
from aof_nb.result import RunResult

if TYPE_CHECKING:
    from aof_nb.notebook.renderer import Renderer
    from aof_nb.notebook.settings import AOF


def console_renderer(agent: str, place: Frontend, settings: AOF) -> Renderer:
    """What shows a run in a terminal or a console, with the means that it has.

    Where there are no colours (``NO_COLOR``, ``TERM=dumb``, a pipe), nothing but text is printed.

    Args:
        agent: Who is asked.
        place: What looks at the cell.
        settings: The notebook's defaults.
    """
    is_terminal = place is Frontend.TERMINAL
    if os.environ.get("NO_COLOR") or (is_terminal and not _has_colours()):
        return ConsoleRenderer()
    from aof_nb.notebook.rich_text import RichRenderer

    return RichRenderer(agent, live=is_terminal, theme=settings.theme, interval=settings.interval)


def _has_colours() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


class ConsoleRenderer:
    """Prints text as it comes, and a line for each tool call that has ended."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._open_line = False
        self._ended = False

    async def prepare(self, event: Event) -> None:
        """Nothing of it takes time."""

    def event(self, event: Event) -> None:
        """Prints an event."""
        match event:
            case TextDelta(text=text):
                self._open_line = not text.endswith("\n")
                sys.stdout.write(printable(text))
                sys.stdout.flush()
            case ThinkingDelta() | ToolCallDelta():
                pass
            case ToolStarted(call=call, effect=effect):
                self._rows[call.id] = Row(call, effect)
            case ToolFinished() if event.call_id in self._rows:
                row = self._rows.pop(event.call_id)
                row.take(event)
                self._line(row.text())
            case ApprovalRequested() if event.call_id in self._rows:
                self._rows[event.call_id].take(event)
                self._end_line()
            case ApprovalAnswered():
                line = answered_in_a_line(event)
                if event.call_id in self._rows:
                    row = self._rows[event.call_id]
                    row.take(event)
                    line = row.answered(event)
                self._line(line)
            case CallWithheld(tool=tool, does=does):
                self._line(f"not executed: {tool}: {' · '.join(does)}")
            case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
                self._line(in_a_line(event))
            case Notice(text=text, level=level):
                self._line(f"{level}: {text}")
            case LimitReached():
                self._line(in_a_line(event))
            case _:
                self._end_line()

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Prints how the run ended."""
        if self._ended:
            return
        self._ended = True
        for row in self._rows.values():
            row.state = Outcome.INTERRUPTED
            self._line(row.text())
        for line in [] if result.withheld is None else withheld_lines(result.withheld):
            self._line(line)
        ended = footer_line(result, interrupted=interrupted, cost=cost)
        self._line(" · ".join(part for part in ended if part))

    def _line(self, text: str) -> None:
        self._end_line()
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()

    def _end_line(self) -> None:
        if self._open_line:
            sys.stdout.write("\n")
            self._open_line = False
