"""``aofctl`` as people run it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

COMMAND = (sys.executable, "-m", "aof_nb.cli")

Invoke = Callable[..., Result]
Aofctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AOF_", "ANTHROPIC_", "OPENAI_"))
    }
    return kept | {"AOF_STATE_DIR": str(tmp_path / "state"), "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture
def invoke(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs aofctl in this process: for what ends before anything is started."""
    from aof_nb.cli.app import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: str = "") -> Result:
        return CliRunner().invoke(app, [*map(str, arguments)], input=stdin, env=environment)

    return run


@pytest.fixture
def aofctl(tmp_path: Path, environment: dict[str, str]) -> Aofctl:
    """Runs aofctl in a directory of the test's own, without a terminal."""

    def run(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=100,
            check=False,
            start_new_session=True,
        )

    return run
