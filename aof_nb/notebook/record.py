"""What a run has to show, in order: as HTML for the live view, as Markdown for what is kept.

A `RunRecord` takes a run's events. The live view is sent the elements that have changed; the
record that stays in the notebook is one Markdown text, about as long as the answer itself.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Protocol

import msgspec

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
    RunStarted,
    Steered,
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
from aof_nb.markdown import fenced, finished, html_text, quoted, safe_markdown, to_html
from aof_nb.messages import Outcome
from aof_nb.notebook.cards import Answered, Card
from aof_nb.notebook.footer import footer_line
from aof_nb.notebook.results import Shown, shown
from aof_nb.notebook.rows import Row
from aof_nb.policy import ApprovalRequest
from aof_nb.readable import printable
from aof_nb.result import RunResult
from aof_nb.truncation import truncate

RECORD_CHARS = 400_000
"""How long a record may be; what is longer is shortened, and the journal has the whole."""

_LARGE = 20_000
_SHORT_CONTENT = 500
_WHOLE_BYTES = 4_000_000
_SETTLE_CHARS = 300
_THINKING_CHARS = 20_000
_logger = logging.getLogger("aof_nb.notebook")
_LEVELS: dict[type, str] = {ContextCompacted: "context", ModelFellBack: "fallback"}


class Item(Protocol):
    """One thing that a run shows."""

    def html(self) -> str:
        """For the live view."""
        ...

    def markdown(self, content_chars: int | None = None) -> str:
        """For the record; what a call has printed at most so long."""
        ...

    def text(self) -> str:
        """For consoles, and for those who cannot see the rest."""
        ...


class Prose:
    """A stretch of the answer, as far as it has come.

    Args:
        continues: Whether it goes on with the one before it.
    """

    def __init__(self, *, continues: bool = False) -> None:
        self.continues = continues
        self.void = False
        self.raw = ""

    def html(self) -> str:
        """The Markdown rendered, without markup of its own."""
        if not self.void:
            return to_html(self.raw)
        return f'<div class="aof-void"><p>void: the response broke off</p>{to_html(self.raw)}</div>'

    def markdown(self, content_chars: int | None = None) -> str:
        """The Markdown as any renderer may show it."""
        if not self.void:
            return safe_markdown(_laid_out(self.raw)).strip("\n")
        return _folded("void: the response broke off", fenced(self.raw))

    def text(self) -> str:
        """The Markdown itself."""
        return printable(f"[void] {self.raw}" if self.void else self.raw).strip("\n")


class Thought:
    """What the model was thinking, folded."""

    def __init__(self) -> None:
        self.raw = ""

    def html(self) -> str:
        """Folded, in grey."""
        return (
            '<details class="aof-quiet"><summary>Thinking</summary>'
            f"<div class=aof-pre>{html_text(self._cut())}</div></details>"
        )

    def markdown(self, content_chars: int | None = None) -> str:
        """Folded."""
        return _folded("Thinking", quoted(self._cut()))

    def text(self) -> str:
        """All of it in a paragraph."""
        return printable(f"[thinking] {self._cut()}")

    def _cut(self) -> str:
        return truncate(self.raw.strip(), _THINKING_CHARS)


class Remark:
    """One quiet line: a retry, a limit, what the user has said.

    Args:
        remark: What is said.
        level: What kind it is of.
    """

    def __init__(self, remark: str, level: str) -> None:
        self._remark, self._level = remark, level

    def html(self) -> str:
        """One line."""
        loud = self._level in {"warning", "error", "waiting"} or self._level.startswith("limit")
        kind = "aof-loud" if loud else "aof-quiet"
        return f'<div class="{kind}">{html_text(self._level)}: {html_text(self._remark)}</div>'

    def markdown(self, content_chars: int | None = None) -> str:
        """One line in italics."""
        return f"<small><i>{quoted(f'{self._level}: {self._remark}')}</i></small>"

    def text(self) -> str:
        """One line."""
        return printable(f"{self._level}: {self._remark}")


class Plan:
    """What a dry run would have done.

    Args:
        lines: How many calls, and each call.
    """

    def __init__(self, lines: list[str]) -> None:
        self._head, *self._calls = lines

    def html(self) -> str:
        """A list."""
        calls = "".join(f"<div>{html_text(each)}</div>" for each in self._calls)
        return f'<section class=aof-plan aria-label="Dry run"><b>{self._head}</b>{calls}</section>'

    def markdown(self, content_chars: int | None = None) -> str:
        """A list."""
        return "<br>\n".join([f"**{self._head}**", *map(quoted, self._calls)])

    def text(self) -> str:
        """A list."""
        return "\n".join([self._head, *map(printable, self._calls)])


class Footer:
    """How the run has ended, and what it took.

    Args:
        result: What came of it.
        interrupted: Whether the user ended it.
        cost: US dollars, where they are known.
    """

    def __init__(self, result: RunResult, *, interrupted: bool, cost: float | None) -> None:
        self._ended, self._line = footer_line(result, interrupted=interrupted, cost=cost)
        self._show = f"%aof show {result.run_id}"

    def html(self) -> str:
        """One line."""
        ended = f"<b>{html_text(self._ended)}</b> · " if self._ended else ""
        journal = f"<code>{html_text(self._show)}</code>"
        return f'<div class="aof-quiet">{ended}{html_text(self._line)} · {journal}</div>'

    def markdown(self, content_chars: int | None = None) -> str:
        """One line."""
        ended = f"<b>{quoted(self._ended)}</b> · " if self._ended else ""
        journal = f"<code>{html_text(self._show)}</code>"
        return f"<small>{ended}{quoted(self._line)} · {journal}</small>"

    def text(self) -> str:
        """One line."""
        ended = f"{self._ended} · " if self._ended else ""
        return printable(f"{ended}{self._line} · {self._show}")


class RunRecord:
    r"""A run's items, as its events make them.

    Args:
        agent: Who is asked.
        session: The conversation that it goes on with.

    Example:
        >>> record = RunRecord("sre", None)
        >>> record.take(TextDelta("The pool is *exhausted*."))
        >>> record.markdown()
        '**sre**\n\nThe pool is *exhausted*.\n'
    """

    def __init__(self, agent: str, session: str | None) -> None:
        self._who = f"{agent} · session {session}" if session else agent
        self._model = ""
        self._items: list[Item] = []
        self._changed: set[int] = set()
        self._prose: Prose | None = None
        self._arriving: list[str] = []
        self._looked_at = 0
        self._prose_place = 0
        self._turn: list[int] = []
        self._thought: Thought | None = None
        self._rows: dict[str, int] = {}
        self._results: dict[str, Shown | None] = {}
        self._cards: dict[tuple[str, str], int] = {}
        self.run_id = ""
        self.doing = "starting"

    @property
    def status(self) -> str:
        """Who is at work, on which model, and what is being done."""
        doing = f"{self.doing}…" if self.doing else ""
        return " · ".join(part for part in (self._who, self._model, doing) if part)

    def add(self, item: Item) -> int:
        """Puts an item at the end; returns its place."""
        self._items.append(item)
        self._changed.add(place := len(self._items) - 1)
        return place

    def touch(self, place: int) -> None:
        """Notes that an item has changed."""
        self._changed.add(place)

    async def prepare(self, event: Event) -> None:
        """Draws what a call has returned, in a thread if that may take a while."""
        if not isinstance(event, ToolFinished) or event.outcome is not Outcome.OK:
            return
        try:
            content, whole = event.content, None
            if event.artifact is not None and event.data is None:
                # What is cut for the model may be cut in the middle of a table, or of JSON.
                whole = await asyncio.to_thread(_whole_output, Path(event.artifact))
            told = content if whole is None else whole, event.data
            slow = len(told[0]) > _LARGE or '"matrix"' in content or "[image" in content
            drawn = await asyncio.to_thread(shown, *told) if slow else shown(*told)
        except Exception:
            # A tool may return anything, and the run must not end because it cannot be drawn.
            _logger.exception("the result of %s cannot be drawn", event.name)
            return
        self._results[event.call_id] = drawn

    def calls(self) -> list[dict[str, Any]]:
        """What became of each call, for the output's metadata."""
        rows = [self._items[place] for place in self._rows.values()]
        return [row.metadata() for row in rows if isinstance(row, Row)]

    def take(self, event: Event) -> None:
        """Takes an event over."""
        if isinstance(event, TextDelta):
            self._write(event.text)
            return
        if isinstance(event, ResponseSuperseded):
            self._gather()
            for place in self._turn:
                prose = self._items[place]
                if isinstance(prose, Prose):
                    prose.void = True
                    self.touch(place)
        if not isinstance(event, ToolCallDelta):
            self._end_prose()
        if not isinstance(event, ThinkingDelta):
            self._thought = None
        match event:
            case RunStarted():
                self._model, self.run_id = event.model, event.run_id
            case TurnStarted():
                self._turn.clear()
                self.doing = "waiting for the model"
            case CallWithheld(tool=tool, does=does):
                self.add(Remark(f"{tool}: {' · '.join(does)}", "not executed"))
            case ThinkingDelta(text=text):
                self._think(text)
            case ToolStarted(call=call, effect=effect):
                self.doing = f"calling {call.name}"
                self._rows[call.id] = self.add(Row(call, effect))
            case ToolProgress() | ApprovalRequested() | ApprovalAnswered() | ToolFinished():
                self._change_row(event)
            case TurnFinished():
                self.doing = "working"
            case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
                self.add(Remark(in_a_line(event), _LEVELS.get(type(event), "retry")))
            case Notice(text=text, level=level):
                self.add(Remark(text, level))
            case Steered(text=text):
                self.add(Remark(text, "you said"))
            case LimitReached(detail=detail):
                self.add(Remark(detail, event.title))
            case _:
                pass

    def end(
        self, result: RunResult, *, interrupted: bool = False, cost: float | None = None
    ) -> None:
        """Notes how the run has ended; calls that have not are said to be unknown."""
        self._end_prose()
        self.doing = ""
        for place in self._rows.values():
            row = self._items[place]
            if isinstance(row, Row) and not row.ended:
                row.state = Outcome.INTERRUPTED
                self.touch(place)
        if result.withheld is not None:
            self.add(Plan(withheld_lines(result.withheld)))
        self.add(Footer(result, interrupted=interrupted, cost=cost))

    def changes(self) -> list[tuple[int, str]]:
        """The places and the HTML of the items that have changed since this was last asked."""
        self._gather()
        self._split()
        changed, self._changed = sorted(self._changed), set()
        return [(place, self._items[place].html()) for place in changed]

    def elements(self) -> list[tuple[int, str]]:
        """All places and their HTML."""
        self._gather()
        return [(place, item.html()) for place, item in enumerate(self._items)]

    def markdown(self) -> str:
        """The record as it stays in the notebook."""
        self._gather()
        items = self._whole()
        pieces = [each.markdown() for each in items]
        excess = sum(map(len, pieces)) - RECORD_CHARS
        largest = sorted(range(len(items)), key=lambda place: -len(pieces[place]))
        for place in largest if excess > 0 else []:
            short = items[place].markdown(_SHORT_CONTENT)
            excess -= len(pieces[place]) - len(short)
            pieces[place] = short
            if excess <= 0:
                break
        pieces = [f"**{quoted(self._who)}**", *filter(None, pieces)]
        return "\n\n".join(_bounded(pieces, RECORD_CHARS) if excess > 0 else pieces) + "\n"

    def so_far(self) -> str:
        """The record while the run goes on; all that stays of it if the kernel ends meanwhile."""
        head, _, rest = self.markdown().partition("\n")
        return f"{head}\n\n{self._cut_off()}\n{rest}"

    def name(self) -> str:
        """Which run it is, without what it has done, for those who find it when it is cut off."""
        return f"**{quoted(self._who)}**\n\n{self._cut_off()}\n"

    def _cut_off(self) -> str:
        if not self.run_id:
            return "<small>If the kernel has ended, <code>%aof runs</code> lists this run.</small>"
        named = html_text(self.run_id)
        return (
            f"<small>Run <code>{named}</code>, while it goes on. If its kernel has ended: "
            f"<code>%aof show {named}</code> shows how far it came, "
            f"<code>%aof resume {named}</code> goes on with it.</small>"
        )

    def text(self) -> str:
        """The record as plain text."""
        self._gather()
        pieces = [printable(self._who), *(item.text() for item in self._whole())]
        return "\n".join(piece for piece in pieces if piece)

    def _whole(self) -> list[Item]:
        """The items; a stretch of prose that was split is whole again."""
        whole: list[Item] = []
        for item in self._items:
            if not isinstance(item, Prose) or item.void:
                whole.append(item)
                continue
            last = whole[-1] if whole else None
            if not (item.continues and isinstance(last, Prose) and not last.void):
                last = Prose()
                whole.append(last)
            last.raw += item.raw
        return whole

    def _write(self, text: str) -> None:
        self.doing = "answering"
        self._thought = None
        if self._prose is None:
            self._prose = Prose()
            self._prose_place = self.add(self._prose)
            self._turn.append(self._prose_place)
        self._arriving.append(text)

    def _gather(self) -> None:
        """Adds what has arrived, all at once: a long text is not copied for each of its pieces."""
        if self._arriving and self._prose is not None:
            self._prose.raw += "".join(self._arriving).replace("\r", "")
            self._arriving.clear()
            self.touch(self._prose_place)

    def _split(self) -> None:
        """Ends the prose where its blocks are finished, so that only what follows is sent again.

        Looking for block ends costs by the length of what is live: it is done again when that has
        grown by a share of itself, so that a long code block is not read over and over.
        """
        prose = self._prose
        if prose is None or len(prose.raw) < self._looked_at * 1.125:
            return
        self._looked_at = len(prose.raw)
        end = finished(prose.raw)
        if end < _SETTLE_CHARS:
            return
        rest = Prose(continues=True)
        prose.raw, rest.raw = prose.raw[:end], prose.raw[end:]
        self._prose, self._looked_at = rest, 0
        self._prose_place = self.add(rest)
        self._turn.append(self._prose_place)

    def _end_prose(self) -> None:
        self._gather()
        self._prose, self._looked_at = None, 0

    def _think(self, text: str) -> None:
        self.doing = "thinking"
        if self._thought is None:
            self._thought = Thought()
            self.add(self._thought)
        self._thought.raw += text
        self.touch(len(self._items) - 1)

    def _change_row(
        self, event: ToolProgress | ApprovalRequested | ApprovalAnswered | ToolFinished
    ) -> None:
        place = self._rows.get(event.call_id)
        if place is None:
            return
        row = self._items[place]
        assert isinstance(row, Row)
        row.take(event, self._results.pop(event.call_id, None))
        self.touch(place)
        if isinstance(event, ApprovalRequested):
            self.doing = "waiting for your approval"
        if isinstance(event, ApprovalAnswered):
            self._answered(event)

    def ask(self, request: ApprovalRequest) -> Card:
        """Puts a question for a person at the end."""
        card = Card(request)
        self._cards[request.call_id, request.digest] = self.add(card)
        return card

    def withdraw(self, request: ApprovalRequest) -> None:
        """Takes a question back that nobody has answered."""
        place = self._cards.get((request.call_id, request.digest))
        card = None if place is None else self._items[place]
        if isinstance(card, Card) and place is not None:
            card.withdrawn = True
            self.touch(place)

    def _answered(self, event: ApprovalAnswered) -> None:
        place = self._cards.get((event.call_id, event.digest))
        if place is None:
            row = self._items[self._rows[event.call_id]]
            assert isinstance(row, Row)
            self.add(Answered(event, row.call.name, row.call.arguments))
            return
        card = self._items[place]
        assert isinstance(card, Card)
        card.answered = event
        self.touch(place)


def _whole_output(path: Path) -> str | None:
    """A call's whole output; None if it is too long to be drawn, or is not there any more."""
    try:
        if path.stat().st_size > _WHOLE_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="surrogatepass")
    except OSError:
        return None


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{quoted(summary)}</summary>\n\n{body}\n\n</details>"


def _laid_out(text: str) -> str:
    """An answer that is JSON, as a run with an output schema gives, as code."""
    text = text.strip("\n")
    if not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        return fenced(msgspec.json.format(text), "json")
    except msgspec.DecodeError:
        return text


def _bounded(pieces: list[str], most: int) -> list[str]:
    """The first and the last pieces, as many as may be, and what stands for those between."""
    pieces = [
        piece if len(piece) <= most // 2 else fenced(truncate(piece, most // 2)) for piece in pieces
    ]
    first: list[str] = []
    last: list[str] = []
    left = most
    while pieces:
        taken = pieces.pop(0) if len(first) <= len(last) else pieces.pop()
        left -= len(taken)
        if left < 0:
            return [*first, "*… left out here: the run's journal has it …*", *reversed(last)]
        (first if len(first) <= len(last) else last).append(taken)
    return [*first, *reversed(last)]
