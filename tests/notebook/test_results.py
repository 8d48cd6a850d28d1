"""What tools return is shown as what it is, whatever it is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aof_nb.events import ToolFinished, ToolStarted
from aof_nb.messages import Outcome, ToolCall
from aof_nb.notebook.record import RunRecord
from aof_nb.notebook.results import shown


def matrix(*values: Any, name: str = "up", at: float = 1.7e9) -> str:
    points = [[at + 60 * n, value] for n, value in enumerate(values)]
    result = [{"metric": {"__name__": name, "job": "<b>"}, "values": points}] * 2
    return json.dumps({"data": {"resultType": "matrix", "result": result}})


def test_objects_are_a_table() -> None:
    found = shown(json.dumps([{"pod": "<a>", "n": 1}, {"pod": "b|c", "up": True}]))
    assert found is not None
    assert "| pod | n | up |\n| --- | --- | --- |\n| &lt;a&gt; | 1 |  |" in found.markdown
    assert "b&#124;c" in found.markdown
    assert "<td>&lt;a&gt;</td>" in found.html


@pytest.mark.parametrize("separator", [",", "\t"])
def test_lines_of_values_are_a_table(separator: str) -> None:
    lines = [["pod", "cpu"], ["a", "1"], ["b", "2"]]
    found = shown("\n".join(separator.join(line) for line in lines))
    assert found is not None
    assert found.markdown == "| pod | cpu |\n| --- | --- |\n| a | 1 |\n| b | 2 |"


def test_prose_with_commas_is_none() -> None:
    assert shown("First, this.\nThen, that, and more.\nLast, the end.") is None


def test_a_diff_and_json() -> None:
    diff = "--- a\n+++ b\n@@ -1 +1 @@\n-<x>\n+y"
    found = shown(diff)
    assert found is not None
    assert found.markdown == f"```diff\n{diff}\n```"
    assert "<span class=aof-removed>-&lt;x&gt;</span>" in found.html
    found = shown('{"a":{"b":1}}')
    assert found is not None
    assert found.markdown == '```json\n{\n  "a": {\n    "b": 1\n  }\n}\n```'


def test_series_are_drawn() -> None:
    found = shown(matrix("1", "3", "2"))
    assert found is not None
    assert "data:image/png;base64," in found.html
    assert "| ▁█▅ | 1 | 3 | 2 |" in found.markdown
    assert "<b>" not in found.html.replace("<b>up", "")


ODD = {
    "no number": matrix("NaN", "NaN"),
    "infinite": matrix("+Inf", "1", "-Inf"),
    "far away": matrix("1", "2", at=1e20),
    "before time": matrix("1", "2", at=-1e12),
    "mathematics": matrix("1", "2", name="$\\frac{$"),
    "hidden label": matrix("1", "2", name="_hidden"),
    "no values": json.dumps({"resultType": "matrix", "result": []}),
    "not a list": json.dumps({"resultType": "matrix", "result": 7}),
    "long field": "a,b\n1,2\n3," + "x" * 200_000,
    "surrogate": '{"a": "\\ud800"}',
    "half a character": "[\udce9",
    "deep": "[" * 5_000,
    "empty objects": "[{}, {}]",
    "mixed": '[{"a": 1}, 2]',
}


@pytest.mark.parametrize("kind", ODD)
async def test_nothing_that_is_returned_ends_a_run(kind: str) -> None:
    shown(ODD[kind])
    record = RunRecord("sre", None)
    record.take(ToolStarted(1, ToolCall("1", "read", {}), "read"))
    event = ToolFinished("1", "read", Outcome.OK, ODD[kind], 0.1)
    await record.prepare(event)
    record.take(event)
    assert record.markdown()
    assert record.changes()


def test_a_long_table_costs_by_its_length() -> None:
    rows = json.dumps([{"pod": f"p{n}", "n": n} for n in range(20_000)])
    began = time.process_time()
    found = shown(rows)
    assert time.process_time() - began < 2
    assert found is not None
    assert "19,950 more rows" in found.markdown
