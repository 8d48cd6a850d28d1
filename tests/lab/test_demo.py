"""`make demo`, as a new user runs it: a fault at random is repaired; a refused one is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the demo in a directory that holds nothing but the notebooks."""
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "aof_nb.lab.demo", *arguments],
        cwd=tmp_path,
        env=keyless | {"AOF_STATE_DIR": str(tmp_path / "state"), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_fault_at_random_is_repaired(tmp_path: Path) -> None:
    finished = demo(tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    [fault] = re.findall(r"Fault: (\S+) \(chosen at random\)", finished.stdout)
    assert f"Repaired: {fault}" in finished.stdout
    assert "own policy allows the lab's repair tools" in finished.stdout
    executed = (tmp_path / "runs" / "demo.ipynb").read_text()
    assert "for the lab's repair tools: allow" in executed
    assert "triage.yaml (scripted)" in executed
    assert "**Cause:**" in executed
    assert (tmp_path / "runs" / "demo.html").exists()


def test_a_refused_repair_leaves_it_failing(tmp_path: Path) -> None:
    finished = demo(tmp_path, "--approve", "never", "--fault", "disk-full")
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "The service is still failing: disk-full" in finished.stdout
    executed = (tmp_path / "runs" / "demo.ipynb").read_text()
    assert "was **refused**" in executed
    assert "the service is still failing" in executed
