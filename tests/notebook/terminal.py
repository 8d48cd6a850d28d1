"""A program in a terminal of its own, in a directory that has agents to ask."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pexpect

from tests.notebook.test_kernel import PLAYBOOK, SLOW, TOOLS

_SETTINGS = ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS", "NO_COLOR")


def environment(directory: Path, **more: str) -> Mapping[str, str]:
    """This process's, with the directory's own state and no settings of aof_nb."""
    env = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    own = {"IPYTHONDIR": str(directory / "ipython"), "AOF_STATE_DIR": str(directory / "state")}
    return env | own | more


@contextlib.contextmanager
def terminal(
    directory: Path, module: str, options: Sequence[str], env: Mapping[str, str], *, magics: bool
) -> Iterator[pexpect.spawn]:
    """Runs a module that prompts as IPython does, and has the agents' cell executed.

    Args:
        directory: Where it runs.
        module: The module.
        options: Its options.
        env: Its environment.
        magics: Whether the extension is yet to be loaded.
    """
    (directory / "fix.yaml").write_text(PLAYBOOK)
    (directory / "slow.yaml").write_text(SLOW)
    setup = "setup.ipy" if magics else "setup.py"
    (directory / setup).write_text(TOOLS if magics else TOOLS.removeprefix("%load_ext aof_nb\n"))
    started = pexpect.spawn(
        sys.executable,
        ["-m", module, "--simple-prompt", *options],
        cwd=str(directory),
        env=env,
        timeout=60,
        encoding="utf-8",
        dimensions=(50, 200),
    )
    try:
        started.expect(r"In \[1\]: ")
        started.sendline(f"%run {setup}")
        started.expect(r"In \[2\]: ")
        yield started
    finally:
        started.close(force=True)
