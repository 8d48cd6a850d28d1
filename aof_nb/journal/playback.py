"""A recording played back through the two ports: to resume a run, to replay one, to fork one.

The loop is run again from its beginning. What the journal holds, a response or a tool's outcome,
is taken from there, in the recorded order; so the run has come to the same state when the
recording ends, and goes on from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from aof_nb import errors
from aof_nb.errors import AofError, ModelError, ReplayMismatch
from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    CallWithheld,
    LimitReached,
    ModelEvent,
    ModelResponse,
    Notice,
    RunStatus,
    Steered,
    TextDelta,
    ToolProgress,
)
from aof_nb.gate import Gate
from aof_nb.journal.approvals import waiting
from aof_nb.journal.difference import Recorded, difference
from aof_nb.journal.entries import (
    MODEL_ENTRIES,
    TOOL_ENTRIES,
    Entry,
    Line,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ModelStreamed,
    RunBegun,
    RunContext,
    RunEnded,
    RunResumed,
    ToolIntended,
    ToolRefused,
    ToolReturned,
    ToolSettled,
    ToolWithdrawn,
    WholeMessage,
)
from aof_nb.journal.recorder import RequestDigests
from aof_nb.journal.recording import asked_models
from aof_nb.messages import Message
from aof_nb.ports import Effect, Model, ModelRequest, Tool, ToolContext, ToolOutput, ToolSpec

_LAST = (ToolReturned, ToolRefused)
_CUT_SECONDS = 1.0
_EXCHANGE = (ModelRequested, ModelStreamed, ModelResponded, ModelFailed, *MODEL_ENTRIES)


def steps_of(lines: list[Line], *, whole: bool) -> list[Line]:
    """The entries that a playback goes through, without what was given up and begun anew.

    Args:
        lines: A run's journal.
        whole: Whether a last request that has no response is kept, as it is part of what was
            seen; a run that goes on asks it again.
    """
    steps: list[Line] = []
    exchange: list[Line] | None = None

    def settle(*, keep: bool) -> None:
        nonlocal exchange
        if exchange and keep:
            steps.extend(exchange)
        exchange = None

    for line in lines:
        match line.entry:
            case ModelRequested():
                settle(keep=False)
                exchange = [line]
            case RunResumed():
                settle(keep=False)
                steps = _gone_on_with(steps)
            case ModelResponded():
                if exchange is not None:
                    exchange.append(line)
                    settle(keep=True)
            case ModelStreamed() | ModelFailed():
                if exchange is not None:
                    exchange.append(line)
            case LimitReached() | Steered() | RunEnded():
                # A limit of time ends a response that is still to come.
                settle(keep=whole)
                if whole or not isinstance(line.entry, RunEnded):
                    steps.append(line)
            case ToolSettled(call_id=call_id):
                steps = _moved_to_end(steps, call_id)
            case entry if isinstance(entry, TOOL_ENTRIES):
                steps.append(line)
            case entry if isinstance(entry, MODEL_ENTRIES) and exchange is not None:
                exchange.append(line)
            case _:
                pass
    settle(keep=whole)
    return steps if whole else _gone_on_with(steps)


def _gone_on_with(steps: list[Line]) -> list[Line]:
    """The steps without how the run stopped: its end, and questions that are asked again."""
    kept: list[Line] = []
    answered: set[str] = set()
    for line in reversed(steps):
        match line.entry:
            case RunEnded():
                continue
            case ApprovalAnswered(call_id=call_id) | ToolReturned(call_id=call_id):
                answered.add(call_id)
            case ApprovalRequested(call_id=call_id):
                if call_id not in answered:
                    continue
                answered.discard(call_id)
            case _:
                pass
        kept.append(line)
    return kept[::-1]


def _moved_to_end(steps: list[Line], call_id: str) -> list[Line]:
    """The steps with a call's outcome where it was told, after others that came meanwhile."""
    place = len(steps) - 1
    while place >= 0 and not isinstance(steps[place].entry, ModelResponded):
        entry = steps[place].entry
        if isinstance(entry, ToolReturned) and entry.call_id == call_id:
            return [*steps[:place], *steps[place + 1 :], steps[place]]
        place -= 1
    return steps


def _with_who_answered(lines: list[Line]) -> list[Line]:
    """The same, in which each response says of whom it was asked: who goes on may ask another."""
    named = []
    for line, asked in asked_models(lines):
        entry = line.entry
        if isinstance(entry, ModelResponded) and not entry.requested_model:
            entry = msgspec.structs.replace(entry, requested_model=asked)
        named.append(Line(line.at, entry))
    return named


class Playback:
    """Where a recording that is played back has come to.

    Args:
        lines: The run's journal.
        strict: Whether a request that differs from the recorded one ends the run, and so does the
            end of the recording; else the run goes on live from there.
        compares: Whether a strict playback looks at what is asked, and not only in which order.
        pace: What becomes of the recorded waits: 1 keeps them, 0.5 halves them, 0 leaves them out.
        tools: Whether tools are played back too, and what else the loop has told of; else only the
            model is.
        before: Seconds that the run had gone on when the recording ends.
    """

    def __init__(
        self,
        lines: list[Line],
        *,
        strict: bool,
        compares: bool = True,
        pace: float = 0.0,
        tools: bool = True,
        before: float = 0.0,
    ) -> None:
        self._compares = compares
        self._steps = steps_of(_with_who_answered(lines), whole=strict)
        if not tools:
            model_only = (*_EXCHANGE, RunEnded)
            self._steps = [each for each in self._steps if isinstance(each.entry, model_only)]
        self._contexts = {
            line.entry.digest: line.entry for line in lines if isinstance(line.entry, RunContext)
        }
        self._place = 0
        self._moved: list[asyncio.Future[None]] = []
        self._recorded = Recorded()
        self.strict = strict
        self.pace = pace
        self.plays_tools = tools
        self.digests = RequestDigests(self._contexts)
        self.turns = 0
        self.durations: dict[str, float] = {}
        self._called_at: dict[str, float] = {}
        self._before = before
        self._live_since: float | None = None
        self._at = 0.0
        self._told_live = False
        self._steered = 0

    @property
    def live(self) -> bool:
        """Whether the recording is at its end."""
        return self._place >= len(self._steps)

    @property
    def is_paid_for(self) -> bool:
        """Whether what is asked now costs something: a replay asks nobody, even at its end."""
        return self.live and not self.strict

    @property
    def has_ended(self) -> bool:
        """Whether the next that was recorded is the run's end."""
        return isinstance(self._head, RunEnded)

    @property
    def _head(self) -> Entry | None:
        return None if self.live else self._steps[self._place].entry

    def elapsed(self) -> float:
        """Seconds that the run has gone on, as its limit of time is to see them.

        While the recording lasts, time is over exactly where it was then.
        """
        head = self._head
        if head is None:
            now = asyncio.get_running_loop().time()
            if self._live_since is None:
                self._live_since = now
            return self._before + now - self._live_since
        if isinstance(head, LimitReached) and head.limit == "seconds":
            return self._steps[self._place].at
        return 0.0

    def cost_limit(self) -> LimitReached | None:
        """The limit of cost that was reached here, if one was."""
        head = self._head
        if isinstance(head, LimitReached) and head.limit == "cost":
            return head
        return None

    def steered(self) -> list[str]:
        """What the user said here."""
        said = []
        while isinstance(head := self._head, Steered):
            said.append(head.text)
            self._steered += 1
            self._advance()
        return said

    def took_steered(self) -> bool:
        """Whether what the loop tells of having been said was recorded."""
        taken = self._steered > 0
        self._steered -= taken
        return taken

    def limit_told(self, event: LimitReached) -> None:
        """The loop has told of a limit: the recorded one is behind."""
        head = self._head
        if isinstance(head, LimitReached) and head.limit == event.limit:
            self._advance()

    def arrange(self, groups: Sequence[Sequence[str]]) -> None:
        """Puts what is recorded of a turn's calls into the order in which they are made now.

        What is recorded of other calls, or of a call after its outcome, is left out: the calls
        would wait for somebody to take it.

        Args:
            groups: The ids of the calls; each group is made when the one before has ended.
        """
        end = self._end_of_calls()
        groups_by_call = {call_id: n for n, group in enumerate(groups) for call_id in group}
        ended: set[str] = set()
        kept: list[tuple[int, Line]] = []
        for line in self._steps[self._place : end]:
            assert isinstance(line.entry, TOOL_ENTRIES)
            call_id = line.entry.call_id
            if call_id in groups_by_call and call_id not in ended:
                kept.append((groups_by_call[call_id], line))
            if isinstance(line.entry, _LAST):
                ended.add(call_id)
        kept.sort(key=lambda each: each[0])
        self._steps[self._place : end] = [line for _, line in kept]

    def _end_of_calls(self) -> int:
        end = self._place
        while end < len(self._steps) and isinstance(self._steps[end].entry, TOOL_ENTRIES):
            end += 1
        return end

    def has_made(self, call_id: str) -> bool:
        """Whether a call of this turn was begun, as far as is recorded."""
        coming = (line.entry for line in self._steps[self._place : self._end_of_calls()])
        return any(
            isinstance(entry, ToolIntended | ToolReturned) and entry.call_id == call_id
            for entry in coming
        )

    async def refusal(self, call_id: str) -> bool:
        """Takes the turn of a call that the loop refuses; returns whether it did so then, too."""
        while (entry := await self.tool_entry(call_id)) is not None:
            if isinstance(entry, _LAST):
                self.durations[call_id] = 0.0
                return isinstance(entry, ToolRefused)
        return False

    def give_up(self) -> None:
        """Leaves the rest of the recording: all is live from here."""
        self._place = len(self._steps)
        self._wake()

    def _advance(self) -> None:
        self._place += 1
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, []
        for future in moved:
            if not future.done():
                future.set_result(None)

    async def tool_entry(self, call_id: str) -> Entry | None:
        """The next entry of a call, once all that was recorded before it is behind.

        Who has been given the last one must end without waiting for anything: the next call's
        entry is told after that.

        Returns:
            None if there is none: the call had not been made, or not ended.
        """
        while isinstance(head := self._head, TOOL_ENTRIES):
            if head.call_id == call_id:
                self._called_at.setdefault(call_id, self._steps[self._place].at)
                await self._keep_pace()
                if isinstance(head, ToolReturned):
                    self._recorded.output(call_id, head.output)
                self._advance()
                return head
            future = asyncio.get_running_loop().create_future()
            self._moved.append(future)
            await future
        return None

    async def _keep_pace(self) -> None:
        at = self._steps[self._place].at
        if self.pace:
            await asyncio.sleep(max(0.0, at - self._at) * self.pace)
        self._at = at

    def waits(self) -> bool:
        """Whether the recorded run has ended here to wait for an approval."""
        head = self._head
        return isinstance(head, RunEnded) and head.status is RunStatus.WAITING

    def cuts_tool(self, call_id: str) -> bool:
        """Whether the recorded run ran out of time, or was cancelled, while a tool was called."""
        head = self._head
        if isinstance(head, LimitReached):
            cut = head.limit == "seconds"
        else:
            cut = isinstance(head, RunEnded) or (self.strict and head is None)
        if cut:
            ended_at = self._steps[min(self._place, len(self._steps) - 1)].at
            self.durations[call_id] = ended_at - self._called_at.get(call_id, ended_at)
        return cut

    def exchange(self, request: ModelRequest) -> list[Line]:
        """The recorded request's entries; empty if the request is to be made.

        Raises:
            ReplayMismatch: If the recording is strict, and has another request here or none.
        """
        while isinstance(self._head, TOOL_ENTRIES) or (
            not self.strict and isinstance(self._head, LimitReached)
        ):
            self._place += 1
        head = self._head
        if not isinstance(head, ModelRequested):
            if self.strict:
                raise ReplayMismatch(
                    f"the record ends here: {self._why_it_ends(head)}",
                    remedy="record it again with --record, or replay with a model to go on with",
                )
            self.give_up()
            return []
        self.turns += 1
        asked = self.digests.describe(request, written=False)[-1]
        assert isinstance(asked, ModelRequested)
        self._recorded.add(head, self._contexts.get(head.context))
        if asked.digest != head.digest and self.strict and self._compares:
            told = difference(self._recorded, request, with_tools=self.plays_tools)
            if told:
                raise ReplayMismatch(
                    f"turn {self.turns} asks for something else than was recorded",
                    difference=told,
                    remedy="record it again with --record, or undo the change",
                )
        return self._take_exchange()

    def _why_it_ends(self, head: Entry | None) -> str:
        if isinstance(head, RunEnded) and head.status is RunStatus.CANCELLED:
            return "the run was cancelled"
        if head is None:
            return "the run was interrupted"
        return f"turn {self.turns + 1} was not recorded"

    def _take_exchange(self) -> list[Line]:
        found = [self._steps[self._place]]
        self._place += 1
        while isinstance(self._head, _EXCHANGE) and not isinstance(self._head, ModelRequested):
            found.append(self._steps[self._place])
            self._place += 1
        for line in found:
            if isinstance(line.entry, ModelResponded):
                self._recorded.respond(line.entry.message)
        self._at = found[-1].at
        self._wake()
        return found

    def skip_exchange(self) -> None:
        """Leaves the next recorded request and its response behind."""
        if isinstance(head := self._head, ModelRequested):
            self.turns += 1
            self._recorded.add(head, self._contexts.get(head.context))
            self._take_exchange()

    def cuts_response(self) -> bool:
        """Whether the run's time was over in the middle of the response."""
        return isinstance(self._head, LimitReached)

    def live_notice(self) -> Notice | None:
        """What is said, once, where the run goes on live."""
        if self._told_live:
            return None
        self._told_live = True
        turns = "turn" if self.turns == 1 else "turns"
        return Notice(f"{self.turns} {turns} taken from the journal; the run goes on here", "info")


def history_of(lines: list[Line], prompt: str) -> list[Message]:
    """The conversation that a run began with, before its prompt."""
    first = lines[0].entry
    if isinstance(first, RunBegun) and first.history:
        return list(first.history)
    for line in lines:
        if isinstance(line.entry, ModelRequested):
            messages = [
                each.message for each in line.entry.messages if isinstance(each, WholeMessage)
            ]
            while messages and not (messages[-1].role == "user" and messages[-1].text == prompt):
                messages.pop()
            return messages[:-1]
    return []


def first_notices(lines: list[Line]) -> list[str]:
    """What was said at a run's beginning."""
    before = itertools.takewhile(lambda line: not isinstance(line.entry, ModelRequested), lines)
    return [line.entry.text for line in before if isinstance(line.entry, Notice)]


def specs_of(lines: list[Line]) -> dict[str, ToolSpec]:
    """The tools that a run had, by name."""
    specs: dict[str, ToolSpec] = {}
    for line in lines:
        if isinstance(line.entry, RunContext):
            specs.update({spec.name: spec for spec in line.entry.tools})
    return specs


class PlayedModel:
    """A model whose first responses come from a recording.

    Args:
        playback: The recording.
        model: Who is asked after its end; None for nobody.
        name: What it is called, if there is no model.
    """

    def __init__(self, playback: Playback, model: Model | None, name: str = "replay") -> None:
        self._playback = playback
        self._model = model
        self._name = name

    @property
    def name(self) -> str:
        """The model's own name, or the recorded one's."""
        return self._name if self._model is None else self._model.name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the recorded response, or the model's own."""
        playback = self._playback
        recorded: list[Line] = []
        if not playback.live or playback.strict:
            try:
                recorded = playback.exchange(request)
            except ReplayMismatch as error:
                if self._model is None:
                    raise
                yield Notice(f"{error.message.splitlines()[0]}; asking {self._model.name}")
                playback.strict = False
                playback.give_up()
        if not recorded:
            if self._model is None:
                raise ReplayMismatch("the record ends here, and there is no model to go on with")
            if (notice := playback.live_notice()) is not None:
                yield notice
            async with contextlib.aclosing(self._model.stream(request)) as events:
                async for event in events:
                    yield event
            return
        async with contextlib.aclosing(self._played(recorded)) as played:
            async for event in played:
                yield event

    async def _played(self, recorded: list[Line]) -> AsyncGenerator[ModelEvent, None]:
        pace, before = self._playback.pace, 0
        for line in recorded:
            if pace and not isinstance(line.entry, ModelStreamed):
                at = int((line.at - recorded[0].at) * 1000)
                await asyncio.sleep(max(0, at - before) / 1000 * pace)
                before = max(at, before)
            match line.entry:
                case ModelStreamed(chunks=chunks):
                    for at, chunk in chunks:
                        if pace:
                            await asyncio.sleep(max(0, at - before) / 1000 * pace)
                            before = at
                        yield TextDelta(chunk) if isinstance(chunk, str) else chunk
                case ModelResponded() as entry:
                    asked = entry.requested_model
                    yield ModelResponse(
                        message=entry.message,
                        stop_reason=entry.stop_reason,
                        usage=entry.usage,
                        model=entry.model,
                        response_id=entry.response_id,
                        requested_model="" if asked == self.name else asked,
                    )
                    return
                case ModelFailed() as entry:
                    raise _error(entry)
                case entry if isinstance(entry, MODEL_ENTRIES):
                    yield entry
                case _:
                    pass
        if self._playback.cuts_response():
            # Until the loop cuts it off again; one that has another limit does not.
            await asyncio.sleep(_CUT_SECONDS)
            raise ReplayMismatch(
                "the recorded run's time was over here, and this one's is not",
                remedy="replay it with the limits that it was recorded with",
            )
        raise ReplayMismatch("the record ends in the middle of a response")


def _error(failed: ModelFailed) -> AofError:
    """A recorded error, as it was raised."""
    kind = getattr(errors, failed.error, None)
    error: AofError
    if isinstance(kind, type) and issubclass(kind, ModelError):
        error = kind.__new__(kind)
        ModelError.__init__(
            error,
            failed.message,
            remedy=failed.remedy,
            **{
                name: value
                for name, value in failed.fields.items()
                if name in {"provider", "status", "request_id", "retry_after"}
            },
        )
        error.partial, error.partial_usage = failed.partial, failed.usage
        return error
    kind = kind if isinstance(kind, type) and issubclass(kind, AofError) else AofError
    error = kind.__new__(kind)
    AofError.__init__(error, failed.message, remedy=failed.remedy)
    for name, value in failed.fields.items():
        setattr(error, name, value)
    return error


class PlayedTool:
    """A tool whose first calls come from a recording.

    Args:
        playback: The recording.
        spec: The tool's definition.
        tool: What is called where the recording has no outcome; None for nothing.
        begun: What is called instead where the call had been begun, and no outcome is recorded.
        gate: Told of recorded approvals that hold for similar calls.
        own: The tool itself, without the layers around it, as the gate knows it.
    """

    def __init__(
        self,
        playback: Playback,
        spec: ToolSpec,
        tool: Tool | None,
        *,
        begun: Tool | None = None,
        gate: Gate | None = None,
        own: Tool | None = None,
        keeps_approvals: bool = True,
    ) -> None:
        self._playback = playback
        self._keeps_approvals = keeps_approvals
        self._spec = spec
        self._tool = tool
        self._begun = begun
        self._gate = gate
        self._own = own

    @property
    def spec(self) -> ToolSpec:
        """The tool's definition."""
        return self._spec

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """What the recorded call came to; else what comes of it now."""
        playback, begun = self._playback, 0
        recording = not playback.live
        while recording and (entry := await playback.tool_entry(context.call_id)) is not None:
            match entry:
                case ToolReturned(output=output, duration=duration):
                    playback.durations[context.call_id] = duration
                    if self._gate is not None:
                        self._gate.note_read(self._spec)
                    return output
                case ToolIntended():
                    begun += 1
                case ToolWithdrawn():
                    # That of a call which is made again takes nothing from the first one.
                    begun -= 1
                case ApprovalRequested() | ApprovalAnswered() | CallWithheld() | ToolProgress():
                    if isinstance(entry, ApprovalAnswered):
                        self._approved_similar(arguments, entry)
                    context.emit(entry)
                case _:
                    pass
        if recording and playback.strict and playback.waits():
            playback.durations[context.call_id] = 0.0
            raise waiting(self._spec.name, context.run_id)
        if playback.strict and playback.plays_tools and playback.cuts_tool(context.call_id):
            # As the loop cancelled it then, so that it says the same of it now.
            raise asyncio.CancelledError
        if self._tool is None:
            return ToolOutput(
                f"{self._spec.name} is not available any more. It was not carried out.",
                is_error=True,
            )
        if recording and (notice := playback.live_notice()) is not None:
            context.emit(notice)
        if begun and self._spec.effect is not Effect.READ and self._begun is not None:
            return await self._begun.call(arguments, context)
        return await self._tool.call(arguments, context)

    def _approved_similar(self, arguments: dict[str, Any], answered: ApprovalAnswered) -> None:
        holds = answered.approved and answered.similar and answered.arguments is None
        if holds and self._gate is not None and self._own is not None and self._keeps_approvals:
            self._gate.allow_similar(self._own, arguments, answered.digest)
