"""A state directory of the test's own, and the runs of `scenes` in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aof_nb.journal.reading import timeline
from aof_nb.journal.runs import read_run
from aof_nb.journal.timeline import Timeline
from tests.journal import scenes

Kill = Callable[[], str]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory."""
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def kill(state: Path) -> Kill:
    """Has a run killed in the middle of a call that changes something; returns its id."""

    def run() -> str:
        program = [sys.executable, "-m", scenes.__name__, str(state)]
        done = subprocess.run(program, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == -9, done.stderr
        return "killed"

    return run


def told(named: str) -> Timeline:
    """A run's timeline."""
    return timeline(read_run(named))
