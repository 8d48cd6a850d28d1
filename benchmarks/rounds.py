"""Runs the contestants side by side: a process each, in turn, over several rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.contestants import CONTESTANTS

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Shape:
    """What a run looks like, and how many make one measurement.

    Args:
        title: Its column in the table.
        model: The scripted server's model.
        runs: Runs, or batches of concurrent runs, in one measurement.
        concurrent: How many runs go on at the same time.
        rounds: In how many rounds it is measured; all if None.
        fresh: Whether it is measured in new processes, which have no memory to use again.
    """

    title: str
    model: str
    runs: int = 1
    concurrent: int = 1
    rounds: int | None = None
    fresh: bool = False


SHAPES = (
    Shape("5 turns", "bench-5-200", runs=16),
    Shape("20 turns", "bench-20-200", runs=5),
    Shape("50 turns", "bench-50-200", runs=2),
    Shape("5,000 chunks at once", "bench-0-5000", runs=3),
    Shape("1,000 chunks, one a ms", "bench-0-1000-p1ms"),
    Shape("5 turns, 20 at once", "bench-5-200", concurrent=20),
    Shape("5 turns, 100 at once", "bench-5-200", concurrent=100, rounds=3),
    Shape(
        "5 turns, 100 in flight, paced", "bench-5-200-p1ms", concurrent=100, rounds=3, fresh=True
    ),
)
QUICK = (
    Shape("5 turns", "bench-5-20"),
    Shape("20 turns", "bench-20-20"),
    Shape("50 turns", "bench-50-20"),
    Shape("5,000 chunks at once", "bench-0-500"),
    Shape("1,000 chunks, one a ms", "bench-0-50-p1ms"),
    Shape("5 turns, 20 at once", "bench-5-20", concurrent=3),
    Shape("5 turns, 100 at once", "bench-5-20", concurrent=5),
    Shape("5 turns, 100 in flight, paced", "bench-5-20-p1ms", concurrent=5),
)


@dataclass
class Figures:
    """What was measured of one contestant: medians over the rounds."""

    starts: list[dict[str, float]] = field(default_factory=list)
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def median(self, shape: str, figure: str = "cpu_ms") -> float:
        """The median of a figure in a shape."""
        return statistics.median(sample[figure] for sample in self.samples[shape])

    def least(self, shape: str, figure: str) -> float:
        """The least of a figure in a shape: for what noise only adds to."""
        return min(float(sample[figure]) for sample in self.samples[shape])

    def ratio(self, other: Figures, shape: str) -> float:
        """CPU over another's: the median of the rounds' own ratios, as machines drift."""
        return statistics.median(mine / theirs for mine, theirs in self._pairs(other, shape))

    def above(self, other: Figures, shape: str) -> float:
        """CPU milliseconds above another's, round by round: the median."""
        return statistics.median(mine - theirs for mine, theirs in self._pairs(other, shape))

    def _pairs(self, other: Figures, shape: str) -> list[tuple[float, float]]:
        pairs = zip(self.samples[shape], other.samples[shape], strict=False)
        return [(mine["cpu_ms"], theirs["cpu_ms"]) for mine, theirs in pairs]

    def start(self, figure: str) -> float:
        """The median of a figure of the first run."""
        return statistics.median(start[figure] for start in self.starts)


@contextmanager
def scripted_server() -> Iterator[str]:
    """A scripted server in a process of its own; gives its address."""
    with tempfile.TemporaryDirectory() as directory:
        port = Path(directory) / "port"
        command = [sys.executable, str(ROOT / "benchmarks" / "scripted_server.py")]
        process = subprocess.Popen(
            [*command, "--port-file", str(port), "--until-stdin-closes"], stdin=subprocess.PIPE
        )
        try:
            while not port.exists():
                if process.poll() is not None:
                    raise SystemExit("the scripted server did not start")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port.read_text()}"
        finally:
            process.terminate()
            process.wait()


class Contestant:
    """A contestant's process, of the code below `root`."""

    def __init__(self, python: str, url: str, name: str, root: Path = ROOT) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.client", url, name],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "OPENAI_API_KEY": "k"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self._answer()

    def measure(self, shape: Shape) -> dict[str, Any]:
        """Measures one shape once."""
        order = {"model": shape.model, "runs": shape.runs, "concurrent": shape.concurrent}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early, status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def compare(
    shapes: Sequence[Shape], rounds: int, peers: str | None = None, say: Any = lambda _: None
) -> dict[str, Figures]:
    """Measures every contestant in every shape; `peers` is the Python that has the peers."""
    pythons = dict.fromkeys(CONTESTANTS, sys.executable)
    if peers is not None:
        from benchmarks.peers import PEERS

        pythons |= dict.fromkeys(PEERS, peers)
    found = {name: Figures() for name in pythons}
    with scripted_server() as url, ExitStack() as stack:
        contestants = []
        for name, python in pythons.items():
            say(f"starting {name}")
            contestants.append(stack.enter_context(Contestant(python, url, name)))
            found[name].starts.append(contestants[-1].first)
        for number in range(rounds):
            for shape in shapes:
                if number >= (shape.rounds or rounds):
                    continue
                say(f"round {number + 1} of {rounds}: {shape.title}")
                # Turned round by round, so that nobody always comes after the same neighbour.
                turn = number % len(contestants)
                for contestant in contestants[turn:] + contestants[:turn]:
                    figures = found[contestant.name]
                    samples = figures.samples.setdefault(shape.title, [])
                    if number and shape.rounds and contestant.name not in CONTESTANTS:
                        continue
                    if not shape.fresh:
                        samples.append(contestant.measure(shape))
                        continue
                    with Contestant(pythons[contestant.name], url, contestant.name) as fresh:
                        figures.starts.append(fresh.first)
                        samples.append(fresh.measure(shape))
    return found
