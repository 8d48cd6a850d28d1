"""The table of memories stands on the page of figures, beside what others write there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.memory import QUICK, SIZES
from benchmarks.rounds import ROOT
from benchmarks.sections import carried_over, replaced, written
from tests.benchmarks.test_page import table


def test_quick_writes_its_section_and_leaves_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    old = written("memory", "something", "what was measured before\n")
    page.write_text(f"# Benchmarks\n\nbefore\n\n{old}\n## After\n")
    command = [sys.executable, "-m", "benchmarks.memory", "--quick", "--output", str(page)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    text = page.read_text()
    assert text.startswith("# Benchmarks\n\nbefore\n\n<!-- begin memory")
    assert text.endswith("<!-- end memory -->\n\n## After\n")
    assert "what was measured before" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    kinds = ["in_memory", "file", "disk", *(["redis"] if shutil.which("redis-server") else [])]
    assert [line.split()[1] for line in lines[2:]] == [each for each in kinds for _ in QUICK]
    assert all(line.count(" / ") == 3 for line in lines[2:])


def test_the_page_has_the_figures() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    section = text.partition("<!-- begin memory")[2].partition("<!-- end memory -->")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][2:]
    assert [(name.strip(), number.strip()) for name, number in rows] == [
        (name, f"{size.messages:,}")
        for name in ("in_memory", "file", "disk", "redis")
        for size in SIZES
    ]
    assert set(table(section)) >= {"in_memory", "file", "disk", "redis"}


def test_a_page_that_is_written_anew_keeps_the_sections_of_others() -> None:
    one, other = written("one", "a", "1\n"), written("other", "b", "2\n")
    page = replaced(replaced("# Old\n", one), other)
    assert page == f"# Old\n\n{one}\n{other}"
    assert carried_over(page, "# New\n") == f"# New\n\n{one}\n{other}"
    assert replaced(page, written("one", "a", "3\n")).count("<!-- begin one") == 1
    assert carried_over("# Old\n", "# New\n") == "# New\n"
