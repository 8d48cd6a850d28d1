"""A notebook of ten cells, killed at its writes, torn, out of room: nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runbooks.ten_cells import EFFECTS, ONCE, PRINTED
from tests.runbooks.test_run import alive

ROOT = Path(__file__).parents[2]
LAST = 72
"""The write after which the run has ended; one more and it is not killed at all."""

EVERY = os.environ.get("AOF_EVERY_ENTRY") == "1"
"""Whether all writes are tried, which takes some minutes; else some of each kind are."""


async def ended(directory: Path, how: str, entries: range) -> list[dict[str, Any]]:
    """Has runs ended and resumed, in two processes side by side."""

    async def some(part: int) -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.runbooks.ten_cells",
            str(directory / str(part)),
            how,
            *map(str, entries[part::2]),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, errors.decode()
        return [json.loads(line) for line in out.splitlines()]

    return [each for part in await asyncio.gather(some(0), some(1)) for each in part]


@pytest.mark.timeout(3600 if EVERY else 900)
@pytest.mark.parametrize(
    ("how", "first", "step"),
    [
        ("whole", 1, 1 if EVERY else 8),
        ("torn", 1, 1 if EVERY else 17),
        ("full", 1, 1 if EVERY else 19),
        # One of the two processes outlives the other.
        ("parent", 30, 3 if EVERY else 23),
        ("kernel", 21, 3 if EVERY else 31),
    ],
)
async def test_nothing_is_done_twice_wherever_it_ends(
    how: str, first: int, step: int, tmp_path: Path
) -> None:
    outcomes = await ended(tmp_path, how, range(first, LAST + 1, step))
    assert len(outcomes) == len(range(first, LAST + 1, step))
    for each in outcomes:
        place = f"{how} {each}"
        effects = each["effects"]
        assert all(times == 1 for times in effects.values()), place
        assert not any(alive(pid) for pid in each["kernels"]), place
        if each["journaled"] is None:
            # Its first line was not written: nothing was done, or all of it without a journal.
            assert each["entry"] == 1, place
            assert effects == ({} if how == "torn" else dict.fromkeys([*EFFECTS, *DONE], 1)), place
            continue
        if how == "full":
            assert "No space left" in each["error"], place
        assert (each["status"], each["attempts"], each["torn"]) == ("completed", 2, False), place
        assert each["printed"].endswith(PRINTED), place
        # What was not done is what nobody knows of, and is told.
        unknown = [*each["unknown"], *each["skipped"]]
        assert {*EFFECTS, *DONE} - effects.keys() <= set(unknown), place
        # Of those that ran side by side there may be two.
        assert len(unknown) <= 2, place


DONE = set(ONCE.values())
