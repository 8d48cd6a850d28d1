"""The comparison with and without a journal runs from end to end, and is on the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.journaling import PROVIDERS
from benchmarks.rounds import ROOT
from tests.benchmarks.test_page import table


def test_quick_writes_its_section(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n")
    command = [sys.executable, "-m", "benchmarks.journaling", "--quick", "--output", str(page)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    text = page.read_text()
    assert text.startswith("# Benchmarks\n\n<!-- begin journaling")
    assert set(table(text)) >= set(PROVIDERS)


def test_the_page_has_the_figures() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    section = text.partition("<!-- begin journaling")[2].partition("<!-- end journaling -->")[0]
    assert set(table(section)) >= set(PROVIDERS)
