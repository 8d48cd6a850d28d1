"""Ends a run at one of its writes to journals, whichever of its processes makes it.

On the path of a kernel it is imported by the interpreter itself.
"""

from __future__ import annotations

import errno
import importlib.abc
import importlib.util
import os
import signal
import sys
import types
from typing import Any

MODULES = ("aof_nb.journal.journal", "aof_nb.journal.cell_runs")


def _write(file: int, data: bytes) -> int:
    """`os.write`, and what is to happen at this write of all."""
    how, last = os.environ["KILL_HOW"], int(os.environ["KILL_AT"])
    count = os.open(os.environ["KILL_COUNT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(count, b".")
        number = os.fstat(count).st_size
    finally:
        os.close(count)
    if number > last and how == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if number != last:
        return os.write(file, data)
    if how == "full":
        return os.write(file, data[: len(data) // 2])
    os.write(file, data if how != "torn" else data[: len(data) // 2])
    _kill(how)
    return len(data)


def _kill(how: str) -> None:
    """Kills the process that runs the notebook and its kernel, or one of both."""
    if "ipykernel_launcher" in " ".join(sys.orig_argv):
        if how != "kernel":
            os.kill(os.getppid(), signal.SIGKILL)
        if how != "parent":
            os.kill(os.getpid(), signal.SIGKILL)
        return
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            for child in file.read().split():
                if how != "parent":
                    os.kill(int(child), signal.SIGKILL)
    if how != "kernel":
        os.kill(os.getpid(), signal.SIGKILL)


def _patch(module: Any) -> None:
    module.os = types.SimpleNamespace(**{**vars(os), "write": _write})


class _Finder(importlib.abc.MetaPathFinder):
    """Patches the modules as they are imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in MODULES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def patched(module: Any) -> None:
            execute(module)
            _patch(module)

        spec.loader.exec_module = patched  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Counts the writes of this process, and of the kernels that it starts."""
    for name in MODULES:
        if name in sys.modules:
            _patch(sys.modules[name])
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        each for each in (here, os.environ.get("PYTHONPATH", "")) if each
    )


if __name__ == "sitecustomize" and "KILL_AT" in os.environ:
    sys.meta_path.insert(0, _Finder())
