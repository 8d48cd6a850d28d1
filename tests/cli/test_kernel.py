"""``aofctl kernel``: what is installed is a kernel that Jupyter can start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from tests.cli.conftest import Aofctl


def specs(prefix: Path) -> KernelSpecManager:
    manager = KernelSpecManager()
    manager.kernel_dirs = [str(prefix / "share" / "jupyter" / "kernels")]
    return manager


def executed(client: Any, code: str) -> str:
    sent = client.execute(code)
    printed = ""
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != sent:
            continue
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "error":
            printed += str(message["content"]["evalue"])
        if message["content"].get("execution_state") == "idle":
            return printed


def test_a_kernel_that_is_installed_has_the_magics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aofctl: Aofctl
) -> None:
    done = aofctl("kernel", "install", "--prefix", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Python 3 (aof): ")
    manager = specs(tmp_path)
    spec = manager.get_kernel_spec("aof")
    assert spec.display_name == "Python 3 (aof)"
    assert Path(spec.resource_dir, "logo-svg.svg").read_text().startswith("<svg")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    kernel = KernelManager(kernel_name="aof", kernel_spec_manager=manager)
    kernel.start_kernel(cwd=str(tmp_path))
    client = kernel.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        assert "none yet: define one with %%aof_agent NAME" in executed(client, "%aof status")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    again = aofctl("kernel", "install", "--prefix", str(tmp_path), "--display-name", "Incidents")
    assert again.returncode == 0, again.stderr
    assert manager.get_kernel_spec("aof").display_name == "Incidents"
    out = aofctl("kernel", "uninstall", "--prefix", str(tmp_path))
    assert out.returncode == 0, out.stderr
    assert "aof" not in manager.find_kernel_specs()


def test_kernels_of_others_are_left_alone(tmp_path: Path, aofctl: Aofctl) -> None:
    other = tmp_path / "share" / "jupyter" / "kernels" / "mine"
    other.mkdir(parents=True)
    written = json.dumps({"argv": ["mine"], "display_name": "Mine", "language": "python"})
    (other / "kernel.json").write_text(written)
    where = ("--prefix", str(tmp_path), "--name", "mine")
    taken = aofctl("kernel", "install", *where)
    assert (taken.returncode, "is another one" in taken.stderr) == (1, True)
    kept = aofctl("kernel", "uninstall", *where)
    assert (kept.returncode, "was not installed by aofctl" in kept.stderr) == (1, True)
    assert (other / "kernel.json").read_text() == written


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["install", "--name", "no/name"], 2, "letters, digits"),
        (["install", "--user"], 2, "give one of --user, --sys-prefix and --prefix"),
        (["uninstall", "--name", "no-such"], 1, "there is no kernel 'no-such'"),
    ],
)
def test_what_cannot_be_done_says_why(
    tmp_path: Path, aofctl: Aofctl, given: list[str], code: int, said: str
) -> None:
    done = aofctl("kernel", *given, "--prefix", str(tmp_path))
    assert done.returncode == code
    assert said in done.stderr
