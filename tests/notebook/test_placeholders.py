"""``{name}`` in prompts and in YAML."""

from __future__ import annotations

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
        ("{{pod}} and {name}", "{pod} and {pod}"),
        ('{job="web"} {"a": 1} {} { pod } {1} sum(rate(x[5m])) by {a, b}', None),
        ("{pod:\n}", None),
    ],
)
def test_a_prompt(text: str, expanded: str | None) -> None:
    assert expand(text, VARIABLES) == (text if expanded is None else expanded)


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
