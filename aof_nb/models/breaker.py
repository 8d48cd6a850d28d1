"""Circuit breakers: a model that keeps failing is left alone for a while.

One breaker per model, shared by all runs of the process, whatever thread and event loop they
are in. Source: M. Nygard, *Release It!*, 2nd ed., section 5.2, "Circuit Breaker".
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable

from aof_nb.errors import CircuitOpen


class BreakerState(enum.StrEnum):
    """Closed lets requests through, open refuses them, half-open lets one probe through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Counts a model's failures in a row, and refuses requests after too many.

    Args:
        model: The model's full name.
        failures: Failures in a row that open it.
        cooldown: Seconds it stays open before one request may try again.
        clock: Tells the time in seconds.
        on_change: Called with the breaker after its state has changed.

    Example:
        >>> breaker = Breaker("openai:gpt-5", failures=1)
        >>> permit = breaker.admit()
        >>> permit.failed("no capacity")
        >>> breaker.state
        <BreakerState.OPEN: 'open'>
    """

    def __init__(
        self,
        model: str,
        *,
        failures: int = 5,
        cooldown: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Breaker], None] | None = None,
    ) -> None:
        self.model = model
        self.reason = ""
        self._most = failures
        self._cooldown = cooldown
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._probe: Permit | None = None

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._opened is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.wait > 0 else BreakerState.HALF_OPEN

    @property
    def wait(self) -> float:
        """Seconds until a request may try again; 0 if one may now."""
        if self._opened is None:
            return 0.0
        return max(0.0, self._opened + self._cooldown - self._clock())

    def admit(self) -> Permit:
        """Lets one request through; its outcome is to be told to the permit.

        Raises:
            CircuitOpen: If the model is left alone at the moment.
        """
        with self._lock:
            if self._opened is None:
                return Permit(self)
            if (wait := self.wait) > 0 or self._probe is not None:
                raise CircuitOpen(self.model, self.reason, wait or _PROBE_PATIENCE)
            self._probe = Permit(self)
            return self._probe

    def _settle(self, permit: Permit, failure: str | None) -> None:
        with self._lock:
            was_open = self._opened is not None
            probed = permit is self._probe
            if probed:
                self._probe = None
            if failure is None:
                self._failures, self._opened, self.reason = 0, None, ""
            else:
                self._failures += 1
                self.reason = failure
                if probed or (not was_open and self._failures >= self._most):
                    self._opened = self._clock()
            changed = probed or was_open != (self._opened is not None)
        if changed and self._on_change is not None:
            self._on_change(self)

    def _withdraw(self, permit: Permit) -> None:
        with self._lock:
            if permit is self._probe:
                self._probe = None


_PROBE_PATIENCE = 1.0


class Permit:
    """One request's leave to be sent. It is settled once; what comes later is ignored."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker: Breaker | None = breaker

    def succeeded(self) -> None:
        """The model has answered, if only with a refusal that is not an outage."""
        if (breaker := self._take()) is not None:
            breaker._settle(self, None)  # noqa: SLF001

    def failed(self, reason: str) -> None:
        """The model did not answer."""
        if (breaker := self._take()) is not None:
            breaker._settle(self, reason)  # noqa: SLF001

    def withdraw(self) -> None:
        """Nobody waited for the outcome: another request may probe."""
        if (breaker := self._take()) is not None:
            breaker._withdraw(self)  # noqa: SLF001

    def _take(self) -> Breaker | None:
        breaker, self._breaker = self._breaker, None
        return breaker


class Breakers:
    """The breakers of a process, by the models' names.

    Args:
        failures: Failures in a row that open one.
        cooldown: Seconds one stays open.
        clock: Tells the time in seconds.
        on_change: Called with a breaker after its state has changed.
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        cooldown: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[Breaker], None] | None = None,
    ) -> None:
        self._failures = failures
        self._cooldown = cooldown
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}

    def of(self, model: str) -> Breaker:
        """The breaker of a model."""
        with self._lock:
            if model not in self._breakers:
                self._breakers[model] = Breaker(
                    model,
                    failures=self._failures,
                    cooldown=self._cooldown,
                    clock=self._clock,
                    on_change=self._on_change,
                )
            return self._breakers[model]

    def open(self) -> list[Breaker]:
        """Those that are not closed."""
        with self._lock:
            known = list(self._breakers.values())
        return [each for each in known if each.state is not BreakerState.CLOSED]

    def reset(self) -> None:
        """Forgets all failures."""
        with self._lock:
            self._breakers.clear()
