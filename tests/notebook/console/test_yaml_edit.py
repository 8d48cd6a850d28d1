"""Changing one value of a YAML text: the rest stays as it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console.yaml_edit import value_at, with_value
from aof_nb.notebook.console.yaml_values import values_of


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        ("a: 1 # x\nb: 2\n", "a", "y: z", 'a: "y: z" # x\nb: 2\n'),
        ("a: 'q'\n", "a", "true", 'a: "true"\n'),
        ("a:\nb: 2\n", "a", 0.5, "a: 0.5\nb: 2\n"),
        ("a:  # none\nb: 2\n", "a", "x", "a: x  # none\nb: 2\n"),
        ("a: b\n", "c", 1, "a: b\nc: 1\n"),
        ("a: b", "c", 1, "a: b\nc: 1"),
        ("a:\n  b: 1\n\n# tail\n", "a.c", 2, "a:\n  b: 1\n  c: 2\n\n# tail\n"),
        ("a:\nb: 1\n", "a.c", 2, "a:\n  c: 2\nb: 1\n"),
        ("a: {b: 1}\n", "a.c", "x, y", 'a: {b: 1, c: "x, y"}\n'),
        ("a: {}\n", "a.c", 1, "a: {c: 1}\n"),
        ("a: {b: 1, c: 2}\n", "a.b", None, "a: {c: 2}\n"),
        ("a: {b: 1, c: 2}\n", "a.c", None, "a: {b: 1}\n"),
        ("x: 1\na:\n  b: 1\ny: 2\n", "a.b", None, "x: 1\ny: 2\n"),
        ("a: x # c\nb: 1\n", "a", "1\n2\n", "a: | # c\n  1\n  2\nb: 1\n"),
        ("a: | # c\n  1\n\n  2\n\n# d\nb: 1\n", "a", "x", "a: x # c\n\n# d\nb: 1\n"),
        ("a: >-\n  1\n  2\nb: 1\n", "a", "3\n4", "a: |-\n  3\n  4\nb: 1\n"),
        ("a: |\n  1\n", "a", " 3\n4\n", 'a: " 3\\n4\\n"\n'),
        ("a:\n- x\n# c\n- y\nb: 1\n", "a", ["x", "z"], "a:\n- x\n# c\n- z\nb: 1\n"),
        ("a:\n  - n: 1\n  - x\n", "a", ["x", "y"], "a:\n  - n: 1\n  - x\n  - y\n"),
        ("a:\n  - n: 1\n", "a", ["x"], "a:\n  - n: 1\n  - x\n"),
        ("a:\n  - x\n  - n: 1", "a", [], "a:\n  - n: 1"),
        ("a:\n  - x\nb: 1\n", "a", [], "a: []\nb: 1\n"),
        ("a: [x, 'y']\n", "a", ["y", "z"], "a: ['y', z]\n"),
        ("a: []\n", "a", ["y"], "a: [y]\n"),
        ("a: x\n", "a", ["x", "y"], "a: [x, y]\n"),
        ("b: 1\n", "a", ["x"], "b: 1\na:\n  - x\n"),
        ("# head\na: &n 1\nb: 2\n", "b", 3, "# head\na: &n 1\nb: 3\n"),
        ("---\nb: 2\n...\n", "b", 3, "---\nb: 3\n...\n"),
        ("é: '😀' # ü\nb: 2\n", "b", "ß", "é: '😀' # ü\nb: ß\n"),
    ],
)
def test_one_value_changes(before: str, path: str, value: object, after: str) -> None:
    assert with_value(before, 0, tuple(path.split(".")), value) == after


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a: &n 1\nb: *n\n", "b", 2),
        ("a: &n 1\nb: *n\n", "a", 2),
        ("a: &n {c: 1}\nb: *n\n", "b.c", 2),
        ("a: [x, # one\n  y]\n", "a", ["x"]),
        ("a: {b: 1 # one\n  }\n", "a.c", 1),
        ("a: 1\n", "a.b", 1),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text: str, path: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match="in a way that the form cannot change"):
        with_value(text, 0, tuple(path.split(".")), value)


def test_the_right_one_of_several_documents_changes() -> None:
    text = "---\n---\na: 1\n---\na: 1 # two\n"
    assert with_value(text, 1, ("a",), 2) == "---\n---\na: 1\n---\na: 2 # two\n"


def test_a_merged_value_is_changed_where_it_is_used() -> None:
    text = "base: &b {x: 1}\na:\n  <<: *b\n  y: 2\n"
    changed = with_value(text, 0, ("a", "x"), 5)
    assert changed == text + "  x: 5\n"
    assert value_at(values_of(changed)[0], ("base", "x")) == 1


LINES = st.lists(st.text(st.sampled_from("a1 :#-|>\t'\"{}[],&*?\u2028\u0085é😀\ufeff")), max_size=4)


@given(
    LINES.map("\n".join), st.sampled_from(["x", "|  # d\n  old\n\n  text", "", '"x"', ">+\n  o\n"])
)
def test_any_text_comes_back_and_what_is_beside_it_stays(value: str, before: str) -> None:
    head, tail = "# head\nfirst: 1  # one\n", "\n# tail\nlast:\n- y\n"
    try:
        changed = with_value(f"{head}a: {before}{tail}", 0, ("a",), value)
    except ConfigurationError:
        assert set(value) & set("\u2028\u0085\ufeff") or ">" in before
        return
    assert changed.startswith(head)
    assert changed.endswith(tail) or ">" in before
    assert values_of(changed) == [{"first": 1, "a": value, "last": ["y"]}]
