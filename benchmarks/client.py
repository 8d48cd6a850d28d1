"""One contestant in one shape, in a process of its own; prints its figures as JSON.

`python -m benchmarks.client URL CONTESTANT MODEL RUNS CONCURRENT`
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from benchmarks.contestants import CONTESTANTS


async def measure(url: str, name: str, model: str, runs: int, concurrent: int) -> dict[str, float]:
    """CPU seconds a run (this process only), after one run that warms up."""
    begun = time.perf_counter()
    run = CONTESTANTS[name](url)
    text = await run(model)
    first = time.perf_counter() - begun
    memory_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if not text:
        raise SystemExit(f"{name}: no answer")
    before = time.process_time()
    started = time.perf_counter()
    for _ in range(runs):
        await asyncio.gather(*(run(model) for _ in range(concurrent)))
    cpu = time.process_time() - before
    wall = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cpu_ms": 1000 * cpu / (runs * concurrent),
        "wall_ms": 1000 * wall / runs,
        "first_s": first,
        "memory_first_mb": memory_first / 1024,
        "kb_per_run_in_flight": (memory - memory_first) / concurrent,
        "characters": len(text),
    }


if __name__ == "__main__":
    _, address, contestant, shape, count, at_once = sys.argv
    figures = asyncio.run(measure(address, contestant, shape, int(count), int(at_once)))
    sys.stdout.write(json.dumps(figures) + "\n")
