"""Markdown of models: as HTML that is safe by construction, without HTML, and where blocks end.

JupyterLab does not sanitise the Markdown of an executed, hence trusted, cell: raw HTML in it
runs. What a model writes is therefore rendered here, with raw HTML escaped, unsafe links left
as text and images, which could carry data out, shown as links.
"""

from __future__ import annotations

import functools
import re
from html import escape
from typing import TYPE_CHECKING, Any

from aof_nb.code_colours import coloured
from aof_nb.readable import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@functools.cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    class Parser(MarkdownIt):
        def validateLink(self, url: str) -> bool:  # noqa: N802  the library's name
            return _LINKED.match(url) is not None

    parser = Parser("js-default", {"html": False, "linkify": False, "highlight": coloured})
    parser.add_render_rule("link_open", _link_open)
    parser.add_render_rule("link_close", _link_close)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("table_open", lambda *_: _SCROLL + "<table>\n")
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return parser


_SCROLL = '<div style="overflow-x:auto">'


# What is relative would lead to the server that shows the page, with its user's rights. A name
# before the host, as in https://good.example@evil.example, is there to be taken for the host.
_LINKED = re.compile(r"https?://(?![^/?#]*(?:@|%40))|mailto:", re.IGNORECASE)
_HOST = re.compile(r"(?:https?://|mailto:)([^/\s?#]+)", re.IGNORECASE)


def _link_open(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    token = tokens[idx]
    target = str(token.attrGet("href") or "")
    token.attrSet("title", target)
    if _note_target(tokens, idx):
        return "["
    token.attrSet("target", "_blank")
    token.attrSet("rel", "noopener noreferrer")
    rendered: str = self.renderToken(tokens, idx, options, env)
    return rendered


def _note_target(tokens: Sequence[Token], idx: int) -> bool:
    """Has the host that a link leads to said after it, unless its text says so.

    Returns:
        Whether its text names another host: it is shown as it was written then, and is no link.
    """
    end = next(at for at in range(idx, len(tokens)) if tokens[at].type == "link_close")
    target = str(tokens[idx].attrGet("href") or "")
    host = _HOST.match(target)
    label = "".join(token.content for token in tokens[idx:end])
    if host is None or _says(label, host[1]):
        return False
    if deceives := _looks_like_host(label):
        tokens[end].meta["written"] = target
    else:
        tokens[end].meta["host"] = host[1]
    return deceives


def _says(label: str, host: str) -> bool:
    """Whether a link's text names the host it leads to, and no other."""
    named = _HOST.match(label.strip())
    return named[1].lower() == host.lower() if named else label.strip().lower() == host.lower()


def _link_close(self: Any, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
    from markdown_it.common.utils import escapeHtml

    host, written = (tokens[idx].meta.get(each) for each in ("host", "written"))
    if written is not None:
        return f"]({escapeHtml(written)})"
    return f"</a> <small>({escapeHtml(host)})</small>" if host else "</a>"


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
    html: str = _parser().render(revealed(text))
    return html


_INVISIBLE = re.compile(
    "[\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f\U000e0100-\U000e01ef]"
)


def revealed(text: str) -> str:
    r"""A text in which characters that hide, or turn others round, are named.

    Those that shape letters and emoji (joiners, U+FE0F) stay.

    Example:
        >>> revealed("safe\u202eexe.txt")
        'safe⟨U+202E⟩exe.txt'
    """
    if text.isascii():
        return text
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def html_text(text: str) -> str:
    r"""A text as HTML shows it to the letter: nothing of it is markup, and nothing hides.

    What `revealed` names is named; other control characters are shown as Python writes them.

    Example:
        >>> html_text("<b>\u202egpj\x1b[2J")
        '&lt;b&gt;⟨U+202E⟩gpj\\x1b[2J'
    """
    return escape(visible(revealed(text.expandtabs())))


def hidden_in(text: str) -> list[str]:
    r"""The characters of a text that `revealed` names, in their order.

    Example:
        >>> hidden_in("safe\u202eexe.txt")
        ['\u202e']
    """
    return [] if text.isascii() else _INVISIBLE.findall(text)


def without_hidden(text: str) -> str:
    r"""A text without the characters that `revealed` names.

    Example:
        >>> without_hidden("safe\u202eexe.txt")
        'safeexe.txt'
    """
    return text if text.isascii() else _INVISIBLE.sub("", text)


_MARKS = re.compile(r"[*`\[\]$\\~|]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]|^\d+(?=[.)])")


def quoted(text: str) -> str:
    """A plain text on one line, as Markdown and HTML both show it unchanged.

    Example:
        >>> quoted("read_log *now* <b>")
        'read_log &#42;now&#42; &lt;b&gt;'
    """
    line = escape(revealed(" ".join(text.split())), quote=False)
    return _MARKS.sub(lambda match: "".join(f"&#{ord(each)};" for each in match[0]), line)


def fenced(text: str, language: str = "") -> str:
    """A text as a block of code that ends where the text does.

    Example:
        >>> print(fenced("a ``` b"))
        ````
        a ``` b
        ````
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{revealed(text)}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already.

    Example:
        >>> print(table(["pod", "restarts"], [["web-1", "3"]]))
        | pod | restarts |
        | --- | --- |
        | web-1 | 3 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_CODE_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@functools.cache
def _plain_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    # Others may make links of what this one would not.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    return parser


def safe_markdown(text: str) -> str:
    """Markdown that any renderer may show, also one that trusts it.

    HTML shows as text, and images, which could carry data out, as links. Links say which host they
    lead to; one that would run a script, or whose text names another host, is no link. Code
    stays as it is; what was cut within it is closed, so that it does not swallow what follows.

    Example:
        >>> safe_markdown("**done** <img src=x> `<name>`")
        '**done** &lt;img src=x> `<name>`'
        >>> safe_markdown("[docs](https://example.com/x)")
        '[docs](https://example.com/x) (example.com)'
    """
    text = revealed(text)
    tokens = _plain_parser().parse(text)
    text += _closing(text, tokens)
    if not _is_unsafe(tokens):
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
    return _inert(text) if _is_unsafe(_plain_parser().parse(result)) else result


def _closing(text: str, tokens: Sequence[Token]) -> str:
    """What ends a block of code that a text leaves open; containers end with what they are in."""
    last = tokens[-1] if tokens else None
    if last is None or last.type != "fence" or last.map is None:
        return ""
    first, end = last.map
    lines = text.rstrip("\n").split("\n")
    sign = last.markup[0]
    closing = re.compile(rf" {{0,3}}{re.escape(sign)}{{{len(last.markup)},}}[ \t]*")
    at = min(end, len(lines)) - 1
    if at > first and closing.fullmatch(lines[at]):
        return ""
    return ("" if text.endswith("\n") else "\n") + last.markup


def _is_unsafe(tokens: Sequence[Token]) -> bool:
    """Whether there is HTML, an image, or a link that does not say where it leads."""
    for at, token in enumerate(tokens):
        if token.type in {"html_block", "html_inline", "image"}:
            return True
        if token.type == "link_open" and not _is_plain_link(tokens, at):
            return True
        if _is_unsafe(token.children or ()):
            return True
    return False


def _is_plain_link(tokens: Sequence[Token], at: int) -> bool:
    end = next(each for each in range(at, len(tokens)) if tokens[each].type == "link_close")
    target = str(tokens[at].attrGet("href") or "")
    label = "".join(token.content for token in tokens[at:end])
    if target.startswith("#"):
        return True
    host = _HOST.match(target)
    if host is None or not _LINKED.match(target):
        return False
    following = tokens[end + 1].content if end + 1 < len(tokens) else ""
    return _says(label, host[1]) or (
        following.startswith(f" ({host[1]})") and not _looks_like_host(label)
    )


_HOST_LIKE = re.compile(r"://|^\s*(?:www\.|[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:[/:\s]|$))")


def _looks_like_host(label: str) -> bool:
    return _HOST_LIKE.search(label) is not None


_LINK = re.compile(r"(?<![!\\\]])\[([^\[\]\n]*)\]\((https?://([^/\s?#()<>]+)[^\s()<>]*)\)")


def _escaped(text: str) -> str:
    """Prose without HTML and images, its links saying where they lead."""
    text = _TAG.sub("&lt;", text).replace("![", "!\\[")
    pieces, end = [], 0
    for link in _LINK.finditer(text):
        label, _, host = link.groups()
        pieces.append(_without_links(text[end : link.start()]))
        if not _LINKED.match(link[2]) or (_looks_like_host(label) and not _says(label, host)):
            pieces.append(_without_links(link[0]))
        else:
            pieces.append(link[0] if _says(label, host) else f"{link[0]} ({host})")
        end = link.end()
    return "".join([*pieces, _without_links(text[end:])])


def _without_links(text: str) -> str:
    return re.sub(r"(?<!\\)\](?=[(\[:])", "\\\\]", text)


def _inert(text: str) -> str:
    """Prose in which nothing is a link, an image or HTML."""
    return re.sub(r"(?<!\\)([\[\]])", r"\\\1", text.replace("<", "&lt;"))


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
