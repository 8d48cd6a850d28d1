"""`python -m benchmarks`: measures, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import iopub, stopping
from benchmarks.report import page
from benchmarks.rounds import QUICK, ROOT, SHAPES, compare
from benchmarks.sections import carried_over, replaced
from benchmarks.start import import_times
from benchmarks.targets import targets

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


def main() -> None:
    """Parse the command line, measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: figures mean nothing")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each shape")
    parser.add_argument(
        "--peers",
        action=argparse.BooleanOptionalAction,
        default=PEERS_PYTHON.exists(),
        help="also the frameworks in .venv-peers, if it is there (see benchmarks/peers.py)",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    if options.peers and not PEERS_PYTHON.exists():
        from benchmarks.peers import INSTALL

        parser.error(f"the peers are not installed; run: {INSTALL}")
    shapes, rounds = (QUICK, 1) if options.quick else (SHAPES, options.rounds)
    peers = str(PEERS_PYTHON) if options.peers else None
    imports = import_times(1 if options.quick else 15)
    figures = compare(shapes, rounds, peers, _say)
    found = targets(figures, imports)
    text = page(figures, shapes, imports, found, rounds)
    if options.output.exists():
        text = carried_over(options.output.read_text(encoding="utf-8"), text)
    for part in (iopub, stopping):
        text = replaced(text, part.section(quick=options.quick))
    options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
