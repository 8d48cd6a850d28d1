"""What a journal holds: entries, one JSON object a line, in the order in which they happened.

The form is described, field by field, in ``docs/journal.md``. Entries that are also told to a
run's readers (approvals, retries, limits...) are the events of `aof_nb.events` themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    CallWithheld,
    ContextCompacted,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStatus,
    Steered,
    ThinkingDelta,
    ToolCallDelta,
    ToolProgress,
)
from aof_nb.journal.encoding import encode
from aof_nb.limits import Limits
from aof_nb.messages import Message, StopReason, Usage
from aof_nb.ports import OutputSchema, Sampling, ToolChoice, ToolOutput, ToolSpec

FORMAT = 1
"""The format's version; a reader refuses a journal with a higher one."""


class Parent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that a fork was taken from; its turns before `turn` are the fork's own."""

    run_id: str
    turn: int


class RunBegun(msgspec.Struct, frozen=True, tag="run_begun", kw_only=True, omit_defaults=True):
    """The first entry of a run.

    Args:
        format: The version of the journal's format.
        run_id: The run's id.
        agent: The agent's name.
        model: The full name of the model that is asked first.
        asked_model: The model that was named instead of the agent's own, as it was named.
        prompt: What is asked.
        time: When it began, in seconds of the Unix epoch.
        spec: A hash of what the agent is declared to be.
        session: The conversation's id.
        fallbacks: The other models of the agent's chain.
        limits: How far it may go.
        approve: What happens where the policy asks.
        approval_timeout: Seconds that a question waits, where that was said for this run.
        versions: Of aof_nb and Python.
        parent: The run that it was forked from.
        source: The file that declares the agent, by which it can be found again.
        cell: The notebook cell's id that it belongs to, where that is known.
        notebook_run: The run of the notebook that it belongs to.
        history: The conversation it begins with, where its first request does not say it.
    """

    run_id: str
    agent: str
    model: str
    prompt: str
    time: float
    format: int = 0
    spec: str = ""
    asked_model: str = ""
    session: str | None = None
    fallbacks: tuple[str, ...] = ()
    limits: Limits | None = None
    approve: str = "ask"
    approval_timeout: float | None = None
    versions: dict[str, str] = {}
    parent: Parent | None = None
    source: str = ""
    cell: str = ""
    notebook_run: str = ""
    history: tuple[Message, ...] = ()


class RunContext(msgspec.Struct, frozen=True, tag="run_context", kw_only=True, omit_defaults=True):
    """What requests have in common besides the conversation; written anew where it changes."""

    digest: str
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    sampling: Sampling = Sampling()
    output_schema: OutputSchema | None = None


class Derived(msgspec.Struct, frozen=True, tag="derived"):
    """A message that follows from entries before: a model's response, or its tools' results."""

    role: str
    digest: str


class WholeMessage(msgspec.Struct, frozen=True, tag="message"):
    """A message that follows from nothing before: a prompt, a correction, a session's past."""

    message: Message


class ModelRequested(
    msgspec.Struct, frozen=True, tag="model_requested", kw_only=True, omit_defaults=True
):
    """A request is about to be sent.

    Args:
        turn: Its turn, from 1.
        digest: A hash of all that is asked, except the model's name.
        context: The digest of the `RunContext` it has.
        kept: How many messages of the request before it begins with.
        messages: Those that it has besides.
        tool_choice: ``none`` if the tools are withheld.
    """

    turn: int
    digest: str
    context: str
    kept: int = 0
    messages: tuple[WholeMessage | Derived, ...] = ()
    tool_choice: ToolChoice = "auto"


Chunk: TypeAlias = str | ThinkingDelta | ToolCallDelta


class ModelStreamed(msgspec.Struct, frozen=True, tag="model_streamed"):
    """What arrived of a response: pieces, each with the milliseconds since it was asked for."""

    chunks: tuple[tuple[int, Chunk], ...]


class ModelResponded(
    msgspec.Struct, frozen=True, tag="model_responded", kw_only=True, omit_defaults=True
):
    """A response is whole."""

    turn: int
    message: Message
    stop_reason: StopReason
    usage: Usage
    model: str
    response_id: str = ""
    requested_model: str = ""


class ModelFailed(
    msgspec.Struct, frozen=True, tag="model_failed", kw_only=True, omit_defaults=True
):
    """A request has failed for good.

    Args:
        turn: Its turn.
        error: The error's class in `aof_nb.errors`.
        message: What happened.
        remedy: What to do about it.
        fields: What the error holds besides.
        partial: What had arrived.
        usage: What it has cost.
    """

    turn: int
    error: str
    message: str
    remedy: str = ""
    fields: dict[str, Any] = {}
    partial: Message | None = None
    usage: Usage | None = None


class ToolIntended(
    msgspec.Struct, frozen=True, tag="tool_intended", kw_only=True, omit_defaults=True
):
    """A tool is about to be called: the policy allows it, and what was asked is answered."""

    call_id: str
    tool: str
    effect: str
    arguments: dict[str, Any]


class ToolWithdrawn(msgspec.Struct, frozen=True, tag="tool_withdrawn"):
    """A call that was intended was not begun."""

    call_id: str


class ToolReturned(
    msgspec.Struct, frozen=True, tag="tool_returned", kw_only=True, omit_defaults=True
):
    """A call has ended, or was refused; `duration` in seconds, approvals included."""

    call_id: str
    tool: str
    output: ToolOutput
    duration: float


class ToolSettled(msgspec.Struct, frozen=True, tag="tool_settled"):
    """The outcome of a call is on the disk, and told: its place among the events."""

    call_id: str


class ToolRefused(
    msgspec.Struct, frozen=True, tag="tool_refused", kw_only=True, omit_defaults=True
):
    """The loop itself has answered a call that cannot be made, such as one of no known tool."""

    call_id: str
    tool: str
    content: str


class RunResumed(msgspec.Struct, frozen=True, tag="run_resumed", kw_only=True, omit_defaults=True):
    """Another process goes on with the run, at `time` (seconds of the Unix epoch)."""

    time: float
    model: str = ""
    versions: dict[str, str] = {}


class RunEnded(msgspec.Struct, frozen=True, tag="run_ended", kw_only=True, omit_defaults=True):
    """A run has ended, for now if it waits, failed or was cancelled.

    `cost` is in US dollars where a price is known; `duration` in seconds.
    """

    status: RunStatus
    text: str
    turns: int
    tool_calls: int
    duration: float
    usage_by_model: dict[str, Usage]
    limit: str | None = None
    error: str | None = None
    remedy: str | None = None
    output: Any = None


ModelEntry: TypeAlias = (
    RetryScheduled | ResponseSuperseded | ModelFellBack | ContextCompacted | Notice
)
ToolEntry: TypeAlias = (
    ToolIntended
    | ToolWithdrawn
    | ToolReturned
    | ToolSettled
    | ToolRefused
    | ApprovalRequested
    | ApprovalAnswered
    | CallWithheld
    | ToolProgress
)
Entry: TypeAlias = (
    RunBegun
    | RunContext
    | ModelRequested
    | ModelStreamed
    | RetryScheduled
    | ResponseSuperseded
    | ModelFellBack
    | ContextCompacted
    | Notice
    | ModelResponded
    | ModelFailed
    | ToolIntended
    | ToolWithdrawn
    | ToolReturned
    | ToolSettled
    | ToolRefused
    | ApprovalRequested
    | ApprovalAnswered
    | CallWithheld
    | ToolProgress
    | LimitReached
    | Steered
    | RunResumed
    | RunEnded
)

TOOL_ENTRIES = (
    ToolIntended,
    ToolWithdrawn,
    ToolReturned,
    ToolSettled,
    ToolRefused,
    ApprovalRequested,
    ApprovalAnswered,
    CallWithheld,
    ToolProgress,
)
MODEL_ENTRIES = (RetryScheduled, ResponseSuperseded, ModelFellBack, ContextCompacted, Notice)


class Line(NamedTuple):
    """An entry and when it was written, in seconds since the run began, pauses left out."""

    at: float
    entry: Entry


class OtherLine(NamedTuple):
    """An entry of a kind that this version does not know, as it was written."""

    at: float
    type: str
    fields: dict[str, Any]


class _Time(msgspec.Struct, frozen=True):
    at: float = 0.0


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


_decode = msgspec.json.Decoder(Entry).decode
_decode_time = msgspec.json.Decoder(_Time).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode
_KINDS = frozenset(each.__struct_config__.tag for each in Entry.__args__)


def encode_line(at: float, entry: msgspec.Struct) -> bytes:
    r"""An entry as a line of a journal.

    Example:
        >>> encode_line(1.5, ToolWithdrawn("a"))
        b'{"at":1.500,"type":"tool_withdrawn","call_id":"a"}\n'
    """
    return b'{"at":%.3f,%b\n' % (at, encode(entry)[1:])


def decode_line(data: bytes) -> Line | None:
    """The entry of a line; None if it is of a kind that this version does not know.

    Raises:
        msgspec.DecodeError: If it is no entry.
    """
    try:
        return Line(_decode_time(data).at, _decode(data))
    except msgspec.ValidationError:
        if (kind := _decode_kind(data).type) and kind not in _KINDS:
            return None
        raise
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_other(data: bytes) -> OtherLine:
    """The entry of a line whose kind this version does not know.

    Raises:
        msgspec.DecodeError: If it is no entry.

    Example:
        >>> decode_other(b'{"at":1.5,"type":"cell_begun","cell":"a"}')
        OtherLine(at=1.5, type='cell_begun', fields={'cell': 'a'})
    """
    try:
        at, fields = _decode_time(data).at, _decode_fields(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
    fields.pop("at", None)
    return OtherLine(at, str(fields.pop("type", "")), fields)
