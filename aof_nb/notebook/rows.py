"""A tool call as one compact row, which unfolds to its arguments and its result."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from html import escape
from typing import Any

import msgspec

from aof_nb.events import ApprovalAnswered, ApprovalRequested, ToolFinished, ToolProgress
from aof_nb.messages import Outcome, ToolCall
from aof_nb.notebook.screen import Bundle
from aof_nb.readable import printable, seconds
from aof_nb.truncation import truncate

_ARGUMENTS_CHARS = 2_000
_CONTENT_CHARS = 4_000
_SUMMARY_CHARS = 90

GREY = "var(--jp-ui-font-color2, #6b6b6b)"
"""Text that steps back, in JupyterLab's themes and elsewhere."""

_GREEN = "var(--jp-success-color1, #2e7d32)"
_RED = "var(--jp-error-color1, #c62828)"
_AMBER = "var(--jp-warn-color0, #b26a00)"
_CODE = (
    "margin:4px 0 8px 0;padding:6px 10px;max-height:22em;overflow:auto;white-space:pre-wrap;"
    "overflow-wrap:anywhere;background:var(--jp-layout-color2, #f5f5f5);"
    "font-size:var(--jp-code-font-size, 12px)"
)
_EFFECTS = {
    "read": ("○", GREY),
    "write": ("✎", _AMBER),
    "destructive": ("⚠", _RED),
}
_MARKS = {
    "running": ("…", GREY, "running"),
    "waiting": ("?", _AMBER, "waiting for approval"),
    "unanswered": ("?", _AMBER, "waits for approval"),
    Outcome.OK: ("✓", _GREEN, ""),
    Outcome.ERROR: ("✗", _RED, "failed"),
    Outcome.DENIED: ("⊘", _RED, "denied"),
    Outcome.INTERRUPTED: ("?", _RED, "interrupted, outcome unknown"),
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
    """

    call: ToolCall
    effect: str
    state: Outcome | str = "running"
    content: str = ""
    duration: float | None = None
    progress: str = ""
    artifact: bool = False
    _waited: float = field(default=0.0, init=False)

    def take(
        self, event: ToolProgress | ApprovalRequested | ApprovalAnswered | ToolFinished
    ) -> None:
        """Takes over what an event says of the call."""
        match event:
            case ToolProgress():
                self.progress = _progress(event)
            case ApprovalRequested():
                self.state = "waiting"
            case ApprovalAnswered():
                self.state = "running"
                self._waited += event.waited
            case ToolFinished():
                unanswered = self.state == "waiting" and event.outcome is Outcome.DENIED
                self.state = "unanswered" if unanswered else event.outcome
                self.content, self.progress = event.content, ""
                self.duration = max(0.0, event.duration - self._waited)
                self.artifact = event.artifact is not None

    @property
    def ended(self) -> bool:
        """Whether nothing of it will change."""
        return isinstance(self.state, Outcome) or self.state == "unanswered"

    def bundle(self) -> Bundle:
        """The row for the notebook, and as plain text."""
        return {"text/html": self._html(), "text/plain": self.text()}

    def text(self) -> str:
        """The row as a line of plain text; what went wrong is said below it."""
        mark, _, word = _MARKS[self.state]
        told = ", ".join(part for part in (word, self.progress, self._seconds()) if part)
        line = f"{mark} {self.call.name} {in_short(self.call.arguments)}".rstrip()
        line += f" ({told})" if told else ""
        if self.state in {Outcome.ERROR, Outcome.DENIED} and self.content.strip():
            line += f"\n  {_first_line(self.content)}"
        return line

    def _seconds(self) -> str:
        if self.duration is None or self.state in {Outcome.DENIED, "unanswered"}:
            return ""
        return seconds(self.duration)

    def _html(self) -> str:
        mark, colour, word = _MARKS[self.state]
        icon, tint = _EFFECTS.get(self.effect, ("?", GREY))
        told = " · ".join(part for part in (word, self.progress, self._seconds()) if part)
        short = escape(in_short(self.call.arguments))
        arguments = f"<code>{short}</code> " if short else ""
        summary = (
            f'<b style="color:{colour}">{mark}</b> '
            f'<span style="color:{tint}" title="{escape(self.effect)}">{icon}</span> '
            f"<b>{escape(self.call.name)}</b> "
            f"{arguments}"
            f'<span style="color:{GREY}">{escape(told)}</span>'
        )
        body = _block("arguments", self._arguments())
        if self.content:
            body += _block("result", truncate(self.content, _CONTENT_CHARS))
        if self.artifact:
            body += f'<div style="color:{GREY}">The whole output is kept with the run.</div>'
        return (
            f'<details style="line-height:1.6"><summary style="cursor:pointer">{summary}</summary>'
            f'<div style="margin-left:1.4em">{body}</div></details>'
        )

    def _arguments(self) -> str:
        arguments = self.call.arguments
        if arguments is None:
            return truncate(self.call.raw_arguments, _ARGUMENTS_CHARS)
        formatted = msgspec.json.format(msgspec.json.encode(arguments)).decode()
        return truncate(printable(formatted), _ARGUMENTS_CHARS)


def _progress(event: ToolProgress) -> str:
    share = ""
    if event.progress is not None:
        share = f"{event.progress:g}" + (f" of {event.total:g}" if event.total else "")
    return " ".join(part for part in (event.message, share) if part)


def _block(title: str, text: str) -> str:
    return f'<div style="color:{GREY}">{title}</div><pre style="{_CODE}">{escape(text)}</pre>'


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
