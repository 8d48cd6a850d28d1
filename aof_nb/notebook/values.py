"""A variable's value as a model reads it: tables and structures, bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from aof_nb.markdown import table
from aof_nb.truncation import truncate

ROWS = 50
"""Rows of a table that are told at most."""

CHARS = 20_000
"""Characters of a value that are told at most."""

_COLUMNS = 30
_CELL_CHARS = 200


def told(value: Any) -> str | None:
    """A value as text for a model; None if it is one that `str` says well.

    A data frame, of whatever library, becomes a Markdown table of its first rows, which says how
    many there are; a mapping or a list becomes JSON.

    Args:
        value: The value.

    Example:
        >>> told({"pod": "web-1", "restarts": 3})
        '{"pod":"web-1","restarts":3}'
    """
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _json(value)
    if _is_series(value):
        value = value.to_frame()
    if _is_frame(value):
        return _table(value)
    return None


def _json(value: Any) -> str | None:
    try:
        text = msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    if len(text) > 200:
        text = msgspec.json.format(text)
    return truncate(text, CHARS)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "shape") and hasattr(value, "head")


def _is_series(value: Any) -> bool:
    return hasattr(value, "to_frame") and hasattr(value, "head") and not hasattr(value, "columns")


def _table(frame: Any) -> str:
    rows, columns = frame.shape
    index = _index_names(frame)
    names = [*index, *(str(each) for each in frame.columns)][:_COLUMNS]
    first = itertools.islice(_rows(frame.head(ROWS)), ROWS)
    shown = table(_cells(names), (_cells(each[:_COLUMNS]) for each in first))
    left_out = [f"the first {ROWS} of {rows:,} rows"] if rows > ROWS else []
    left_out += [f"the first {_COLUMNS} of {columns:,} columns"] if columns > _COLUMNS else []
    note = f"\n\n({', '.join(left_out)})" if left_out else ""
    return truncate(shown, CHARS) + note


def _rows(frame: Any) -> Iterator[Sequence[Any]]:
    """The rows of a data frame, as pandas (`itertuples`) or polars (`rows`) has them."""
    if hasattr(frame, "itertuples"):
        for each in frame.itertuples():
            index, *cells = each
            keys = index if isinstance(index, tuple) else (index,)
            yield [*(keys if _index_names(frame) else ()), *cells]
        return
    yield from frame.rows()


def _index_names(frame: Any) -> list[str]:
    """What pandas calls the rows; nothing where it only counts them."""
    index = getattr(frame, "index", None)
    if index is None or type(index).__name__ == "RangeIndex" or not hasattr(index, "names"):
        return []
    return [str(each or "") for each in index.names]


def _cells(row: Sequence[Any]) -> list[str]:
    texts = (" ".join(truncate(str(each), _CELL_CHARS).split()) for each in row)
    return [each.replace("|", "\\|") for each in texts]
