"""Commands that cannot reach a network: only this machine's loopback is there.

They run in a network namespace of their own where the kernel grants one (as root, or in a user
namespace); elsewhere Python processes are kept from connecting to anything but loopback.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""
_GUARD = """
import socket

def _is_loopback(address):
    host = address[0] if isinstance(address, tuple) else ""
    return not host or host in {"localhost", "::1", "0.0.0.0"} or host.startswith("127.")

def _guarded(name):
    original = getattr(socket.socket, name)
    def call(self, *arguments):
        if self.family != socket.AF_UNIX and not _is_loopback(arguments[-1]):
            raise OSError(101, f"the network is blocked: {arguments[-1]}")
        return original(self, *arguments)
    setattr(socket.socket, name, call)

for _name in ("connect", "connect_ex", "sendto"):
    _guarded(_name)
"""


@functools.cache
def _namespace() -> tuple[str, ...] | None:
    for unshare in (("unshare", "-n"), ("unshare", "-r", "-n")):
        command = (*unshare, sys.executable, "-c", _LOOPBACK_UP)
        try:
            tried = subprocess.run([*command, "true"], capture_output=True, check=False)
        except OSError:
            continue
        if tried.returncode == 0:
            return command
    return None


def how() -> str:
    """How the network is blocked here, for people."""
    namespace = _namespace()
    return f"network namespace ({' '.join(namespace[:-3])})" if namespace else "socket guard"


def offline(
    command: Sequence[str | Path], *, environment: dict[str, str], cwd: Path, guard: Path
) -> subprocess.CompletedProcess[str]:
    """Runs a command that cannot reach a network.

    Args:
        command: The command.
        environment: Its environment.
        cwd: Its directory.
        guard: An empty directory, for the guard of Python processes where it is needed.
    """
    words, namespace = [str(word) for word in command], _namespace()
    if namespace is not None:
        words = [*namespace, *words]
    else:
        (guard / "sitecustomize.py").write_text(_GUARD)
        paths = [str(guard), environment.get("PYTHONPATH", "")]
        environment = environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        words, env=environment, cwd=cwd, capture_output=True, text=True, timeout=110, check=False
    )
