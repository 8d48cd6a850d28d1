"""Shows a run's events in a cell: one output for each stretch of text, call and remark."""

from __future__ import annotations

import time
from typing import Any, Protocol

from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ContextCompacted,
    Event,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    in_a_line,
)
from aof_nb.messages import Outcome
from aof_nb.notebook import panels
from aof_nb.notebook.live_text import Budget, LiveText
from aof_nb.notebook.rows import Row
from aof_nb.notebook.screen import Output, Screen
from aof_nb.result import RunResult

_PROGRESS_INTERVAL = 0.25
_LEVELS: dict[type, str] = {ContextCompacted: "context", ModelFellBack: "fallback"}


class Renderer(Protocol):
    """What shows a run to the user."""

    def event(self, event: Event) -> None:
        """Shows an event."""
        ...

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Shows how the run ended; calls that have not ended are said to be unknown.

        May be called again when the cost is known.
        """
        ...


class CellRenderer:
    """Shows a run in a notebook's cell.

    Where outputs can be replaced, rows change in place and text grows; where nobody looks, each
    output is sent once, in its last state and in the same order.

    Args:
        screen: Where outputs go.
        live: Whether outputs can be replaced.
        agent: Who is asked.
        session: The conversation it goes on with.
    """

    def __init__(self, screen: Screen, *, live: bool, agent: str, session: str | None) -> None:
        self._screen = screen
        self._live = live
        self._budget = Budget()
        self._status = Output(screen, live=live)
        self._who = agent, session
        self._model = ""
        self._doing = ""
        self._text: LiveText | None = None
        self._turn_texts: list[LiveText] = []
        self._thoughts: list[str] = []
        self._rows: dict[str, tuple[Row, Output]] = {}
        self._footer = Output(screen, live=live)
        self._next_progress = 0.0
        if live:
            self._say("starting")
        else:
            self._status.settle(panels.status_line(*self._who))

    def event(self, event: Event) -> None:
        """Shows an event."""
        if isinstance(event, ResponseSuperseded):
            self._void_texts()
        if not isinstance(event, TextDelta | ToolCallDelta):
            self._close_text()
        if not isinstance(event, ThinkingDelta):
            self._close_thoughts()
        match event:
            case RunStarted():
                self._model = event.model
            case TurnStarted():
                self._turn_texts.clear()
                self._say("waiting for the model")
            case ThinkingDelta(text=text):
                self._say("thinking")
                self._thoughts.append(text)
            case TextDelta(text=text):
                self._say("answering")
                if self._text is None:
                    self._text = LiveText(
                        self._screen, live=self._live, by_block=self._live, budget=self._budget
                    )
                    self._turn_texts.append(self._text)
                self._text.write(text)
            case ToolStarted(call=call, effect=effect):
                row = Row(call, effect)
                self._rows[call.id] = row, Output(self._screen, live=self._live)
                self._say(f"calling {call.name}")
                self._show_row(call.id)
            case ToolProgress() | ApprovalRequested() | ApprovalAnswered() | ToolFinished():
                self._change_row(event)
            case TurnFinished():
                self._say("working")
            case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
                level = _LEVELS.get(type(event), "retry")
                self._publish(panels.notice(in_a_line(event), level))
            case Notice(text=text, level=level):
                self._publish(panels.notice(text, level))
            case LimitReached(limit=limit, detail=detail):
                self._publish(panels.notice(detail, f"limit ({limit.replace('_', ' ')})"))
            case _:
                pass

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Shows how the run ended."""
        self._close_text()
        self._close_thoughts()
        for row, _ in self._rows.values():
            row.state = row.state if row.ended else Outcome.INTERRUPTED
        for call_id in list(self._rows):
            if call_id in self._rows:
                self._show_row(call_id)
        if self._status.shown:
            self._status.settle(panels.status_line(*self._who))
        metadata = {
            "run_id": result.run_id,
            "status": "interrupted" if interrupted else result.status.value,
            "duration": round(result.duration, 3),
            "turns": result.turns,
            "tool_calls": result.tool_calls,
            "input_tokens": result.usage.input_tokens,
            "output_tokens": result.usage.output_tokens,
            "cost": cost,
        }
        show = self._footer.show if self._live else self._footer.settle
        show(panels.footer(result, interrupted=interrupted, cost=cost), {"aof": metadata})

    def _say(self, doing: str) -> None:
        if self._live and doing != self._doing:
            self._doing = doing
            told = " · ".join(part for part in (self._model, f"{doing}…") if part)
            self._status.show(panels.status_line(*self._who, told))

    def _publish(self, bundle: dict[str, str]) -> None:
        Output(self._screen, live=False).settle(bundle)

    def _close_text(self) -> None:
        if self._text is not None:
            self._text.close()
            self._text = None

    def _void_texts(self) -> None:
        for text in self._turn_texts:
            text.void()
        self._turn_texts.clear()
        self._text = None

    def _close_thoughts(self) -> None:
        text = "".join(self._thoughts)
        self._thoughts.clear()
        if text.strip():
            self._publish(panels.thinking(text))

    def _change_row(
        self, event: ToolProgress | ApprovalRequested | ApprovalAnswered | ToolFinished
    ) -> None:
        if event.call_id not in self._rows:
            return
        self._rows[event.call_id][0].take(event)
        if isinstance(event, ApprovalRequested):
            self._say("waiting for your approval")
        if isinstance(event, ToolProgress):
            if (now := time.monotonic()) < self._next_progress:
                return
            self._next_progress = now + _PROGRESS_INTERVAL
        self._show_row(event.call_id)

    def _show_row(self, call_id: str) -> None:
        """Shows a row's state; where outputs cannot be replaced, ended rows in the order asked."""
        if self._live:
            row, output = self._rows[call_id]
            if row.ended:
                output.settle(row.bundle(), _row_metadata(row))
                del self._rows[call_id]
            else:
                output.show(row.bundle())
            return
        for each, (row, output) in list(self._rows.items()):
            if not row.ended:
                break
            output.settle(row.bundle(), _row_metadata(row))
            del self._rows[each]


def _row_metadata(row: Row) -> dict[str, Any]:
    told = {"tool": row.call.name, "call_id": row.call.id, "outcome": str(row.state)}
    return {"aof": told | ({} if row.duration is None else {"duration": round(row.duration, 4)})}
