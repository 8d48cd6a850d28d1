"""A tool call as one compact row, which unfolds to its arguments and its result."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from html import escape
from time import monotonic
from typing import Any

import msgspec

from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ToolFinished,
    ToolProgress,
    answered_in_a_line,
)
from aof_nb.markdown import fenced, html_text, quoted
from aof_nb.messages import Outcome, ToolCall
from aof_nb.notebook.results import Shown, code_block
from aof_nb.readable import indented_json, printable, seconds, unstyled, visible
from aof_nb.truncation import truncate

_ARGUMENTS_CHARS = 2_000
_CONTENT_CHARS = 4_000
_SUMMARY_CHARS = 90

_TOOLS = (
    "<div class=aof-tools><button type=button data-copy>Copy</button>"
    '<input type=search data-search placeholder="Search the output" '
    'aria-label="Search the output"><span role=status></span></div>'
)
_UNSAID = "aria-hidden=true"
_EFFECTS = {"read": ("○", ""), "write": ("✎", "write"), "destructive": ("⚠", "destructive")}
_MARKS = {
    "running": ("…", "going", "running"),
    "waiting": ("?", "asks", "waiting for approval"),
    "unanswered": ("?", "asks", "waits for approval"),
    Outcome.OK: ("✓", "good", ""),
    Outcome.ERROR: ("✗", "bad", "failed"),
    Outcome.DENIED: ("⊘", "bad", "denied"),
    Outcome.DRY_RUN: ("◌", "asks", "dry run: not executed"),
    Outcome.INTERRUPTED: ("?", "bad", "interrupted, outcome unknown"),
}


@dataclass
class Row:
    """A tool call as far as it has come.

    Args:
        call: The call.
        effect: ``read``, ``write`` or ``destructive``.
        state: ``running``, ``waiting``, ``unanswered`` or how it ended.
        content: What the model is shown.
        duration: Seconds, without those that a person took to answer; None while unknown.
        progress: What the tool says of itself.
        artifact: Whether the whole output is kept beside the run.
        waited: Seconds that a person took to answer.
    """

    call: ToolCall
    effect: str
    state: Outcome | str = "running"
    content: str = ""
    duration: float | None = None
    progress: str = ""
    artifact: bool = False
    _result: Shown | None = field(default=None, init=False)
    waited: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._began = monotonic()

    def take(
        self,
        event: ToolProgress | ApprovalRequested | ApprovalAnswered | ToolFinished,
        result: Shown | None = None,
    ) -> None:
        """Takes over what an event says of the call.

        Args:
            event: The event.
            result: What the call has returned, as what it is.
        """
        match event:
            case ToolProgress():
                self.progress = _progress(event)
            case ApprovalRequested():
                self.state = "waiting"
            case ApprovalAnswered():
                self.state = "running"
                self.waited += event.waited
            case ToolFinished():
                unanswered = self.state == "waiting" and event.outcome is Outcome.DENIED
                self.state = "unanswered" if unanswered else event.outcome
                self.content, self.progress = unstyled(event.content), ""
                self.duration = max(0.0, event.duration - self.waited)
                self.artifact = event.artifact is not None
                self._result = result

    @property
    def ended(self) -> bool:
        """Whether nothing of it will change."""
        return isinstance(self.state, Outcome) or self.state == "unanswered"

    def metadata(self) -> dict[str, Any]:
        """What became of the call, for the output's metadata."""
        told = {"tool": self.call.name, "call_id": self.call.id, "outcome": str(self.state)}
        return told | ({} if self.duration is None else {"duration": round(self.duration, 4)})

    def html(self) -> str:
        """The row for the live view, unfolding to arguments and output."""
        short = html_text(in_short(self.call.arguments))
        live = not self.ended and self.state != "waiting"
        ticking = f" <i data-ticks={self._running():.1f} aria-hidden=true></i>" if live else ""
        body = f"<div class=aof-label>arguments</div>{_pre(self._arguments())}"
        if self.content:
            label = f"output{', the whole of it is kept with the run' if self.artifact else ''}"
            shown = self._result.html if self._result is not None else _pre(self._shown(None))
            body += f"<div class=aof-label>{label}</div>{_TOOLS}<div>{shown}</div>"
        elif self.state is Outcome.OK:
            body += "<div class=aof-label>no output</div>"
        kind = _MARKS[self.state][1]
        return (
            f'<details class="aof-row aof-{kind}"{self._open()}><summary>{self._signs()} '
            f"<b>{html_text(self.call.name)}</b> "
            f"{f'<code>{short}</code> ' if short else ''}"
            f"<span class=aof-told>{html_text(self._told(' · '))}{ticking}</span></summary>"
            f"<div class=aof-body>{body}</div></details>"
        )

    def _open(self) -> str:
        """A picture is there to be seen, and paper cannot be clicked."""
        return " open" if self._result is not None and self._result.drawn else ""

    def _signs(self) -> str:
        """Marks of how it stands and of its effect, with words where none stand beside them."""
        mark, _, word = _MARKS[self.state]
        icon, effect = _EFFECTS.get(self.effect, ("?", self.effect))
        told = escape(self.effect)
        state = f"<b class=aof-mark {_UNSAID if word else 'role=img aria-label=done'}>{mark}</b>"
        if not effect:
            return f'{state} <span title="{told}" role=img aria-label="{told}">{icon}</span>'
        sign = f"<span {_UNSAID}>{icon}</span> {html_text(effect)}"
        return f'{state} <span class="aof-{escape(effect)}" title="{told}">{sign}</span>'

    def markdown(self, content_chars: int | None = None) -> str:
        """The row for the record, unfolding where the renderer knows how."""
        mark, _, _ = _MARKS[self.state]
        icon, effect = _EFFECTS.get(self.effect, ("?", self.effect))
        short = quoted(in_short(self.call.arguments))
        summary = " ".join(
            part
            for part in (
                f"{mark} {icon}",
                effect,
                f"<b>{quoted(self.call.name)}</b>",
                f"<code>{short}</code>" if short else "",
                quoted(self._told(" · ")),
            )
            if part
        )
        pieces = ["<small>arguments</small>", fenced(self._arguments(), "json")]
        if self.content:
            pieces.append("<small>output</small>")
            pieces.append(
                self._result.markdown
                if self._result is not None and content_chars is None
                else code_block(self._shown(content_chars))
            )
        elif self.state is Outcome.OK:
            pieces.append("No output.")
        if self.artifact:
            pieces.append("The whole output is kept with the run: `%aof show` says where.")
        body = "\n\n".join(pieces)
        opened = self._open() if content_chars is None else ""
        return f"<details{opened}><summary>{summary}</summary>\n\n{body}\n\n</details>"

    def text(self) -> str:
        """The row as a line of plain text; what went wrong is said below it."""
        mark, _, _ = _MARKS[self.state]
        told = self._told(", ")
        line = f"{mark} {self.call.name} {in_short(self.call.arguments)}".rstrip()
        line += f" ({told})" if told else ""
        if self.state in {Outcome.ERROR, Outcome.DENIED} and self.content.strip():
            line += f"\n  {_first_line(self.content)}"
        return line

    def answered(self, event: ApprovalAnswered) -> str:
        """Who answered the question about the call, and what, as a line of plain text."""
        arguments = self.call.arguments if event.arguments is None else event.arguments
        changed = "" if event.arguments is None else ", with changed arguments"
        similar = " and similar calls in this run" if event.similar else ""
        call = f"{self.call.name} {in_short(arguments)}".rstrip()
        return f"{answered_in_a_line(event)}{changed}{similar}: {call}"

    def _told(self, separator: str) -> str:
        """How it stands, what it says of itself and how long it took."""
        parts = (_MARKS[self.state][2], self.progress, self._seconds())
        return separator.join(part for part in parts if part)

    def _running(self) -> float:
        """Seconds since it began, without those that a person took to answer."""
        return max(0.0, monotonic() - self._began - self.waited)

    def _seconds(self) -> str:
        if self.duration is None or self.state in {Outcome.DENIED, Outcome.DRY_RUN, "unanswered"}:
            return ""
        return seconds(self.duration)

    def _shown(self, chars: int | None) -> str:
        return truncate(visible(self.content.expandtabs()), chars or _CONTENT_CHARS)

    def _arguments(self) -> str:
        arguments = self.call.arguments
        if arguments is None:
            return truncate(self.call.raw_arguments, _ARGUMENTS_CHARS)
        formatted = indented_json(arguments)
        return truncate(printable(formatted), _ARGUMENTS_CHARS)


def _progress(event: ToolProgress) -> str:
    share = ""
    if event.progress is not None:
        share = f"{event.progress:g}" + (f" of {event.total:g}" if event.total else "")
    return " ".join(part for part in (event.message, share) if part)


def _pre(text: str) -> str:
    return f"<pre class=aof-pre>{html_text(text)}</pre>"


def in_short(arguments: dict[str, Any] | None) -> str:
    """A call's arguments on one short line: ``service=checkout lines=20``."""
    if arguments is None:
        return "(arguments that are no JSON)"
    words = " ".join(f"{name}={_value(each)}" for name, each in arguments.items())
    return _first_line(words.replace("\n", " "))


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value and not any(c.isspace() for c in value) else f'"{value}"'
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return f"[{shlex.join(value)}]"
    return msgspec.json.encode(value).decode()


def _first_line(text: str) -> str:
    line = printable(" ".join(text.strip().split("\n", 1)[0].split()))
    return line if len(line) <= _SUMMARY_CHARS else line[: _SUMMARY_CHARS - 1] + "…"
