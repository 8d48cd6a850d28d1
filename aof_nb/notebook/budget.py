"""What may be spent on sending again what is not finished."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """What a run may spend on re-sending text that is not finished.

    In proportion to the text that has arrived, so that twice the answer costs twice the bytes;
    and to the time that has passed, as text that comes all at once needs no intermediate states.

    Args:
        clock: Seconds, monotonic.
    """

    START = 1500
    PER_BYTE = 3.2
    PER_SECOND = 8000.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._opened: float | None = None
        self._arrived = 0
        self._spent = 0.0

    def arrived(self, size: int) -> None:
        """Notes that more text has come."""
        if self._opened is None:
            self._opened = self._clock()
        self._arrived += size

    def allows(self, size: float) -> bool:
        """Whether that many bytes may be spent now."""
        elapsed = 0.0 if self._opened is None else self._clock() - self._opened
        allowance = self.START + min(self.PER_BYTE * self._arrived, self.PER_SECOND * elapsed)
        return self._spent + size <= allowance

    def spend(self, size: float) -> None:
        """Notes that bytes were sent."""
        self._spent += size
