"""The lab's processes: two labs side by side, restarts of what died, and no process left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from aof_nb.lab import Lab


def processes(lab: Lab) -> list[psutil.Process]:
    found = [psutil.Process(each.pid) for each in lab.status().services if each.pid]
    return [*found, found[0].parent()]


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def test_two_labs_and_their_ends(tmp_path: Path) -> None:
    one, other = Lab.up(tmp_path / "one"), Lab.up(tmp_path / "other")
    try:
        again = Lab.up(tmp_path / "one")
        assert [each.pid for each in again.status().services] == [
            each.pid for each in one.status().services
        ]
        one.inject("disk-full")
        assert other.wait_until_healthy().healthy

        worker = next(each for each in other.status().services if each.name == "worker")
        os.kill(worker.pid, signal.SIGKILL)
        assert eventually(
            lambda: any(
                each.name == "worker" and each.pid not in {None, worker.pid} and each.restarts == 1
                for each in other.status().services
            )
        )

        orphans = processes(other)
        os.kill(orphans[-1].pid, signal.SIGKILL)
        assert eventually(lambda: not any(each.is_running() for each in orphans[:-1]))
    finally:
        stopped = processes(one)
        one.down()
        other.down()
    assert not any(each.is_running() for each in stopped)
    one.down()
