"""`python -m benchmarks.revisions REV`: what the main loop costs, over what it cost at a revision.

Both run side by side in one measurement, a process each, turn by turn; a figure is the median of
the rounds' own ratios, so a machine that drifts or is shared changes little.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.contestants import CONTESTANTS
from benchmarks.rounds import QUICK, ROOT, SHAPES, Contestant, Shape, scripted_server

OURS = tuple(name for name in CONTESTANTS if name.startswith("aof_nb"))


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """The repository's files as they were at a revision."""
    packed = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(directory, filter="data")
        yield Path(directory)


def ratios(shape: Shape, revision: Path, url: str, rounds: int) -> dict[str, list[float]]:
    """CPU of each of our contestants over its own at the revision, one ratio a round."""
    found: dict[str, list[float]] = {}
    for name in OURS:
        with ExitStack() as stack:
            now = stack.enter_context(Contestant(sys.executable, url, name))
            then = stack.enter_context(Contestant(sys.executable, url, name, revision))
            for number in range(rounds):
                pair = (now, then) if number % 2 else (then, now)
                cost = {each: each.measure(shape)["cpu_ms"] for each in pair}
                found.setdefault(name, []).append(cost[now] / cost[then])
    return found


def main() -> None:
    """Parse the command line, measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revisions", description=__doc__)
    parser.add_argument("revision", help="a commit, tag or branch of this repository")
    parser.add_argument("--quick", action="store_true", help="a smoke test: figures mean nothing")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each shape")
    options = parser.parse_args()
    shapes, rounds = (QUICK[:1], 1) if options.quick else (SHAPES[:5], options.rounds)
    sys.stdout.write(f"CPU over {options.revision}: median of {rounds} rounds (least to most)\n")
    with checked_out(options.revision) as then, scripted_server() as url:
        for shape in shapes:
            for name, each in ratios(shape, then, url, rounds).items():
                middle, spread = statistics.median(each), f"{min(each):.2f} to {max(each):.2f}"
                sys.stdout.write(f"{shape.title:24} {name:20} {middle:.3f} ({spread})\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
