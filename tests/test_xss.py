"""Nothing of what would run, load or deceive is left in what outputs show, as parsers see it."""

from __future__ import annotations

from html.parser import HTMLParser

import mistune
import pytest
from markdown_it import MarkdownIt

from aof_nb.markdown import safe_markdown, to_html
from tests.corpora.xss import PAYLOADS

HARMLESS = {
    *("a", "blockquote", "br", "code", "div", "del", "em", "h1", "h2", "h3", "hr", "li", "ol", "p"),
    *("pre", "s", "small", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
ATTRIBUTES = {"class", "href", "rel", "style", "target", "title"}


class Seen(HTMLParser):
    """The tags and attributes of a page that are not known to be harmless."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.odd: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in HARMLESS:
            self.odd.append(tag)
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.odd.append(f"{tag} {name}")
            if name == "href" and not (value or "").startswith(
                ("http://", "https://", "mailto:", "#")
            ):
                self.odd.append(f"{tag} {name}={value}")
            if name == "style" and value not in {"overflow-x:auto", "text-align:left"}:
                self.odd.append(f"{tag} {name}={value}")

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.odd.append(f"declaration {decl}")

    def unknown_decl(self, data: str) -> None:
        self.odd.append(f"declaration {data}")


RENDERERS = {
    "view": to_html,
    "commonmark": lambda text: MarkdownIt("commonmark").render(safe_markdown(text)),
    "gfm": lambda text: MarkdownIt("gfm-like", {"linkify": False}).render(safe_markdown(text)),
    "nbconvert": lambda text: str(
        mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])(
            safe_markdown(text)
        )
    ),
}
AROUND = (
    "{}",
    "- {}\n- more",
    "> {}",
    "The log says {} and goes on.",
    "**{}**",
    "| a | b |\n|---|---|\n| {} | x |\n",
    "# {}\n\ntext",
    "{}\n```\ncode\n```\n",
)


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("kind", PAYLOADS)
def test_nothing_active_is_left(kind: str, renderer: str) -> None:
    for around in AROUND:
        assert Seen(RENDERERS[renderer](around.format(PAYLOADS[kind]))).odd == [], around


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("kind", PAYLOADS)
def test_nothing_active_is_left_while_it_is_still_written(kind: str, renderer: str) -> None:
    payload = PAYLOADS[kind]
    for end in range(1, len(payload)):
        assert Seen(RENDERERS[renderer](payload[:end])).odd == []


def test_the_parser_sees_what_is_active() -> None:
    for kind in ("script", "image error", "iframe", "style", "base"):
        assert Seen(PAYLOADS[kind]).odd
