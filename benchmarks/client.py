"""One contestant in a process of its own: measures what it is told, a JSON line for each order.

`python -m benchmarks.client URL CONTESTANT` makes a first run, reports its cost, and then reads
orders such as `{"model": "bench-5-200", "runs": 3, "concurrent": 1}` until its input ends.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import resource
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, TURN_TIMES, Loop
from benchmarks.peers import PEERS

FIRST = "bench-5-200"


async def first_run(run: Loop, begun: float) -> dict[str, float]:
    """What it takes until the first answer is there, from the start of the process."""
    if not await run(FIRST):
        raise SystemExit("no answer")
    return {
        "first_cpu_ms": 1000 * time.process_time(),
        "first_wall_ms": 1000 * (time.perf_counter() - begun),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def measure(run: Loop, model: str, runs: int, concurrent: int) -> dict[str, Any]:
    """CPU milliseconds a run, of this process only, after one run that warms up."""
    text = await run(model)
    gc.collect()
    held = _peak_kb(reset=True)
    TURN_TIMES.clear()
    before = time.process_time()
    for _ in range(runs):
        await asyncio.gather(*(run(model) for _ in range(concurrent)))
    cpu = time.process_time() - before
    figures: dict[str, Any] = {
        "cpu_ms": 1000 * cpu / (runs * concurrent),
        "kb_per_run": (_peak_kb() - held) / concurrent,
        "characters": len(text),
    }
    turns = len(TURN_TIMES) // runs
    if concurrent == 1 and turns >= 50:
        figures["growth"] = _growth(turns)
    return figures


def _growth(turns: int) -> float:
    """CPU of a request at the last turns over that of one at turn 5."""
    steps = [
        [end - start for start, end in itertools.pairwise(times)]
        for first in range(0, len(TURN_TIMES), turns)
        for times in [TURN_TIMES[first : first + turns]]
    ]
    early = statistics.median(step for run in steps for step in run[2:7])
    late = statistics.median(step for run in steps for step in run[-5:])
    return late / early


def _peak_kb(*, reset: bool = False) -> int:
    """The most memory held since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def serve(url: str, name: str, begun: float) -> None:
    """Carry orders out until the input ends."""
    async with AsyncExitStack() as stack:
        run = await (CONTESTANTS | PEERS)[name](url, stack)
        _say(await first_run(run, begun))
        while line := sys.stdin.readline():
            _say(await measure(run, **json.loads(line)))


def _say(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    started = time.perf_counter()
    asyncio.run(serve(sys.argv[1], sys.argv[2], started))
