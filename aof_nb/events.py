"""What a run tells its readers: one stream of typed events.

The notebook, the terminal, JSON lines and the journal are readers of this stream; none has a
loop of its own. Each event encodes as a JSON object whose ``type`` names it
(`msgspec.json.encode`).

`ModelEvent` is what `Model.stream()` yields; a run passes the deltas on and adds its own.
A run's stream is: `RunStarted`, for each turn `TurnStarted`, deltas, `TurnFinished` and the
events of its tool calls, and at last one `RunFinished`.
"""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from aof_nb.messages import Message, Outcome, StopReason, ToolCall, Usage


class RunStatus(enum.StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    LIMIT = "limit"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"


class TextDelta(msgspec.Struct, frozen=True, tag="text_delta"):
    """More of the answer's text; what arrives together is passed on together."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, tag="thinking_delta"):
    """More of the model's visible reasoning."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, tag="tool_call_delta"):
    """A tool call is being written: its place in the response, its name, more arguments."""

    index: int
    name: str
    arguments: str


DELTAS = (TextDelta, ThinkingDelta, ToolCallDelta)
"""What is shown of a response while it comes, and void if it breaks off."""


class ModelResponse(msgspec.Struct, frozen=True, tag="model_response"):
    """The whole response, the last thing a model yields.

    `model` is the name the provider says answered, which may be more exact than the one asked;
    `requested_model` the one asked, where it is another than the run's.
    """

    message: Message
    stop_reason: StopReason
    usage: Usage
    model: str
    response_id: str = ""
    requested_model: str = ""


class RetryScheduled(msgspec.Struct, frozen=True, tag="retry_scheduled"):
    """A request failed in a way that may pass; it is sent again after `delay` seconds.

    `attempt` counts the attempts made so far, of `attempts` at most; `usage` is what the failed
    one has cost.
    """

    model: str
    reason: str
    delay: float
    attempt: int
    attempts: int
    usage: Usage = Usage()


class ResponseSuperseded(msgspec.Struct, frozen=True, tag="response_superseded"):
    """What was shown of this response is void: it broke off, and is asked for again."""

    model: str


class ModelFellBack(msgspec.Struct, frozen=True, tag="model_fell_back"):
    """A model is given up for this request, and the next of the agent's chain is asked.

    `usage` is what the failed request has cost.
    """

    model: str
    fallback: str
    reason: str
    usage: Usage = Usage()


class ContextCompacted(msgspec.Struct, frozen=True, tag="context_compacted"):
    """Old parts of a conversation are no longer sent to a model, as it grew too long for it.

    The run's record keeps them. Sizes are input tokens, estimated; `window` is what the model
    takes, if that is known. `dropped` names the tools whose outputs were left out, `shortened`
    says whether recent outputs were cut too, `summarised` how many messages a summary by
    `summary_model` replaces, at the cost of `usage`.
    """

    model: str
    before: int
    after: int
    window: int | None = None
    dropped: tuple[str, ...] = ()
    shortened: bool = False
    summarised: int = 0
    summary_model: str = ""
    usage: Usage = Usage()


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """Something the user should see in one line: a server that did not start, a limit."""

    text: str
    level: str = "warning"


ModelEvent: TypeAlias = (
    TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | RetryScheduled
    | ResponseSuperseded
    | ModelFellBack
    | ContextCompacted
    | Notice
    | ModelResponse
)


def in_a_line(
    event: RetryScheduled | ResponseSuperseded | ModelFellBack | ContextCompacted | LimitReached,
) -> str:
    """What happened to a model's request, or to the run's limits, as people are told.

    Example:
        >>> in_a_line(RetryScheduled("anthropic:claude-sonnet-5", "overloaded", 4.2, 1, 5))
        'anthropic:claude-sonnet-5: overloaded, again in 4 s (2/5)'
    """
    match event:
        case RetryScheduled(model=model, reason=reason, delay=delay):
            wait = f"{delay:.0f} s" if delay >= 1 else f"{delay:.1f} s"
            return f"{model}: {reason}, again in {wait} ({event.attempt + 1}/{event.attempts})"
        case ResponseSuperseded(model=model):
            return f"{model}: the text above is void, the response broke off"
        case ModelFellBack(model=model, fallback=fallback, reason=reason):
            return f"{model}: {reason}; asking {fallback}"
        case ContextCompacted(model=model, before=before, after=after):
            return (
                f"{model}: conversation shortened from about {before:,} to {after:,} tokens "
                f"({_what_was_done(event)})"
            )
        case LimitReached(detail=detail):
            return f"{event.title}: {detail}"


def _what_was_done(event: ContextCompacted) -> str:
    done = []
    if count := len(event.dropped):
        done.append(f"{count} old tool output{'' if count == 1 else 's'} left out")
    if event.summarised:
        plural = "" if event.summarised == 1 else "s"
        done.append(f"{event.summarised} message{plural} summarised by {event.summary_model}")
    if event.shortened:
        done.append("recent tool outputs cut")
    if not done:
        done.append(f"a summary by {event.summary_model} was no shorter")
    return ", ".join(done)


class RunStarted(msgspec.Struct, frozen=True, tag="run_started"):
    """A run begins."""

    run_id: str
    agent: str
    model: str
    prompt: str
    session: str | None = None


class Steered(msgspec.Struct, frozen=True, tag="steered"):
    """What the user has said while the run went on; the coming turn is asked with it."""

    text: str


class TurnStarted(msgspec.Struct, frozen=True, tag="turn_started"):
    """A request goes to the model. The last permitted turn has its tools withheld."""

    turn: int
    tools_withheld: bool = False


class TurnFinished(msgspec.Struct, frozen=True, tag="turn_finished"):
    """The model's response is whole."""

    turn: int
    message: Message
    stop_reason: StopReason
    usage: Usage
    model: str


class ToolStarted(msgspec.Struct, frozen=True, tag="tool_started"):
    """A tool call is about to start: it may still be asked about or refused."""

    turn: int
    call: ToolCall
    effect: str


class ToolProgress(msgspec.Struct, frozen=True, tag="tool_progress"):
    """A running tool says how far it is; `progress` and `total` in the tool's own unit."""

    call_id: str
    message: str = ""
    progress: float | None = None
    total: float | None = None


class ApprovalRequested(msgspec.Struct, frozen=True, tag="approval_requested"):
    """A person is asked whether a call may be made."""

    call_id: str
    tool: str
    effect: str
    arguments: dict[str, Any]
    digest: str
    reason: str


class ApprovalAnswered(msgspec.Struct, frozen=True, tag="approval_answered"):
    """Who answered, through which face, what, and for what reason if one was given.

    `waited` is how many seconds that took; `arguments` what the call is made with if the person
    has changed them.
    """

    call_id: str
    digest: str
    approved: bool
    similar: bool
    by: str
    via: str
    reason: str = ""
    waited: float = 0.0
    arguments: dict[str, Any] | None = None


class ToolFinished(msgspec.Struct, frozen=True, tag="tool_finished"):
    """A tool call has ended; `content` is what the model is shown, `duration` in seconds."""

    call_id: str
    name: str
    outcome: Outcome
    content: str
    duration: float
    data: Any = None
    artifact: str | None = None


class LimitReached(msgspec.Struct, frozen=True, tag="limit_reached"):
    """A limit was hit: the run ends with the next answer, or at once."""

    limit: str
    detail: str

    @property
    def title(self) -> str:
        """``limit (tool calls)``."""
        return f"limit ({self.limit.replace('_', ' ')})"


class RunFinished(msgspec.Struct, frozen=True, tag="run_finished"):
    """A run has ended; nothing follows. `duration` is in seconds.

    `usage_by_model` is keyed by the names of the models that answered, in order of appearance;
    `aof_nb.models.prices.cost` tells what it costs. `output` is the answer as JSON data where the
    run had an output schema.
    """

    run_id: str
    status: RunStatus
    text: str
    usage: Usage
    turns: int
    tool_calls: int
    duration: float
    usage_by_model: dict[str, Usage]
    limit: str | None = None
    error: str | None = None
    remedy: str | None = None
    output: Any = None


Event: TypeAlias = (
    RunStarted
    | TurnStarted
    | TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | RetryScheduled
    | ResponseSuperseded
    | ModelFellBack
    | ContextCompacted
    | TurnFinished
    | ToolStarted
    | ToolProgress
    | ApprovalRequested
    | ApprovalAnswered
    | ToolFinished
    | Notice
    | Steered
    | LimitReached
    | RunFinished
)
