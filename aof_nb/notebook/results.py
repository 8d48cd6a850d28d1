"""What a tool has returned, shown as what it is: a table, JSON, a diff, series over time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import msgspec

from aof_nb.markdown import fenced, html_text, quoted, table
from aof_nb.notebook.images import Image, images_of
from aof_nb.readable import indented_json
from aof_nb.truncation import truncate

_ROWS = 50
_COLUMNS = 12
_CELL_CHARS = 200
_CODE_CHARS = 20_000
_SERIES = 12
_BARS = "▁▂▃▄▅▆▇█"
_LATEST = 253_402_300_000
"""Seconds since the epoch at which years would have five digits."""

_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A result for the live view and for the record."""

    html: str
    markdown: str


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
    if data is None:
        data = _json(content)
    if images := images_of(data):
        return _pictured(content, images)
    if (series := _prometheus(data)) is not None:
        return _plotted(series)
    if (rows := _objects(data)) is not None:
        head = list(dict.fromkeys(key for row in rows for key in row))
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
    """Objects that make a table: flat ones, with few fields in all."""
    if not (isinstance(data, list) and len(data) > 1):
        return None
    keys: set[str] = set()
    for row in data:
        if not isinstance(row, dict) or any(isinstance(each, dict | list) for each in row.values()):
            return None
        keys |= row.keys()
    return data if 0 < len(keys) <= _COLUMNS else None


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


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], count: int) -> Shown:
    """A table of the first of so many rows."""

    def cells(row: Sequence[Any]) -> list[str]:
        return [truncate(_said(each), _CELL_CHARS) for each in row]

    some = [cells(row) for row in rows]
    html = "".join(f"<th scope=col>{html_text(str(each))}</th>" for each in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html_text(each)}</td>" for each in row) + "</tr>" for row in some
    )
    markdown = table(list(map(quoted, head)), (list(map(quoted, row)) for row in some))
    more = f"{count - len(rows):,} more rows" if count > len(rows) else ""
    return Shown(
        f"<div class=aof-scroll><table><thead><tr>{html}</tr></thead><tbody>{body}</tbody></table>"
        f"</div>{f'<p>{more}</p>' if more else ''}",
        f"{markdown}\n\n{more}".rstrip(),
    )


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _code(text: str, language: str) -> Shown:
    text = truncate(text, _CODE_CHARS)
    return Shown(f"<pre class=aof-pre>{html_text(text)}</pre>", fenced(text, language))


def diff(text: str) -> Shown:
    """A unified diff, its added and removed lines told apart by their signs and colours."""
    text = truncate(text, _CODE_CHARS)
    kinds = {"+": "aof-added", "-": "aof-removed", "@": "aof-hunk"}
    lines = [
        f"<span class={kinds.get(line[:1], 'aof-same')}>{html_text(line)}</span>"
        for line in text.splitlines()
    ]
    html = "<pre class=aof-pre>" + "\n".join(lines) + "</pre>"
    return Shown(html, fenced(text, "diff"))


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


def _prometheus(data: Any) -> list[Series] | None:
    """The series of a range query's answer, as Prometheus' HTTP API gives it."""
    if isinstance(data, dict) and isinstance(data.get("data"), dict):
        data = data["data"]
    if not (isinstance(data, dict) and data.get("resultType") == "matrix"):
        return None
    found = []
    try:
        for each in data["result"]:
            labels = dict(each["metric"])
            name = str(labels.pop("__name__", ""))
            told = ", ".join(f'{key}="{value}"' for key, value in labels.items())
            points = [(float(time), float(value)) for time, value in each["values"]]
            points = [each for each in points if isfinite(each[1]) and 0 <= each[0] < _LATEST]
            name = f"{name}{{{told}}}" if told else name or "value"
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
    numbers = _table(["series", "course", "least", "most", "last"], rows, len(series))
    image = plot(series[:_SERIES])
    if image is None:
        return numbers
    picture = f'<img class=aof-plot alt="the series of the table below" src="{image}">'
    return Shown(picture + numbers.html, f"{picture}\n\n{numbers.markdown}")


def _pictured(content: str, images: Sequence[Image]) -> Shown:
    labels = (f"image {number} that the tool returned" for number in range(1, len(images) + 1))
    pictures = "".join(each.html(label) for each, label in zip(images, labels, strict=True))
    said = truncate(content, _CODE_CHARS)
    html = f"<pre class=aof-pre>{html_text(said)}</pre>{pictures}"
    return Shown(html, f"{fenced(said)}\n\n{pictures}")


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
