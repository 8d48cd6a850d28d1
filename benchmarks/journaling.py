"""`python -m benchmarks.journaling`: what journals cost runs, as a section of docs/benchmarks.md.

Runs with and without a journal take turns in one process, one run each, so that a machine that
drifts or is shared changes both alike.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time

from benchmarks.contestants import Loop, aof_loop
from benchmarks.rounds import QUICK, SHAPES, Shape, scripted_server
from benchmarks.sections import circumstances, parser, put, written

PROVIDERS = {"openai-chat": "/v1", "openai": "/v1", "anthropic": ""}
"""What is measured, and what each adds to the server's address."""

TEXT = """\
## What journals cost

CPU of runs that are journaled over the same runs without a journal, everything else switched on:
the median of {rounds} pairs of measurements, and the middle half of them. It is to be 1.15 at most.

{circumstances}

{table}
"""


async def ratios(provider: str, url: str, shape: Shape, rounds: int) -> list[float]:
    """CPU with a journal over CPU without one; a ratio a round."""
    loops = [aof_loop(provider, url, journal=journal) for journal in (True, False)]
    for loop in loops:
        await loop(shape.model)
    found = []
    for number in range(rounds):
        spent = dict.fromkeys(range(2), 0.0)
        gc.collect()
        for turn in range(shape.runs):
            for which in (0, 1) if (number + turn) % 2 else (1, 0):
                spent[which] += await _cpu(loops[which], shape.model)
        found.append(spent[0] / spent[1])
    return found


async def _cpu(loop: Loop, model: str) -> float:
    before = time.process_time()
    await loop(model)
    return time.process_time() - before


def section(rounds: int, shapes: tuple[Shape, ...]) -> str:
    """The section of the page, measured now."""
    rows = ["| provider | " + " | ".join(shape.title for shape in shapes) + " |"]
    rows.append("| --- |" + " ---: |" * len(shapes))
    with scripted_server() as url, tempfile.TemporaryDirectory() as directory:
        os.environ["AOF_STATE_DIR"] = directory
        for provider, path in PROVIDERS.items():
            cells = []
            for shape in shapes:
                found = asyncio.run(ratios(provider, url + path, shape, rounds))
                quarters = statistics.quantiles(found, n=4) if rounds > 1 else [*found, *found] * 2
                spread = f"{quarters[0]:.2f} to {quarters[2]:.2f}"
                cells.append(f"{statistics.median(found):.2f} ({spread})")
                sys.stderr.write(f"{provider}, {shape.title}: {cells[-1]}\n")
            rows.append(f"| {provider} | " + " | ".join(cells) + " |")
    text = TEXT.format(
        rounds=rounds,
        circumstances=circumstances(),
        table="\n".join(rows),
    )
    return written("journaling", "`python -m benchmarks.journaling`", text)


def main() -> None:
    """Parse the command line, measure and write the section."""
    commands = parser("python -m benchmarks.journaling", __doc__)
    commands.add_argument(
        "--rounds", type=int, default=31, help="pairs of measurements of each shape"
    )
    options = commands.parse_args()
    found = section(1, QUICK[:1]) if options.quick else section(options.rounds, SHAPES[:4])
    put(options.output, found)


if __name__ == "__main__":
    main()
