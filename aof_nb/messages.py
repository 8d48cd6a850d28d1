"""What models and tools exchange: messages and their parts, tool calls, usage.

The values are frozen msgspec structs: cheap to make, comparable, and encodable as JSON with
their type in the ``type`` field. They are neutral between providers; what only one provider
understands (thinking with its signature, citations, server-side tool blocks) is kept verbatim in
the parts' `opaque` and in `Opaque.block`, and goes back only to the provider it came from.
"""

from __future__ import annotations

import enum
from typing import Any, Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["user", "assistant", "tool"]


def sendable(text: str) -> str:
    r"""The text as UTF-8 can hold it: what is half a character becomes U+FFFD.

    Python keeps the bytes of a file name that are no text as lone surrogates, which no
    request, event or store can hold.

    Example:
        >>> sendable("caf\udce9.log")
        'caf�.log'
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


class StopReason(enum.StrEnum):
    """Why a model stopped, mapped from each provider's own words."""

    END_TURN = "end_turn"
    TOOL_USE = "tool_use"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"
    PAUSE = "pause"
    CONTEXT_FULL = "context_full"
    OTHER = "other"


class Outcome(enum.StrEnum):
    """How a tool call ended."""

    OK = "ok"
    ERROR = "error"
    DENIED = "denied"
    INTERRUPTED = "interrupted"
    DRY_RUN = "dry_run"


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """Text as the user wrote it or as the model answered.

    `opaque` holds what a provider says of it besides (citations, a phase), by the provider's name.
    """

    text: str
    opaque: dict[str, Any] = {}


class Thinking(msgspec.Struct, frozen=True, tag="thinking"):
    """A model's reasoning; `opaque` is the provider's own block, kept verbatim.

    A block without visible text (redacted or encrypted reasoning) has an empty `text`.
    """

    text: str
    provider: str
    opaque: dict[str, Any]


class Opaque(msgspec.Struct, frozen=True, tag="opaque"):
    """A block that only its provider understands, carried through as it came."""

    provider: str
    block: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call"):
    """A model's wish to call a tool.

    `arguments` is None where the model's text in `raw_arguments` is not a JSON object: the
    text is kept so that the model can be shown what it wrote.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw_arguments: str = ""
    opaque: dict[str, Any] = {}


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result"):
    """What came of a tool call, as the model is shown it.

    `content` is capped; the whole output is kept beside the run under `artifact`.
    """

    call_id: str
    name: str
    content: str
    outcome: Outcome = Outcome.OK
    artifact: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the model is told that the call did not succeed."""
        return self.outcome not in {Outcome.OK, Outcome.DRY_RUN}


Part: TypeAlias = Text | Thinking | Opaque | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True, weakref=True):
    """One message of a conversation.

    A *tool* message holds the results of one turn's calls, in the order they were asked.
    `model` names the model that wrote an assistant message; `interrupted` marks one that was
    cut off before the model had finished.

    Example:
        >>> Message.user("why is checkout slow?").text
        'why is checkout slow?'
    """

    role: Role
    parts: tuple[Part, ...]
    model: str | None = None
    interrupted: bool = False

    @classmethod
    def user(cls, text: str) -> Message:
        """A user message of plain text."""
        return cls("user", (Text(text),))

    @classmethod
    def assistant(cls, text: str) -> Message:
        """An assistant message of plain text."""
        return cls("assistant", (Text(text),))

    @property
    def text(self) -> str:
        """The visible text, without thinking and tool calls."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls asked for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results held, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolResult))


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one or several model requests.

    As in OpenTelemetry's GenAI conventions, `input_tokens` includes the cached ones and
    `output_tokens` the reasoning.

    Example:
        >>> (Usage(input_tokens=10) + Usage(input_tokens=5, output_tokens=2)).total_tokens
        17
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """The sum, field by field."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens
