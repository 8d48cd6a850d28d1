"""A run's events as text, as one JSON object, or as JSON lines."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from aof_nb.events import (
    ApprovalAnswered,
    ContextCompacted,
    Event,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStarted,
    RunStatus,
    Steered,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    in_a_line,
)
from aof_nb.messages import Outcome
from aof_nb.readable import counted, indented_json, printable
from aof_nb.result import RunResult

OutputFormat: TypeAlias = Literal["text", "json", "jsonl"]

_WIDEST = 100
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Writer(Protocol):
    """Prints one run."""

    def event(self, event: Event) -> None:
        """Prints an event as it comes."""
        ...

    def end(self, result: RunResult) -> None:
        """Prints what came of the run."""
        ...


def writer_for(output: OutputFormat) -> Writer:
    """The writer of a format."""
    if output == "text":
        return TextWriter()
    return JsonWriter() if output == "json" else JsonLinesWriter()


def print_line(content: Any) -> None:
    """Prints a value on standard output, as JSON on one line."""
    sys.stdout.write(msgspec.json.encode(content).decode() + "\n")
    sys.stdout.flush()


class JsonLinesWriter:
    """Each event as a line of JSON, as it comes."""

    def event(self, event: Event) -> None:
        """Prints it."""
        print_line(event)

    def end(self, result: RunResult) -> None:
        """Prints nothing: the last event said it."""


class JsonWriter:
    """The result as one object, at the end."""

    def event(self, event: Event) -> None:
        """Prints nothing."""

    def end(self, result: RunResult) -> None:
        """Prints the result."""
        error = result.error
        content = {
            "run_id": result.run_id,
            "agent": result.agent,
            "status": result.status,
            "text": result.text,
            "output": result.data,
            "models": result.models,
            "turns": result.turns,
            "tool_calls": result.tool_calls,
            "duration": round(result.duration, 3),
            "usage": result.usage,
            "usage_by_model": result.usage_by_model,
            "cost": result.cost,
            "limit": result.limit,
            "error": error.message if error else None,
            "remedy": error.remedy if error else None,
        }
        sys.stdout.write(indented_json(content) + "\n")


class TextWriter:
    """The answer on standard output as it comes; what is done for it on standard error."""

    def __init__(self) -> None:
        self._open_line = False
        self._said = False
        self._terminal = sys.stdout.isatty()

    def event(self, event: Event) -> None:
        """Prints it."""
        match event:
            case RunStarted(run_id=run_id):
                # At once: a run that is killed can be named, to go on with it.
                _note(f"run {run_id}")
            case TurnStarted():
                self._open_line = False
            case TextDelta(text=text):
                if self._said and not self._open_line:
                    sys.stdout.write("\n")
                self._said = True
                self._open_line = True
                sys.stdout.write(_CONTROL.sub("", text) if self._terminal else text)
                sys.stdout.flush()
            case TurnFinished():
                if self._open_line:
                    sys.stdout.write("\n")
                    sys.stdout.flush()
                self._open_line = False
            case ToolStarted(call=call):
                _note(f"→ {call.name} {_in_short(call.arguments)}")
            case ToolFinished(name=name, outcome=outcome, content=content, duration=seconds):
                mark = "✓" if outcome is Outcome.OK else "✗"
                why = "" if outcome is Outcome.OK else f": {_first_line(content)}"
                _note(f"{mark} {name} {seconds:.1f} s{why}")
            case ApprovalAnswered(approved=approved, by=by, via=via):
                _note(f"{'approved' if approved else 'not approved'} by {by} ({via})")
            case RetryScheduled() | ResponseSuperseded() | ModelFellBack() | ContextCompacted():
                if self._open_line:
                    sys.stdout.write("\n")
                    sys.stdout.flush()
                    self._open_line = False
                _note(in_a_line(event))
            case Steered(text=text):
                _note(f"said: {_first_line(text)}")
            case Notice(text=text, level=level):
                _note(f"{level}: {text}")
            case LimitReached():
                _note(in_a_line(event))
            case _:
                pass

    def end(self, result: RunResult) -> None:
        """Prints the footer, and what went wrong."""
        if self._open_line:
            sys.stdout.write("\n")
        sys.stdout.flush()
        usage = result.usage
        parts = [
            ", ".join(result.models) or "no model answered",
            counted(result.turns, "turn"),
            counted(result.tool_calls, "tool call"),
            f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens",
            f"{result.duration:.1f} s",
        ]
        if result.cost:
            parts.append(f"${result.cost:.4f}")
        if result.status is not RunStatus.COMPLETED:
            parts.append(result.status.value)
        _note("\n" + " · ".join(parts))


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _in_short(arguments: Any) -> str:
    """A call's arguments on one line."""
    if not isinstance(arguments, dict):
        return _first_line(str(arguments))
    words = [
        f"{name}={shlex.quote(value) if isinstance(value, str) else _json(value)}"
        for name, value in arguments.items()
    ]
    return _first_line(" ".join(words))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _first_line(text: str) -> str:
    line = printable(text.strip().partition("\n")[0])
    return line if len(line) <= _WIDEST else line[: _WIDEST - 1] + "…"
