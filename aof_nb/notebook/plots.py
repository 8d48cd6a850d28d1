"""Series over time as a picture that reads on light and dark ground; needs the extra `plots`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import cycle, pairwise
from math import ceil, nan
from typing import Any, Protocol

_GREY = "#808080"
_LABEL_CHARS = 52
_COLOURS = 96
_LEGEND_LINE = 0.15
"""Inches."""
_STYLES = ("-", "--", "-.", ":")
"""Lines are told apart without their colours, of which there are ten."""


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
    named = len(series) if len(series) > 1 else 0
    figure: Any = Figure(
        figsize=(7, 2.2 + _LEGEND_LINE * ceil(named / 2)), dpi=100, layout="constrained"
    )
    axes: Any = figure.subplots()
    for each, style in zip(series, cycle(_STYLES), strict=False):
        moments, values = _with_gaps(each.times, each.values)
        times = [datetime.fromtimestamp(moment, UTC) for moment in moments]
        axes.plot(times, values, linewidth=1.5, linestyle=style, label=f" {_label(each.name)}")
    locator = untyped.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.set_facecolor("none")
    axes.grid(visible=True, color=_GREY, alpha=0.25)
    axes.tick_params(colors=_GREY, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(_GREY)
    axes.xaxis.get_offset_text().set_color(_GREY)
    if named:
        legend = figure.legend(
            fontsize=7, labelcolor=_GREY, framealpha=0, loc="outside lower left", ncols=2
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", transparent=True)
    return f"data:image/png;base64,{base64.b64encode(_small(drawn)).decode()}"


def _label(name: str) -> str:
    """A series' name for the legend; what tells series apart stands at its end as a rule."""
    return name if len(name) <= _LABEL_CHARS else f"{name[:16]}…{name[17 - _LABEL_CHARS :]}"


def _small(png: io.BytesIO) -> bytes:
    """The picture with few colours, a third as long: it is in the notebook's file."""
    from PIL import Image

    made = io.BytesIO()
    with Image.open(png) as picture:
        few = picture.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
        few.save(made, "png", optimize=True)
    return made.getvalue()
