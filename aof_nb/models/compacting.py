"""A model whose conversations are kept within its context window.

The user is warned once a run when a conversation has nearly filled the window. When it is about to
be full, old tool outputs are left out; if that is not enough, a model summarises the old turns. A
request that the provider refuses as too long is compacted further and sent once more. Only what is
sent is changed, never the run's record.

What was left out stays left out: until the next time, requests repeat each other's beginning byte
for byte, as the providers' caches need it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator

import msgspec

from aof_nb.errors import ContextTooLong
from aof_nb.events import (
    DELTAS,
    ContextCompacted,
    ModelEvent,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
)
from aof_nb.messages import Message, Opaque, StopReason, Usage
from aof_nb.models.compaction import (
    ContextPolicy,
    last_turns,
    old_turns,
    with_shorter_outputs,
    without_outputs,
)
from aof_nb.models.counting import counted
from aof_nb.models.resilience import RetryPolicy
from aof_nb.models.summarising import Summariser
from aof_nb.models.tokens import TokenMeter, message_tokens
from aof_nb.models.windows import OLLAMA_VARIABLE, stated_sizes, window_of
from aof_nb.ports import Model, ModelRequest

_AFTER = 0.6
"""The part of the window that a compaction aims at: far enough that the next one is far."""
_SURE = 0.85
"""The part of a window that its provider has named which a request sent once more may take."""
_WORTH_A_SUMMARY = 0.1
"""The part of the window that old turns must take to be summarised."""
_WORTH_A_COUNT = 0.05
"""The part of the window that must be estimated for the provider to be asked."""
_LEAST_OLD = 500
_OUTPUT_CHARACTERS = (8000, 4000, 2000, 1000, 500, 250)


class ContextWarnings:
    """Which warnings of one run have been given, whichever of its models gave them."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def given(self, kind: str) -> bool:
        """Whether a warning of this kind was given."""
        return kind in self._given

    def first(self, kind: str) -> bool:
        """Whether a warning of this kind is the first."""
        if kind in self._given:
            return False
        self._given.add(kind)
        return True


class _Plan(msgspec.Struct, frozen=True):
    """What is sent instead of a conversation's beginning."""

    source: tuple[Message, ...]
    instead: tuple[Message, ...]
    summary: Message | None


_plans: OrderedDict[tuple[str, int | None, str], _Plan] = OrderedDict()
"""The last ones of this process, by model, window and first message: for the next prompt of a
conversation, which would else be compacted, and summarised, anew."""
_MOST_PLANS = 32


def compacts_at(model: str, policy: ContextPolicy) -> int | None:
    """The input tokens from which a model may be asked for a summary too; None if it is not.

    Args:
        model: Its full name.
        policy: What is done, and when.
    """
    window = window_of(model, policy.window)
    if window is None or policy.summary_model is False:
        return None
    return int(window * policy.compact_at)


class CompactingModel:
    """A model, for one run, that is not sent more than it takes.

    Args:
        model: The model, with its retries.
        policy: What is done, and when.
        retry: How often a summarising model is asked again.
        warnings: Shared with the other models of the run.
    """

    def __init__(
        self,
        model: Model,
        policy: ContextPolicy,
        *,
        retry: RetryPolicy | None = None,
        warnings: ContextWarnings | None = None,
    ) -> None:
        self._model = model
        self._policy = policy
        self._warnings = warnings or ContextWarnings()
        self._meter = TokenMeter()
        self._window = window_of(model.name, policy.window)
        self._certain = window_of(model.name, policy.window) != window_of(model.name)
        self._begun = False
        self._plan: _Plan | None = None
        self._summariser = Summariser(model, policy, retry)

    @property
    def name(self) -> str:
        """The model's own."""
        return self._model.name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the response; what is done about the context comes before it."""
        sent = self._planned(request)
        size = self._meter.count(sent)
        room = self._room(request)
        if room is not None and self._matters(size, room):
            size = await self._counted(sent, size, room)
        if (
            room is not None
            and size >= self._policy.warn_at * room
            and self._warnings.first("full")
        ):
            yield Notice(self._warning(size, room))
        if room is not None and size >= (limit := self._policy.compact_at * room):
            compacting = self._compact(request, sent, size, _AFTER * room, limit)
            async with contextlib.aclosing(compacting):
                async for event in compacting:
                    yield event
            sent = self._planned(request)
            size = self._meter.count(sent)
            if size >= room and self._warnings.first(f"does not fit {self.name}"):
                yield Notice(self._does_not_fit(size, room))
        retried = False
        while True:
            shown = False
            refusal: ContextTooLong | None = None
            full: ModelResponse | None = None
            events = self._model.stream(sent)
            try:
                async for event in events:
                    if isinstance(event, ModelResponse):
                        self._learn(event.usage.input_tokens)
                        if _is_full(event) and not retried:
                            full = event
                            continue
                    else:
                        shown = shown or isinstance(event, DELTAS)
                    yield event
            except ContextTooLong as error:
                if retried or (error.partial is not None and _ran_tools(error.partial)):
                    raise
                refusal = error
            finally:
                await events.aclose()
            if refusal is None and full is None:
                return
            size, room, sure = self._exceeded(refusal, full, size, request)
            before, target = self._plan, _AFTER * room
            limit = _SURE * room if sure else target
            compacting = self._compact(request, sent, size, target, limit, keep=1)
            async with contextlib.aclosing(compacting):
                async for event in compacting:
                    yield event
            if self._plan is before:
                if refusal is not None:
                    raise refusal
                assert full is not None
                yield full
                return
            if shown:
                yield ResponseSuperseded(self.name)
            if full is not None:
                yield RetryScheduled(self.name, "its context is full", 0.0, 1, 2, full.usage)
            sent = self._planned(request)
            size = self._meter.count(sent)
            retried = True

    def _matters(self, size: int, room: int) -> bool:
        if size >= self._policy.compact_at * room:
            return True
        return size >= self._policy.warn_at * room and not self._warnings.given("full")

    async def _counted(self, sent: ModelRequest, size: int, room: int) -> int:
        """The provider's own count, where much of ours is a guess that errs high."""
        if self._meter.estimated < _WORTH_A_COUNT * room:
            return size
        tokens = await counted(self._model, sent)
        if tokens is None:
            return size
        self._meter.learn(tokens)
        return self._meter.count(sent)

    def _planned(self, request: ModelRequest) -> ModelRequest:
        """The request, with what was decided before about its beginning."""
        if not self._begun:
            # What an earlier prompt of the conversation has led to.
            self._begun = True
            self._plan = _plans.get(self._key(request.messages))
        plan = self._plan
        if plan is None:
            return request
        known = len(plan.source)
        if len(request.messages) < known or request.messages[:known] != plan.source:
            self._plan = None
            return request
        messages = (*plan.instead, *request.messages[known:])
        return msgspec.structs.replace(request, messages=messages)

    def _room(self, request: ModelRequest) -> int | None:
        """Tokens that the input may take: the window, without the output that is asked for."""
        if self._window is None:
            return None
        return self._window - min(request.sampling.max_tokens or 0, self._window // 2)

    def _learn(self, input_tokens: int) -> None:
        self._meter.learn(input_tokens)
        if self._window is not None and input_tokens > self._window and not self._certain:
            self._window = None

    def _exceeded(
        self,
        refusal: ContextTooLong | None,
        full: ModelResponse | None,
        size: int,
        request: ModelRequest,
    ) -> tuple[int, int, bool]:
        """The size of what was too long, what the model takes, and whether it has said so."""
        stated = stated_sizes(refusal.message) if refusal is not None else None
        if stated is not None:
            self._meter.learn(stated.used)
            self._window, self._certain = stated.window, True
            return stated.used, stated.window - stated.output, True
        if full is not None and full.usage.input_tokens:
            self._window, self._certain = full.usage.total_tokens, True
            return full.usage.input_tokens, full.usage.total_tokens, True
        self._window = min(size, self._window or size)
        return size, self._room(request) or size, False

    def _warning(self, size: int, room: int) -> str:
        who = self._summariser.name
        then = f", then {who} summarises old turns" if who else ""
        return (
            f"{self.name}: the context is {size / room:.0%} full, about {size:,} of {room:,} "
            f"tokens; at {self._policy.compact_at:.0%} old tool outputs are left out{then}"
        )

    def _does_not_fit(self, size: int, room: int) -> str:
        remedy = "start a new session, lower limits.max_output_chars, or set context.window"
        if self.name.startswith("ollama:"):
            remedy = f"start Ollama with {OLLAMA_VARIABLE}, and set context.window to the same"
        return f"{self.name}: about {size:,} tokens do not fit into its {room:,}: {remedy}"

    async def _compact(
        self,
        request: ModelRequest,
        sent: ModelRequest,
        before: int,
        target: float,
        limit: float,
        *,
        keep: int | None = None,
    ) -> AsyncGenerator[ModelEvent, None]:
        """Makes a new plan, if anything can be left out.

        Args:
            request: As the run made it.
            sent: As it would be sent by the plan so far.
            before: Its size.
            target: Tokens it should have.
            limit: Tokens beyond which recent outputs are cut too.
            keep: Turns that stay, if not as many as the policy says.
        """
        end = last_turns(sent.messages, keep or self._policy.keep_last)
        messages, dropped = without_outputs(sent.messages, end)
        summary = self._plan.summary if self._plan is not None else None
        summarised, usage, who = 0, Usage(), self._summariser.name
        split = old_turns(messages, end, summary)
        room = target / _AFTER
        if (
            who
            and self._gauge(sent, messages) > target
            and sum(map(message_tokens, split.old)) > max(_WORTH_A_SUMMARY * room, _LEAST_OLD)
        ):
            summarising = self._summariser.summarise((*split.first, *split.old), self._window)
            async with contextlib.aclosing(summarising):
                async for event in summarising:
                    yield event
            usage, text = self._summariser.usage, self._summariser.text
            if text:
                shorter = split.summarised(text, who)
                if self._gauge(sent, shorter) < self._gauge(sent, messages):
                    messages, summarised = shorter, len(split.old)
                    summary = shorter[len(split.first)]
        shortened = False
        if self._gauge(sent, messages) > max(limit, target):
            cut = self._cut(sent, messages, target)
            shortened = cut != messages
            messages = cut if shortened else messages
        if messages is not sent.messages:
            self._adopt(request.messages, messages, summary)
        elif not usage.total_tokens:
            return
        yield ContextCompacted(
            model=self.name,
            before=before,
            after=self._gauge(sent, messages),
            window=self._window,
            dropped=dropped,
            shortened=shortened,
            summarised=summarised,
            summary_model=who if summarised or usage.total_tokens else "",
            usage=usage,
        )

    def _gauge(self, request: ModelRequest, messages: tuple[Message, ...]) -> int:
        return self._meter.gauge(msgspec.structs.replace(request, messages=messages))

    def _cut(
        self, request: ModelRequest, messages: tuple[Message, ...], target: float
    ) -> tuple[Message, ...]:
        shorter = messages
        for most in _OUTPUT_CHARACTERS:
            shorter = with_shorter_outputs(messages, most)
            if self._gauge(request, shorter) <= target:
                break
        return shorter

    def _adopt(
        self,
        original: tuple[Message, ...],
        messages: tuple[Message, ...],
        summary: Message | None,
    ) -> None:
        same = 0
        most = min(len(original), len(messages))
        while same < most and original[-1 - same] is messages[-1 - same]:
            same += 1
        source = original[: len(original) - same]
        self._plan = _Plan(source, messages[: len(messages) - same], summary)
        key = self._key(original)
        _plans[key] = self._plan
        _plans.move_to_end(key)
        while len(_plans) > _MOST_PLANS:
            _plans.popitem(last=False)

    def _key(self, messages: tuple[Message, ...]) -> tuple[str, int | None, str]:
        known = window_of(self.name, self._policy.window)
        return self.name, known, messages[0].text if messages else ""


def _is_full(response: ModelResponse) -> bool:
    full = response.stop_reason is StopReason.CONTEXT_FULL
    return full and not response.message.tool_calls and not _ran_tools(response.message)


def _ran_tools(message: Message) -> bool:
    # Blocks that only the provider understands are tools it has run: not twice.
    return any(isinstance(part, Opaque) for part in message.parts)
