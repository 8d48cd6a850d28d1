"""The layers that write a run's journal: around the model, around the tools, beneath the policy."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from aof_nb.errors import AofError, JournalError
from aof_nb.events import (
    DELTAS,
    ApprovalAnswered,
    ApprovalRequested,
    CallWithheld,
    Event,
    ModelEvent,
    ModelResponse,
    Notice,
    TextDelta,
    ToolProgress,
)
from aof_nb.journal.encoding import encode_in_order
from aof_nb.journal.entries import (
    Chunk,
    Derived,
    Entry,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ModelStreamed,
    RunContext,
    ToolIntended,
    ToolReturned,
    ToolSettled,
    ToolWithdrawn,
    WholeMessage,
)
from aof_nb.journal.journal import Journal
from aof_nb.journal.notebook_cell import tool_call
from aof_nb.messages import Message, ToolResult
from aof_nb.models.layer import ModelLayer
from aof_nb.policy import HasPlainForm, HasPreview, KnowsSimilar
from aof_nb.ports import (
    Effect,
    Model,
    ModelRequest,
    Tool,
    ToolContext,
    ToolOutput,
    ToolSpec,
    called,
)


def digest_of(value: Any) -> str:
    """A short hash of a value's JSON.

    Example:
        >>> digest_of({"a": 1})
        '015abd7f5cc57a2d'
    """
    return hashlib.sha256(encode_in_order(value)).hexdigest()[:16]


def _chained(before: list[str], digest: str) -> str:
    """The digest of the pair, for digests, which need no encoder to be JSON."""
    first = f'"{before[0]}"' if before else ""
    return hashlib.sha256(f'[[{first}],"{digest}"]'.encode()).hexdigest()[:16]


def message_digest(message: Message) -> str:
    """A hash of a message, without what only names files of its run or who wrote it."""
    parts = message.parts
    if any(type(part) is ToolResult and part.artifact is not None for part in parts):
        parts = tuple(
            msgspec.structs.replace(part, artifact=None) if isinstance(part, ToolResult) else part
            for part in parts
        )
    return digest_of((message.role, parts))


class RequestDigests:
    """Hashes requests that each repeat the one before and add to it, at the cost of what is new.

    Args:
        contexts: The digests of the contexts that the journal has already.

    Example:
        >>> digests = RequestDigests()
        >>> entries = digests.describe(ModelRequest(messages=(Message.user("hi"),)))
        >>> [type(entry).__name__ for entry in entries]
        ['RunContext', 'ModelRequested']
    """

    def __init__(self, contexts: Iterable[str] = ()) -> None:
        self._messages: tuple[Message, ...] = ()
        self._up_to: list[str] = []
        self._context: tuple[Any, ...] = ()
        self._context_digest = ""
        self._known_contexts = set(contexts)
        self._turn = 0

    @property
    def turn(self) -> int:
        """The turn of the last request, from 1."""
        return self._turn

    def describe(self, request: ModelRequest, *, written: bool = True) -> tuple[Entry, ...]:
        """The entries that say what is asked: a new context, if it is new, and the request.

        Args:
            request: The request.
            written: Whether they go into the journal; else only the request is told.
        """
        entries: list[Entry] = []
        self._turn += 1
        context = (request.system, request.tools, request.sampling, request.output_schema)
        if not self._context or any(
            new is not old for new, old in zip(context, self._context, strict=True)
        ):
            self._context = context
            self._context_digest = digest_of(context)
        if written and self._context_digest not in self._known_contexts:
            self._known_contexts.add(self._context_digest)
            entries.append(
                RunContext(
                    digest=self._context_digest,
                    system=request.system,
                    tools=request.tools,
                    sampling=request.sampling,
                    output_schema=request.output_schema,
                )
            )
        first = not self._messages
        kept = self._kept(request.messages)
        new = request.messages[kept:]
        hashes = [message_digest(message) for message in new]
        self._messages = request.messages
        del self._up_to[kept:]
        for hashed in hashes:
            # Of the one before and the new one, so that a long conversation is not hashed again.
            self._up_to.append(_chained(self._up_to[-1:], hashed))
        digest = digest_of((self._context_digest, request.tool_choice, self._up_to[-1:]))
        messages = tuple(
            WholeMessage(message)
            if first or message.role == "user"
            else Derived(message.role, hashed)
            for message, hashed in zip(new, hashes, strict=True)
        )
        entries.append(
            ModelRequested(
                turn=self._turn,
                digest=digest,
                context=self._context_digest,
                kept=kept,
                messages=messages,
                tool_choice=request.tool_choice,
            )
        )
        return tuple(entries)

    def _kept(self, messages: tuple[Message, ...]) -> int:
        before = self._messages
        # Tuples compare by identity first, so that what is the same costs next to nothing.
        if messages[: len(before)] == before:
            return len(before)
        kept = 0
        for new, old in zip(messages, before, strict=False):
            if new is not old and new != old:
                break
            kept += 1
        return kept


class JournaledModel(ModelLayer):
    """A model whose requests and responses are written down before anyone acts on them.

    Args:
        model: The model, with all other layers around it.
        journal: Where.
        digests: What hashes the requests; shared with a playback that goes before.
    """

    def __init__(
        self, model: Model, journal: Journal, *, digests: RequestDigests | None = None
    ) -> None:
        super().__init__(model)
        self._journal = journal
        self._digests = digests or RequestDigests()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the model's response."""
        asked = self._digests.describe(request)
        turn = self._digests.turn
        self._journal.write(*asked)
        chunks: list[tuple[int, Chunk]] = []
        clock = time.perf_counter
        began = clock()
        try:
            async with contextlib.aclosing(self._model.stream(request)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        chunks.append((int((clock() - began) * 1000), event.text))
                    elif isinstance(event, DELTAS):
                        chunks.append((int((clock() - began) * 1000), event))
                    else:
                        entry = _responded(turn, event)
                        written = [ModelStreamed(tuple(chunks)), entry] if chunks else [entry]
                        chunks = []
                        self._journal.write(*written)
                    yield event
        except JournalError:
            raise
        except AofError as error:
            self._broken(chunks, _failed(turn, error))
            raise
        except Exception as error:
            message = f"{self.name} failed: {type(error).__name__}: {error}"
            self._broken(chunks, ModelFailed(turn=turn, error="ModelError", message=message))
            raise
        except BaseException:
            self._broken(chunks)
            raise

    def _broken(self, chunks: list[tuple[int, Chunk]], *entries: Entry) -> None:
        """Writes down what had arrived; that it cannot be must not hide why it broke off."""
        streamed = (ModelStreamed(tuple(chunks)),) if chunks else ()
        with contextlib.suppress(JournalError):
            if streamed or entries:
                self._journal.write(*streamed, *entries)


def _responded(turn: int, event: ModelEvent) -> Any:
    if not isinstance(event, ModelResponse):
        return event
    return ModelResponded(
        turn=turn,
        message=event.message,
        stop_reason=event.stop_reason,
        usage=event.usage,
        model=event.model,
        response_id=event.response_id,
        requested_model=event.requested_model,
    )


def _failed(turn: int, error: AofError) -> ModelFailed:
    fields = {}
    for name in ("provider", "status", "request_id", "retry_after", "violation", "text"):
        value = getattr(error, name, None)
        if value is not None and value != "":
            fields[name] = value
    return ModelFailed(
        turn=turn,
        error=type(error).__name__,
        message=error.message,
        remedy=error.remedy,
        fields=fields,
        partial=getattr(error, "partial", None),
        usage=getattr(error, "partial_usage", None),
    )


_KEPT_EVENTS = (ApprovalRequested, ApprovalAnswered, CallWithheld, ToolProgress)


class ToolLayer:
    """A layer around a tool: it has its definition, and what the policy asks it besides.

    Args:
        tool: The tool.
    """

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    @property
    def spec(self) -> ToolSpec:
        """The tool's own definition."""
        return self._tool.spec


class JournaledTool(ToolLayer):
    """A guarded tool whose outcomes are written down before anyone acts on them.

    Args:
        tool: The tool.
        journal: Where.
        durations: Noted here as well, by call: what is shown of a run is what its replay shows.
    """

    def __init__(
        self, tool: Tool, journal: Journal, durations: dict[str, float] | None = None
    ) -> None:
        super().__init__(tool)
        self._journal = journal
        self._durations = {} if durations is None else durations

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool."""
        emit, journal = context.emit, self._journal

        def kept(event: Event) -> None:
            if isinstance(event, _KEPT_EVENTS):
                with contextlib.suppress(JournalError):
                    journal.write(event)
            emit(event)

        began = time.perf_counter()
        around = tool_call.set(f"{context.run_id}/{context.call_id}")
        try:
            inner = msgspec.structs.replace(context, emit=kept)
            output = await called(self._tool, arguments, inner)
        finally:
            tool_call.reset(around)
        spec = self.spec
        self._durations[context.call_id] = duration = time.perf_counter() - began
        returned = ToolReturned(
            call_id=context.call_id, tool=spec.name, output=output, duration=duration
        )
        try:
            journal.write(returned)
            if spec.effect is not Effect.READ and not output.denied:
                await journal.sync()
                journal.write(ToolSettled(context.call_id))
        except JournalError as error:
            # What was done is done; without its outcome the next step will not be taken.
            emit(Notice(f"the outcome of {spec.name} is not in the journal: {error.message}"))
        return output


class IntendedTool(ToolLayer):
    """A tool beneath the policy: that it is about to be called is on the disk before it is.

    Args:
        tool: The tool.
        journal: Where.
    """

    def __init__(self, tool: Tool, journal: Journal) -> None:
        super().__init__(tool)
        self._journal = journal

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool.

        Raises:
            JournalError: If it cannot be written down; the tool is not called then.
        """
        journal, spec = self._journal, self.spec
        journal.write(
            ToolIntended(
                call_id=context.call_id,
                tool=spec.name,
                effect=spec.effect.value,
                arguments=arguments,
            )
        )
        if spec.effect is not Effect.READ:
            try:
                await journal.sync()
            except (asyncio.CancelledError, JournalError):
                with contextlib.suppress(JournalError):
                    journal.write(ToolWithdrawn(context.call_id))
                raise
        return await self._tool.call(arguments, context)


class _Knowing(IntendedTool):
    """See `IntendedTool`; for tools that tell the policy more of their calls."""

    def similar(self, arguments: Mapping[str, Any]) -> str:
        tool = self._tool
        return tool.similar(arguments) if isinstance(tool, KnowsSimilar) else ""

    def plain(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        tool = self._tool
        return tool.plain(arguments) if isinstance(tool, HasPlainForm) else arguments

    def preview(self, arguments: Mapping[str, Any]) -> str:
        tool = self._tool
        return tool.preview(arguments) if isinstance(tool, HasPreview) else ""


def intended(tools: Sequence[Tool], journal: Journal) -> list[Tool]:
    """The tools as the policy is to guard them, their intents written down."""
    return [
        _Knowing(tool, journal)
        if isinstance(tool, KnowsSimilar | HasPlainForm | HasPreview)
        else IntendedTool(tool, journal)
        for tool in tools
    ]


def journaled(
    tools: Sequence[Tool], journal: Journal, durations: dict[str, float] | None = None
) -> list[Tool]:
    """The guarded tools, their outcomes written down."""
    return [JournaledTool(tool, journal, durations) for tool in tools]
