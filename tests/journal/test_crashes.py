"""Killed at every entry of its journal, torn in every line, out of room: nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journal.steps import ANSWER, STEPS

ROOT = Path(__file__).parents[2]
EFFECTS = {f"step-{n}" for n in range(STEPS)} | {f"extra-{n}" for n in range(0, STEPS, 3)}
LOOKS = {f"look-{n}" for n in range(0, STEPS, 3)}


async def crashed(directory: Path, how: str, first: int, step: int) -> tuple[list[Any], str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.journal.steps",
        str(directory),
        how,
        str(first),
        str(step),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return [json.loads(line) for line in out.splitlines()], errors.decode()


def call_of(effect: str) -> str:
    kind, _, number = effect.partition("-")
    return {"step": "w", "extra": "x"}[kind] + number


# Two processes for each entry, some two hundred entries.
@pytest.mark.timeout(600)
# At the first entry there is no room for a journal at all, and the run goes on without one.
@pytest.mark.parametrize(
    ("how", "first", "step"), [("after", 1, 1), ("torn", 1, 4), ("full", 2, 13)]
)
async def test_nothing_is_done_twice_wherever_it_ends(
    how: str, first: int, step: int, tmp_path: Path
) -> None:
    lines, errors = await crashed(tmp_path, how, first, step)
    *places, last = lines
    # A response and what was streamed of it are one write, and two entries.
    assert last["entries"] > (160 if how == "full" else 190)
    assert len(places) >= 160 // step
    unknown_anywhere = 0
    for entry, status, text, unknown, effects in places:
        if status == "nothing to resume":
            # The first line itself was torn.
            assert (how, entry) == ("torn", 1)
            continue
        assert (status, text) == ("completed", ANSWER), f"{how} {entry}"
        # No change was made twice; one that was not made is one that is said to be unknown.
        assert {name: n for name, n in effects.items() if n > 1 and name not in LOOKS} == {}
        missing = EFFECTS - effects.keys()
        assert {call_of(name) for name in missing} <= set(unknown), f"{how} {entry}"
        assert effects.keys() >= LOOKS
        assert len(unknown) <= 2
        unknown_anywhere += len(unknown)
    assert unknown_anywhere if how != "full" else "cannot be written" in errors
