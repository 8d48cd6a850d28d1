"""Markdown of models: as HTML that is safe by construction, without HTML, and where blocks end.

JupyterLab does not sanitise the Markdown of an executed, hence trusted, cell: raw HTML in it
runs. What a model writes is therefore rendered here, with raw HTML escaped, unsafe links left
as text and images, which could carry data out, shown as links.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("js-default", {"html": False, "linkify": False})
    parser.add_render_rule("link_open", _link_open)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("table_open", lambda *_: _SCROLL + "<table>\n")
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


_SCROLL = '<div style="overflow-x:auto">'


def _link_open(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    token = tokens[idx]
    token.attrSet("title", str(token.attrGet("href") or ""))
    token.attrSet("target", "_blank")
    token.attrSet("rel", "noopener noreferrer")
    rendered: str = self.renderToken(tokens, idx, options, env)
    return rendered


def _image(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    from markdown_it.common.utils import escapeHtml

    token = tokens[idx]
    source = escapeHtml(str(token.attrGet("src") or ""))
    label = escapeHtml(token.content) or "image"
    return (
        f'<a href="{source}" title="{source}" target="_blank" rel="noopener noreferrer">'
        f"[image: {label}]</a>"
    )


def to_html(text: str) -> str:
    r"""Renders Markdown without letting any markup of its own through.

    Example:
        >>> to_html("*hi* <script>alert(1)</script>")
        '<p><em>hi</em> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n'
    """
    html: str = _parser().render(text)
    return html


_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_CODE_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@functools.cache
def _plain_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable("table")


def without_html(text: str) -> str:
    """Markdown in which HTML shows as text, and images, which could carry data out, as links.

    Code stays as it is.

    Example:
        >>> without_html("**done** <img src=x> `<name>`")
        '**done** &lt;img src=x> `<name>`'
    """
    tokens = _plain_parser().parse(text)
    if not _has_html(tokens):
        return text
    lines = text.split("\n")
    codes: dict[tuple[int, int], list[str]] = {}
    for token in tokens:
        if token.map and token.type in {"fence", "code_block"}:
            for place in range(*token.map):
                codes[place, place + 1] = [lines[place]] if place < len(lines) else []
        elif token.map and token.type == "inline":
            spans = codes.setdefault((token.map[0], token.map[1]), [])
            spans += [each.content for each in token.children or () if each.type == "code_inline"]
    done: list[str] = []
    for (first, end), spans in sorted(codes.items()):
        if first < len(done):
            continue
        done += map(_escaped, lines[len(done) : first])
        block = "\n".join(lines[first:end])
        done += (block if spans == [block] else _outside_code(block, spans)).split("\n")
    done += map(_escaped, lines[len(done) :])
    result = "\n".join(done)
    return _escaped(text) if _has_html(_plain_parser().parse(result)) else result


def _has_html(tokens: Sequence[Token]) -> bool:
    return any(
        token.type in {"html_block", "html_inline", "image"} or _has_html(token.children or ())
        for token in tokens
    )


def _escaped(text: str) -> str:
    return _TAG.sub("&lt;", text).replace("![", "!\\[")


def _outside_code(block: str, spans: list[str]) -> str:
    """A block with what is outside its code spans escaped; all of it if they are not found."""
    found = list(_CODE_SPAN.finditer(block))
    if [each[2].replace("\n", " ").strip() for each in found] != [each.strip() for each in spans]:
        return _escaped(block)
    pieces, end = [], 0
    for each in found:
        pieces += [_escaped(block[end : each.start()]), each[0]]
        end = each.end()
    return "".join([*pieces, _escaped(block[end:])])


def finished(text: str) -> int:
    r"""How many characters of a growing text belong to blocks that nothing can change any more.

    These are all top-level blocks but the last one of the complete lines: a paragraph may go
    on, a list may get another item, a fence may still be open.

    Args:
        text: Markdown that more will be appended to; line ends are ``\n``.

    Example:
        >>> finished("# Title\n\nA paragraph that goes o")
        0
        >>> finished("# Title\n\nA paragraph.\n")
        9
    """
    complete = text.rfind("\n") + 1
    if complete == 0:
        return 0
    parser = _parser()
    tokens: list[Token] = []
    parser.block.parse(text[:complete], parser, {}, tokens)
    starts = [token.map[0] for token in tokens if token.level == 0 and token.map]
    if len(starts) < 2:
        return 0
    end = 0
    for _ in range(starts[-1]):
        end = text.index("\n", end) + 1
    return end
