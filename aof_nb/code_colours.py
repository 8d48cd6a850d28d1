"""Code as HTML whose words have a class by what they are; the page's style gives these colours."""

from __future__ import annotations

from html import escape
from typing import Any

_LANGUAGES = frozenset(
    """
    bash sh shell zsh python py yaml yml json toml ini sql diff go rust java js javascript ts
    typescript ruby c cpp hcl terraform docker dockerfile nginx promql http html xml css
    """.split()  # noqa: SIM905  a word a line would be a page
)
"""What incidents are written in; models do not choose among all the lexers that there are."""
_MOST_CHARS = 4_000
"""Longer code is shown plain: it is rendered again with each update while it streams."""


def coloured(code: str, language: str, attributes: str = "") -> str:
    """The code with its words in ``<span>``; empty if its language is not known, or it is long.

    The classes are ``k`` (keyword), ``s`` (string), ``c`` (comment) and ``n`` (number).

    Args:
        code: The code.
        language: Its name, as after the backticks of Markdown.
        attributes: What else stands there; it is not looked at.

    Example:
        >>> coloured("x = '<b>'", "python")
        'x = <span class="s">&#x27;&lt;b&gt;&#x27;</span>'
    """
    language = language.lower()
    if language not in _LANGUAGES or len(code) > _MOST_CHARS:
        return ""
    from pygments.lexers import get_lexer_by_name

    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    tokens = list(lexer.get_tokens(code))
    if "".join(text for _, text in tokens) != code:
        return ""
    html: list[str] = []
    words, kind = "", ""
    for token, text in tokens:
        named = _class(token)
        if named != kind:
            html.append(_span(words, kind))
            words, kind = "", named
        words += text
    html.append(_span(words, kind))
    return "".join(html)


def _class(token: Any) -> str:
    from pygments.token import Comment, Keyword, Literal, Name, Operator

    if token in Keyword or token in Operator.Word or token in Name.Tag:
        return "k"
    if token in Literal.Number:
        return "n"
    if token in Literal:
        return "s"
    return "c" if token in Comment else ""


def _span(words: str, kind: str) -> str:
    shown = escape(words)
    return f'<span class="{kind}">{shown}</span>' if kind and words.strip() else shown
