"""The page of figures: the same figures always make the same text."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import version

from benchmarks.peers import INSTALL, PEERS
from benchmarks.reasons import reasons
from benchmarks.rounds import Figures, Shape
from benchmarks.targets import AIOHTTP, BURST, FIVE, FLOOR, IN_FLIGHT, Target

LIBRARIES = ("aof-nb", "aiohttp", "anthropic", "httpx2", "ipykernel", "ipython", "msgspec")
LIBRARIES += ("openai", "orjson")
HEAD = """\
# Benchmarks

<!-- Written by `make bench`; edit benchmarks/report.py instead. -->

What a run costs the process that makes it, against loops written by hand and against the
official SDKs used as their documentation shows. All talk to the same scripted provider on
loopback, which has its answers ready, so what is left is the client's own work. Each contestant
has a process of its own; they take turns in every round, and the figures are medians of CPU time
over {rounds} rounds. CPU milliseconds differ from machine to machine; the ratios hardly: each is
the median of the rounds' own ratios.

aof_nb runs with everything switched on: the policy, the validation of arguments, limits, and all
its events. A run of N turns makes N tool calls and N + 1 requests, and answers in 200 chunks.

What a change costs is measured against any earlier commit, both side by side in one measurement:
`python -m benchmarks.revisions COMMIT`. The main loop is to cost at most 5 % more.

Measured on {date}, on {cores} cores, Python {python}: {libraries}.
"""
WITHOUT_PEERS = f"""\
Agent frameworks ({", ".join(PEERS)}) were not measured. To have them in the table: `{INSTALL}`.
"""
MEANING = """\
*5,000 chunks at once*: the answer is there in one write. *One a ms*: the answer of 1,000 chunks
comes as tokens do, so that every chunk wakes the reader. *20 (100) at once*: that many runs in one
process, CPU of each. *In flight, paced*: 100 runs that really overlap.
"""


def page(
    figures: Mapping[str, Figures],
    shapes: Sequence[Shape],
    imports: Mapping[str, float],
    found: Sequence[Target],
    rounds: int,
) -> str:
    """The whole page, as Markdown."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    head = HEAD.format(
        rounds=rounds,
        date=date.today().isoformat(),  # noqa: DTZ011  the reader's day
        cores=os.cpu_count(),
        python=platform.python_version(),
        libraries=libraries,
    )
    titles = [shape.title for shape in shapes]
    cpu = [
        [name, *(f"{each.median(title):.2f}" for title in titles)] for name, each in figures.items()
    ]
    floor = figures[FLOOR]
    ratios = [
        [name, *(f"{each.ratio(floor, title):.2f}" for title in titles)]
        for name, each in figures.items()
    ]
    parts = [
        head if PEERS.keys() <= figures.keys() else f"{head}\n{WITHOUT_PEERS}",
        "## CPU milliseconds a run\n",
        table(["", *titles], cpu),
        MEANING,
        f"## The same, as a multiple of {FLOOR}\n",
        table(["", *titles], ratios),
        "## Start and memory\n",
        table(
            [
                "",
                "first run, CPU ms",
                "first run, wall ms",
                "after it, MB",
                "a run in flight, KB",
                "turn 50 over turn 5",
            ],
            [_start(name, each) for name, each in figures.items()],
        ),
        "The first run has five turns, and counts from the start of the process.\n",
        table(["CPU above the same process without it", "ms"], _milliseconds(imports)),
        "## Targets\n",
        table(["", "at most (≥: at least)", "found", ""], [verdict(each) for each in found]),
        _summary(figures, found),
    ]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        head: Its first line; figures are in all columns but the first.
        rows: The other lines.
    """
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _start(name: str, each: Figures) -> list[str]:
    return [
        name,
        f"{each.start('first_cpu_ms'):.0f}",
        f"{each.start('first_wall_ms'):.0f}",
        f"{each.start('memory_mb'):.0f}",
        f"{each.least(IN_FLIGHT, 'kb_per_run'):.0f}",
        f"{each.median('50 turns', 'growth'):.2f}",
    ]


def _milliseconds(imports: Mapping[str, float]) -> list[list[str]]:
    return [[f"`{name}`", f"{value:.0f}"] for name, value in imports.items()]


def verdict(each: Target) -> list[str]:
    """A target's line in a table.

    Args:
        each: The target.
    """
    bound = f"{'≥ ' if each.at_least else ''}{each.bound:g} {each.unit}".strip()
    found = f"{each.found:.2f} {each.unit}".strip()
    return [each.title, bound, found, "met" if each.met else "**missed**"]


def _summary(figures: Mapping[str, Figures], found: Sequence[Target]) -> str:
    missed = [each.title for each in found if not each.met]
    lines = [f"{len(found) - len(missed)} of {len(found)} targets are met.\n"]
    floors = figures[FLOOR], figures[AIOHTTP]
    apart = floors[0].median(FIVE) / floors[1].median(FIVE)
    burst = floors[0].median(BURST) / floors[1].median(BURST)
    lines.append(
        f"The two floors are {apart:.1f} times apart in runs of five turns and {burst:.1f} times "
        "in a burst: the HTTP client matters more than what is built on it.\n"
    )
    if why := reasons(figures, found):
        lines += ["## Why what is missed is missed\n", *(f"- {reason}" for reason in why)]
        lines.append("")
    return "\n".join(lines)
