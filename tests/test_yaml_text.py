"""Whatever is written, it is a value or an error that says where."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ResourceError
from aof_nb.yaml_text import field_path, line_of, parse_documents


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("until: 2026-13-45", "month must be in 1..12"),
        ("lines: !!int many", "invalid literal"),
        ("a: " + "[" * 2000 + "]" * 2000, "nested too deep"),
    ],
)
def test_what_yaml_cannot_make_a_value_of_is_an_error_of_the_file(text: str, said: str) -> None:
    with pytest.raises(ResourceError, match=said) as caught:
        parse_documents(text, file="sre.yaml")
    assert str(caught.value).startswith("sre.yaml")


@given(st.text(alphabet="ab:-[]{}&*!|>'\"\\#%@0129. \n\t\x00\ud800", max_size=40))
def test_any_text_is_a_value_or_an_error_of_the_file(text: str) -> None:
    with contextlib.suppress(ResourceError):
        parse_documents(text, file="sre.yaml")


DOCUMENTS = """\
kind: Agent
spec:
  tools:
    - shell
    - name: http
      config: {timeout: 5,
               methods: [GET]}
---
---
text: |
  two
  lines
last: yes
"""


@pytest.mark.parametrize(
    ("place", "path", "line"),
    [
        (0, (), 1),
        (0, ("spec",), 2),
        (0, ("spec", "tools", 0), 4),
        (0, ("spec", "tools", 1, "name"), 5),
        (0, ("spec", "tools", 1, "config", "methods"), 7),
        (0, ("spec", "tools", 7), 3),
        (0, ("spec", "tools", 1, "nme", "deeper"), 5),
        (0, ("kind", "deeper"), 1),
        (0, ("none",), 1),
        (1, ("last",), 13),
    ],
)
def test_the_line_of_a_value_or_its_nearest_parent(
    place: int, path: tuple[str | int, ...], line: int
) -> None:
    assert line_of(parse_documents(DOCUMENTS, file="x")[place], path) == line


def test_values_are_those_of_yaml_1_2() -> None:
    [document] = parse_documents("a: yes\nb: 1.10\nc: 012\n", file="x")
    assert document == {"a": "yes", "b": 1.1, "c": 12}
    assert parse_documents("", file="x") == parse_documents("# nothing\n---\n", file="x") == []


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("a: 1\nb: [", 2, "indent"),
        ("a:\n\t- b", 2, "spaces, not tabs"),
        ("a: 1\nb: 2\na: 3", 3, "remove one"),
        ("a: *nobody", 1, ""),
        ("a: !!python/object:os.system x\nb: c: d", 2, "colons"),
    ],
)
def test_an_error_says_its_line(text: str, line: int, remedy: str) -> None:
    with pytest.raises(ResourceError) as caught:
        parse_documents(text, file="sre.yaml")
    assert (caught.value.file, caught.value.line) == ("sre.yaml", line)
    assert remedy in caught.value.remedy


def test_a_path_as_people_write_it() -> None:
    assert field_path(()) == ""
    assert field_path((0, "a", 1, 2, "b")) == "[0].a[1][2].b"
