"""The magics in `jupyter console`, with the kernel that `aofctl kernel install` writes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.notebook.terminal import environment, terminal


@pytest.fixture
def console(tmp_path: Path) -> Iterator[pexpect.spawn]:
    env = environment(
        tmp_path,
        JUPYTER_CONFIG_DIR=str(tmp_path / "config"),
        JUPYTER_RUNTIME_DIR=str(tmp_path / "runtime"),
        JUPYTER_PATH=str(tmp_path / "share/jupyter"),
        TERM="dumb",
    )
    aofctl = [sys.executable, "-m", "aof_nb.cli", "kernel", "install", "--name", "aof-console"]
    subprocess.run([*aofctl, "--prefix", str(tmp_path)], env=env, check=True, capture_output=True)
    options = ["--kernel=aof-console"]
    with terminal(tmp_path, "jupyter_console", options, env, magics=False) as started:
        yield started
        started.sendline("exit")
        started.expect(pexpect.EOF)


def test_ask_edit_deny_and_interrupt(console: pexpect.spawn) -> None:
    console.sendline("r = %aof ask sre 'why is it slow?'")
    console.expect("Let me look at the ")
    console.expect("Allow\\?.*no: ")
    console.sendline("e")
    console.expect("as JSON in one line.*: ")
    console.sendline('{"service": "payments"}')
    console.expect("Allow with these arguments.*no: ")
    console.sendline("y")
    console.expect("with changed arguments: restart service=payments")
    console.expect(r"In \[3\]: ")
    console.sendline("%aof ask sre 'why is it slow?'")
    console.expect("Allow\\?.*no: ")
    console.sendline("n")
    console.expect("Nothing was restarted")
    console.expect(r"In \[4\]: ")
    console.sendline("%aof ask sre 'why is it slow?'")
    console.expect("Allow\\?.*no: ")
    console.sendintr()
    console.expect("interrupted: the run was ended")
    console.expect(r"In \[5\]: ")
    console.sendline("%aof ask slow wait")
    console.expect("it waits")
    console.sendintr()
    console.expect("interrupted: the run was ended")
    console.expect(r"In \[6\]: ")
    console.sendline("%aof console")
    console.expect("the console needs a notebook's page")
    console.expect("aofctl console")
    console.expect(r"In \[7\]: ")
    console.sendline("r.status.value, 6 * 7")
    console.expect(r"'completed', 42")
    console.expect(r"In \[8\]: ")
    assert not re.search("Traceback", console.before)
