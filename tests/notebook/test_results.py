"""What tools return is shown as what it is, whatever it is."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from aof_nb.events import ToolFinished, ToolStarted
from aof_nb.messages import Outcome, ToolCall
from aof_nb.notebook.plots import _with_gaps
from aof_nb.notebook.record import RunRecord
from aof_nb.notebook.results import code_block, shown


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


async def test_what_was_cut_for_the_model_is_drawn_whole(tmp_path: Path) -> None:
    whole = matrix(*(str(n) for n in range(100)))
    (tmp_path / "1.txt").write_text(whole)
    event = ToolFinished(
        "1", "query", Outcome.OK, whole[:500], 0.1, artifact=str(tmp_path / "1.txt")
    )
    record = RunRecord("sre", None)
    record.take(ToolStarted(1, ToolCall("1", "query", {}), "read"))
    await record.prepare(event)
    record.take(event)
    assert "<details open><summary>" in record.markdown()
    assert "data:image/png;base64," in record.markdown()
    [(_, html)] = record.elements()
    assert html.startswith('<details class="aof-row aof-good" open>')


async def test_a_whole_output_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    record = RunRecord("sre", None)
    record.take(ToolStarted(1, ToolCall("1", "read", {}), "read"))
    event = ToolFinished("1", "read", Outcome.OK, "a", 0.1, artifact=str(tmp_path / "gone.txt"))
    await record.prepare(event)
    record.take(event)
    assert "```\na\n```" in record.markdown()


def test_the_answer_to_an_instant_query_is_a_table() -> None:
    result = [
        {"metric": {"__name__": "up", "job": each}, "value": [1.7e9, value]}
        for each, value in (("a", "1"), ("b", "NaN"))
    ]
    found = shown(json.dumps({"data": {"resultType": "vector", "result": result}}))
    assert found is not None
    assert '| up{job="a"} | &#49; |' in found.markdown.replace("| 1 |", "| &#49; |")
    assert "NaN" in found.markdown


def test_a_line_ends_where_points_are_missing() -> None:
    moments, values = _with_gaps([0.0, 15.0, 30.0, 90.0, 105.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert moments == [0.0, 15.0, 30.0, 60.0, 90.0, 105.0]
    assert [math.isnan(each) for each in values] == [False, False, False, True, False, False]


def test_series_that_are_not_drawn_are_counted() -> None:
    result = [{"metric": {"pod": str(n)}, "values": [[0, "1"], [15, "2"]]} for n in range(50)]
    found = shown("", {"resultType": "matrix", "result": result})
    assert found is not None
    assert "38 more series, which are not drawn" in found.markdown


def test_a_wide_table_is_a_table_in_a_box() -> None:
    found = shown("", [{f"c{n}": "word" for n in range(200)}] * 3)
    assert found is not None
    assert found.html.count("<th scope=col>") == 40
    assert "160 more columns" in found.html
    assert found.markdown.startswith('<div style="max-height:24em;overflow:auto">\n\n| c0 |')


def test_large_cells_make_fewer_rows() -> None:
    found = shown("", [{f"c{n}": "x" * 150 for n in range(20)}] * 50)
    assert found is not None
    assert len(found.markdown) < 25_000
    assert "44 more rows" in found.markdown


def test_long_text_has_a_box_in_the_record() -> None:
    for text in ("line\n" * 30, "x" * 3000):
        assert code_block(text).startswith('<div style="max-height:24em;overflow:auto">\n\n```\n')
    assert code_block("short") == "```\nshort\n```"


def test_no_number_is_said() -> None:
    found = shown("", [{"a": float("nan"), "b": float("inf")}] * 2)
    assert found is not None
    assert "| nan | inf |" in found.markdown
