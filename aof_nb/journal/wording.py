"""A timeline in words: what its text, Markdown and HTML have in common."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from aof_nb.journal.recording import State
from aof_nb.journal.timeline import Approval, Call, CallOutcome, Remark, Timeline, Turn
from aof_nb.messages import Usage
from aof_nb.ports import Effect
from aof_nb.readable import counted, printable, readable, seconds

_STATES = {
    State.RUNNING: "going on",
    State.INTERRUPTED: "interrupted",
    State.WAITING: "waiting for approval",
    State.COMPLETED: "completed",
    State.LIMIT: "stopped by a limit",
    State.REFUSED: "refused by the model",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.TIMEOUT: "out of time",
}
_LINE_CHARS = 120
_LAST = {
    State.RUNNING: "last seen",
    State.INTERRUPTED: "broke off",
    State.WAITING: "stopped",
}
_OUTCOMES = {
    CallOutcome.UNKNOWN: "outcome unknown",
    CallOutcome.WAITING: "waits for approval",
    CallOutcome.DRY_RUN: "dry run: not executed",
}
_GOOD = frozenset({CallOutcome.OK, CallOutcome.RUNNING})
_BAD = frozenset({CallOutcome.ERROR, CallOutcome.UNKNOWN})


class Callout(NamedTuple):
    """What must not be overlooked.

    Args:
        level: ``info``, ``warning`` or ``error``.
        title: What it is, in a few words.
        text: The rest.
    """

    level: str
    title: str
    text: str


class Clock:
    """Writes times in the local time zone, with the day where it is another than the last.

    Args:
        began: The day that goes without saying.
    """

    def __init__(self, began: datetime) -> None:
        self._day = began.astimezone().date()

    def __call__(self, time: datetime) -> str:
        """A time of day, to the second."""
        local = time.astimezone()
        if local.date() == self._day:
            return f"{local:%H:%M:%S}"
        return f"{local:%Y-%m-%d %H:%M:%S}"


def state_of(timeline: Timeline) -> str:
    """Where a run is: ``completed``, ``stopped by a limit (turns)``..."""
    words = _STATES[timeline.state]
    return f"{words} ({timeline.limit.replace('_', ' ')})" if timeline.limit else words


def level_of_state(state: State) -> str:
    """How a state is shown: ``good``, ``bad``, ``warning`` or ``info``."""
    if state is State.COMPLETED:
        return "good"
    if state is State.FAILED:
        return "bad"
    return "info" if state is State.RUNNING else "warning"


def outcome_of(call: Call) -> str:
    """What came of a call, in a word or two."""
    return _OUTCOMES.get(call.outcome, call.outcome.value)


def level_of_call(call: Call) -> str:
    """How a call's outcome is shown: ``good``, ``bad`` or ``warning``."""
    if call.outcome in _GOOD:
        return "good"
    return "bad" if call.outcome in _BAD else "warning"


def date(time: datetime) -> str:
    """A day and time with its zone."""
    local = time.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"


def tokens(usage: Usage) -> str:
    """Tokens in a line.

    Example:
        >>> tokens(Usage(input_tokens=1200, output_tokens=34, cache_read_tokens=1000))
        '1,200 in (1,000 cached), 34 out'
    """
    if not usage.total_tokens:
        return "0"
    cached = f" ({usage.cache_read_tokens:,} cached)" if usage.cache_read_tokens else ""
    return f"{usage.input_tokens:,} in{cached}, {usage.output_tokens:,} out"


def dollars(cost: float | None) -> str:
    """US dollars; ``unknown`` if they are.

    Example:
        >>> dollars(0.01234), dollars(12.5), dollars(0), dollars(None)
        ('$0.0123', '$12.50', '$0', 'unknown')
    """
    if cost is None:
        return "unknown"
    if not cost:
        return "$0"
    return f"${cost:.4f}" if cost < 1 else f"${cost:,.2f}"


def facts(timeline: Timeline) -> Iterator[tuple[str, str]]:
    """What there is to know of a run in short: names and values."""
    yield "agent", timeline.agent
    if timeline.fallbacks:
        yield "models", ", then ".join([timeline.model, *timeline.fallbacks])
    else:
        yield "model", timeline.model
    if timeline.session:
        before = f", {counted(timeline.history, 'message')} before" if timeline.history else ""
        yield "session", f"{timeline.session}{before}"
    if timeline.parent is not None:
        yield "forked from", f"{timeline.parent.run_id}, before its turn {timeline.parent.turn}"
    if timeline.notebook_run:
        yield "notebook run", timeline.notebook_run
    if timeline.cell:
        yield "cell", timeline.cell
    yield "began", date(timeline.began)
    if timeline.resumed:
        yield "resumed", ", ".join(date(each) for each in timeline.resumed)
    yield _LAST.get(timeline.state, "ended"), date(timeline.last)
    yield "took", _took(timeline)
    turns = counted(len({turn.number for turn in timeline.turns}), "turn")
    yield "did", f"{turns}, {counted(len(timeline.calls), 'tool call')}"
    yield "tokens", tokens(timeline.usage)
    yield "cost", dollars(timeline.cost)
    if timeline.approve == "all":
        yield "approvals", "all given beforehand (--approve all)"
    elif timeline.approve == "never":
        yield "approvals", "none asked for, all refused (--approve never)"
    elif timeline.approve == "dry-run":
        yield "dry run", "what would change or send something was not executed"
    if timeline.versions:
        yield "versions", ", ".join(f"{name} {each}" for name, each in timeline.versions.items())


def _took(timeline: Timeline) -> str:
    span = (timeline.last - timeline.began).total_seconds()
    took = seconds(timeline.duration)
    if span > timeline.duration + 60:
        return f"{took}, within {seconds(span)}"
    return took


def turn_facts(turn: Turn) -> Iterator[str]:
    """What is said of a turn beside its number."""
    if turn.model:
        yield turn.model
    if turn.answered is not None:
        yield seconds(max(0.0, (turn.answered - turn.asked).total_seconds()))
    elif not turn.calls:
        yield "no response"
    if turn.usage is not None and turn.usage.total_tokens:
        yield f"{turn.usage.input_tokens:,} + {turn.usage.output_tokens:,} tokens"
    if turn.inherited:
        yield "taken over"
    if turn.tools_withheld:
        yield "without tools"
    if turn.stop_reason not in {"", "end_turn", "tool_use"}:
        yield turn.stop_reason.replace("_", " ")


def call_facts(call: Call) -> Iterator[str]:
    """What is said of a call beside its name and outcome."""
    if call.effect and call.effect != Effect.READ.value:
        yield call.effect
    if call.duration is not None:
        yield seconds(call.duration)
    if len(call.begun) > 1:
        yield f"begun {len(call.begun)} times"


def title_of(call: Call) -> str:
    """A call's tool, with its arguments if they are short; `arguments_of` has the others."""
    return call.tool if arguments_of(call) else in_a_line(call)


def _values(call: Call) -> list[Any]:
    return [call.raw_arguments] if call.arguments is None else list(call.arguments.values())


def in_a_line(call: Call) -> str:
    """A call's tool and arguments in one line, as a person reads a command."""
    if call.arguments is None:
        return f"{call.tool} {readable(call.raw_arguments)}".replace("\n", " ")
    return call_line(call.tool, call.arguments)


def call_line(tool: str, arguments: dict[str, Any]) -> str:
    """The same, of a call's parts.

    Example:
        >>> call_line("shell", {"argv": ["kubectl", "get", "pods"]})
        'shell: kubectl get pods'
        >>> call_line("restart", {"service": "web", "note": "a b"})
        "restart service=web note='a b'"
    """
    if not arguments:
        return tool
    values = list(arguments.values())
    if len(values) == 1 and isinstance(values[0], list):
        return f"{tool}: {readable(values[0])}".replace("\n", " ")
    words = (f"{readable(name)}={_word(value)}" for name, value in arguments.items())
    return f"{tool} {' '.join(words)}".replace("\n", " ")


def _word(value: Any) -> str:
    """A value quoted, so that none can be taken for two."""
    if isinstance(value, str):
        return shlex.quote(printable(value))
    return printable(msgspec.json.encode(value).decode())


def arguments_of(call: Call) -> str:
    """A call's arguments, one under the other; nothing if its line says them all."""
    line = in_a_line(call)
    if len(line) <= _LINE_CHARS and "\n" not in "".join(map(readable, _values(call))):
        return ""
    if call.arguments is None:
        return readable(call.raw_arguments)
    return "\n".join(
        f"{readable(name)}: {_hanging(readable(value))}" for name, value in call.arguments.items()
    )


def _hanging(value: str) -> str:
    return "\n  " + value.replace("\n", "\n  ") if "\n" in value else value


def output_of(call: Call) -> str:
    """What a call said, unless it is only that it was denied."""
    denied = call.outcome is CallOutcome.DENIED and call.approvals
    return "" if denied else call.output.strip("\n")


def approvals_of(call: Call, clock: Clock) -> Iterator[str]:
    """Who was asked whether a call may be made, and what was answered."""
    for approval in call.approvals:
        asked = f"asked at {clock(approval.asked)}"
        why = f": {approval.reason}" if approval.reason else ""
        yield f"{asked}{why}"
        if approval.approved is not None:
            yield answer_of(approval, clock)


def answer_of(approval: Approval, clock: Clock) -> str:
    """Who answered, how, and when."""
    what = "approved" if approval.approved else "denied"
    if approval.approved and approval.similar:
        what += " with all similar calls"
    by = f" by {approval.by}" if approval.by else ""
    via = f" via {approval.via}" if approval.via else ""
    when = f" at {clock(approval.answered)}" if approval.answered is not None else ""
    note = f": {approval.note}" if approval.note else ""
    later = "" if approval.taken else ", not heard by the run yet"
    return f"{what}{by}{via}{when}{later}{note}"


def permission_of(call: Call, timeline: Timeline, clock: Clock) -> str:
    """By whose word a call was made, or not."""
    if call.approvals:
        last = call.approvals[-1]
        return "not answered" if last.approved is None else answer_of(last, clock)
    if call.outcome in {CallOutcome.REFUSED, CallOutcome.NOT_BEGUN}:
        return ""
    if call.outcome is CallOutcome.DENIED:
        return "denied by the policy"
    if call.outcome is CallOutcome.DRY_RUN:
        return "not executed: a dry run"
    if timeline.approve == "all":
        return "approved beforehand (--approve all)"
    return "allowed by the policy, or with a similar call"


def changes(timeline: Timeline) -> list[Call]:
    """The calls that change something, or would have, and those that were asked about."""
    return [
        call
        for turn in timeline.turns
        for call in turn.calls
        if not turn.inherited and (call.approvals or call.effect not in {"", Effect.READ.value})
    ]


def callouts(timeline: Timeline) -> Iterator[Callout]:
    """What must not be overlooked."""
    clock = Clock(timeline.began)
    for call in timeline.unknown:
        begun = f"begun at {clock(call.begun[-1])}" if call.begun else "begun"
        yield Callout(
            "error",
            "Outcome unknown",
            f"{in_a_line(call)} was {begun}, and nobody knows whether it took effect. "
            "Find out before it is done again.",
        )
    for call in timeline.waiting:
        yield _waiting(call, timeline, clock)
    if timeline.error:
        text = f"{timeline.error}. {timeline.remedy}" if timeline.remedy else timeline.error
        yield Callout("error", "Failed", text)
    if timeline.state is State.INTERRUPTED:
        yield Callout("warning", "Interrupted", f"Go on with it: aofctl resume {timeline.run_id}")
    if timeline.damage:
        lines = "; ".join(timeline.damage[:5])
        more = len(timeline.damage) - 5
        text = f"{lines}; {more} more" if more > 0 else lines
        yield Callout("error", "The journal is damaged", f"What cannot be read is left out: {text}")
    if timeline.torn and timeline.state is not State.RUNNING:
        yield Callout("info", "The journal's last line is cut off", "It is left out.")


def _waiting(call: Call, timeline: Timeline, clock: Clock) -> Callout:
    last = call.approvals[-1]
    what = in_a_line(call)
    if last.approved is None:
        return Callout(
            "warning",
            "Waits for approval",
            f"{what}. Answer it: aofctl approve {timeline.run_id}, or deny",
        )
    then = f"Go on: aofctl resume {timeline.run_id}"
    return Callout("info", "Answered", f"{what} was {answer_of(last, clock)}. {then}")


def is_the_answer(turn: Turn, timeline: Timeline) -> bool:
    """Whether what a turn said is the run's answer, which is shown by itself."""
    return bool(timeline.text) and not turn.calls and turn.text == timeline.text


def answer_title(timeline: Timeline) -> str:
    """What the last text of a run is called."""
    return "Answer" if timeline.state is State.COMPLETED else "What it said last"


_SELF_EXPLAINING = frozenset(
    {"run_ended", "run_resumed", "run_forked", "notice", "limit_reached", "steered", "message"}
)


def kind_of(remark: Remark) -> str:
    """The kind of a remark, where its text does not say it."""
    if remark.kind in _SELF_EXPLAINING or remark.level == "warning":
        return ""
    return remark.kind.replace("_", " ")


def shortened(text: str, limit: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def in_short(fields: dict[str, Any]) -> str:
    """The fields of an entry in a line, those that are empty left out.

    Example:
        >>> in_short({"type": "cell_begun", "cell": "a", "seconds": 1.5})
        'cell=a seconds=1.5'
    """
    return " ".join(
        f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in fields.items()
        if value not in (None, "", [], {}) and name != "type"
    )
