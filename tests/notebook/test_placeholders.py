"""``{name}`` in prompts and in YAML."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.placeholders import expand, expand_known

VARIABLES = {
    "pod": SimpleNamespace(name="web-1"),
    "hosts": ["a", "b"],
    "load": 1.2345,
    "name": "{pod}",
}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("{pod.name} on {hosts[0]}: {load:.2f}", "web-1 on a: 1.23"),
        ("{hosts!r}", "['a', 'b']"),
        ("{hosts} {hosts[0]}", '["a","b"] a'),
        ("{{pod}} and {name}", "{pod} and {pod}"),
        ('{job="web"} {"a": 1} {} { pod } {1} sum(rate(x[5m])) by {a, b}', None),
        ("{pod:\n}", None),
    ],
)
def test_a_prompt(text: str, expanded: str | None) -> None:
    assert expand(text, VARIABLES) == (text if expanded is None else expanded)


class Frame:
    """A table as pandas has it."""

    def __init__(self, rows: list[tuple[object, ...]], columns: list[str]) -> None:
        self.columns, self.shape, self._rows = columns, (len(rows), len(columns)), rows

    def head(self, rows: int) -> Frame:
        return Frame(self._rows[:rows], self.columns)

    def itertuples(self) -> list[tuple[object, ...]]:
        return [(place, *row) for place, row in enumerate(self._rows)]


def test_a_table_is_a_bounded_table() -> None:
    frame = Frame([(f"web-{n}", "a|b\nc") for n in range(1200)], ["pod", "state"])
    lines = expand("{frame}", {"frame": frame}).splitlines()
    assert lines[:3] == ["| pod | state |", "| --- | --- |", r"| web-0 | a\|b c |"]
    assert len(lines) == 2 + 50 + 2
    assert lines[-1] == "(the first 50 of 1,200 rows)"


def test_structures_are_bounded_json() -> None:
    pods = [{"pod": f"web-{n}", "at": datetime(2026, 11, 26, tzinfo=UTC)} for n in range(9999)]
    text = expand("{pods}", {"pods": pods})
    assert text.startswith('[\n  {\n    "pod": "web-0",\n    "at": "2026-11-26T00:00:00Z"')
    assert len(text) < 21_000
    assert expand("{x}", {"x": {"load": 1.5}}) == '{"load":1.5}'
    endless: list[object] = []
    endless.append(endless)
    assert expand("{x}", {"x": endless}) == "[[...]]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{hots[0]}", "no variable 'hots' .did you mean 'hosts'"),
        ("{pod.nam}", "cannot be read: AttributeError"),
        ("{hosts[7]}", "cannot be read: IndexError"),
        ("{load:zz}", "cannot be read: ValueError"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        expand(text, VARIABLES)
    assert text in caught.value.message
    assert f"{{{text}}}" in caught.value.remedy


def test_nothing_is_evaluated() -> None:
    calls: list[int] = []
    assert expand("{f()}", {"f": lambda: calls.append(1)}) == "{f()}"
    assert not calls


def test_yaml_keeps_its_braces() -> None:
    text = "a: {action: allow}\nb: '{load} {unknown} {{load}} ${load} {{ load }} {load}}'\n"
    assert expand_known(text, VARIABLES) == (
        "a: {action: allow}\nb: '1.2345 {unknown} {{load}} ${load} {{ load }} {load}}'\n"
    )


@given(st.text(alphabet="{}ab$:. \n[]!", max_size=40))
def test_without_variables_yaml_is_untouched(text: str) -> None:
    assert expand_known(text, {}) == text
