"""Whatever is written, it is a value or an error that says where."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ResourceError
from aof_nb.yaml_text import parse_documents


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
