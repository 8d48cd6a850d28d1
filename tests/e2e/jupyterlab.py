"""A real JupyterLab on a loopback port, in directories of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 90.0
_EXTENSION = Path(__file__).parents[2] / "labextension"


@contextlib.contextmanager
def jupyterlab(directory: Path, app: str = "jupyterlab") -> Iterator[str]:
    """Serves a directory, with the kernel ``aof-test``; yields a URL with its token.

    Args:
        directory: Where its files are.
        app: ``jupyterlab``, or ``notebook`` for Notebook 7.
    """
    root, private = directory / "work", directory / "jupyter"
    root.mkdir(exist_ok=True)
    extensions = directory / "extensions" / "labextensions"
    if not extensions.exists():
        extensions.mkdir(parents=True)
        (extensions / "aof-nb").symlink_to(_EXTENSION)
    environment = os.environ | {
        "HOME": str(private),
        "LOGNAME": "oncall",
        "IPYTHONDIR": str(private / "ipython"),
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "JUPYTER_PATH": str(extensions.parent),
        "AOF_STATE_DIR": str(private / "state"),
    }
    for name in ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS"):
        environment.pop(name, None)
    _write(
        private / "data/kernels/aof-test/kernel.json",
        {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
        },
    )
    _write(
        private / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings",
        {"fetchNews": "false", "checkForUpdates": False},
    )
    port, token = _free_port(), secrets.token_hex(16)
    log = (directory / "jupyterlab.log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", app, "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}"),
        ],
        cwd=root,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/api/status?token={token}", process, directory)
        yield f"http://127.0.0.1:{port}/{'lab' if app == 'jupyterlab' else 'tree'}?token={token}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], directory: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.3)
    raise RuntimeError((directory / "jupyterlab.log").read_text()[-3000:])
