"""Which models are left alone at the moment, by any process of this user on this machine.

Each process keeps one small file of its open breakers in the state directory, for
``aofctl list models`` and other processes to read.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aof_nb.models.breaker import Breaker, BreakerState
from aof_nb.paths import make_private, state_dir, write_private


class OpenBreaker(msgspec.Struct, frozen=True):
    """A model that a process leaves alone.

    Args:
        model: Its full name.
        reason: Its last failure.
        until: When it may be tried again, in seconds since the epoch.
        pid: The process.
    """

    model: str
    reason: str
    until: float
    pid: int

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        return BreakerState.OPEN if time.time() < self.until else BreakerState.HALF_OPEN


_decode = msgspec.json.Decoder(list[OpenBreaker]).decode
_open: dict[str, OpenBreaker] = {}
_lock = threading.Lock()


def post(breaker: Breaker) -> None:
    """Writes down, in a thread, that a breaker has opened or closed."""
    pid = os.getpid()
    until = time.time() + breaker.wait
    with _lock:
        if breaker.state is BreakerState.CLOSED:
            _open.pop(breaker.model, None)
        else:
            _open[breaker.model] = OpenBreaker(breaker.model, breaker.reason, until, pid)
    threading.Thread(target=_write, args=(pid,), name="breaker board").start()


def _write(pid: int) -> None:
    # What is shown here helps a person; no run is to fail because it cannot be.
    with _lock, contextlib.suppress(OSError):
        path = _directory() / f"{pid}.json"
        if not _open:
            path.unlink(missing_ok=True)
            return
        make_private(path.parent)
        write_private(path, msgspec.json.encode(list(_open.values())))


def open_breakers() -> list[OpenBreaker]:
    """The models that processes which still live leave alone; the latest word for each.

    Example:
        >>> [each.model for each in open_breakers() if each.model == "openai:no-such-model"]
        []
    """
    found = sorted(_posted(), key=lambda each: each.until)
    return list({each.model: each for each in found}.values())


def _posted() -> Iterator[OpenBreaker]:
    for path in _directory().glob("*.json"):
        if not path.stem.isdecimal() or not _lives(int(path.stem)):
            path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            yield from _decode(path.read_bytes())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _directory() -> Path:
    return state_dir() / "breakers"
