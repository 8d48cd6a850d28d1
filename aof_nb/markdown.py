"""Markdown of models as HTML that is safe by construction, and where its blocks end.

JupyterLab does not sanitise the Markdown of an executed, hence trusted, cell: raw HTML in it
runs. What a model writes is therefore rendered here, with raw HTML escaped, unsafe links left
as text and images, which could carry data out, shown as links.
"""

from __future__ import annotations

import functools
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
