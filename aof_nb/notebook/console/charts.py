"""Bars over time, as SVG that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from html import escape

from aof_nb.journal.recording import State
from aof_nb.journal.summary import DAMAGED, RunSummary
from aof_nb.journal.wording import dollars
from aof_nb.readable import local_time, seconds

_BARS = 24
_WIDTH, _HEIGHT = 240, 60
_FAILED = frozenset({State.FAILED.value, State.LIMIT.value, State.REFUSED.value, DAMAGED})


def run_charts(runs: Sequence[RunSummary], *, within: float | None) -> str:
    """What runs have cost, used, taken, and how many have failed, over time, as HTML.

    Args:
        runs: The runs.
        within: Seconds up to now that are shown; since the first run if None.
    """
    now = time.time()
    begin = now - within if within is not None else min((r.began for r in runs), default=now)
    width = max(now - begin, 1.0) / _BARS

    def bars(value: Callable[[RunSummary], float]) -> list[float]:
        sums = [0.0] * _BARS
        for run in runs:
            place = int((run.began - begin) / width)
            sums[min(max(place, 0), _BARS - 1)] += value(run)
        return sums

    unknown = any(run.cost is None for run in runs)
    charts = [
        _chart("Cost", bars(lambda run: run.cost or 0.0), _cost_word(unknown), begin, width),
        _chart("Tokens", bars(lambda run: float(run.usage.total_tokens)), _whole, begin, width),
        _chart("Time at work", bars(lambda run: run.duration), seconds, begin, width),
        _chart("Failed runs", bars(lambda run: float(run.status in _FAILED)), _whole, begin, width),
    ]
    return f'<div class="aof-charts">{"".join(charts)}</div>'


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _cost_word(unknown: bool) -> Callable[[float], str]:
    if not unknown:
        return dollars
    return lambda value: f"{dollars(value)} and unknown prices" if value else dollars(None)


def _chart(
    title: str, values: Sequence[float], word: Callable[[float], str], begin: float, width: float
) -> str:
    most, total = max(values, default=0.0), sum(values)
    said = f"{title}: {word(total)}"
    starts = [begin + place * width for place in range(len(values))]
    drawn = "".join(_bars(zip(starts, values, strict=True), most, word))
    return (
        f"<figure><figcaption><b>{escape(title)}</b> {escape(word(total))}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said, quote=True)}">'
        f'{drawn}<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"></line></svg>'
        f"<small><span>{local_time(begin, seconds=False)}</span> <span>now</span></small></figure>"
    )


def _bars(
    values: Iterable[tuple[float, float]], most: float, word: Callable[[float], str]
) -> Iterable[str]:
    step = _WIDTH / _BARS
    for place, (start, value) in enumerate(values):
        if value <= 0:
            continue
        height = max(2.0, _HEIGHT * value / most)
        at = local_time(start, seconds=False)
        yield (
            f'<rect x="{place * step + 1:g}" y="{_HEIGHT - height:.1f}" width="{step - 2:g}" '
            f'height="{height:.1f}"><title>{at}: {escape(word(value))}</title></rect>'
        )
