"""What the figures should be, and whether they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.rounds import Figures
from benchmarks.traffic import Traffic, percentile

FLOOR = "httpx2 by hand"
AIOHTTP = "aiohttp by hand"
SAME_TRANSPORT = "openai transport by hand"
OURS = ("aof_nb openai-chat", "aof_nb openai", "aof_nb anthropic")
FIVE, TWENTY, FIFTY = "5 turns", "20 turns", "50 turns"
BURST, PACED = "5,000 chunks at once", "1,000 chunks, one a ms"
AT_ONCE, MANY = "5 turns, 20 at once", "5 turns, 100 at once"
IN_FLIGHT = "5 turns, 100 in flight, paced"
ANSWER_AT_ONCE = "at once"
AT_ONCE_VIEW = "at once after a call, view ready"
AT_ONCE_UNSEEN = "at once after a call, view never ready"
PACED_VIEW = "200 chunks a second, view ready"
HALF_VIEW = "200 chunks a second, view ready, half the answer"
PACED_UNSEEN = "200 chunks a second, view never ready"
RESENT = "re-sent, at once"
RESENT_PACED = "re-sent, 200 chunks a second"
CHANNEL = (ANSWER_AT_ONCE, AT_ONCE_VIEW, AT_ONCE_UNSEEN, HALF_VIEW, PACED_VIEW, PACED_UNSEEN)
CHANNEL += (RESENT, RESENT_PACED)


@dataclass(frozen=True)
class Target:
    """A bound and what was found.

    Args:
        title: What is bounded.
        bound: The most (or, for `at_least`, the least) it may be.
        found: What it is.
        unit: What it is counted in.
        at_least: Whether more is better.
    """

    title: str
    bound: float
    found: float
    unit: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def targets(
    figures: Mapping[str, Figures],
    imports: Mapping[str, float],
) -> list[Target]:
    """The design's targets, in a fixed order."""
    chat = figures[OURS[0]]
    floor, aiohttp, same = (figures[name] for name in (FLOOR, AIOHTTP, SAME_TRANSPORT))
    found = []
    for shape, requests in ((FIVE, 6), (TWENTY, 21), (FIFTY, 51)):
        own = chat.above(same, shape) / requests
        title = f"own cost of a model request in {shape}, above the same transport by hand"
        found.append(Target(title, 0.25, own, "ms"))
    for name in OURS:
        mine = figures[name]
        for shape in (FIVE, TWENTY, FIFTY):
            ratio = mine.ratio(floor, shape)
            found.append(Target(f"{name}: run of {shape}, of {FLOOR}", 1.0, ratio, "times"))
        growth = mine.median(FIFTY, "growth")
        found.append(Target(f"{name}: request at turn 50, of one at turn 5", 1.3, growth, "times"))
        paced = mine.ratio(aiohttp, PACED)
        found.append(Target(f"{name}: paced stream, of {AIOHTTP}", 1.2, paced, "times"))
        many = mine.median(MANY) / mine.median(FIVE)
        found.append(Target(f"{name}: one of 100 runs at once, of a single", 1.1, many, "times"))
        flight = mine.least(IN_FLIGHT, "kb_per_run")
        found.append(Target(f"{name}: memory of a run in flight", 60, flight, "KB"))
        held = mine.start("memory_mb")
        found.append(Target(f"{name}: memory after the first run", 80, held, "MB"))
        first = mine.start("first_cpu_ms") / 1000
        found.append(Target(f"{name}: first run, CPU from start to answer", 1.5, first, "s"))
    found.append(Target("`import aof_nb` above empty", 100, imports["import aof_nb"], "ms"))
    known = {FLOOR, AIOHTTP, SAME_TRANSPORT, *OURS}
    for name in (each for each in figures if each not in known and "SDK as" not in each):
        ours = min(figures[mine].median(FIVE) for mine in OURS)
        found.append(
            Target(
                f"{name}: run of 5 turns, of ours",
                10,
                figures[name].median(FIVE) / ours,
                "times",
                at_least=True,
            )
        )
        burst_cpu = figures[name].median(BURST) / chat.median(BURST)
        found.append(Target(f"{name}: burst, of ours", 50, burst_cpu, "times", at_least=True))
    return found


def channel_targets(rows: Mapping[str, Traffic]) -> list[Target]:
    """The targets of what an answer costs the notebook, in a fixed order."""
    found = [
        Target(f"{title}: content, of the text", 1.5, rows[title].ratio, "times")
        for title in (ANSWER_AT_ONCE, AT_ONCE_VIEW, AT_ONCE_UNSEEN)
    ]
    grown = rows[PACED_VIEW].content / rows[HALF_VIEW].content
    found.append(Target(f"{PACED_VIEW}: content, of half the answer's", 2.1, grown, "times"))
    for title in (PACED_VIEW, PACED_UNSEEN):
        each = rows[title]
        found.append(Target(f"{title}: content, of the text", 5, each.ratio, "times"))
        busiest = Target(f"{title}: updates in the busiest second", 20, each.busiest_second, "")
        found.append(busiest)
        for kind, trips in (("round trip", each.trips), ("click", each.clicks)):
            high = percentile(trips, 95)
            found.append(Target(f"{title}: {kind}, 95th percentile", 50, high, "ms"))
    mean = rows[PACED_VIEW].updates_a_second
    found.append(Target(f"{PACED_VIEW}: updates a second", 1, mean, "", at_least=True))
    return found


def stopping_targets(found: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Target]:
    """The targets of how soon runs end, by what they are in the middle of and what ends them."""
    return [
        Target(f"{way} while {moment}, 95th percentile", 200, percentile(taken, 95), "ms")
        for moment, ways in found.items()
        for way, taken in ways.items()
    ]
