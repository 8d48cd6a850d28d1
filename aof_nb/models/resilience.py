"""Retry, circuit breaker and rate limit around one model: the layer every provider gets.

The SDKs' own retries are off. A request that failed in a way that may pass is sent again after
a wait with full jitter, or the wait the provider asked for, within a budget of time. What was
shown of a response that broke is said to be superseded. A response in which the provider has
already run a tool of its own is not asked for again.

Source for the jitter: M. Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import msgspec

from aof_nb.errors import (
    AofError,
    BrokenStream,
    CircuitOpen,
    ConfigurationError,
    ConnectionFailed,
    ModelError,
    ModelTimeout,
    Overloaded,
    RateLimited,
    ServerError,
)
from aof_nb.events import (
    DELTAS,
    ModelEvent,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
)
from aof_nb.messages import Opaque, Usage
from aof_nb.models import breaker_board
from aof_nb.models.breaker import Breaker, Breakers, BreakerState, Permit
from aof_nb.models.counting import counted
from aof_nb.models.limiter import Limiter, Turn, limiter_of, now
from aof_nb.models.tokens import TokenMeter
from aof_nb.ports import Model, ModelRequest

if TYPE_CHECKING:
    from tenacity import RetryCallState

_logger = logging.getLogger("aof_nb.models")
_logger.addHandler(logging.NullHandler())
_OUTAGES = (BrokenStream, ConnectionFailed, ModelTimeout, Overloaded, ServerError)
_WORTH_SAYING = 1.0
_LIKELY_OUTPUT = 1024
_REASONS: dict[type[ModelError], str] = {
    BrokenStream: "the response broke off",
    CircuitOpen: "left alone after failures",
    ConnectionFailed: "cannot be reached",
    ModelTimeout: "did not answer in time",
    Overloaded: "overloaded",
    RateLimited: "rate limit reached",
    ServerError: "failed on its side",
}


def _changed(breaker: Breaker) -> None:
    breaker_board.post(breaker)
    state = breaker.state
    _logger.log(
        logging.INFO if state is BreakerState.CLOSED else logging.WARNING,
        "%s is %s",
        breaker.model,
        "answering again" if state is BreakerState.CLOSED else f"left alone: {breaker.reason}",
        extra={"model": breaker.model, "breaker": state.value, "reason": breaker.reason},
    )


breakers = Breakers(clock=now, on_change=_changed)


def reset() -> None:
    """Forgets all failures of all models, as in a new process."""
    breakers.reset()


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, and for how long, a failed model request is sent again.

    Args:
        attempts: Times a request is sent at most.
        first_delay: Seconds the first wait is at most; each next one may be twice as long.
        max_delay: Seconds a wait is at most, unless the provider asks for more.
        budget: Seconds after which no further attempt begins.
    """

    attempts: int = 5
    first_delay: float = 1.0
    max_delay: float = 30.0
    budget: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.first_delay, self.max_delay, self.budget) < 0:
            raise ConfigurationError(
                f"attempts={self.attempts}, first_delay={self.first_delay:g}, "
                f"max_delay={self.max_delay:g}, budget={self.budget:g} is no retry policy",
                remedy="give at least one attempt, and no negative times",
            )


class ResilientModel:
    """A model whose passing failures are waited out.

    Args:
        model: The model.
        retry: How often it is asked again.
        last: Whether no other model is asked if this one fails. If another is, a model that
            is left alone by its breaker is given up at once instead of waited for.
    """

    def __init__(
        self,
        model: Model,
        *,
        retry: RetryPolicy | None = None,
        last: bool = True,
    ) -> None:
        self._model = model
        self._retry = retry or RetryPolicy()
        self._last = last
        self._provider = model.name.partition(":")[0]
        self._breaker = breakers.of(model.name)
        self._meter = TokenMeter()

    @property
    def name(self) -> str:
        """The model's own."""
        return self._model.name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the response, after as many attempts as it takes."""
        attempts: _Attempts | None = None
        limiter = limiter_of(self._provider)
        begun = now()
        while True:
            shown = False
            permit: Permit | None = None
            await limiter.enter()
            # What each chunk goes through is kept to one generator, and `aclosing` out of it.
            try:
                turn = limiter.take_turn(self._tokens(request) if limiter.counts_tokens else 0)
                if (delay := turn.delay) > 0:
                    if delay > _WORTH_SAYING:
                        said = f"{self._provider}: waits {delay:.0f} s for its rate limit"
                        yield Notice(said, "info")
                    # The turn may move back meanwhile.
                    while (delay := turn.delay) > 0:  # noqa: ASYNC110
                        await asyncio.sleep(delay)
                permit = self._breaker.admit()
                events = self._model.stream(request)
                try:
                    async for event in events:
                        if isinstance(event, ModelResponse):
                            permit.succeeded()
                            turn.used(event.usage.total_tokens)
                            if limiter.counts_tokens:
                                self._meter.learn(event.usage.input_tokens)
                        else:
                            shown = shown or isinstance(event, DELTAS)
                        yield event
                finally:
                    await events.aclose()
            except ModelError as error:
                if permit is not None:
                    _settle(error, permit, limiter, turn)
                if not self._may_retry(error):
                    raise
                attempts = attempts or _Attempts(self._retry, begun)
                delay = await attempts.delay_after(error)
            else:
                return
            finally:
                if permit is not None:
                    permit.withdraw()
                limiter.leave()
            if shown:
                yield ResponseSuperseded(self.name)
            yield RetryScheduled(
                model=self.name,
                reason=reason(attempts.failure),
                delay=delay,
                attempt=attempts.made,
                attempts=self._retry.attempts,
                usage=attempts.failure.partial_usage or Usage(),
            )
            await asyncio.sleep(delay)
            attempts.next()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """A request's input tokens, if the provider counts them."""
        return await counted(self._model, request)

    def _may_retry(self, error: ModelError) -> bool:
        if isinstance(error, CircuitOpen) and not self._last:
            return False
        # Blocks that only the provider understands are tools it has run: not twice.
        parts = error.partial.parts if error.partial is not None else ()
        return error.retryable and not any(isinstance(part, Opaque) for part in parts)

    def _tokens(self, request: ModelRequest) -> int:
        return self._meter.count(request) + (request.sampling.max_tokens or _LIKELY_OUTPUT)


def _settle(error: ModelError, permit: Permit, limiter: Limiter, turn: Turn) -> None:
    turn.used((error.partial_usage or Usage()).total_tokens)
    if isinstance(error, _OUTAGES):
        permit.failed(reason(error))
    else:
        permit.succeeded()
    if isinstance(error, RateLimited) and error.retry_after:
        limiter.pause(error.retry_after)


class _Attempts:
    """One request's attempts: how long to wait after each, and when to give up."""

    def __init__(self, policy: RetryPolicy, begun: float) -> None:
        # Imported at the first failure: most runs have none.
        from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt

        self.failure = ModelError("")
        self._policy = policy
        self._begun = begun
        self._retrying = AsyncRetrying(
            wait=self._wait,
            stop=self._is_over,
            reraise=True,
        )
        self._retrying.begin()
        self._last = stop_after_attempt(policy.attempts)
        self._state = RetryCallState(self._retrying, fn=None, args=(), kwargs={})

    @property
    def made(self) -> int:
        """Attempts so far."""
        return self._state.attempt_number

    async def delay_after(self, error: ModelError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            ModelError: The error itself, if there is to be none.
        """
        self.failure = error
        self._state.set_exception((type(error), error, error.__traceback__))
        await self._retrying.iter(retry_state=self._state)
        return self._state.upcoming_sleep

    def next(self) -> None:
        """The next attempt begins."""
        self._state.prepare_for_next_attempt()

    def _wait(self, state: RetryCallState) -> float:
        policy = self._policy
        most = min(policy.max_delay, policy.first_delay * 2 ** (state.attempt_number - 1))
        # Jitter is not a matter of security.
        jitter = random.uniform(0, most)  # noqa: S311
        asked = self.failure.retry_after
        return jitter if asked is None else asked + jitter / 10

    def _is_over(self, state: RetryCallState) -> bool:
        spent = now() + state.upcoming_sleep - self._begun
        return self._last(state) or spent > self._policy.budget


def reason(error: AofError) -> str:
    """An error in a few words, as it is shown while a request is retried.

    Example:
        >>> reason(Overloaded("anthropic: Overloaded (HTTP 529)"))
        'overloaded'
    """
    return next(
        (words for kind, words in _REASONS.items() if isinstance(error, kind)), error.message
    )
