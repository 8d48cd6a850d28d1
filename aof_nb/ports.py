"""The two ports to the world: `Model.stream()` and `Tool.call()`.

All that is nondeterministic in a run goes through one of them, so that recording, replay,
retry, policy, redaction and tracing can wrap them, once, as layers. They are protocols: a
model or a tool needs no base class.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from aof_nb.errors import ApprovalPending, JournalError, OutcomeUnknown, ToolError
from aof_nb.events import Event, ModelEvent
from aof_nb.messages import Message


class Effect(enum.StrEnum):
    """What a tool does to the world. What is unknown counts as `WRITE`."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model and a policy see it.

    Args:
        name: Unique in a run; letters, digits, ``_`` and ``-``, at most 64 characters.
        description: What it does, for the model.
        input_schema: JSON Schema (draft 2020-12) of an object: the arguments.
        effect: What it does to the world.
        exclusive: Whether it must run alone within a turn.
        source: Where it comes from, such as ``mcp:lab``; for people and collisions.
        sends: Whether its calls send data out of this machine; None if only their arguments tell.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    effect: Effect = Effect.WRITE
    exclusive: bool = False
    source: str = ""
    sends: bool | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the definition: an approval is for this definition and no other."""
        return hashlib.sha256(_canonical.encode(self)).hexdigest()


_canonical = msgspec.json.Encoder(order="deterministic")


class ToolOutput(msgspec.Struct, frozen=True):
    """What a tool returns: text for the model, and the same as JSON where there is such.

    Args:
        content: The text the model is shown (capped by the loop).
        data: The structured result, if the tool has one.
        is_error: Whether the tool says that it failed.
        denied: Whether the call was refused by policy or by a person.
        unknown: Whether it was begun, and nobody can tell whether it took effect.
        dry_run: Whether it was not made because the run only shows what it would do.
    """

    content: str
    data: Any = None
    is_error: bool = False
    denied: bool = False
    unknown: bool = False
    dry_run: bool = False


class ToolContext(msgspec.Struct, frozen=True):
    """What a tool call is given beside its arguments.

    Args:
        run_id: The run it belongs to.
        call_id: The call's id within the run.
        emit: Adds an event to the run's stream while the call runs.
    """

    run_id: str
    call_id: str
    emit: Callable[[Event], None]


@runtime_checkable
class Tool(Protocol):
    """Something an agent can do."""

    @property
    def spec(self) -> ToolSpec:
        """The tool's definition."""
        ...

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Does it. Raises `ToolError`, or anything else, when it fails.

        Cancelling the call stops what it started, child processes included.
        """
        ...


@runtime_checkable
class Verifiable(Protocol):
    """A tool that can find out whether a call that was interrupted took effect."""

    async def verify(self, arguments: dict[str, Any]) -> ToolOutput | None:
        """What the call has come to; None if it did not take effect, so that it can be made.

        Raises:
            OutcomeUnknown: If that cannot be found out; any other failure means the same.
        """
        ...


async def called(tool: Tool, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
    """Calls a tool; whatever it raises is an output that the model is shown.

    Raises:
        ApprovalPending: If the call waits for a person.
        JournalError: If it cannot be written down, and so was not made.
    """
    try:
        output: Any = await tool.call(arguments, context)
    except (ApprovalPending, JournalError):
        raise
    except ToolError as error:
        text = f"{error.message}\n{error.remedy}" if error.remedy else error.message
        return ToolOutput(text, is_error=True, unknown=isinstance(error, OutcomeUnknown))
    except (Exception, SystemExit) as error:  # noqa: BLE001  the model is shown any failure
        return ToolOutput(f"{type(error).__name__}: {error}", is_error=True)
    if isinstance(output, ToolOutput) and isinstance(output.content, str):
        return output
    # Who writes a tool may return what he likes: it must not cost the run.
    return ToolOutput(str(output))


ToolChoice: TypeAlias = Literal["auto", "none"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is asked to answer. None leaves the provider's default.

    Args:
        max_tokens: Output tokens of one response, thinking included.
        temperature: Randomness; models that refuse it are not sent it.
        top_p: Nucleus sampling.
        thinking_tokens: Budget for extended thinking, where the provider takes one.
        reasoning_effort: ``low``, ``medium``, ``high``..., where the provider takes one.
        stop: Sequences at which to stop.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    thinking_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: tuple[str, ...] = ()


StructuredOutput: TypeAlias = Literal["native", "tool", "prompt"]
"""How a model is held to a schema: by its API, by a tool that takes the answer, by words.

A model says it in an attribute ``structured_output``; one that has none is asked by words.
"""


class OutputSchema(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer is to be: JSON that fits a schema.

    Args:
        name: What it is called; letters, digits, ``_`` and ``-``, at most 64 characters.
        schema: JSON Schema (draft 2020-12) of an object, which is what every provider takes.
        description: What the answer is, for the model.
        strict: Whether a provider that can is to let nothing else through.
    """

    name: str
    schema: dict[str, Any]
    description: str = ""
    strict: bool = True


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model.

    Args:
        messages: The conversation so far; ends with a user or tool message.
        system: The instructions.
        tools: What the model may ask for.
        tool_choice: ``none`` withholds the tools for this turn; they stay declared, as
            providers require it for a history with tool calls and as it keeps their caches.
        sampling: How to answer.
        output_schema: What the answer is to be; None for text. It is for models whose
            `structured_output` is ``native``: `aof_nb.models.structured` asks the others.
    """

    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    sampling: Sampling = Sampling()
    output_schema: OutputSchema | None = None


@runtime_checkable
class Model(Protocol):
    """Something that answers a conversation."""

    @property
    def name(self) -> str:
        """The full name, such as ``anthropic:claude-sonnet-5``, as people are shown it."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the response: deltas as they come, then one `ModelResponse`, last.

        Closing the generator closes the connection at once, without draining it.

        Raises:
            ModelError: With what had arrived in `partial`.
            ConfigurationError: Before any request, if it cannot be sent.
        """
        ...
