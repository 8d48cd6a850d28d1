"""The same magics in IPython's own terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.notebook.terminal import environment
from tests.notebook.terminal import terminal as spawned


@pytest.fixture(params=["dumb"])
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[pexpect.spawn]:
    env = environment(tmp_path, TERM=request.param)
    options = ["--no-banner", "--colors=nocolor"]
    with spawned(tmp_path, "IPython", options, env, magics=True) as started:
        yield started


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


@pytest.mark.parametrize("terminal", ["xterm-256color"], indirect=True)
def test_a_terminal_with_colours_shows_what_goes_on(terminal: pexpect.spawn) -> None:
    terminal.sendline("r = %aof ask sre 'why is it slow?'")
    terminal.expect("Allow\\?.*: ")
    before = plain(terminal.before)
    assert "sre writes · 1.0 s · Ctrl-C stops it" in before
    assert re.search(r"✓ read_log service=checkout \(\d+ ms\)", before)
    assert "Approval needed: restart  write" in before
    # What was alive is taken away before the question, so that it cannot overwrite what is typed.
    assert terminal.before.index("\x1b[?25h") < terminal.before.index("Approval needed")
    assert "\x1b[?25l" not in terminal.before.partition("Approval needed")[2]
    terminal.sendline("y")
    terminal.expect("approved by ")
    terminal.expect(r"In \[3\]: ")
    after = plain(terminal.before)
    assert re.search(r"✓ restart service=checkout \(\d+ ms\)  write", after)
    assert "fix.yaml (scripted) · 3 turns" in after
    assert "**" not in after
    terminal.sendline("%aof ask slow wait")
    terminal.expect("it waits")
    terminal.expect(r"… wait \(running\)")
    terminal.sendintr()
    terminal.expect("interrupted: the run was ended")
    terminal.expect(r"In \[4\]: ")
    terminal.sendline("6 * 7")
    terminal.expect("42")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
