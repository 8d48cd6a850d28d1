"""The comparison with an earlier revision runs from end to end."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks.revisions import OURS
from benchmarks.rounds import ROOT


def test_a_revision_is_compared_with_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.revisions", "HEAD", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = re.findall(r"^5 turns +(.+?) +(\d+\.\d+) \(", done.stdout, re.MULTILINE)
    assert [name for name, _ in found] == list(OURS)
    assert all(float(ratio) > 0 for _, ratio in found)
