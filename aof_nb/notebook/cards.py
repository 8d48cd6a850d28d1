"""The question whether a call may be made, and what became of it."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from aof_nb.call_description import described
from aof_nb.events import ApprovalAnswered
from aof_nb.markdown import html_text, quoted, revealed
from aof_nb.notebook.results import diff
from aof_nb.notebook.rows import in_short
from aof_nb.policy import TIMED_OUT, ApprovalRequest
from aof_nb.ports import Effect
from aof_nb.readable import indented_json, printable
from aof_nb.truncation import truncate

_ARGUMENTS_CHARS = 20_000


class Answered:
    """Who has answered a question, and what.

    Args:
        event: The answer.
        tool: What was to be called.
        arguments: What with.
        when: When it was answered, if that was now; else nothing is said of it.
    """

    def __init__(
        self,
        event: ApprovalAnswered | None,
        tool: str,
        arguments: dict[str, Any] | None,
        *,
        when: str = "",
    ) -> None:
        self._event, self._when = event, when
        self._call = f"{tool} {in_short(arguments)}".rstrip()

    def _told(self) -> tuple[str, str, str]:
        event = self._event
        if event is None:
            return "?", "Not answered", ""
        if event.via == TIMED_OUT:
            when = f" at {self._when}" if self._when else ""
            return "⊘", "Denied", f"{when}: {event.reason}"
        by = f" by {event.by}" if event.by else ""
        via = f" ({event.via})" if event.via else ""
        when = f", {self._when}" if self._when else ""
        more = " and similar calls in this run" if event.similar else ""
        if event.arguments is not None:
            more += f", with changed arguments: {in_short(event.arguments)}"
        if event.reason:
            more += f". Reason: {event.reason}"
        mark, word = ("✓", "Approved") if event.approved else ("⊘", "Denied")
        return mark, word, f"{by}{via}{when}{more}"

    def html(self) -> str:
        """One line."""
        mark, word, told = self._told()
        kind = {"✓": "good", "⊘": "bad"}.get(mark, "asks")
        return (
            f"<div class=aof-{kind}><b class=aof-mark>{mark}</b> <b>{word}</b>{html_text(told)}: "
            f"<code>{html_text(self._call)}</code></div>"
        )

    def markdown(self, content_chars: int | None = None) -> str:
        """One line."""
        mark, word, told = self._told()
        told = quoted(f"{word}{told}").removeprefix(word)
        return f"{mark} **{word}**{told}: <code>{quoted(self._call)}</code>"

    def text(self) -> str:
        """One line."""
        mark, word, told = self._told()
        return printable(f"{mark} {word}{told}: {self._call}")


def question(request: ApprovalRequest) -> str:
    """What is asked, and in plain words what will happen, as HTML.

    Args:
        request: What is asked.
    """
    tool = request.tool
    words = (f"<div>{html_text(line)}</div>" for line in described(tool, request.arguments))
    return (
        f"<div><b>Approval needed: {html_text(tool.name)}</b> <span class=aof-told>"
        f"{tool.effect.value} · {html_text(request.reason)}</span></div>{''.join(words)}"
    )


class Card:
    """A question that a person is to answer, and the answer in its place.

    Args:
        request: What is asked.
    """

    def __init__(self, request: ApprovalRequest) -> None:
        self.request = request
        self.withdrawn = False
        self._when = ""
        self._answered: ApprovalAnswered | None = None

    @property
    def key(self) -> str:
        """What a page's answer names: a late click on one question must not answer the next."""
        return f"{self.request.call_id} {self.request.digest}"

    @property
    def answered(self) -> ApprovalAnswered | None:
        """The answer, if there is one."""
        return self._answered

    @answered.setter
    def answered(self, event: ApprovalAnswered) -> None:
        self._answered = event
        self._when = time.strftime("%Y-%m-%d %H:%M:%S %Z")

    def html(self) -> str:
        """The question with its buttons, until it is answered."""
        if self._answered is not None or self.withdrawn:
            return self._line().html()
        tool = self.request.tool
        grave = " aof-grave" if tool.effect is Effect.DESTRUCTIVE else ""
        call = escape(self.key, quote=True)
        formatted = indented_json(self.request.arguments)
        arguments = escape(truncate(formatted, _ARGUMENTS_CHARS))
        editor = (
            "<details><summary>Edit the arguments</summary><textarea data-field=arguments "
            f'aria-label="Arguments as JSON" spellcheck=false>{arguments}</textarea>'
            "<button type=button data-do=answer data-approved=1 data-edited=1>"
            "Approve with these arguments</button></details>"
            if len(formatted) <= _ARGUMENTS_CHARS
            else ""
        )
        preview = diff(self.request.preview).html if self.request.preview else ""
        shown = f"<pre class=aof-pre>{revealed(arguments)}</pre>"
        if preview:
            # The new content stands in the difference: twice would push the buttons away.
            shown = f"{preview}<details><summary>Arguments</summary>{shown}</details>"
        left = "" if self.request.left is None else f" data-left={round(self.request.left)}"
        hurry = f"<div>{self.request.hurry}</div><div class=aof-left aria-hidden=true{left}></div>"
        return (
            f'<section class="aof-card{grave}" data-call="{call}" aria-label="Approval needed">'
            f"{question(self.request)}{shown}{hurry if left else ''}"
            "<div><button type=button data-do=answer data-approved=1 data-key=yes>Approve</button>"
            "<button type=button data-do=answer data-approved=0>Deny</button>"
            "<button type=button data-do=answer data-approved=1 data-similar=1>"
            "Approve similar for this run</button></div>"
            f"{editor}<details><summary>Deny with a reason</summary>"
            '<input data-field=reason aria-label=Reason placeholder="Told to the agent">'
            " <button type=button data-do=answer data-approved=0>Deny for this reason</button>"
            f'</details><div class=aof-problem role=alert data-problem="{call}"></div></section>'
        )

    def markdown(self, content_chars: int | None = None) -> str:
        """The answer; before it, that there is a question."""
        return self._line().markdown()

    def text(self) -> str:
        """The answer; before it, that there is a question."""
        return self._line().text()

    def _line(self) -> Answered:
        tool, arguments = self.request.tool.name, self.request.arguments
        return Answered(self._answered, tool, arguments, when=self._when)
