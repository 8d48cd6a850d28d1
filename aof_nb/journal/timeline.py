"""A run as a timeline: what was asked, answered, called, approved, and when.

`aof_nb.journal.reading.timeline` makes one of a recording. What happened twice, because the run was
resumed, is there twice; what a later version has added to journals is kept as it was written.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from aof_nb.journal.entries import Parent
from aof_nb.journal.recording import State
from aof_nb.limits import Limits
from aof_nb.messages import Usage


class CallOutcome(enum.StrEnum):
    """What came of a tool call."""

    OK = "ok"
    ERROR = "error"
    DENIED = "denied"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    RUNNING = "running"
    NOT_BEGUN = "not begun"
    DRY_RUN = "dry run"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A question whether a call may be made, and its answer.

    Args:
        asked: When.
        reason: Why it was asked.
        answered: When; None if it was not.
        approved: The answer; None if there is none.
        similar: Whether it holds for similar calls too.
        by: Who answered.
        via: Through which face: ``notebook``, ``terminal``...
        note: What was said with the answer.
        taken: Whether the run has heard of it; else it will when it is resumed.
    """

    asked: datetime
    reason: str
    answered: datetime | None = None
    approved: bool | None = None
    similar: bool = False
    by: str = ""
    via: str = ""
    note: str = ""
    taken: bool = True


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call.

    Args:
        id: Its id within the run.
        tool: The tool's name.
        effect: ``read``, ``write``, ``destructive``, or nothing if there is no such tool.
        source: Where the tool comes from.
        arguments: What with; None if the model's text was no JSON object.
        raw_arguments: That text.
        outcome: What came of it.
        output: What it said, whole.
        data: Its structured result.
        asked: When the model had asked for it.
        begun: Each time that it was begun.
        ended: When it had ended.
        duration: Seconds, approvals included.
        approvals: Who was asked, and answered.
        progress: The last that it told of how far it was.
        artifact: The file that holds its whole output, if there is one.
    """

    id: str
    tool: str
    outcome: CallOutcome
    asked: datetime
    effect: str = ""
    source: str = ""
    arguments: dict[str, Any] | None = None
    raw_arguments: str = ""
    output: str = ""
    data: Any = None
    begun: tuple[datetime, ...] = ()
    ended: datetime | None = None
    duration: float | None = None
    approvals: tuple[Approval, ...] = ()
    progress: str = ""
    artifact: str | None = None


class Remark(msgspec.Struct, frozen=True, kw_only=True, tag="remark"):
    """Something that happened besides: a retry, a fallback, a limit, a notice, a resumption.

    Args:
        at: When.
        kind: The entry's type, such as ``retry_scheduled``.
        text: What happened.
        level: ``info``, ``warning`` or ``error``.
    """

    at: datetime
    kind: str
    text: str
    level: str = "info"


class Turn(msgspec.Struct, frozen=True, kw_only=True, tag="turn"):
    """A request to the model, its response, and the tool calls that it asked for.

    Args:
        number: The turn, from 1; one that was asked again after a crash is there twice.
        asked: When the request was sent.
        answered: When the response was whole; None if it never was.
        model: The model that answered.
        text: What it said; what had arrived of it, if it broke off.
        thinking: Its visible reasoning.
        stop_reason: Why the response ended.
        usage: Tokens.
        tools_withheld: Whether it might use no tools.
        inherited: Whether it is one of the run that this one was forked from.
        error: Why it failed.
        remedy: What to do about that.
        remarks: What happened until it was answered.
        calls: The tool calls, in the order asked.
    """

    number: int
    asked: datetime
    answered: datetime | None = None
    model: str = ""
    text: str = ""
    thinking: str = ""
    stop_reason: str = ""
    usage: Usage | None = None
    tools_withheld: bool = False
    inherited: bool = False
    error: str = ""
    remedy: str = ""
    remarks: tuple[Remark, ...] = ()
    calls: tuple[Call, ...] = ()


Item: TypeAlias = Turn | Remark


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a run.

    Args:
        run_id: The run's id.
        path: Its journal.
        state: Where it is.
        agent: The agent's name.
        prompt: What was asked.
        model: The model that was asked first.
        fallbacks: The other models of the agent's chain.
        session: The conversation's id.
        history: How many messages the conversation had before.
        instructions: The agent's instructions.
        source: The file that declares the agent.
        cell: The notebook cell that it belongs to.
        notebook_run: The run of the notebook that it belongs to.
        parent: The run that it was forked from.
        approve: What happened where the policy asked.
        limits: How far it might go.
        versions: Of aof_nb and Python.
        began: When.
        last: When it last wrote anything.
        duration: Seconds that it went on, pauses left out.
        resumed: When it was resumed.
        items: Turns and remarks, in order.
        text: The answer.
        output: The answer as JSON data, if it had an output schema.
        limit: The limit that ended it.
        error: Why it failed.
        remedy: What to do about that.
        usage_by_model: Tokens, by the models that answered.
        cost_by_model: US dollars; None where a price is unknown.
        damage: What of the journal cannot be read.
        torn: Whether its last line is cut off.
    """

    run_id: str
    path: str
    state: State
    agent: str
    prompt: str
    model: str
    began: datetime
    last: datetime
    duration: float
    items: tuple[Item, ...]
    fallbacks: tuple[str, ...] = ()
    session: str | None = None
    history: int = 0
    instructions: str = ""
    source: str = ""
    cell: str = ""
    notebook_run: str = ""
    parent: Parent | None = None
    approve: str = "ask"
    limits: Limits | None = None
    versions: dict[str, str] = {}
    resumed: tuple[datetime, ...] = ()
    text: str = ""
    output: Any = None
    limit: str | None = None
    error: str | None = None
    remedy: str | None = None
    usage_by_model: dict[str, Usage] = {}
    cost_by_model: dict[str, float | None] = {}
    damage: tuple[str, ...] = ()
    torn: bool = False

    @property
    def turns(self) -> list[Turn]:
        """The turns."""
        return [each for each in self.items if isinstance(each, Turn)]

    @property
    def calls(self) -> list[Call]:
        """The tool calls of all turns."""
        return [call for turn in self.turns for call in turn.calls]

    @property
    def unknown(self) -> list[Call]:
        """The calls that were begun, may have changed something, and whose outcome is unknown."""
        return [call for call in self.calls if call.outcome is CallOutcome.UNKNOWN]

    @property
    def waiting(self) -> list[Call]:
        """The calls that wait for a person's approval."""
        return [call for call in self.calls if call.outcome is CallOutcome.WAITING]

    @property
    def usage(self) -> Usage:
        """Tokens, of all models together."""
        return sum(self.usage_by_model.values(), Usage())

    @property
    def cost(self) -> float | None:
        """US dollars; None if a model's price is unknown."""
        costs = list(self.cost_by_model.values())
        known = [each for each in costs if each is not None]
        return sum(known, 0.0) if len(known) == len(costs) else None


def as_json(timeline: Timeline) -> bytes:
    """A timeline as JSON: all that it holds, whole, with the sums of its tokens and costs."""
    fields = msgspec.to_builtins(timeline, enc_hook=str)
    fields |= {"usage": msgspec.to_builtins(timeline.usage), "cost": timeline.cost}
    return msgspec.json.format(msgspec.json.encode(fields))
