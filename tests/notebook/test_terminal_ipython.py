"""The same magics in IPython's own terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.notebook.test_kernel import PLAYBOOK, SLOW, TOOLS


@pytest.fixture
def terminal(tmp_path: Path) -> pexpect.spawn:
    (tmp_path / "fix.yaml").write_text(PLAYBOOK)
    (tmp_path / "slow.yaml").write_text(SLOW)
    (tmp_path / "setup.ipy").write_text(TOOLS)
    env = os.environ | {
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "AOF_STATE_DIR": str(tmp_path / "state"),
        "TERM": "dumb",
    }
    for name in ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS"):
        env.pop(name, None)
    started = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor"],
        cwd=str(tmp_path),
        env=env,
        timeout=60,
        encoding="utf-8",
        dimensions=(50, 200),
    )
    try:
        started.expect(r"In \[1\]: ")
        started.sendline("%run setup.ipy")
        started.expect(r"In \[2\]: ")
        yield started
    finally:
        started.close(force=True)


def test_ask_approve_and_interrupt(terminal: pexpect.spawn) -> None:
    terminal.sendline("r = %aof ask sre 'why is it slow?'")
    terminal.expect("Let me look at the ")
    terminal.expect(r"✓ read_log service=checkout \(")
    terminal.expect("Allow\\?.*: ")
    terminal.sendline("y")
    terminal.expect("approved by ")
    terminal.expect("✓ restart service=checkout")
    terminal.expect(r"fix.yaml \(scripted\) · 3 turns")
    terminal.expect(r"In \[3\]: ")
    terminal.sendline("%aof ask slow wait")
    terminal.expect("it waits")
    started = time.monotonic()
    terminal.sendintr()
    terminal.expect("outcome unknown")
    terminal.expect("interrupted: the run was ended")
    terminal.expect(r"In \[4\]: ")
    print(f"interrupted in {(time.monotonic() - started) * 1000:.0f} ms")
    assert time.monotonic() - started < 2
    terminal.sendline("r.status.value, 6 * 7")
    terminal.expect(r"'completed', 42")
