"""A timeline as text for a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aof_nb.journal.timeline import Call, Remark, Timeline, Turn
from aof_nb.journal.wording import (
    Clock,
    answer_title,
    approvals_of,
    arguments_of,
    call_facts,
    callouts,
    dollars,
    facts,
    is_the_answer,
    kind_of,
    level_of_call,
    level_of_state,
    outcome_of,
    output_of,
    state_of,
    title_of,
    tokens,
    turn_facts,
)
from aof_nb.readable import indented_json, visible
from aof_nb.truncation import truncate

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    "good": "green",
    "bad": "bold red",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
}
_SAID_CHARS = 2000
_OUTPUT_CHARS = 800
_ARGUMENT_CHARS = 1200
_MARGIN = " " * 10


def as_text(timeline: Timeline, *, full: bool = False) -> Text:
    """A timeline as text, with styles for a terminal; `str` gives it without.

    Args:
        timeline: The run.
        full: Whether long texts are left whole.
    """
    return _Writer(timeline, full=full).text


def _indented(text: str, margin: str) -> str:
    """Lines after the first one set in, those without text left empty."""
    return re.sub(r"\n(?=[^\n])", f"\n{margin}", text)


class _Writer:
    def __init__(self, timeline: Timeline, *, full: bool) -> None:
        from rich.text import Text

        self.text = Text()
        self._clock = Clock(timeline.began)
        self._full = full
        self._timeline = timeline
        self._head()
        for item in timeline.items:
            if isinstance(item, Turn):
                self._turn(item)
            else:
                self._remark(item, "")
        self._foot()

    def _line(self, *pieces: str | tuple[str, str], margin: str = "") -> None:
        self.text.append(margin)
        for piece in pieces:
            text, style = piece if isinstance(piece, tuple) else (piece, "")
            self.text.append(_indented(visible(text), margin), style)
        self.text.append("\n")

    def _cut(self, text: str, limit: int) -> str:
        return text if self._full else truncate(text, limit)

    def _head(self) -> None:
        timeline = self._timeline
        state = (state_of(timeline), _STYLES[level_of_state(timeline.state)])
        self._line("Run ", (timeline.run_id, "bold"), ": ", state)
        self._line()
        rows = [("asked", self._cut(timeline.prompt, _SAID_CHARS)), *facts(timeline)]
        width = max(len(name) for name, _ in rows) + 2
        for name, value in rows:
            self._line((f"  {name:<{width}}", "dim"), _indented(value, " " * (width + 2)))
        self._line((f"  {'journal':<{width}}", "dim"), timeline.path)
        self._line()
        for level, title, text in callouts(timeline):
            self._line((f"{title}: ", _STYLES[level]), text)
            self._line()

    def _turn(self, turn: Turn) -> None:
        head = f"turn {turn.number}"
        beside = "".join(f" · {each}" for each in turn_facts(turn))
        self._line(f"{self._clock(turn.asked)}  ", (head, "bold"), (beside, "dim"))
        for remark in turn.remarks:
            self._remark(remark, "  ")
        if is_the_answer(turn, self._timeline):
            self._line(("(the answer, below)", "dim"), margin=_MARGIN)
        elif turn.text.strip():
            self._line(self._cut(turn.text.strip(), _SAID_CHARS), margin=_MARGIN)
        if turn.error:
            self._line((turn.error, _STYLES["error"]), margin=_MARGIN)
        for call in turn.calls:
            self._call(call)

    def _call(self, call: Call) -> None:
        when = call.begun[0] if call.begun else call.asked
        outcome = (outcome_of(call), _STYLES[level_of_call(call)])
        beside = "".join(f" · {each}" for each in call_facts(call))
        self._line(
            f"{self._clock(when)}    ", (title_of(call), "bold"), " · ", outcome, (beside, "dim")
        )
        margin = _MARGIN + "    "
        if arguments := arguments_of(call):
            self._line(self._cut(arguments, _ARGUMENT_CHARS), margin=margin)
        for told in approvals_of(call, self._clock):
            self._line((told, "magenta"), margin=margin)
        if call.progress and call.ended is None:
            self._line((call.progress, "dim"), margin=margin)
        if output := self._cut(output_of(call), _OUTPUT_CHARS):
            self._line("→ ", (_indented(output, "  "), "dim"), margin=margin)
        if call.artifact is not None:
            self._line((f"the whole output: {call.artifact}", "dim"), margin=margin)

    def _remark(self, remark: Remark, margin: str) -> None:
        style = "dim" if remark.level == "info" else _STYLES[remark.level]
        text = f"{kind_of(remark)} {self._cut(remark.text, _SAID_CHARS)}".strip()
        indented = _indented(text, _MARGIN + margin)
        self._line(f"{self._clock(remark.at)}  {margin}", (indented, style))

    def _foot(self) -> None:
        timeline = self._timeline
        if timeline.text.strip():
            self._line()
            self._line((answer_title(timeline), "bold"))
            self._line()
            self._line(timeline.text.strip())
        if timeline.output is not None:
            self._line()
            laid_out = indented_json(timeline.output)
            self._line(laid_out)
        if len(timeline.usage_by_model) > 1:
            self._line()
            for model, usage in timeline.usage_by_model.items():
                cost = dollars(timeline.cost_by_model.get(model))
                self._line((f"{model}: {tokens(usage)} tokens, {cost}", "dim"))
