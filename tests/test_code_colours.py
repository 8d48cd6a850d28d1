"""Code with the classes of its words."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name

from aof_nb.code_colours import _LANGUAGES, coloured
from aof_nb.markdown import to_html
from tests.corpora.xss import PAYLOADS

_SPAN = re.compile(r'</?span(?: class="[kscn]")?>')


def plain(html: str) -> str:
    return unescape(_SPAN.sub("", html))


@pytest.mark.parametrize("language", sorted(_LANGUAGES))
def test_every_language_is_known_and_nothing_is_lost(language: str) -> None:
    get_lexer_by_name(language)
    for code in (*PAYLOADS.values(), "if x: return '<b>' # y\n", "  \n\ttab \n\n"):
        html = coloured(code, language)
        assert plain(html) == code
        assert "<" not in _SPAN.sub("", html)


@given(code=st.text(max_size=200), language=st.sampled_from(["python", "yaml", "bash", "html"]))
def test_code_stays_itself(code: str, language: str) -> None:
    html = coloured(code, language)
    assert plain(html) == code or (html == "" and "\r" in code)


def test_what_is_long_or_unknown_is_left_plain() -> None:
    assert coloured("x = 1\n" * 1_000, "python") == ""
    assert coloured("x = 1", "brainfuck") == ""
    assert coloured("x = 1", "") == ""


def test_what_a_model_writes_has_colours() -> None:
    html = to_html("```Python\nreturn 1  # one\n```")
    assert '<span class="k">return</span> <span class="n">1</span>' in html
    assert '<span class="c"># one</span>' in html
