"""Kernels that outlive the process that has started them, as where that was killed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from aof_nb.journal.playbook_entries import KernelStarted


async def kernel_has_ended(kernel: KernelStarted, *, patience: float) -> bool:
    """Waits until the kernel of a process that was killed has ended, as it does by itself.

    Args:
        kernel: The kernel.
        patience: Seconds to wait at most.
    """
    end = time.monotonic() + patience
    while _runs(kernel):
        if time.monotonic() >= end:
            return False
        await asyncio.sleep(0.1)
    return True


def _runs(kernel: KernelStarted) -> bool:
    """Whether the kernel's process is there, and not another one that has got its number."""
    try:
        os.kill(kernel.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    try:
        command = Path(f"/proc/{kernel.pid}/cmdline").read_bytes()
    except OSError:
        import subprocess

        listed = subprocess.run(  # noqa: S603  fixed words and a number
            ["/bin/ps", "-o", "args=", "-p", str(kernel.pid)], capture_output=True, check=False
        )
        command = listed.stdout
    return os.fsencode(Path(kernel.connection).name) in command
