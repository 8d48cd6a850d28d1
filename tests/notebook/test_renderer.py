"""A run's events as outputs: the same in the end, whether somebody looks or not."""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from aof_nb.agent import Agent
from aof_nb.errors import BrokenStream
from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ContextCompacted,
    Notice,
    TextDelta,
    ThinkingDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from aof_nb.limits import Limits
from aof_nb.messages import Outcome, ToolCall
from aof_nb.models.resilience import RetryPolicy
from aof_nb.notebook.budget import Budget
from aof_nb.notebook.plain import ConsoleRenderer
from aof_nb.notebook.record import RECORD_CHARS, RunRecord
from aof_nb.notebook.renderer import CellRenderer, LiveRenderer
from aof_nb.notebook.rows import Row, in_short
from aof_nb.policy import Action, Answer, ApprovalRequest, Policy
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tools import tool
from tests.notebook.fakes import Clock, Recording, Says


@tool(effect="read")
async def nap(seconds: float, text: str = "rested") -> str:
    """Sleeps."""
    await asyncio.sleep(seconds)
    return text


@tool(effect="destructive")
def drop(table: str) -> str:
    """Drops a table."""
    raise RuntimeError("<no> such table")


def call(n: int, name: str, **arguments: Any) -> ToolCall:
    return ToolCall(f"call_{n}", name, arguments)


def agent(*turns: Any, **settings: Any) -> Agent:
    return Agent(name="sre", model=Says(*turns), tools=[nap, drop], **settings)


async def shown(asked: Agent) -> Recording:
    screen = Recording()
    renderer = CellRenderer(screen, agent=asked.name, session=None)
    run = asked.stream("why?", approve="all")
    async for event in run:
        await renderer.prepare(event)
        renderer.event(event)
    renderer.end(run.result, cost=0.0123)
    return screen


async def finish(renderer: LiveRenderer) -> None:
    """Ends what a renderer shows with the result of a run."""
    run = agent(["End."]).stream("why?")
    async for _ in run:
        pass
    renderer.end(run.result)


def fixed(texts: list[str]) -> list[str]:
    timeless = (re.sub(r"[\d.]+ m?s\b", "T", text) for text in texts)
    return [re.sub(r"show \d{8}-\d{6}-\w{9}$", "show RUN", text) for text in timeless]


TURNS = (
    [
        ("thinking", "I should "),
        ("thinking", "look <here>."),
        "Looking.",
        call(1, "nap", seconds=0.2),
        call(2, "nap", seconds=0.0, text="a\nb"),
        call(3, "drop", table="users"),
    ],
    ["All ", "is *well*."],
)


async def test_one_record_in_the_order_asked() -> None:
    screen = await shown(agent(*TURNS))
    [(data, _, display_id, _)] = screen.sent
    assert display_id is None
    assert fixed(data["text/plain"].splitlines()) == [
        "sre",
        "[thinking] I should look <here>.",
        "Looking.",
        "✓ nap seconds=0.2 (T)",
        '✓ nap seconds=0.0 text="a b" (T)',
        "✗ drop table=users (failed, T)",
        "  RuntimeError: <no> such table",
        "All is *well*.",
        (
            "says (scripted) · 2 turns · 3 tool calls · 2,400 + 68 tokens · $0.0123 · T · "
            "%aof show RUN"
        ),
    ]
    html = rendered(data["text/markdown"])
    assert "<no>" not in html
    assert "<here>" not in html
    assert html.count("<details>") == 4
    assert "All is <em>well</em>." in html


def rendered(markdown: str) -> str:
    """As a renderer shows it that trusts it."""
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


async def test_text_that_another_takes_the_place_of_is_void() -> None:
    blocks = "".join(f"Block {n}: {'word ' * 80}\n\n" for n in range(3))
    broke = BrokenStream("broke off", provider="says")
    asked = agent([blocks, "The <lock>", broke], ["All is well."], retry=RetryPolicy(first_delay=0))
    [(data, *_)] = (await shown(asked)).sent
    assert fixed(data["text/plain"].splitlines())[-4:-1] == [
        "retry: says (scripted): the text above is void, the response broke off",
        "retry: says (scripted): the response broke off, again in T (2/5)",
        "All is well.",
    ]
    assert "[void] Block 0" in data["text/plain"]
    assert "<summary>void: the response broke off</summary>" in data["text/markdown"]
    assert "&lt;lock&gt;" in rendered(data["text/markdown"])


async def test_volatile_values_are_in_the_metadata() -> None:
    [(_, metadata, *_)] = (await shown(agent(*TURNS))).sent
    told = metadata["aof"]
    assert told["status"] == "completed"
    assert told["cost"] == 0.0123
    assert set(told) >= {"run_id", "duration", "input_tokens", "output_tokens"}
    assert told["calls"][0]["duration"] >= 0.2
    assert [each["outcome"] for each in told["calls"]] == ["ok", "ok", "error"]


async def test_how_it_ended_is_said() -> None:
    limited = agent(["Once.", call(1, "nap", seconds=0)], ["End."], limits=Limits(max_turns=2))
    [kept] = (await shown(limited)).kept
    assert "\nlimit (turns): turn 2 of 2: the last\n" in kept
    assert "\nstopped by a limit (turns) · says (scripted)" in kept
    [kept] = (await shown(agent())).kept
    assert "\nfailed · " in kept


async def test_calls_that_were_cut_off_are_unknown() -> None:
    screen = Recording()
    renderer = LiveRenderer(screen, agent="sre", session="inc-1")
    asked = agent([call(1, "nap", seconds=60), call(2, "nap", seconds=0)], ["Never."])
    run = asked.stream("why?")

    one_ended = asyncio.Event()

    async def consume() -> None:
        async for event in run:
            renderer.event(event)
            if isinstance(event, ToolFinished):
                one_ended.set()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(one_ended.wait(), 30)
    task.cancel()
    await asyncio.wait([task])
    renderer.end(run.result, interrupted=True)
    kept = fixed([renderer.record.text()])[0].splitlines()
    assert kept[0] == "sre · session inc-1"
    assert kept[1] == "? nap seconds=60 (interrupted, outcome unknown)"
    assert kept[2] == "✓ nap seconds=0 (T)"
    assert kept[3].startswith("interrupted · ")
    assert [update for *_, update in screen.sent] == [False, True]


async def test_a_run_that_is_over_at_once_needs_no_view() -> None:
    screen = Recording()
    run = agent(["All is well."]).stream("why?")
    events = [event async for event in run]
    renderer = LiveRenderer(screen, agent="sre", session=None)
    for event in events:
        renderer.event(event)
    renderer.end(run.result)
    await asyncio.sleep(0.3)
    assert [set(data) for data, *_ in screen.sent] == [{"text/markdown"}] * 2


async def test_without_a_page_that_shows_views_the_record_grows() -> None:
    screen = Recording()
    renderer = LiveRenderer(screen, agent="sre", session=None)
    renderer.open()
    for number in range(12):
        renderer.event(TextDelta(f"Line {number}.\n\n"))
        await asyncio.sleep(0.1)
    grown = [data["text/markdown"] for data, *_ in screen.sent if "Line" in str(data)]
    assert len(grown) > 2
    assert all(after.startswith(before) for before, after in itertools.pairwise(grown))
    await finish(renderer)
    last = screen.sent[-1][0]
    assert set(last) == {"text/markdown"}
    assert "Line 11." in last["text/markdown"]


async def test_what_is_saved_in_mid_run_says_how_to_go_on() -> None:
    screen = Recording()
    renderer = LiveRenderer(screen, agent="sre", session=None, run_id="20260101-000000-abcdefghi")
    renderer.open()
    while not any("widget-view" in str(data) for data, *_ in screen.sent):
        await asyncio.sleep(0.01)
    renderer.event(TextDelta("The pool is exhausted.\n\n"))
    while not any("exhausted" in str(data) for data, *_ in screen.sent):
        await asyncio.sleep(0.01)
    for data, metadata, *_ in screen.sent[1:]:
        text = rendered(data["text/markdown"])
        assert text.startswith("<p><strong>sre</strong></p>")
        assert "<code>%aof show 20260101-000000-abcdefghi</code>" in text
        assert "<code>%aof resume 20260101-000000-abcdefghi</code>" in text
        assert metadata == {"aof": {"autosave": True}}
    await finish(renderer)
    assert "resume" not in str(screen.sent[-1][0])


async def test_a_record_that_may_not_be_sent_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock, made = Recording(), Clock(), list[str]()
    whole = RunRecord.markdown

    def markdown(record: RunRecord) -> str:
        made.append(text := whole(record))
        return text

    monkeypatch.setattr(RunRecord, "markdown", markdown)
    monkeypatch.setattr("aof_nb.notebook.renderer.Budget", lambda: Budget(clock))
    renderer = LiveRenderer(screen, agent="sre", session=None, interval=0.002)
    renderer.open()
    renderer.event(TextDelta("A line of the answer.\n\n" * 200))
    while not made:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(made) == 1
    assert not any("A line" in str(data) for data, *_ in screen.sent)
    clock.now = 1.0
    while not any("A line" in str(data) for data, *_ in screen.sent):
        await asyncio.sleep(0.01)
    await finish(renderer)


class Chatty:
    """A tool that reports its progress far too often."""

    spec = ToolSpec(
        name="chatty",
        description="",
        input_schema={"type": "object"},
        effect=Effect.READ,
    )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        from aof_nb.events import ToolProgress

        for n in range(1000):
            context.emit(ToolProgress(context.call_id, "copying", n, 1000))
        return ToolOutput("done")


async def test_progress_is_shown_now_and_then() -> None:
    record = RunRecord("sre", None)
    asked = Agent(name="sre", model=Says([call(1, "chatty")], ["Done."]), tools=[Chatty()])
    shown = []
    async for event in asked.stream("why?"):
        record.take(event)
        if isinstance(event, ToolProgress) and event.progress in {0, 500}:
            shown += [html for _, html in record.changes()]
    assert len(shown) == 2
    assert "running · copying 500 of 1000" in shown[-1]


async def test_the_console_prints_text_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    renderer = ConsoleRenderer()
    run = agent(*TURNS).stream("why?", approve="all")
    async for event in run:
        renderer.event(event)
    renderer.end(run.result)
    renderer.end(run.result, cost=1.0)
    assert fixed(capsys.readouterr().out.splitlines()) == [
        "Looking.",
        '✓ nap seconds=0.0 text="a b" (T)',
        "✗ drop table=users (failed, T)",
        "  RuntimeError: <no> such table",
        "✓ nap seconds=0.2 (T)",
        "All is *well*.",
        "says (scripted) · 2 turns · 3 tool calls · 2,400 + 68 tokens · T",
    ]


async def test_the_time_a_person_takes_is_not_the_tools() -> None:
    class Slow:
        async def ask(self, request: ApprovalRequest) -> Answer:
            await asyncio.sleep(0.6)
            return Answer(approved=True, digest=request.digest, by="maria", via="test")

    record = RunRecord("sre", None)
    policy = Policy(read=Action.ASK)
    asked = agent([call(1, "nap", seconds=0.1)], ["Done."], policy=policy)
    marks = []
    async for event in asked.stream("why?", approver=Slow()):
        record.take(event)
        marks += [html for _, html in record.changes() if "nap" in html]
    assert any("waiting for approval" in each for each in marks)
    assert 0.05 <= record.calls()[0]["duration"] < 0.5
    assert "✓ Approved by maria (test): nap seconds=0.1" in record.text()


def test_the_live_duration_is_the_running_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("aof_nb.notebook.rows.monotonic", clock)
    row = Row(call(1, "drop"), "destructive")
    clock.now = 2.0
    assert "data-ticks=2.0" in row.html()
    row.take(ApprovalRequested("call_1", "drop", "destructive", {}, "d", ""))
    assert "data-ticks" not in row.html()
    clock.now = 62.0
    row.take(ApprovalAnswered("call_1", "d", True, False, "ann", "notebook", waited=60.0))
    clock.now = 63.0
    assert "data-ticks=3.0" in row.html()


def test_marks_without_words_have_names() -> None:
    def signs(row: Row) -> str:
        return row.html().partition("<summary>")[2].partition(f"<b>{row.call.name}</b>")[0]

    def said(row: Row) -> str:
        """What is left for somebody who hears it."""
        named = re.sub(r"<[^>]* aria-label=\"?(\w+)\"?[^>]*>[^<]*<", r"\1<", signs(row))
        return re.sub(r"<[^>]*>", "", re.sub(r"<[^>]*aria-hidden=true>[^<]*<", "<", named)).strip()

    assert said(Row(call(1, "look"), "read", Outcome.OK)) == "done read"
    assert said(Row(call(1, "drop"), "destructive", Outcome.OK)).split() == ["done", "destructive"]
    assert said(Row(call(1, "look"), "read", Outcome.ERROR)) == "read"
    assert "failed" in Row(call(1, "look"), "read", Outcome.ERROR).html()


def test_a_row_is_bounded_and_escaped() -> None:
    huge = ToolCall("1", "<b>x</b>", {"script": "<script>alert(1)</script>" * 10_000})
    row = Row(huge, "write", Outcome.OK, content="<img src=x>" * 10_000, artifact=True)
    assert len(row.text()) < 300
    for html in (row.html(), rendered(row.markdown())):
        assert len(html) < 30_000
        assert "<script" not in html
        assert "<img" not in html
        assert "<b>x</b>" not in html
        assert "characters left out" in html
        assert "kept with the run" in html


def test_a_record_is_bounded() -> None:
    record = RunRecord("sre", None)
    for number in range(300):
        made = call(number, "nap", seconds=number)
        record.take(ToolStarted(1, made, "read"))
        record.take(ToolFinished(made.id, "nap", Outcome.OK, f"{number} " * 2_000, 0.1))
    record.take(TextDelta("word " * 200_000))
    text = record.markdown()
    assert len(text) < RECORD_CHARS * 1.1
    assert "the run's journal has it" in text
    assert text.startswith("**sre**\n\n<details><summary>✓ ○ <b>nap</b>")
    assert rendered(text).count("<details>") == rendered(text).count("</details>")


def test_nothing_hides_in_a_remark_or_a_thought() -> None:
    record = RunRecord("sre", None)
    record.take(ThinkingDelta("run safe\u202eexe.sh"))
    record.take(Notice("see\u200b this\x1b[2J", "warning"))
    (_, thought), (_, remark) = record.changes()
    assert "run safe⟨U+202E⟩exe.sh" in thought
    assert "see⟨U+200B⟩ this\\x1b[2J" in remark


def test_arguments_in_short() -> None:
    given = {"argv": ["df", "-h", "my disk"], "n": 3, "text": "", "line": "a\x1b[2J\nb"}
    assert in_short(given) == 'argv=[df -h \'my disk\'] n=3 text="" line="a\\x1b[2J b"'
    assert in_short(None) == "(arguments that are no JSON)"


async def test_what_was_left_out_of_a_conversation_is_said_in_a_line() -> None:
    screen = Recording()
    renderer = CellRenderer(screen, agent="sre", session=None)
    renderer.event(ContextCompacted("openai:m", 9000, 4000, 10_000, ("read_log",), summarised=3))
    assert "context: openai:m: conversation shortened from about 9,000 to 4,000 tokens" in (
        renderer.record.text()
    )


def test_an_answer_that_is_cut_within_code_does_not_swallow_the_rest() -> None:
    record = RunRecord("sre", None)
    record.take(TextDelta("Look:\n\n```sh\nkubectl get"))
    record.take(ToolStarted(1, call(1, "nap"), "read"))
    record.take(TextDelta("And:\n\n~~~\nmore"))
    html = MarkdownIt("commonmark", {"html": True}).render(record.markdown())
    assert "<details><summary>" in html
    assert html.count("<pre>") == 3


def ended(content: str, **more: Any) -> RunRecord:
    record = RunRecord("sre", None)
    record.take(ToolStarted(1, call(1, "nap"), "read"))
    record.take(ToolFinished("call_1", "nap", Outcome.OK, content, 0.1, **more))
    return record


def test_an_output_for_a_terminal_is_shown_without_its_colours() -> None:
    record = ended("\x1b[31mERROR\x1b[0m full\r\nnext\r\n")
    assert "```\nERROR full\nnext\n\n```" in record.markdown()
    assert "ERROR full\nnext\n</pre>" in record.changes()[0][1]


def test_no_output_is_said() -> None:
    assert "\n\nNo output.\n" in ended("").markdown()
    assert "no output" in ended("").changes()[0][1]


async def test_what_is_largest_is_shortened_first() -> None:
    """One huge result does not cost the others their tables and pictures."""
    header = base64.b64encode(b"\x89PNG\r\n\x1a\n\0").decode()
    record = RunRecord("sre", None)
    table = '[{"pod": "a", "n": 1}, {"pod": "b", "n": 2}]'
    for n, size in enumerate((0, 150_000, 199_000, 60_000)):
        data = header + "A" * (size // 4 * 4)
        block = {"type": "image", "mimeType": "image/png", "data": data}
        record.take(ToolStarted(1, call(n, "nap"), "read"))
        images = {"content": [block]} if size else None
        event = ToolFinished(f"call_{n}", "nap", Outcome.OK, table, 0.1, data=images)
        await record.prepare(event)
        record.take(event)
    text = record.markdown()
    assert len(text) < RECORD_CHARS
    assert text.count("<img") == 2
    assert "| a | 1 |" in text
