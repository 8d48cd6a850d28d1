"""How a run looks in a console and in a terminal."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import pytest
from rich.console import Console

from aof_nb.events import (
    ApprovalAnswered,
    Notice,
    RunStatus,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from aof_nb.messages import Outcome, ToolCall, Usage
from aof_nb.notebook.plain import ConsoleRenderer, console_renderer
from aof_nb.notebook.rich_text import RichRenderer
from aof_nb.notebook.screen import Frontend
from aof_nb.notebook.settings import AOF
from aof_nb.result import RunResult

TEXT = """\
# Done

See [the docs](https://evil.example/x) & <b>run</b> <script>x</script>\x1b[2J\x07.

```python
def f(x):
	return x
```

| pod | restarts |
| --- | --- |
| web-1 | 3 |
"""


def shown(*events: Any, live: bool = False, theme: str = "auto") -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=90, color_system="standard")
    renderer = RichRenderer("sre", live=live, theme=theme, console=console)
    for each in events:
        renderer.event(each)
    return file.getvalue()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_markdown_is_shown_and_nothing_in_it_is_obeyed_or_hidden() -> None:
    written = shown(*(TextDelta(each) for each in TEXT), Notice("over", "info"))
    text = plain(written)
    assert "\x1b[2J" not in written
    assert "\x07" not in written
    assert r"\x1b[2J\x07" in text
    assert "<b>run</b> <script>x</script>" in text
    assert "the docs (https://evil.example/x)" in text
    assert "\x1b]8" not in written
    assert "def f(x):" in text
    assert "**" not in text
    assert re.search(r"web-1 +3", text)
    lines = text.splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert "\n\n\n" not in text


def test_blocks_are_printed_as_soon_as_they_are_whole() -> None:
    assert plain(shown(TextDelta("# One\n\ntwo\ngoes o"))).split() == ["One"]
    assert plain(shown(TextDelta("one two"))) == ""


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome.OK, r"✓ rm path=/ \(2.0 s\)  destructive"),
        (Outcome.ERROR, r"✗ rm path=/ \(failed, 2.0 s\)  destructive\n  no such file\n"),
        (Outcome.DENIED, r"⊘ rm path=/ \(denied\)  destructive\n  no such file\n"),
    ],
)
def test_a_call_is_a_line_that_needs_no_colour(outcome: Outcome, line: str) -> None:
    call = ToolCall("1", "rm\x1b[2J", {"path": "/"})
    written = shown(
        ToolStarted(1, call, "destructive"),
        ToolFinished("1", "rm", outcome, "no such file", duration=2.0),
    )
    assert "\x1b[2J" not in written
    assert re.search(line, plain(written).replace(r"\x1b[2J", ""))


def test_what_cannot_show_colours_gets_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    settings = AOF()
    assert isinstance(console_renderer("sre", Frontend.TERMINAL, settings), ConsoleRenderer)
    assert isinstance(console_renderer("sre", Frontend.CONSOLE, settings), RichRenderer)
    monkeypatch.setenv("NO_COLOR", "1")
    assert isinstance(console_renderer("sre", Frontend.CONSOLE, settings), ConsoleRenderer)


def test_the_theme_is_that_of_the_code() -> None:
    code = TextDelta("```python\nif 1: pass\n```\n\nx\n\n")
    assert shown(code, theme="light") != shown(code, theme="dark")


async def test_one_run_at_a_time_holds_the_last_lines() -> None:
    file = io.StringIO()
    runs = [
        RichRenderer(name, live=True, console=Console(file=file, force_terminal=True, width=90))
        for name in ("one", "two")
    ]
    assert "one waits for the model" in plain(file.getvalue())
    assert "two waits" not in plain(file.getvalue())
    result = RunResult(
        run_id="r",
        agent="one",
        status=RunStatus.COMPLETED,
        text="",
        messages=(),
        usage=Usage(),
        usage_by_model={},
        turns=1,
        tool_calls=0,
        duration=1.0,
    )
    runs[0].end(result)
    runs[1].event(TextDelta("# So\n\nit is\n\nx\n"))
    await asyncio.sleep(0.3)
    assert "two writes" in plain(file.getvalue())
    runs[1].end(result)
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 2


@pytest.mark.parametrize("rich", [False, True])
def test_an_answer_says_which_call_it_is_about_and_what_was_changed(
    capsys: pytest.CaptureFixture[str], rich: bool
) -> None:
    call = ToolCall("1", "restart", {"service": "web"})
    answers = [
        ApprovalAnswered("1", "d", True, False, "ann", "terminal", arguments={"service": "db"}),
        ApprovalAnswered("1", "d", True, True, "ann", "terminal"),
        ApprovalAnswered("1", "d", False, False, "ann", "terminal"),
    ]
    events = [ToolStarted(1, call, "write"), *answers]
    if rich:
        text = plain(shown(*events))
    else:
        renderer = ConsoleRenderer()
        for each in events:
            renderer.event(each)
        text = capsys.readouterr().out
    assert [line for line in text.splitlines() if "approved" in line] == [
        "approved by ann (terminal), with changed arguments: restart service=db",
        "approved by ann (terminal) and similar calls in this run: restart service=web",
        "not approved by ann (terminal): restart service=web",
    ]
