"""`python -m benchmarks --quick` measures every contestant and writes a whole page."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contestants import CONTESTANTS
from benchmarks.rounds import QUICK, ROOT, SHAPES
from benchmarks.stopping import MOMENTS
from benchmarks.targets import CHANNEL, PACED_UNSEEN, PACED_VIEW, RESENT, RESENT_PACED, Target


@pytest.mark.timeout(300)
def test_quick_page_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "benchmarks.md"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peers"]
    command += ["--output", str(output)]
    # Tracing what is measured, for its coverage, would take half as long again.
    untraced = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_PROCESS_")}
    done = subprocess.run(
        command, cwd=ROOT, env=untraced, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sections = {part.partition("\n")[0]: part for part in output.read_text().split("\n## ")}
    for title in ("CPU milliseconds a run", "The same, as a multiple of httpx2 by hand"):
        rows = table(sections[title])
        assert list(rows) == list(CONTESTANTS)
        for figures in rows.values():
            assert len(figures) == len(SHAPES)
            assert all(float(each) > 0 for each in figures)
    start = table(sections["Start and memory"])
    assert {*CONTESTANTS, "`import aof_nb`", "`%load_ext aof_nb`"} <= set(start)
    channel = table(sections["What a streamed answer costs the notebook"])
    for title in CHANNEL:
        answer, content = (int(each.replace(",", "")) for each in channel[title][:2])
        assert content > answer
    for title in (PACED_VIEW, PACED_UNSEEN, RESENT_PACED):
        for trips in channel[title][-2:]:
            median, high = map(float, trips.split(" / "))
            assert 0 < median <= high
        assert float(channel[title][5]) > 0
    assert int(channel[PACED_VIEW][4]) > int(channel[PACED_UNSEEN][4])
    assert channel[RESENT][4] == "501"
    stopped = table(sections["How soon a run ends"])
    for moment in MOMENTS:
        assert all(float(each.split(" / ")[0]) > 0 for each in stopped[moment])
    verdicts = [row[-1] for row in table(sections["Targets"]).values()]
    assert len(verdicts) > 20
    assert set(verdicts) <= {"met", "**missed**"}


def table(section: str) -> dict[str, list[str]]:
    """The rows of a section's tables by their first cell, without the heads."""
    lines = section.splitlines()
    rows = {}
    for before, line in itertools.pairwise(lines):
        if line.startswith("| ") and not line.startswith("| ---") and before.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[cells[0]] = cells[1:]
    return rows


def test_quick_has_the_same_shapes() -> None:
    assert [shape.title for shape in QUICK] == [shape.title for shape in SHAPES]


def test_targets_bound_from_either_side() -> None:
    assert Target("cost", bound=1.0, found=1.0, unit="ms").met
    assert not Target("cost", bound=1.0, found=1.01, unit="ms").met
    assert Target("gain", bound=10, found=11, unit="times", at_least=True).met
    assert not Target("gain", bound=10, found=9, unit="times", at_least=True).met
