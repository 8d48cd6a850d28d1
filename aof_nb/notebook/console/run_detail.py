"""One run, opened: what was asked and answered, the turns, the calls and who allowed them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from aof_nb.journal.timeline import Call, Remark, Timeline, Turn
from aof_nb.journal.wording import (
    Clock,
    answer_title,
    approvals_of,
    arguments_of,
    call_facts,
    callouts,
    facts,
    in_a_line,
    is_the_answer,
    kind_of,
    level_of_call,
    level_of_state,
    outcome_of,
    output_of,
    shortened,
    state_of,
    turn_facts,
)
from aof_nb.markdown import html_text, to_html
from aof_nb.notebook.console import markup
from aof_nb.truncation import truncate

_SAID_CHARS = 20_000
_OUTPUT_CHARS = 8_000
_LINE_CHARS = 160
_LATEST_ITEMS = 200
Pieces: TypeAlias = dict[tuple[str, int], str]
_MARKS = {"good": "✓", "bad": "✗", "warning": "?", "error": "✗", "info": "·"}


class RunDetail:
    """A run's timeline: a widget an item, so that what is unfolded stays so while it goes on."""

    def __init__(self) -> None:
        import ipywidgets

        self._parts: dict[tuple[str, int], Any] = {}
        self.widget: Any = ipywidgets.VBox([])

    def show(self, pieces: Pieces) -> None:
        """Shows a run as far as it is known; nothing if there are no pieces.

        Args:
            pieces: What `pieces_of` has made of it.
        """
        import ipywidgets

        before, self._parts = self._parts, {}
        for key, html in pieces.items():
            part = before.pop(key, None)
            if part is None:
                part = ipywidgets.HTML(html)
                part.add_class("aof-wrap")
            elif part.value != html:
                part.value = html
            self._parts[key] = part
        shown = tuple(self._parts.values())
        if self.widget.children != shown:
            self.widget.children = shown
        for part in before.values():
            part.close()


def pieces_of(run: Timeline) -> Pieces:
    """A run as HTML, by what each piece is of; it takes time where the run is long.

    Args:
        run: The run.
    """
    head, said, title = _heads(run)
    pieces = {(run.run_id, -3): head, (run.run_id, -2): said, (run.run_id, -1): title}
    clock = Clock(run.began)
    first = max(0, len(run.items) - _LATEST_ITEMS)
    # By their place among all: those that stay while others come are not sent again.
    for place, item in enumerate(run.items[first:], first):
        made = _remark(item, clock) if isinstance(item, Remark) else _turn(item, run, clock)
        pieces[run.run_id, place] = made
    return pieces


def _heads(run: Timeline) -> Iterator[str]:
    level = level_of_state(run.state)
    notes = "".join(
        f'<div class="aof-note aof-{"bad" if each == "error" else each}">'
        f"<b>{html_text(title)}.</b> {html_text(text)}</div>"
        for each, title, text in callouts(run)
    )
    asked = truncate(run.prompt.strip(), _SAID_CHARS)
    yield (
        f"<h3>{html_text(run.agent)}: {_mark(level)} {html_text(state_of(run))}</h3>"
        f"{notes}<h4>Asked</h4><pre>{html_text(asked)}</pre>"
        f"<details><summary>About this run</summary>{markup.facts(facts(run))}</details>"
    )
    said = to_html(truncate(run.text, _SAID_CHARS)) if run.text.strip() else ""
    yield f"<h4>{html_text(answer_title(run))}</h4>{said}" if said else ""
    left = len(run.items) - _LATEST_ITEMS
    hidden = (
        f" The first {left} entries are left out: aofctl show {run.run_id}." if left > 0 else ""
    )
    yield f"<h4>Timeline</h4>{markup.told(hidden)}"


def _turn(turn: Turn, run: Timeline, clock: Clock) -> str:
    about = " · ".join(turn_facts(turn))
    inherited = " · from the run that it was forked from" if turn.inherited else ""
    said = markup.told(f"{clock(turn.asked)} · {about}{inherited}")
    head = f"<div><b>Turn {turn.number}</b> {said}</div>"
    body = "".join(_remark(each, clock) for each in turn.remarks)
    if turn.thinking:
        thought = html_text(truncate(turn.thinking, _SAID_CHARS))
        body += f"<details><summary>Thought</summary><pre>{thought}</pre></details>"
    if turn.text.strip() and not is_the_answer(turn, run):
        body += to_html(truncate(turn.text, _SAID_CHARS))
    if turn.error:
        remedy = f" → {turn.remedy}" if turn.remedy else ""
        body += f'<div class="aof-problem">{html_text(f"{turn.error}{remedy}")}</div>'
    return head + body + "".join(_call(each, clock) for each in turn.calls)


def _call(call: Call, clock: Clock) -> str:
    level = level_of_call(call)
    about = " · ".join([outcome_of(call), *call_facts(call)])
    summary = (
        f"{_mark(level)} <code>{html_text(shortened(in_a_line(call), _LINE_CHARS))}</code> "
        f"{markup.told(about)}"
    )
    body = "".join(f"<div>{html_text(each)}</div>" for each in approvals_of(call, clock))
    if arguments := arguments_of(call):
        body += f"<pre>{html_text(truncate(arguments, _OUTPUT_CHARS))}</pre>"
    if output := output_of(call):
        body += f"<pre>{html_text(truncate(output, _OUTPUT_CHARS))}</pre>"
    return f"<details><summary>{summary}</summary>{body}</details>"


def _remark(remark: Remark, clock: Clock) -> str:
    kind = kind_of(remark)
    text = f"{kind}: {remark.text}" if kind else remark.text
    level = "bad" if remark.level == "error" else remark.level
    return f'<div class="aof-{level}">{markup.told(clock(remark.at))} {html_text(text)}</div>'


def _mark(level: str) -> str:
    return f'<b class="aof-{level}">{_MARKS.get(level, "·")}</b>'
