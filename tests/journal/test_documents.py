"""Timelines as text, Markdown and HTML: complete, well-formed, and what is in them does nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from aof_nb.agent import Agent
from aof_nb.journal.entries import Parent
from aof_nb.journal.recording import State
from aof_nb.journal.timeline import Approval, Call, CallOutcome, Remark, Timeline, Turn
from aof_nb.journal.timeline_html import as_html
from aof_nb.journal.timeline_markdown import as_markdown, code, escaped, fenced
from aof_nb.journal.timeline_text import as_text
from aof_nb.messages import Text, ToolCall, Usage
from aof_nb.tools import tool
from tests.journal.conftest import told
from tests.journal.scenes import ATTACK, Says, incident

NOW = datetime(2026, 11, 26, 3, 14, 7, tzinfo=UTC)
ATTACKS = (
    ATTACK,
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</pre></script><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "```\n<script>alert(1)</script>\n```\n<iframe src=//evil.example>",
    "</details></li></ol><h1>pwned",
    "[x](javascript:alert(1)) ![x](http://evil.example/?leak)",
    "<!-- --><style>*{display:none}</style>",
    "| a | b |\n|---|---|\n| `x` | <b> |",
    "\x1b[2J\x07\u202e",
)


def a_timeline(text: str, **changed: Any) -> Timeline:
    """A run in which everything that anybody wrote is one text."""
    approval = Approval(
        asked=NOW, reason=text, answered=NOW, approved=True, by=text, via=text, note=text
    )
    call = Call(
        id=text,
        tool=text,
        outcome=CallOutcome.UNKNOWN,
        asked=NOW,
        effect=text,
        source=text,
        arguments={text: text, "list": [text], "deep": {text: [text]}},
        output=text,
        begun=(NOW, NOW),
        approvals=(approval,),
        progress=text,
    )
    waiting = msgspec.structs.replace(
        call,
        outcome=CallOutcome.WAITING,
        approvals=(Approval(asked=NOW, reason=text),),
        arguments=None,
        raw_arguments=text,
    )
    remark = Remark(at=NOW, kind=text, text=text, level="error")
    turn = Turn(
        number=1,
        asked=NOW,
        answered=NOW,
        model=text,
        text=text,
        thinking=text,
        stop_reason=text,
        usage=Usage(1, 2),
        error=text,
        remedy=text,
        remarks=(remark,),
        calls=(call, waiting),
    )
    fields: dict[str, Any] = {
        "run_id": text,
        "path": text,
        "state": State.FAILED,
        "agent": text,
        "prompt": text,
        "model": text,
        "began": NOW,
        "last": NOW,
        "duration": 1.0,
        "items": (turn, remark),
        "fallbacks": (text,),
        "session": text,
        "source": text,
        "cell": text,
        "notebook_run": text,
        "parent": Parent(run_id=text, turn=2),
        "versions": {text: text},
        "text": text,
        "output": {text: text},
        "limit": text,
        "error": text,
        "remedy": text,
        "usage_by_model": {text: Usage(1, 2), "other": Usage(3, 4)},
        "cost_by_model": {text: None, "other": 0.5},
        "damage": (text,),
        "torn": True,
    }
    return Timeline(**fields | changed)


class Page(HTMLParser):
    """A page's elements, with what they are nested in."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


TAGS = frozenset(
    {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer"}
    | {"div", "h1", "h2", "span", "p", "dl", "dt", "dd", "pre", "ol", "ul", "li", "b", "code"}
    | {"table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
    | {"strong", "em", "a", "blockquote", "h3"}
)


def assert_harmless(html: str) -> Page:
    page = Page(html)
    for tag, attributes in page.elements:
        assert tag in TAGS
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.keys() <= {
            "class",
            "lang",
            "charset",
            "http-equiv",
            "content",
            "name",
            "open",
            "role",
            "href",
            "title",
            "target",
            "rel",
            "style",
        }
        assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:"))
    return page


async def test_the_page_of_an_incident(state: Path) -> None:
    run = told((await incident()).run_id)
    html = as_html(run)
    page = assert_harmless(html)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert "http://" not in html
    assert "https://" not in html
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == ["Answer", "Changes and approvals", "Timeline"]
    assert "<strong>locked</strong>" in html
    assert ATTACK in page.text
    assert "approved by ines via notebook" in page.text
    assert "denied by ines via notebook" in page.text
    assert "run_command: psql -c 'select pg_terminate_backend(4711)'" in page.text
    assert "$0.0066" in page.text
    folded = re.findall(r"<details(.*?)>", html)
    assert folded == [' class="thinking"', "", *[" open"] * 5]


async def test_the_markdown_of_an_incident(state: Path) -> None:
    run = told((await incident()).run_id)
    text = as_markdown(run)
    headings = re.findall(r"^#+ .*", text, re.MULTILINE)
    assert headings[0] == f"# Run {run.run_id}: completed"
    assert headings[1:4] == ["## Answer", "## Changes and approvals", "## Timeline"]
    assert [each[:4] for each in headings[4:]] == ["### "] * 3
    assert "> The payments database is **locked** by a migration." in text
    assert "> select pg_terminate_backend(4711) where a < b;" in text
    table = [line for line in text.splitlines() if line.startswith("| 0") or " write " in line]
    assert "| destructive | ok | approved by ines via notebook at" in text
    assert any("| write | denied | denied by ines via notebook at" in line for line in table)
    assert "characters left out" in text
    assert "characters left out" not in as_markdown(run, full=True)


async def test_the_text_of_an_incident(state: Path) -> None:
    run = told((await incident("why?")).run_id)
    lines = str(as_text(run)).splitlines()
    assert lines[0] == f"Run {run.run_id}: completed"
    assert "  asked     why?" in lines
    assert "  session   inc-42" in lines
    assert "  did       3 turns, 6 tool calls" in lines
    assert f"  journal   {run.path}" in lines
    told_ = [line.strip() for line in lines]
    [command] = [n for n, line in enumerate(told_) if "run_command: psql" in line]
    assert re.search(r"· ok · destructive · \d", told_[command])
    assert told_[command + 1].startswith("asked at ")
    assert told_[command + 2].startswith("approved by ines via notebook at ")
    assert told_[command + 3] == "→ pg_terminate_backend"
    assert "Answer" in lines
    assert "characters left out" in str(as_text(run))
    assert "characters left out" not in str(as_text(run, full=True))


async def test_the_text_says_where_whole_outputs_are(state: Path) -> None:
    @tool(effect="read", sends=False)
    def read_log() -> str:
        """Reads a log."""
        return "line\n" * 20_000

    model = Says([ToolCall("c1", "read_log", {})], [Text("Read.")])
    result = await Agent(name="sre", model=model, tools=[read_log]).run("why?")
    [said] = re.findall(r"the whole output: (.*)", str(as_text(told(result.run_id))))
    assert Path(said).read_text() == "line\n" * 20_000


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_in_a_page_does_nothing(attack: str) -> None:
    for state in State:
        assert_harmless(as_html(a_timeline(attack, state=state)))


RENDERED = MarkdownIt("commonmark", {"html": True}).enable("table")


def markup_in(text: str) -> list[str]:
    found = []
    for token in RENDERED.parse(text):
        for each in [token, *(token.children or [])]:
            if each.type in {"html_block", "html_inline", "image"}:
                found.append(each.content)
            if each.type == "link_open" and "javascript" in str(each.attrs.get("href")):
                found.append(str(each.attrs))
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_in_markdown_does_nothing(attack: str) -> None:
    text = as_markdown(a_timeline(attack))
    assert markup_in(text) == []
    tables = [each for each in RENDERED.parse(text) if each.type == "table_open"]
    assert len(tables) >= 3


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_in_text_does_not_steer_the_terminal(attack: str) -> None:
    shown = str(as_text(a_timeline(attack)))
    assert all(each.isprintable() or each == "\n" for each in shown)


@given(st.text(max_size=40))
def test_any_text_is_in_the_page_as_it_is(text: str) -> None:
    page = assert_harmless(as_html(a_timeline(text)))
    if text.strip() and text.isprintable():
        assert page.text.count(text) >= 5


@given(st.text(alphabet="`~<>|\\\n*_#-![](){}ab &;", max_size=30))
def test_any_text_leaves_markdown_well_formed(text: str) -> None:
    shown = as_markdown(a_timeline(text))
    assert markup_in(shown) == []
    levels = [
        token.tag
        for token in RENDERED.parse(shown)
        if token.type == "heading_open" and token.level == 0
    ]
    assert levels == ["h1", *["h2"] * len(levels[1:-1]), "h3"]


@given(st.text(alphabet="`a| \\\n", max_size=20))
def test_a_code_span_holds_anything(text: str) -> None:
    kept = " ".join(text.split())
    if kept:
        [inline] = [each for each in RENDERED.parse(f"x {code(text)} y") if each.type == "inline"]
        spans = [each.content for each in inline.children or [] if each.type == "code_inline"]
        assert [each.replace("\\|", "|").strip() for each in spans] == [kept]


@given(st.text(alphabet="`~ab\n", max_size=30))
def test_a_fence_holds_anything(text: str) -> None:
    [token] = RENDERED.parse(fenced(text))
    assert (token.type, token.content.rstrip("\n")) == ("fence", text.rstrip("\n"))


@given(st.text(max_size=40))
def test_escaped_text_reads_as_it_was(text: str) -> None:
    tokens = RENDERED.parse(f"x {escaped(text)}")
    [inline] = [each for each in tokens if each.type == "inline"]
    read = "".join(each.content for each in inline.children or [])
    assert {each.type for each in inline.children or []} <= {"text", "text_special"}
    if text.isprintable():
        assert read.split() == ["x", *text.split()]
