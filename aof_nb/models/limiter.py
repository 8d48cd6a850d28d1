"""Rate limits per provider, shared by all runs of the process: what is too much waits its turn.

Requests and tokens are spread evenly over the minute (generic cell rate algorithm, ITU-T
I.371 annex A), with a burst of one second's worth; what is under way at once is bounded by a
semaphore that works across event loops and threads.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import deque

import msgspec

from aof_nb.errors import ConfigurationError


def now() -> float:
    """The running event loop's time in seconds, or the same clock's where none runs."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How much a provider may be asked. None means unbounded.

    Args:
        requests_per_minute: Requests, retries included.
        tokens_per_minute: Input and output tokens.
        concurrency: Requests under way at the same time.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(
                    f"{name} is {value}", remedy="give a positive number, or None for no limit"
                )


class LimiterState(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider's limiter stands.

    Args:
        provider: Whose it is.
        limit: What it keeps to.
        under_way: Requests under way; 0 where their number is not limited.
        waiting: Requests that wait for another to end.
        next_in: Seconds until another request may go.
    """

    provider: str
    limit: RateLimit
    under_way: int
    waiting: int
    next_in: float


class _Pace:
    """So many units a minute, one after another."""

    def __init__(self, per_minute: int) -> None:
        burst = max(1, per_minute // 60)
        # The burst counts within the minute, so that no minute ever sees more than its share.
        self._unit = 60.0 / max(1, per_minute - burst)
        self._tolerance = (burst - 1) * self._unit
        self._next = 0.0

    def reserve(self, units: int, moment: float) -> float:
        """When these units may go."""
        at = max(moment, self._next - self._tolerance)
        self._next = max(self._next, moment) + units * self._unit
        return at

    def free_at(self) -> float:
        """When the next unit may go."""
        return self._next - self._tolerance

    def correct(self, units: int) -> None:
        """More, or fewer, units were used than reserved."""
        self._next += units * self._unit

    def pause(self, until: float) -> None:
        """Nothing goes before this moment."""
        self._next = max(self._next, until + self._tolerance)


class Turn:
    """One request's place in the queue.

    Args:
        limiter: Whose queue it is.
        tokens: An estimate of what the request will use.
    """

    def __init__(self, limiter: Limiter, tokens: int) -> None:
        self._limiter = limiter
        self._tokens = tokens
        self._at = limiter._reserve(tokens)  # noqa: SLF001

    @property
    def delay(self) -> float:
        """Seconds until the request may go; 0 if it may now. Ask again after waiting."""
        moment = now()
        if self._at <= moment and self._limiter.paused_until > moment:
            self._at = self._limiter._reserve(self._tokens)  # noqa: SLF001
        return max(0.0, self._at - moment)

    def used(self, tokens: int) -> None:
        """What the request has really used."""
        self._limiter._correct(tokens - self._tokens)  # noqa: SLF001


class Limiter:
    """Keeps what a provider is asked within a limit.

    Args:
        limit: The limit.

    Example:
        >>> limiter = Limiter(RateLimit(requests_per_minute=60))
        >>> limiter.take_turn().delay, round(limiter.take_turn().delay)
        (0.0, 1)
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.paused_until = 0.0
        self._lock = threading.Lock()
        self._requests = _Pace(limit.requests_per_minute) if limit.requests_per_minute else None
        self._tokens = _Pace(limit.tokens_per_minute) if limit.tokens_per_minute else None
        self._free = limit.concurrency
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    @property
    def counts_tokens(self) -> bool:
        """Whether an estimate of the tokens is wanted."""
        return self._tokens is not None

    @property
    def waiting(self) -> int:
        """Requests that wait for another to end."""
        return len(self._waiting)

    def state(self, provider: str) -> LimiterState:
        """How it stands now; nothing is reserved.

        Args:
            provider: Whose it is.
        """
        with self._lock:
            paces = [each for each in (self._requests, self._tokens) if each is not None]
            at = max([self.paused_until, *(each.free_at() for each in paces)])
            limit, free = self.limit, self._free
            return LimiterState(
                provider=provider,
                limit=limit,
                under_way=0 if free is None else (limit.concurrency or 0) - free,
                waiting=len(self._waiting),
                next_in=max(0.0, at - now()),
            )

    def take_turn(self, tokens: int = 0) -> Turn:
        """Queues a request."""
        return Turn(self, tokens)

    def pause(self, seconds: float) -> None:
        """The provider has asked to be left alone for this long."""
        with self._lock:
            self.paused_until = max(self.paused_until, now() + seconds)
            for pace in (self._requests, self._tokens):
                if pace is not None:
                    pace.pause(self.paused_until)

    async def enter(self) -> None:
        """Waits until another request may be under way; `leave` must follow."""
        if self._free is None:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            place = loop, loop.create_future()
            self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            with self._lock:
                queued = place in self._waiting
                if queued:
                    self._waiting.remove(place)
            if not queued:
                # Its place had just been given to it: the next one gets it.
                self.leave()
            raise

    def leave(self) -> None:
        """A request is no longer under way."""
        if self._free is None:
            return
        with self._lock:
            while self._waiting:
                loop, future = self._waiting.popleft()
                try:
                    loop.call_soon_threadsafe(_wake, future)
                except RuntimeError:
                    continue  # Its loop was closed while it waited.
                return
            self._free += 1

    def _reserve(self, tokens: int) -> float:
        moment = now()
        with self._lock:
            at = max(moment, self.paused_until)
            if self._requests is not None:
                at = max(at, self._requests.reserve(1, moment))
            if self._tokens is not None:
                at = max(at, self._tokens.reserve(tokens, moment))
            return at

    def _correct(self, tokens: int) -> None:
        if self._tokens is not None and tokens:
            with self._lock:
                self._tokens.correct(tokens)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_limiters: dict[str, Limiter] = {}
_lock = threading.Lock()


def rate_limit(
    provider: str,
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    concurrency: int | None = None,
) -> None:
    """Limits what this process asks of a provider, from now on; runs queue instead of failing.

    Args:
        provider: Its name, such as ``anthropic``.
        requests_per_minute: Requests, retries included.
        tokens_per_minute: Input and output tokens.
        concurrency: Requests under way at the same time.

    Raises:
        ConfigurationError: If a number is not positive.

    Example:
        >>> rate_limit("anthropic", requests_per_minute=50, concurrency=8)
    """
    limit = RateLimit(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrency=concurrency,
    )
    with _lock:
        _limiters[provider] = Limiter(limit)


def limiter_of(provider: str) -> Limiter:
    """A provider's limiter: as set by `rate_limit`, or by ``AOF_RATE_LIMIT_PROVIDER``.

    Raises:
        ConfigurationError: If the environment variable cannot be read.
    """
    with _lock:
        if provider not in _limiters:
            variable = "AOF_RATE_LIMIT_" + re.sub(r"\W", "_", provider).upper()
            _limiters[provider] = Limiter(parse_limit(os.environ.get(variable, ""), variable))
        return _limiters[provider]


def limiter_states() -> list[LimiterState]:
    """How the limiters of this process stand that have been set or used, by provider.

    Example:
        >>> rate_limit("anthropic", concurrency=8)
        >>> [each.limit.concurrency for each in limiter_states() if each.provider == "anthropic"]
        [8]
    """
    with _lock:
        known = sorted(_limiters.items())
    return [limiter.state(provider) for provider, limiter in known]


def reset() -> None:
    """Forgets all limits and what waits for them; those of the environment are read again."""
    with _lock:
        _limiters.clear()


def parse_limit(text: str, where: str) -> RateLimit:
    """A limit as it is written in an environment variable.

    Args:
        text: Such as ``requests_per_minute=60 concurrency=8``; empty for no limit.
        where: The variable's name, for the error.

    Raises:
        ConfigurationError: If it is written otherwise.

    Example:
        >>> parse_limit("requests_per_minute=60", "AOF_RATE_LIMIT_OPENAI").requests_per_minute
        60
    """
    limit: dict[str, int] = {}
    for part in re.split(r"[,\s]+", text.strip()):
        name, _, number = part.partition("=")
        if not part:
            continue
        if name not in RateLimit.__struct_fields__ or not number.isdecimal():
            raise ConfigurationError(
                f"{where}: {part!r} is no limit",
                remedy="write requests_per_minute=60 tokens_per_minute=100000 concurrency=8",
            )
        limit[name] = int(number)
    return RateLimit(**limit)
