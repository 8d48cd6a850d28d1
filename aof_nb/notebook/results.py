"""What a tool has returned, shown as what it is: a table, JSON, a diff, series over time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from aof_nb.markdown import fenced, html_text, quoted, table
from aof_nb.notebook.images import Image, images_of
from aof_nb.readable import indented_json, unstyled
from aof_nb.truncation import truncate

_ROWS = 50
_COLUMNS = 40
_CELL_CHARS = 200
_CODE_CHARS = 20_000
_SERIES = 12
_BARS = "▁▂▃▄▅▆▇█"
_LATEST = 253_402_300_000
"""Seconds since the epoch at which years would have five digits."""

_TALL_LINES = 25
_LONG_CHARS = 2_500
_SCROLLS = '<div style="max-height:24em;overflow:auto">'

_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A result for the live view and for the record.

    Args:
        html: For the view.
        markdown: For the record.
        drawn: Whether it has a picture, which is shown without a click.
    """

    html: str
    markdown: str
    drawn: bool = False


def shown(content: str, data: Any = None) -> Shown | None:
    """A result as what it is; None if it is just text.

    Args:
        content: What the model is shown.
        data: The same as data, if the tool returned any.

    Example:
        >>> print(shown('[{"pod": "a", "restarts": 2}, {"pod": "b", "restarts": 0}]').markdown)
        | pod | restarts |
        | --- | --- |
        | a | 2 |
        | b | 0 |
    """
    content = unstyled(content)
    if data is None:
        data = _json(content)
    if images := images_of(data):
        return _pictured(content, images)
    if (series := _prometheus(data)) is not None:
        return _plotted(series)
    if (samples := _samples(data)) is not None:
        return _table(["series", "value"], samples, len(samples), "series")
    if (rows := _objects(data)) is not None:
        head = list(dict.fromkeys(str(key) for row in rows for key in row))
        some = [[row.get(key, "") for key in head] for row in rows[:_ROWS]]
        return _table(head, some, len(rows))
    if isinstance(data, dict | list) and data:
        text = indented_json(data)
        return _code(text, "json")
    if content.startswith(("diff --git ", "--- ")) and _HUNK.search(content):
        return diff(content)
    if (read := _csv(content)) is not None:
        return _table(read[0], read[1 : _ROWS + 1], len(read) - 1)
    return None


def _json(content: str) -> Any:
    if not content.lstrip().startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _objects(data: Any) -> list[dict[str, Any]] | None:
    """Objects that make a table: flat ones."""
    if not (isinstance(data, list) and len(data) > 1):
        return None
    for row in data:
        if not isinstance(row, dict) or any(isinstance(each, dict | list) for each in row.values()):
            return None
    return data if any(data) else None


def _csv(content: str) -> list[list[str]] | None:
    lines = content.strip().splitlines()
    if not 2 < len(lines) <= 10_000:
        return None
    for delimiter in ("\t", ","):
        if all(delimiter in line for line in lines[:3]):
            try:
                rows = list(csv.reader(io.StringIO(content.strip()), delimiter=delimiter))
            except csv.Error:
                return None
            widths = {len(row) for row in rows}
            if len(widths) == 1 and 1 < widths.pop() <= _COLUMNS:
                return rows
    return None


def _table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], count: int, noun: str = "rows"
) -> Shown:
    """A table of the first of so many rows, and of their first columns."""
    some = list(_bounded(rows))
    left_out = [f"{count - len(some):,} more {noun}"] if count > len(some) else []
    left_out += [f"{len(head) - _COLUMNS:,} more columns"] if len(head) > _COLUMNS else []
    head, more = head[:_COLUMNS], ", ".join(left_out)
    html = "".join(f"<th scope=col>{html_text(each)}</th>" for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_text(each)}</td>" for each in row) + "</tr>" for row in some
    )
    markdown = table(list(map(quoted, head)), (list(map(quoted, row)) for row in some))
    note = f"\n\n{more}" if more else ""
    large = len(some) > _TALL_LINES or len(head) > _COLUMNS // 4
    return Shown(
        f"<div class=aof-scroll><table><thead><tr>{html}</tr></thead><tbody>{body}</tbody></table>"
        f"</div>{f'<p>{more}</p>' if more else ''}",
        (boxed(markdown) if large else markdown) + note,
    )


def _bounded(rows: Sequence[Sequence[Any]]) -> Iterator[list[str]]:
    """The first rows, as texts, as many as make a table of bounded length."""
    left = _CODE_CHARS
    for row in rows[:_ROWS]:
        cells = [truncate(_said(each), _CELL_CHARS) for each in row[:_COLUMNS]]
        left -= sum(map(len, cells))
        if left < 0:
            return
        yield cells


def boxed(markdown: str) -> str:
    """What is long in a box that scrolls, where the renderer keeps the style; GitHub does not."""
    return f"{_SCROLLS}\n\n{markdown}\n\n</div>"


def code_block(text: str, language: str = "") -> str:
    """A text as code for the record, in a box that scrolls if it is long."""
    block = fenced(text, language)
    large = text.count("\n") > _TALL_LINES or len(text) > _LONG_CHARS
    return boxed(block) if large else block


def _said(value: Any) -> str:
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()


def _code(text: str, language: str) -> Shown:
    text = truncate(text, _CODE_CHARS)
    return Shown(f"<pre class=aof-pre>{html_text(text)}</pre>", code_block(text, language))


def diff(text: str) -> Shown:
    """A unified diff, its added and removed lines told apart by their signs and colours."""
    text = truncate(unstyled(text), _CODE_CHARS)
    kinds = {"+": "aof-added", "-": "aof-removed", "@": "aof-hunk"}
    lines = [
        f"<span class={kinds.get(line[:1], 'aof-same')}>{html_text(line)}</span>"
        for line in text.splitlines()
    ]
    html = "<pre class=aof-pre>" + "\n".join(lines) + "</pre>"
    return Shown(html, code_block(text, "diff"))


@dataclass(frozen=True)
class Series:
    """One series over time.

    Args:
        name: Its labels.
        times: Seconds since the epoch.
        values: As many.
    """

    name: str
    times: list[float]
    values: list[float]


def _answer(data: Any, kind: str) -> Any:
    """What Prometheus' HTTP API has answered, if it is of a kind; else None."""
    if isinstance(data, dict) and isinstance(data.get("data"), dict):
        data = data["data"]
    is_answer = isinstance(data, dict) and data.get("resultType") == kind
    return data.get("result") if is_answer else None


def _series_name(metric: Any) -> str:
    labels = dict(metric)
    name = str(labels.pop("__name__", ""))
    told = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{told}}}" if told else name or "value"


def _samples(data: Any) -> list[list[str]] | None:
    """The series of an instant query's answer and their values."""
    try:
        return [
            [_series_name(each["metric"]), str(each["value"][1])]
            for each in _answer(data, "vector") or ()
        ] or None
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def _prometheus(data: Any) -> list[Series] | None:
    """The series of a range query's answer."""
    found = []
    try:
        for each in _answer(data, "matrix") or ():
            points = [(float(time), float(value)) for time, value in each["values"]]
            points = [each for each in points if isfinite(each[1]) and 0 <= each[0] < _LATEST]
            name = _series_name(each["metric"])
            found.append(Series(name, [time for time, _ in points], [value for _, value in points]))
    except (KeyError, TypeError, ValueError):
        return None
    return [each for each in found if each.values] or None


def _plotted(series: list[Series]) -> Shown:
    from aof_nb.notebook.plots import plot

    rows = [
        [each.name, _spark(each.values), *(f"{value:.6g}" for value in _summary(each.values))]
        for each in series[:_SERIES]
    ]
    head = ["series", "course", "least", "most", "last"]
    numbers = _table(head, rows, len(series), "series, which are not drawn")
    image = plot(series[:_SERIES])
    if image is None:
        return numbers
    picture = f'<img class=aof-plot alt="the series of the table below" src="{image}">'
    return Shown(picture + numbers.html, f"{picture}\n\n{numbers.markdown}", drawn=True)


def _pictured(content: str, images: Sequence[Image]) -> Shown:
    labels = (f"image {number} that the tool returned" for number in range(1, len(images) + 1))
    pictures = "".join(each.html(label) for each, label in zip(images, labels, strict=True))
    said = truncate(content, _CODE_CHARS)
    html = f"<pre class=aof-pre>{html_text(said)}</pre>{pictures}"
    return Shown(html, f"{code_block(said)}\n\n{pictures}", drawn=True)


def _summary(values: list[float]) -> tuple[float, float, float]:
    return min(values), max(values), values[-1]


def _spark(values: list[float], width: int = 40) -> str:
    """The course of values in a line of text."""
    step = max(1, -(-len(values) // width))
    means = [
        sum(part) / len(part)
        for part in (values[at : at + step] for at in range(0, len(values), step))
    ]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
