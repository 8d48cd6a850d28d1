"""A summary as HTML and as Markdown; what people, models and tools wrote does nothing in either."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.journal.playbook_recording import CellRecord
from aof_nb.journal.recording import State
from aof_nb.readable import printable
from aof_nb.runbooks.summary import Approval, Summary
from aof_nb.truncation import truncate

if TYPE_CHECKING:
    from jinja2 import Environment

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$#])")
_LONGEST = 300
_WORDS = {
    "unknown": "interrupted: whether it came to its end is unknown",
    "waiting": "waits for approval",
    "left": "completed: it ended the notebook",
    "kept": "kept: executed before, not again",
    "skipped": "skipped by the user's word",
}


def as_markdown(summary: Summary) -> str:
    """The summary as Markdown, to be read as it is or pasted into a postmortem."""
    text = _environment().get_template("report.md.j2").render(_content(summary))
    return text.rstrip() + "\n"


def as_html(summary: Summary) -> str:
    """The summary as a part of an HTML page."""
    return _environment().get_template("report.html.j2").render(_content(summary))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"line": _line, "code": _code, "quoted": _quoted}
    return environment


def _content(summary: Summary) -> dict[str, Any]:
    recording = summary.recording
    several = recording.attempts > 1
    return {
        "title": recording.begun.title or Path(recording.begun.notebook).name,
        "callout": _callout(summary),
        "commands": _commands(summary),
        "facts": _facts(summary),
        "parameters": [(name, _json(each)) for name, each in summary.parameters.items()],
        "cells": [_cell(each, several=several) for each in summary.cells],
        "approvals": [_approval(each) for each in summary.approvals],
        "unknown": [
            {"call": _call(each.tool, each.arguments), "run_id": each.run_id}
            for each in summary.unknown
        ],
        "costs": [
            {
                "model": each.model,
                "input": f"{each.usage.input_tokens:,}",
                "output": f"{each.usage.output_tokens:,}",
                "dollars": _dollars(each.dollars),
            }
            for each in summary.costs
        ],
        "answers": [
            {
                "agent": each.agent,
                "cell": each.cell or "?",
                "status": each.status,
                "text": each.text or "(no answer)",
            }
            for each in summary.answers
        ],
    }


def _callout(summary: Summary) -> str:
    recording = summary.recording
    if recording.state is State.WAITING:
        return "It waits for a person's approval."
    if recording.state in {State.COMPLETED, State.RUNNING}:
        return ""
    ended = recording.ended
    return (
        f"It is not done: {ended.error}" if ended is not None and ended.error else "It is not done."
    )


def _commands(summary: Summary) -> list[str]:
    """How the run goes on, if it is not done."""
    recording = summary.recording
    if recording.state in {State.COMPLETED, State.RUNNING}:
        return []
    waiting = dict.fromkeys(each.run_id for each in summary.approvals if each.answered is None)
    return [*(f"aofctl approve {run}" for run in waiting), f"aofctl resume {recording.run_id}"]


def _facts(summary: Summary) -> list[tuple[str, str]]:
    recording = summary.recording
    begun = recording.begun
    facts = [
        ("status", str(recording.state)),
        ("run", recording.run_id),
        ("notebook", begun.notebook),
        ("began", f"{_date(begun.time)}, by {begun.user} on {begun.host}"),
    ]
    for each in recording.resumptions:
        words = [f"{_date(each.time)}, by {each.user} on {each.host}"]
        words += [f"repeated: {', '.join(each.repeat)}"] if each.repeat else []
        words += [f"skipped: {', '.join(each.skip)}"] if each.skip else []
        words += [f"with {each.notebook}"] if each.notebook else []
        facts.append(("resumed", "; ".join(words)))
    facts += [
        ("ended" if recording.ended is not None else "last seen", _date(summary.ended)),
        ("duration", f"{recording.duration:.1f} s"),
        ("approvals", f"--approve {begun.approve}; {len(summary.approvals)} asked for"),
    ]
    if summary.costs:
        facts.append(("cost", f"US$ {_dollars(summary.dollars)}"))
    return facts


def _cell(record: CellRecord, *, several: bool) -> dict[str, Any]:
    entry, ended = record.entry, record.ended
    outcome = _WORDS.get(record.status, record.status)
    if ended is not None and ended.error and record.status in {"failed", "interrupted"}:
        outcome = f"{outcome}: {ended.error}"
    return {
        "time": _date(entry.time) if several else _time(entry.time),
        "place": entry.place,
        "title": _short(entry.title),
        "outcome": _short(outcome),
        "seconds": f"{ended.duration:.1f}" if ended is not None else "",
    }


def _approval(approval: Approval) -> dict[str, Any]:
    if approval.answered is None:
        answer = "not answered yet"
    elif approval.approved:
        answer = "approved, similar ones too" if approval.similar else "approved"
    else:
        answer = "denied"
    via = f", {approval.via}" if approval.via else ""
    return {
        "time": _date(approval.answered or approval.asked),
        "call": _call(approval.tool, approval.arguments),
        "effect": approval.effect,
        "answer": answer,
        "by": f"{approval.by}{via}" if approval.answered is not None else "",
        "run_id": approval.run_id,
    }


def _call(tool: str, arguments: Mapping[str, Any]) -> str:
    return _short(f"{tool} {_json(arguments)}" if arguments else tool)


def _json(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    return truncate(printable(" ".join(text.split())), _LONGEST)


def _dollars(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.4f}"


def _date(time: float) -> str:
    return f"{datetime.fromtimestamp(time).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _time(time: float) -> str:
    return f"{datetime.fromtimestamp(time).astimezone():%H:%M:%S}"


def _line(text: str) -> str:
    """Text in a line of Markdown, as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))


def _code(text: str) -> str:
    """A code span that holds anything, in a table too."""
    text = " ".join(printable(text).split())
    fence = "`" * (max(map(len, re.findall(r"`+", text)), default=0) + 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def _quoted(text: str) -> str:
    """Several lines of text as they are, in a block quote."""
    return "\n".join(f"> {_line(line)}  ".rstrip(" ") for line in text.strip().splitlines())
