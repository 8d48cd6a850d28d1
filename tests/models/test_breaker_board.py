"""Other processes see which models are left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aof_nb.models.breaker import BreakerState
from aof_nb.models.breaker_board import open_breakers

OPENS = """
import asyncio, sys
from aof_nb import Agent, RetryPolicy
from tests.models.unreliable import Unreliable
from aof_nb.errors import Overloaded
retry = RetryPolicy(first_delay=0.01)
asyncio.run(Agent(model=Unreliable("anthropic:m", Overloaded("busy")), retry=retry).run("why?"))
print("opened", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    return tmp_path


def test_a_breaker_is_seen_while_its_process_lives(state: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OPENS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"opened\n"
    [found] = until_there_are(1)
    assert (found.model, found.reason, found.pid) == ("anthropic:m", "overloaded", process.pid)
    assert found.state is BreakerState.OPEN
    assert 20 < found.until - time.time() <= 30
    process.communicate(b"\n", timeout=20)
    assert open_breakers() == []
    assert list((state / "breakers").iterdir()) == []


def until_there_are(number: int) -> list:
    end = time.monotonic() + 10
    while len(found := open_breakers()) != number and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_a_damaged_file_costs_itself_only(state: Path) -> None:
    (state / "breakers").mkdir()
    (state / "breakers" / f"{os.getpid()}.json").write_text("[{")
    (state / "breakers" / "notes.json").write_text("{}")
    told = {"model": "openai:m", "reason": "overloaded", "until": 1.0, "pid": os.getppid()}
    (state / "breakers" / f"{os.getppid()}.json").write_text(json.dumps([told]))
    [found] = open_breakers()
    assert found.state is BreakerState.HALF_OPEN
