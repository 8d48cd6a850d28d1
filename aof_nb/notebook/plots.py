"""Series over time as a picture that reads on light and dark ground; needs the extra `plots`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from math import nan
from typing import Any, Protocol

_GREY = "#808080"


class _Series(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def times(self) -> list[float]: ...
    @property
    def values(self) -> list[float]: ...


def _with_gaps(times: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """The points, with one that is no number where some are missing: the line ends there."""
    step = min((after - before for before, after in pairwise(times)), default=0.0)
    moments, numbers = times[:1], values[:1]
    for (before, after), value in zip(pairwise(times), values[1:], strict=True):
        if after - before > 1.5 * step:
            moments.append((before + after) / 2)
            numbers.append(nan)
        moments.append(after)
        numbers.append(value)
    return moments, numbers


def plot(series: Sequence[_Series]) -> str | None:
    """The series as a PNG's data URL; None without matplotlib, or without two points.

    Args:
        series: With times in seconds since the epoch.
    """
    if find_spec("matplotlib") is None or all(len(each.times) < 2 for each in series):
        return None
    from datetime import UTC, datetime

    from matplotlib import dates
    from matplotlib.figure import Figure

    untyped: Any = dates
    figure = Figure(figsize=(7, 2.2), dpi=100, layout="constrained")
    axes: Any = figure.subplots()
    for each in series:
        moments, values = _with_gaps(each.times, each.values)
        times = [datetime.fromtimestamp(moment, UTC) for moment in moments]
        axes.plot(times, values, linewidth=1.5, label=f" {each.name[:60]}")
    locator = untyped.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.set_facecolor("none")
    axes.grid(visible=True, color=_GREY, alpha=0.25)
    axes.tick_params(colors=_GREY, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(_GREY)
    axes.xaxis.get_offset_text().set_color(_GREY)
    if len(series) > 1:
        legend = axes.legend(fontsize=7, labelcolor=_GREY, framealpha=0, loc="best")
        for text in legend.get_texts():
            text.set_parse_math(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    return f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
