"""Starts a stdio MCP server so that it cannot outlive us: ``python -I -S child.py COMMAND ARG...``.

This runs as a process of its own between us and the server, which inherits its standard
streams. It waits without using CPU until one of these happens:

- the server exits: what it has left running is killed, and its exit code becomes ours;
- the other end of standard input is closed: we are shutting the server down, or we are dead,
  however that came (``kill -9`` included). The server, which sees the same end of file, may
  leave by itself; after that its process group is sent SIGTERM, then SIGKILL;
- our process has gone, though a copy of the pipe lives on in a child of ours;
- it is told to stop with SIGTERM.

On Linux it is also the reaper of what the server starts (``npx`` and ``uvx`` start
grandchildren; some start a session of their own), so that nothing escapes. It imports only the
standard library, and nothing of aof_nb, to start within milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable

LEAVE_SECONDS = 1.0
TERMINATE_SECONDS = 1.5
_REAP_SECONDS = 1.0
_POLL_SECONDS = 0.02
_NOT_STARTED = 127
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Runs the command until it, or whoever started us, has ended; returns the exit code."""
    parent = os.getppid()
    signals, wakeup = os.pipe()
    for end in (signals, wakeup):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    control = _process_control()
    control(_PR_SET_CHILD_SUBREAPER, 1)
    us = os.getpid()
    server = os.fork()
    if server == 0:
        _become(command, us, control)
    with contextlib.suppress(OSError):
        os.setpgid(server, server)
    os.close(1)
    code = _watch(server, parent, signals)
    _sweep(server)
    reason = f"exit code {code}" if code >= 0 else f"signal {-code}"
    with contextlib.suppress(OSError):
        os.write(2, f"[aof] the server ended: {reason}\n".encode())
    return code if code >= 0 else 128 - code


def _become(command: list[str], launcher: int, control: Callable[[int, int], None]) -> None:
    try:
        os.setpgid(0, 0)
        control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == launcher:
            os.execvp(command[0], command)  # noqa: S606  starting it is the purpose
    except OSError as error:
        os.write(2, f"[aof] cannot start {command[0]!r}: {error.strerror}\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _process_control() -> Callable[[int, int], None]:
    """prctl(2), or nothing where there is no such thing."""
    if sys.platform != "linux":
        return lambda _option, _value: None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda option, value: prctl(option, ctypes.c_ulong(value), 0, 0, 0) and None


def _watch(server: int, parent: int, signals: int) -> int:
    """Waits for the end; returns the server's exit code, negative for a signal."""
    poller = select.poll()
    poller.register(0, 0)
    poller.register(signals, select.POLLIN)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            poller.register(os.pidfd_open(parent), select.POLLIN)
    steps = [(TERMINATE_SECONDS, signal.SIGTERM), (_REAP_SECONDS, signal.SIGKILL)]
    deadline: float | None = None
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        for descriptor, _ in poller.poll(left):
            if descriptor != signals:
                poller.unregister(descriptor)
                leave = LEAVE_SECONDS
            elif signal.SIGCHLD not in (received := os.read(signals, 64)) or any(
                number != signal.SIGCHLD for number in received
            ):
                leave = 0.0
            else:
                continue
            due = time.monotonic() + leave
            deadline = due if deadline is None else min(deadline, due)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 1
            if pid == server:
                return os.waitstatus_to_exitcode(status)
            if pid == 0:
                break
        if deadline is not None and time.monotonic() >= deadline:
            if not steps:
                return -signal.SIGKILL
            wait, number = steps.pop(0)
            with contextlib.suppress(OSError):
                os.killpg(server, number)
            deadline = time.monotonic() + wait


def _sweep(group: int) -> None:
    """Kills what the server has left running."""
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + _REAP_SECONDS
    while _reap() and time.monotonic() < deadline:
        if time.monotonic() > deadline - _REAP_SECONDS + 0.1:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)
            for pid in _children():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _reap() -> bool:
    """Collects children that have ended; whether there are others."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listing:  # noqa: PTH123  no pathlib: it is slow to import
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
