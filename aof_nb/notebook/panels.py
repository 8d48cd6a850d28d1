"""The lines around an answer: what the run does, what it was thinking, how it ended."""

from __future__ import annotations

from html import escape

from aof_nb.events import RunStatus
from aof_nb.notebook.rows import GREY
from aof_nb.notebook.screen import Bundle
from aof_nb.readable import counted, printable, seconds
from aof_nb.result import RunResult
from aof_nb.truncation import truncate

_THINKING_CHARS = 20_000
_SMALL = "font-size:var(--jp-ui-font-size1, 13px)"
_COLOURS = {
    "info": GREY,
    "warning": "var(--jp-warn-color0, #b26a00)",
    "waiting": "var(--jp-warn-color0, #b26a00)",
    "error": "var(--jp-error-color1, #c62828)",
}


def status_line(agent: str, session: str | None, doing: str = "") -> Bundle:
    """Who is at work, and on what; without the latter it is what stays."""
    who = f"{agent} · session {session}" if session else agent
    line = f"{who} · {doing}" if doing else who
    html = f"<b>{escape(who)}</b>"
    if doing:
        html += f' <span style="color:{GREY}">· {escape(doing)}</span>'
    return {"text/html": f'<div style="{_SMALL}">{html}</div>', "text/plain": printable(line)}


def notice(text: str, level: str = "warning") -> Bundle:
    """One line that the user should see."""
    colour = _COLOURS.get(level, GREY)
    html = f'<div style="{_SMALL};color:{colour}">{escape(level)}: {escape(text)}</div>'
    return {"text/html": html, "text/plain": printable(f"{level}: {text}")}


def thinking(text: str) -> Bundle:
    """The model's visible reasoning, folded."""
    text = truncate(text.strip(), _THINKING_CHARS)
    html = (
        f'<details style="color:{GREY}"><summary style="cursor:pointer">Thinking</summary>'
        f'<div style="margin-left:1.4em;white-space:pre-wrap">{escape(text)}</div></details>'
    )
    return {"text/html": html, "text/plain": printable(f"[thinking] {text}")}


def footer(result: RunResult, *, interrupted: bool = False, cost: float | None = None) -> Bundle:
    """How the run ended, and what it took.

    Args:
        result: What came of the run.
        interrupted: Whether the user ended it.
        cost: US dollars, where they are known and there are any.
    """
    usage = result.usage
    parts = [
        ", ".join(result.models) or "no model answered",
        counted(result.turns, "turn"),
        counted(result.tool_calls, "tool call"),
        f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens"
        if usage.total_tokens
        else "0 tokens",
        *([f"${cost:.4f}" if cost < 1 else f"${cost:.2f}"] if cost else []),
        seconds(result.duration),
    ]
    line = " · ".join(parts)
    ended = _how_it_ended(result, interrupted=interrupted)
    html = f"{escape(line)}"
    if ended:
        mild = result.status in {RunStatus.LIMIT, RunStatus.WAITING}
        colour = _COLOURS["warning" if mild else "error"]
        html = f'<b style="color:{colour}">{escape(ended)}</b> · {html}'
        line = f"{ended} · {line}"
    html = f'<div style="{_SMALL};color:{GREY}">{html}</div>'
    return {"text/html": html, "text/plain": printable(line)}


def _how_it_ended(result: RunResult, *, interrupted: bool) -> str:
    if result.status is RunStatus.LIMIT:
        limit = (result.limit or "").replace("_", " ")
        return f"stopped by a limit ({limit})" if limit else "stopped by a limit"
    if result.status is RunStatus.CANCELLED:
        return "interrupted" if interrupted else "cancelled"
    return {
        RunStatus.FAILED: "failed",
        RunStatus.REFUSED: "refused by the model",
        RunStatus.WAITING: "waiting for an approval",
    }.get(result.status, "")
