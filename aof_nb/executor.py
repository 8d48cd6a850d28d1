"""The loop: a model asks, tools answer, until there is an answer or a limit.

`execute` is an async generator of the events in `aof_nb.events`, over `Model.stream()` and
`Tool.call()`. Everything else (policy, memory, rendering, journal) wraps those two ports or
reads its events.

Invariants, whatever models and tools do and whenever the run is cancelled or its generator is
closed. After `execute` has ended, in any way:

1. *Every call has its result.* Each assistant message with tool calls in the transcript is
   followed at once by one tool message with exactly one result for each call, in the order
   asked, under the same ids.
2. *Unknown is said to be unknown.* A call that was started and did not finish has the outcome
   ``interrupted``; it is never said not to have run.
3. *Nothing outlives the run.* No task started here is left running, except a tool's that
   ignores for ten seconds that it is cancelled; the model's stream is closed, not drained.
4. *One end.* `RunFinished` is the last event, and comes exactly once unless the consumer went
   away; `Record.status` is set in any case, and what had arrived of a response is kept.
5. *Order.* `ToolStarted` comes before the tool is called, `ToolFinished` after it has ended;
   both exactly once for each call of a turn that was not cut off.
6. *Bounded.* At most `Limits.max_turns` requests are made; the last one has its tools
   withheld, and calls asked for all the same are answered, not made.
7. *Typed, or failed.* Where the answer is to fit a schema, a run that has completed has a valid
   one in `Record.answer`; what is wrong goes back to the model within the limits, and then the
   run has failed. A refused or cut response is not corrected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aof_nb.argument_checks import ArgumentChecks
from aof_nb.call_ids import CallIds
from aof_nb.errors import (
    AofError,
    ApprovalPending,
    BrokenStream,
    ContextTooLong,
    JournalError,
    ModelError,
)
from aof_nb.events import (
    ContextCompacted,
    Event,
    LimitReached,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunFinished,
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
from aof_nb.journal.artifacts import Artifacts
from aof_nb.journal.playback import Playback
from aof_nb.limits import Limits
from aof_nb.messages import (
    Message,
    Outcome,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    sendable,
)
from aof_nb.ports import Model, ModelRequest, Sampling, Tool, ToolContext, ToolOutput, called
from aof_nb.spending import Spending, worst_case
from aof_nb.structured_output import Answer, Answers, Expected, Judged
from aof_nb.truncation import truncate

_logger = logging.getLogger("aof_nb.runs")
# What is logged of runs is shown by who runs them: not on standard error as well.
_logger.addHandler(logging.NullHandler())

INTERRUPTED = (
    "Interrupted before it had finished: whether it took effect is unknown. "
    "Find out before doing it again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run is to do.

    Args:
        run_id: The run's id.
        agent: The agent's name.
        model: Who answers.
        prompt: What is asked.
        system: The instructions.
        tools: What may be called, with their layers (policy...) already around them.
        limits: How far to go.
        elapsed: Seconds that the run has gone on; None to count from now.
        sampling: How to answer.
        output: What the answer is to be, the model being one that is held to it (as
            `aof_nb.models.structured` does); None for text.
        session: The session's id, for the record.
        artifacts: Where whole outputs go; None keeps only what the model is shown.
        notices: Said at the start, such as servers that are missing.
        fallbacks: The models that may answer in its place, by name.
        compacts_at: Input tokens from which a summary of old turns may be asked for as well.
        inbox: What the user says while the run goes on; taken before each turn.
        playback: A recording that the first turns are taken from.
        on_refused: Told of a call that the loop itself answers, with why it cannot be made.
    """

    run_id: str
    agent: str
    model: Model
    prompt: str
    system: str = ""
    tools: Sequence[Tool] = ()
    limits: Limits = field(default_factory=Limits)
    elapsed: Callable[[], float] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    output: Expected | None = None
    session: str | None = None
    artifacts: Artifacts | None = None
    notices: Sequence[str] = ()
    fallbacks: Sequence[str] = ()
    compacts_at: int | None = None
    inbox: deque[str] = field(default_factory=deque)
    playback: Playback | None = None
    on_refused: Callable[[ToolCall, str], None] | None = None


@dataclass(slots=True)
class Record:
    """What has come of a run so far; valid at any time, also after a cancellation.

    Args:
        transcript: The conversation; the run appends to it.
        answer: The typed answer, once there is a valid one.
    """

    transcript: list[Message]
    status: RunStatus | None = None
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    usage_by_model: dict[str, Usage] = field(default_factory=dict)
    turns: int = 0
    tool_calls: int = 0
    stop_reason: StopReason | None = None
    limit: str | None = None
    error: AofError | None = None
    answer: Answer | None = None
    duration: float = 0.0


async def execute(task: Task, record: Record) -> AsyncGenerator[Event, None]:
    """Runs a task and yields its events.

    A failing model does not raise: the run ends with status ``failed`` and `Record.error`.

    Args:
        task: What to do.
        record: Where it is written down; its transcript is the history to go on from.

    Raises:
        asyncio.CancelledError: If the consuming task is cancelled; the record is valid then.
    """
    started = time.perf_counter()
    run = _Run(task, record)
    try:
        yield RunStarted(task.run_id, task.agent, task.model.name, task.prompt, task.session)
        run.spending = Spending.limited(
            task.run_id,
            task.model.name,
            task.limits,
            task.fallbacks,
            resumed=task.playback is not None,
        )
        for text in task.notices:
            yield Notice(text)
        record.transcript.append(Message.user(task.prompt))
        async with contextlib.aclosing(run.turns()) as events:
            async for event in events:
                yield event
    except AofError as error:
        record.status, record.error = RunStatus.FAILED, error
    finally:
        record.duration = time.perf_counter() - started
        record.status = record.status or RunStatus.CANCELLED
        if run.spending is not None:
            # What cannot be settled stays counted as its worst case.
            with contextlib.suppress(AofError):
                await run.spending.settle(record.usage_by_model)
    yield RunFinished(
        run_id=task.run_id,
        status=record.status,
        text=record.text,
        usage=record.usage,
        turns=record.turns,
        tool_calls=record.tool_calls,
        duration=record.duration,
        usage_by_model=dict(record.usage_by_model),
        limit=record.limit,
        error=record.error.message if record.error else None,
        remedy=record.error.remedy if record.error else None,
        output=record.answer.data if record.answer else None,
    )


class _Run:
    """The state of one run's loop."""

    def __init__(self, task: Task, record: Record) -> None:
        self._task = task
        self._record = record
        self._tools = {tool.spec.name: tool for tool in task.tools}
        self._specs = tuple(tool.spec for tool in task.tools)
        self._checks = ArgumentChecks(self._tools)
        self._call_ids = CallIds(record.transcript)
        self._failures: Counter[bytes] = Counter()
        self._failed_turns = 0
        self.spending: Spending | None = None
        self._last: Usage | None = None
        output = task.output
        self._answers = Answers(output, task.limits.max_corrections) if output else None
        began = asyncio.get_running_loop().time()
        self._elapsed = task.elapsed or (lambda: asyncio.get_running_loop().time() - began)
        self._time_is_over = False

    async def turns(self) -> AsyncGenerator[Event, None]:
        """Goes turn by turn until the run has ended, and sets the record's status."""
        record, most, playback = self._record, self._task.limits.max_turns, self._task.playback
        while True:
            for text in self._said():
                yield Steered(text)
                record.transcript.append(Message.user(text))
            if record.turns >= most:
                yield self._limit("turns", f"{record.turns} of {most} turns were made")
                record.status = RunStatus.LIMIT
                return
            if (limit := self._due_limit()) is not None:
                yield self._limit(*limit)
            if playback is not None and (recorded := playback.cost_limit()) is not None:
                yield self._limit("cost", recorded.detail)
                if playback.has_ended:
                    record.status = RunStatus.LIMIT
                    return
            elif self.spending is not None and (playback is None or playback.is_paid_for):
                verdict = await self.spending.admit(self._worst_case(), record.usage_by_model)
                if verdict.notice:
                    yield Notice(verdict.notice)
                if not verdict.admitted:
                    yield self._limit("cost", verdict.detail)
                    record.status = RunStatus.LIMIT
                    return
                if verdict.last and record.limit is None and self._specs:
                    yield self._limit("cost", verdict.detail)
            withheld = record.limit is not None
            record.turns += 1
            yield TurnStarted(record.turns, withheld)
            response: ModelResponse | None = None
            async with contextlib.aclosing(self._respond(withheld)) as arriving:
                async for item in arriving:
                    if isinstance(item, ModelResponse):
                        response = item
                    else:
                        yield item
            if record.status is not None:
                return
            if response is None:
                raise BrokenStream(f"{self._task.model.name} ended without a response")
            message = self._call_ids.distinct(response.message)
            if message is not response.message:
                response = msgspec.structs.replace(response, message=message)
            phase = self._receive(response, withheld)
            finished = TurnFinished(
                record.turns, response.message, response.stop_reason, response.usage, response.model
            )
            if phase is None:
                yield finished
                if response.stop_reason is StopReason.PAUSE and not withheld:
                    continue
                judged = self._judge(response)
                if judged.notice:
                    yield Notice(judged.notice)
                if judged.correction:
                    continue
                if (cut := self._finish(response)) is not None:
                    yield cut
                return
            try:
                yield finished
                async with contextlib.aclosing(phase.events()) as events:
                    async for event in events:
                        yield event
            finally:
                record.transcript.append(Message("tool", phase.results()))
            if phase.failure is not None:
                raise phase.failure
            if phase.waiting:
                record.status = RunStatus.WAITING
                return
            if response.stop_reason is StopReason.REFUSAL:
                record.status = RunStatus.REFUSED
                return
            if (limit := self._limit_after(phase)) is not None:
                yield self._limit(*limit)
            if withheld or self._out_of_time() or self._out_of_tokens():
                record.status = RunStatus.LIMIT
                return

    def _said(self) -> list[str]:
        """What the user has said since the turn before, now or in the recording."""
        playback, inbox = self._task.playback, self._task.inbox
        said = [] if playback is None else playback.steered()
        if playback is None or playback.live:
            said += [sendable(inbox.popleft()) for _ in range(len(inbox))]
        return said

    async def _respond(self, withheld: bool) -> AsyncGenerator[ModelEvent | LimitReached, None]:
        """Streams one response, keeping what had arrived if it is cut off."""
        task, record = self._task, self._record
        messages = tuple(record.transcript)
        if withheld and self._specs and record.limit is not None:
            messages += (Message.user(_LAST_TURN.format(limit=record.limit.replace("_", " "))),)
        request = ModelRequest(
            messages=messages,
            system=task.system,
            tools=self._specs,
            tool_choice="none" if withheld else "auto",
            sampling=task.sampling,
            output_schema=task.output.schema if task.output else None,
        )
        stream = task.model.stream(request)
        source = stream if task.limits.max_seconds is None else _until(stream, self._left)
        asked = task.model.name
        texts: list[str] = []
        complete = False
        try:
            async for event in source:
                if isinstance(event, TextDelta):
                    texts.append(event.text)
                elif isinstance(event, ResponseSuperseded):
                    texts.clear()
                elif isinstance(event, RetryScheduled | ModelFellBack):
                    if event.usage.total_tokens:
                        self._count(event.model, event.usage)
                    if isinstance(event, ModelFellBack):
                        asked = event.fallback
                    self._log(event)
                elif isinstance(event, ContextCompacted):
                    if event.usage.total_tokens:
                        self._count(event.summary_model, event.usage)
                    self._log(event)
                elif isinstance(event, ModelResponse):
                    complete = True
                yield event
                if complete:
                    break
        except _DeadlineReached:
            record.status = RunStatus.LIMIT
            yield self._limit("seconds", f"{task.limits.max_seconds:g} s were over")
        except ModelError as error:
            if error.partial_usage is not None:
                self._count(asked, error.partial_usage)
            if error.partial is None and texts:
                error.partial = Message("assistant", (Text("".join(texts)),), interrupted=True)
            raise
        except AofError:
            raise
        except Exception as error:
            name = type(error).__name__
            raise ModelError(f"{task.model.name} failed: {name}: {error}") from error
        finally:
            if not complete:
                self._keep_partial("".join(texts), asked)
            if source is not stream:
                await source.aclose()
            # A connection that cannot be closed well takes nothing from what came over it.
            with contextlib.suppress(Exception):
                await stream.aclose()

    def _keep_partial(self, text: str, model: str) -> None:
        if text:
            record = self._record
            record.text = text
            record.transcript.append(
                Message("assistant", (Text(text),), model=model, interrupted=True)
            )

    def _log(self, event: RetryScheduled | ModelFellBack | ContextCompacted) -> None:
        fields = msgspec.structs.asdict(event)
        fields.pop("usage")
        fields = {"run_id": self._task.run_id, "agent": self._task.agent, **fields}
        level = logging.INFO if isinstance(event, ContextCompacted) else logging.WARNING
        _logger.log(level, "%s", in_a_line(event), extra=fields)

    def _count(self, model: str, usage: Usage) -> None:
        record = self._record
        record.usage += usage
        record.usage_by_model[model] = record.usage_by_model.get(model, Usage()) + usage

    def _receive(self, response: ModelResponse, withheld: bool) -> _ToolPhase | None:
        """Writes a response down; the calls it asks for, if any, as a phase to carry out."""
        record, limits = self._record, self._task.limits
        self._count(response.requested_model or self._task.model.name, response.usage)
        self._last = response.usage
        record.text = response.message.text or record.text
        record.stop_reason = response.stop_reason
        calls = response.message.tool_calls
        if response.message.parts:
            record.transcript.append(response.message)
        if not calls:
            return None
        refusals: dict[int, str] = {}
        if withheld:
            refusals = dict.fromkeys(range(len(calls)), _WITHHELD)
        elif self._out_of_tokens():
            refusals = dict.fromkeys(range(len(calls)), _NO_TOKENS.format(limits.max_tokens))
        elif limits.max_tool_calls is not None:
            left = max(0, limits.max_tool_calls - record.tool_calls)
            text = _NO_CALLS.format(limits.max_tool_calls)
            refusals = dict.fromkeys(range(left, len(calls)), text)
        if response.stop_reason is StopReason.REFUSAL:
            refusals = dict.fromkeys(range(len(calls)), _REFUSED)
        elif response.stop_reason in _CUT and not calls[-1].arguments:
            # No arguments may mean that they were still to come.
            refusals.setdefault(len(calls) - 1, _CUT_OFF)
        repeated: set[int] = set()
        last_chance: set[int] = set()
        for place, call in enumerate(calls if self._failures else ()):
            times = self._failures[_identity(call)]
            if times >= limits.max_repeats and place not in refusals:
                refusals[place] = _REPEATED.format(times)
                repeated.add(place)
            elif times and times + 1 >= limits.max_repeats:
                last_chance.add(place)
        record.tool_calls += len(calls) - len(refusals)
        return _ToolPhase(
            task=self._task,
            turn=record.turns,
            calls=calls,
            tools=self._tools,
            checks=self._checks,
            refusals=refusals,
            repeated=repeated,
            last_chance=last_chance,
            left=self._left,
        )

    def _judge(self, response: ModelResponse) -> Judged:
        """Writes a typed answer down, or the correction of one that is wrong."""
        if self._answers is None or response.stop_reason in _NO_ANSWER:
            return Judged()
        more = self._record.turns < self._task.limits.max_turns
        judged = self._answers.judge(
            response.message.text,
            may_correct=more and not self._out_of_time() and not self._out_of_tokens(),
        )
        self._record.answer = judged.answer
        if judged.correction:
            self._record.transcript.append(Message.user(judged.correction))
        return judged

    def _finish(self, response: ModelResponse) -> LimitReached | None:
        """Sets how the run ended with a response that asks for no tools."""
        record = self._record
        reason = response.stop_reason
        if reason is StopReason.REFUSAL:
            record.status = RunStatus.REFUSED
        elif reason is StopReason.CONTEXT_FULL:
            raise ContextTooLong(
                f"the context window of {response.model} is full",
                remedy="start a new session, or lower limits.max_output_chars",
            )
        elif reason is StopReason.MAX_TOKENS and record.limit is None:
            record.status = RunStatus.LIMIT
            return self._limit("max_tokens", "the answer was cut at the limit of output tokens")
        else:
            record.status = RunStatus.LIMIT if record.limit else RunStatus.COMPLETED
        return None

    def _worst_case(self) -> Usage:
        transcript = self._record.transcript
        new = transcript if self._last is None else transcript[-1:]
        task = self._task
        worst = worst_case(self._last, tuple(new), task.system, self._specs, task.sampling)
        if task.compacts_at is not None and worst.input_tokens >= task.compacts_at:
            worst += worst
        return worst

    def _limit(self, limit: str, detail: str) -> LimitReached:
        self._record.limit = self._record.limit or limit
        return LimitReached(limit, detail)

    def _left(self) -> float | None:
        """Seconds of wall time that are left; None without a limit."""
        seconds = self._task.limits.max_seconds
        return None if seconds is None else seconds - self._elapsed()

    def _out_of_time(self) -> bool:
        left = self._left()
        self._time_is_over = self._time_is_over or (left is not None and left <= 0)
        return self._time_is_over

    def _out_of_tokens(self) -> bool:
        limit = self._task.limits.max_tokens
        return limit is not None and self._record.usage.total_tokens >= limit

    def _due_limit(self) -> tuple[str, str] | None:
        """The limit that makes the coming turn the last one, if it is new."""
        record, limits = self._record, self._task.limits
        if record.limit is not None:
            return None
        if record.turns + 1 >= limits.max_turns and (record.turns or self._specs):
            return "turns", f"turn {record.turns + 1} of {limits.max_turns}: the last"
        left = self._left()
        seconds = limits.max_seconds
        if left is not None and seconds is not None and record.turns:
            due = left < seconds * _TIME_FOR_ANSWER
            return ("seconds", f"{left:.0f} of {seconds:g} s are left") if due else None
        return None

    def _limit_after(self, phase: _ToolPhase) -> tuple[str, str] | None:
        """The limit that a turn's calls have run into."""
        record, limits = self._record, self._task.limits
        results = phase.results()
        for call, result in zip(phase.calls, results, strict=True):
            if result.is_error:
                self._failures[_identity(call)] += 1
            elif self._failures:
                self._failures.pop(_identity(call), None)
        failed = all(result.outcome is Outcome.ERROR for result in results)
        self._failed_turns = self._failed_turns + 1 if failed else 0
        if self._out_of_time():
            return "seconds", f"{limits.max_seconds:g} s were over"
        used = record.usage.total_tokens
        if self._out_of_tokens():
            return "tokens", f"{used:,} tokens were used"
        if record.limit is not None:
            return None
        if phase.repeated:
            return "repeated_call", "the same failing call was asked for again"
        if limits.max_tool_calls is not None and record.tool_calls >= limits.max_tool_calls:
            return "tool_calls", f"{record.tool_calls} tool calls were made"
        if self._failed_turns > limits.max_corrections:
            return "corrections", f"all calls failed in {self._failed_turns} turns in a row"
        if limits.max_tokens is not None and used + 2 * used / record.turns > limits.max_tokens:
            return "tokens", f"{used:,} of {limits.max_tokens:,} tokens are used"
        return None


_TIME_FOR_ANSWER = 0.15
_PATIENCE_SECONDS = 10.0
_CUT = frozenset({StopReason.MAX_TOKENS, StopReason.CONTEXT_FULL})
_NO_ANSWER = _CUT | {StopReason.REFUSAL}
_CUT_OFF = (
    "Not carried out: your response was cut at its limit of output tokens, and the call's "
    "arguments may be missing. Ask for it again, with less before it."
)
_REFUSED = "Not carried out: the response that asked for it ended in a refusal."
_WITHHELD = "Not carried out: the run has reached its limit, and tools are no longer available."
_NO_TOKENS = "Not carried out: the run's limit of {} tokens is reached."
_NO_TIME = "Not carried out: the run's time was over before its turn came."
_PUT_OFF = "Not carried out: the run stopped before its turn came."
_NO_CALLS = "Not carried out: the run's limit of {} tool calls is reached."
_REPEATED = "Not carried out: this same call has already failed {} times."
_DO_NOT_REPEAT = (
    "\n\nThis same call has failed before in the same way. Do not repeat it: change it, find "
    "another way, or answer with what you know."
)
_LAST_TURN = (
    "[This run has reached its limit ({limit}). Tools are no longer available. Answer now with "
    "what you have found, and say what is left open.]"
)


class _DeadlineReached(Exception):
    """The run's wall time was over while the model answered."""


async def _until(
    stream: AsyncGenerator[ModelEvent, None], left: Callable[[], float | None]
) -> AsyncGenerator[ModelEvent, None]:
    while True:
        try:
            async with asyncio.timeout(left()) as within:
                event = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not within.expired():
                raise
            raise _DeadlineReached from None
        yield event


def _identity(call: ToolCall) -> bytes:
    arguments = call.raw_arguments if call.arguments is None else call.arguments
    return msgspec.json.encode((call.name, arguments), order="deterministic")


class _ToolPhase:
    """One turn's tool calls: concurrent, unless a tool asks to run alone."""

    def __init__(
        self,
        *,
        task: Task,
        turn: int,
        calls: tuple[ToolCall, ...],
        tools: dict[str, Tool],
        checks: ArgumentChecks,
        refusals: dict[int, str],
        repeated: set[int],
        last_chance: set[int],
        left: Callable[[], float | None],
    ) -> None:
        self.calls = calls
        self.repeated = repeated
        self._last_chance = last_chance
        self._task = task
        self._turn = turn
        self._tools = tools
        self._checks = checks
        self._refusals = refusals
        self._left = left
        self.waiting = False
        self.failure: JournalError | None = None
        self._results: dict[int, ToolResult] = {}
        self._queue: asyncio.Queue[Event | int] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def results(self) -> tuple[ToolResult, ...]:
        """One result for each call, in order; interrupted for those that have not finished."""
        return tuple(
            self._results.get(place)
            or ToolResult(call.id, call.name, INTERRUPTED, Outcome.INTERRUPTED)
            for place, call in enumerate(self.calls)
        )

    async def events(self) -> AsyncGenerator[Event, None]:
        """Carries the calls out, group by group, as long as none waits for a person."""
        groups = self._groups()
        if self._task.playback is not None:
            self._task.playback.arrange([[self.calls[n].id for n in group] for group in groups])
        for group in groups:
            if self.waiting or self.failure is not None:
                self._put_off(group)
                continue
            if (left := self._left()) is not None and left <= 0:
                self._refusals = dict.fromkeys(group, _NO_TIME) | self._refusals
            async with contextlib.aclosing(self._carry_out(group)) as events:
                async for event in events:
                    yield event

    def _put_off(self, group: list[int]) -> None:
        for place in group:
            call = self.calls[place]
            self._results[place] = ToolResult(call.id, call.name, _PUT_OFF, Outcome.DENIED)

    def _groups(self) -> list[list[int]]:
        groups: list[list[int]] = []
        alone = True
        for place, call in enumerate(self.calls):
            tool = self._tools.get(call.name)
            exclusive = tool is not None and tool.spec.exclusive
            if exclusive or alone:
                groups.append([])
            groups[-1].append(place)
            alone = exclusive
        return groups

    async def _carry_out(self, group: list[int]) -> AsyncGenerator[Event, None]:
        pending: dict[int, tuple[asyncio.Task[ToolOutput], float]] = {}
        try:
            for place in group:
                call = self.calls[place]
                tool = self._tools.get(call.name)
                effect = tool.spec.effect.value if tool is not None else "unknown"
                yield ToolStarted(self._turn, call, effect)
                complaint = self._refusals.get(place) or self._checks.complaint(call)
                work = self._work(place, call, tool, complaint)
                running = asyncio.create_task(work, name=f"tool {call.name}")
                pending[place] = (running, time.perf_counter())
            while pending:
                try:
                    item = await self._next()
                except TimeoutError:
                    break
                if isinstance(item, int):
                    yield await self._settle(item, *pending.pop(item))
                else:
                    yield item
            await _stop([running for running, _ in pending.values()])
            while pending:
                place = next(iter(pending))
                yield await self._settle(place, *pending.pop(place))
            while not self._queue.empty():
                if not isinstance(item := self._queue.get_nowait(), int):
                    yield item
        finally:
            try:
                await _stop([running for running, _ in pending.values()])
            finally:
                for place, (running, _) in pending.items():
                    self._note(place, running, keep=False)

    async def _next(self) -> Event | int:
        """The next event, or the place of a call that has ended."""
        if (left := self._left()) is None:
            return await self._queue.get()
        async with asyncio.timeout(left):
            return await self._queue.get()

    async def _work(
        self, place: int, call: ToolCall, tool: Tool | None, complaint: str | None
    ) -> ToolOutput:
        try:
            if tool is None or (complaint and not self._was_made(call)):
                return await self._refuse(call, complaint or "")
            return await self._call(tool, call)
        finally:
            # In the moment it ends: its place among the events is the one in the journal.
            self._queue.put_nowait(place)

    def _was_made(self, call: ToolCall) -> bool:
        """Whether a call was made that would not be made now: nobody is told that it was not."""
        playback = self._task.playback
        return playback is not None and playback.has_made(call.id)

    async def _refuse(self, call: ToolCall, complaint: str) -> ToolOutput:
        playback, refused = self._task.playback, self._task.on_refused
        recorded = playback is not None and await playback.refusal(call.id)
        if refused is not None and not recorded:
            refused(call, complaint)
        return ToolOutput(complaint, is_error=True)

    async def _call(self, tool: Tool, call: ToolCall) -> ToolOutput:
        context = ToolContext(self._task.run_id, call.id, self._emit)
        try:
            return await called(tool, call.arguments or {}, context)
        except ApprovalPending as pending:
            self.waiting = True
            return ToolOutput(pending.message, is_error=True, denied=True)
        except JournalError as error:
            self.failure = error
            return ToolOutput(f"Not carried out: {error.message}", is_error=True, denied=True)

    def _emit(self, event: Event) -> None:
        if threading.get_ident() == self._thread:
            self._queue.put_nowait(event)
        else:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    def _note(
        self, place: int, running: asyncio.Task[ToolOutput], *, keep: bool = True
    ) -> ToolOutput:
        """Writes the result of an ended call down, capped; returns the whole output.

        With `keep`, what is cut is said to be kept, which is then to be done.
        """
        call = self.calls[place]
        if not running.done() or running.cancelled():
            output, outcome = ToolOutput(INTERRUPTED, is_error=True), Outcome.INTERRUPTED
        else:
            output, outcome = running.result(), Outcome.OK
            if output.unknown:
                outcome = Outcome.INTERRUPTED
            elif output.dry_run:
                outcome = Outcome.DRY_RUN
            elif output.is_error:
                outcome = Outcome.DENIED if output.denied else Outcome.ERROR
        limit, kept_as = self._task.limits.max_output_chars, None
        if keep and len(output.content) > limit and self._task.artifacts is not None:
            kept_as = self._task.artifacts.name(call.id)
        content = sendable(truncate(output.content, limit, kept_as=kept_as))
        if output.is_error and place in self._last_chance:
            content += _DO_NOT_REPEAT
        self._results[place] = ToolResult(call.id, call.name, content, outcome, kept_as)
        return output

    async def _settle(
        self, place: int, running: asyncio.Task[ToolOutput], started: float
    ) -> ToolFinished:
        duration = time.perf_counter() - started
        output = self._note(place, running)
        result = self._results[place]
        path = None
        if result.artifact is not None and self._task.artifacts is not None:
            try:
                path = str(await self._task.artifacts.save(result.call_id, output.content))
            except OSError as error:
                self._emit(Notice(f"the whole output of {result.name} was not kept: {error}"))
                self._note(place, running, keep=False)
                result = self._results[place]
        if result.outcome is not Outcome.OK:
            _logger.info(
                "tool %s: %s",
                result.name,
                result.outcome.value,
                extra={
                    "run_id": self._task.run_id,
                    "agent": self._task.agent,
                    "tool": result.name,
                    "call_id": result.call_id,
                    "outcome": result.outcome.value,
                    "duration_s": round(duration, 3),
                },
            )
        return ToolFinished(
            call_id=result.call_id,
            name=result.name,
            outcome=result.outcome,
            content=result.content,
            duration=duration,
            data=output.data,
            artifact=path,
        )


async def _stop(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended, even if this is cancelled again.

    One that will not end is left to itself: a run that nobody can stop would be worse.
    """
    for task in tasks:
        task.cancel()
    again: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    given_up = loop.time() + _PATIENCE_SECONDS
    while not all(task.done() for task in tasks) and (left := given_up - loop.time()) > 0:
        try:
            await asyncio.wait(tasks, timeout=left)
        except asyncio.CancelledError as cancelled:
            again = cancelled
    if again is not None:
        raise again
