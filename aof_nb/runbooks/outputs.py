"""Outputs of a cell, compared with those that are saved."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aof_nb.journal.difference import unified
from aof_nb.runbooks.sanitizers import Sanitizers

_NOT_COMPARED = ("image/", "application/vnd.jupyter.widget-view")
"""Kinds of data that differ from machine to machine, or are random."""


def output_difference(
    saved: Sequence[Mapping[str, Any]],
    now: Sequence[Mapping[str, Any]],
    sanitizers: Sanitizers,
    *,
    before: str = "saved",
) -> str:
    """How a cell's outputs differ from the saved ones, as a unified diff; empty if they do not.

    Metadata, execution counts, tracebacks and images are not compared; texts of one stream are
    taken together.

    Args:
        saved: The saved outputs, as nbformat's nodes.
        now: The outputs.
        sanitizers: What is taken out of both before.
        before: What the saved ones are called.

    Example:
        >>> from aof_nb.runbooks.sanitizers import sanitizers
        >>> was = [{"output_type": "stream", "name": "stdout", "text": "done in 3 ms"}]
        >>> now = [{"output_type": "stream", "name": "stdout", "text": "done in 5 ms"}]
        >>> output_difference(was, now, sanitizers())
        ''
    """
    was_parts, now_parts = ([*_parts(each, sanitizers)] for each in (saved, now))
    if was_parts == now_parts:
        return ""
    # People read the plain text; the same in HTML is shown only where it alone differs.
    for kinds in (_without_html, _everything):
        told = unified("output", kinds(was_parts), kinds(now_parts), sides=(before, "this"))
        if told:
            return told
    return "the outputs are the same but for the ends of their lines"


Part = tuple[str, str]


def _without_html(parts: Sequence[Part]) -> str:
    return _laid_out([each for each in parts if each[0] != "text/html"])


def _everything(parts: Sequence[Part]) -> str:
    return _laid_out(
        [
            (kind, text.replace("><", ">\n<") if kind == "text/html" else text)
            for kind, text in parts
        ]
    )


def _laid_out(parts: Sequence[Part]) -> str:
    return "\n".join(f"[{kind}]\n{text}" for kind, text in parts)


def _parts(outputs: Sequence[Mapping[str, Any]], sanitizers: Sanitizers) -> Iterator[Part]:
    """What is compared of outputs, each with its kind."""
    streams: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + _text(output["text"])
    told = set()
    for output in outputs:
        match output["output_type"]:
            case "stream" if output["name"] not in told:
                told.add(output["name"])
                yield output["name"], sanitizers.applied(streams[output["name"]])
            case "error":
                yield "error", sanitizers.applied(f"{output['ename']}: {output['evalue']}")
            case "display_data" | "execute_result":
                for kind in sorted(output["data"]):
                    if not kind.startswith(_NOT_COMPARED):
                        yield kind, sanitizers.applied(_text(output["data"][kind]))
            case _:
                pass


def _text(data: Any) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, list) and all(isinstance(each, str) for each in data):
        return "".join(data)
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)
