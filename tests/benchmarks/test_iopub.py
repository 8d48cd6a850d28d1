"""What a cell's messages add up to, and that the figures are on the page."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from benchmarks.rounds import ROOT
from benchmarks.targets import CHANNEL, channel_targets
from benchmarks.traffic import Traffic, percentile, summed
from tests.benchmarks.test_page import table


def message(kind: str, content: dict[str, Any], at: float = 0.0) -> dict[str, Any]:
    return {
        "msg_type": kind,
        "header": {"date": datetime.fromtimestamp(at, UTC)},
        "content": content,
    }


def output(kind: str, text: str, at: float = 0.0) -> dict[str, Any]:
    return message(kind, {"data": {"text/markdown": text}, "metadata": {}}, at)


def custom(told: dict[str, Any], at: float = 0.0) -> dict[str, Any]:
    return message("comm_msg", {"comm_id": "v", "data": {"method": "custom", "content": told}}, at)


def test_all_that_the_cell_sends_is_counted_in_bytes() -> None:
    opened = message("comm_open", {"comm_id": "v", "data": {"state": {"_esm": "é" * 100}}})
    sent = [output("display_data", "ü"), opened, custom({"ended": True})]
    unseen = [
        message("status", {"execution_state": "busy"}),
        message("execute_input", {"code": ""}),
    ]
    found = summed([*unseen, *sent], text=2)
    sizes = [len(json.dumps(each["content"], ensure_ascii=False).encode()) for each in sent]
    assert sizes[1] > 200
    assert (found.content, found.opening, found.messages) == (sum(sizes), sizes[1], 3)
    assert found.ratio == sum(sizes) / 2


def test_updates_are_the_views_where_it_is_told_anything() -> None:
    state = message("comm_msg", {"comm_id": "v", "data": {"method": "update", "state": {}}}, 1.5)
    outputs = [output("display_data", "", 0.0), output("update_display_data", "**a**", 3.0)]
    news = [custom({"items": []}, 1.0), custom({"items": [], "status": "s"}, 2.0)]
    others = [state, custom({"problem": {}}, 1.6)]
    assert summed([*outputs, *news, *others], text=1).updates == (1.0, 2.0)
    assert summed([*outputs, *others], text=1).updates == (3.0,)


def test_updates_a_second() -> None:
    def paced(*updates: float) -> Traffic:
        return Traffic(1, 1, 0, len(updates), updates)

    assert paced(0.0, 0.5, 1.0, 1.5).updates_a_second == 2
    assert paced(0.0, 0.5, 1.0, 1.5).busiest_second == 2
    assert paced(0.0, 5.0, 5.1, 5.9, 6.5).busiest_second == 3
    for few in (paced(), paced(1.0), paced(1.0, 1.0)):
        assert few.updates_a_second == 0
        assert few.busiest_second == len(few.updates)


def test_percentiles() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile(range(101), 95) == 95
    assert percentile([7], 95) == 7
    assert math.isnan(percentile([], 95))


def test_what_was_not_measured_meets_no_target() -> None:
    nothing = Traffic(text=1, content=1, opening=0, messages=1, updates=())
    found = channel_targets(dict.fromkeys(CHANNEL, nothing))
    missed = [each.title for each in found if not each.met]
    assert len([each for each in missed if "percentile" in each]) == 4
    assert len([each for each in missed if "updates a second" in each]) == 1
    assert len(missed) == 5


def test_the_page_has_the_figures() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    section = text.partition("<!-- begin iopub")[2].partition("<!-- end iopub -->")[0]
    rows = table(section)
    assert set(rows) >= set(CHANNEL)
