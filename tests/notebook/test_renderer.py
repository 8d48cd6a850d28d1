"""A run's events as outputs: the same in the end, whether somebody looks or not."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from aof_nb.agent import Agent
from aof_nb.errors import BrokenStream
from aof_nb.events import ContextCompacted, ToolFinished
from aof_nb.limits import Limits
from aof_nb.messages import Outcome, ToolCall
from aof_nb.models.resilience import RetryPolicy
from aof_nb.notebook.plain import ConsoleRenderer
from aof_nb.notebook.renderer import CellRenderer
from aof_nb.notebook.rows import Row, in_short
from aof_nb.policy import Action, Answer, ApprovalRequest, Policy
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tools import tool
from tests.notebook.fakes import Recording, Says


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


async def shown(asked: Agent, *, live: bool) -> Recording:
    screen = Recording()
    renderer = CellRenderer(screen, live=live, agent=asked.name, session=None)
    run = asked.stream("why?", approve="all")
    async for event in run:
        renderer.event(event)
    renderer.end(run.result, cost=0.0123)
    return screen


def fixed(texts: list[str]) -> list[str]:
    return [re.sub(r"[\d.]+ m?s\b", "T", text) for text in texts]


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


@pytest.mark.parametrize("live", [True, False])
async def test_outputs_are_the_same_in_the_order_asked(live: bool) -> None:
    screen = await shown(agent(*TURNS), live=live)
    assert fixed(screen.kept) == [
        "sre",
        "[thinking] I should look <here>.",
        "Looking.",
        "✓ nap seconds=0.2 (T)",
        '✓ nap seconds=0.0 text="a b" (T)',
        "✗ drop table=users (failed, T)\n  RuntimeError: <no> such table",
        "All is *well*.",
        "says (scripted) · 2 turns · 3 tool calls · 2,400 + 68 tokens · $0.0123 · T",
    ]
    html = "".join(data["text/html"] for data, *_ in screen.sent)
    assert "<no>" not in html
    assert "<here>" not in html
    if not live:
        assert len(screen.sent) == 8
        assert all(display_id is None for _, _, display_id, _ in screen.sent)


@pytest.mark.parametrize("live", [True, False])
async def test_text_that_another_takes_the_place_of_is_struck_out(live: bool) -> None:
    blocks = "".join(f"Block {n}: {'word ' * 80}\n\n" for n in range(3))
    broke = BrokenStream("broke off", provider="says")
    asked = agent([blocks, "The <lock>", broke], ["All is well."], retry=RetryPolicy(first_delay=0))
    screen = await shown(asked, live=live)
    parts = [text for text in screen.kept if text.startswith("[void] ")]
    assert "".join(parts).replace("[void] ", "").split() == f"{blocks}The <lock>".split()
    assert len(parts) > 1 or not live
    rest = [text for text in screen.kept if not text.startswith("[void] ")]
    assert fixed(rest[1:-1]) == [
        "retry: says (scripted): the text above is void, the response broke off",
        "retry: says (scripted): the response broke off, again in T (2/5)",
        "All is well.",
    ]
    last = {display_id or n: data for n, (data, _, display_id, _) in enumerate(screen.sent)}
    struck = [data for data in last.values() if "line-through" in data["text/html"]]
    assert [data["text/plain"] for data in struck] == parts
    assert "<lock>" not in "".join(data["text/html"] for data in struck)


async def test_volatile_values_are_in_the_metadata() -> None:
    screen = await shown(agent(*TURNS), live=False)
    footer = screen.sent[-1][1]["aof"]
    assert footer["status"] == "completed"
    assert footer["cost"] == 0.0123
    assert set(footer) >= {"run_id", "duration", "input_tokens", "output_tokens"}
    assert screen.sent[3][1]["aof"]["duration"] >= 0.2
    assert screen.sent[5][1]["aof"]["outcome"] == "error"


async def test_how_it_ended_is_said() -> None:
    limited = agent(["Once.", call(1, "nap", seconds=0)], ["End."], limits=Limits(max_turns=2))
    kept = (await shown(limited, live=True)).kept
    assert "limit (turns): turn 2 of 2: the last" in kept
    assert kept[-1].startswith("stopped by a limit (turns) · says (scripted)")
    broken = agent()
    assert (await shown(broken, live=False)).kept[-1].startswith("failed · ")


@pytest.mark.parametrize("live", [True, False])
async def test_calls_that_were_cut_off_are_unknown(live: bool) -> None:
    screen = Recording()
    renderer = CellRenderer(screen, live=live, agent="sre", session="inc-1")
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
    kept = fixed(screen.kept)
    assert kept[0] == "sre · session inc-1"
    assert kept[1] == "? nap seconds=60 (interrupted, outcome unknown)"
    assert kept[2] == "✓ nap seconds=0 (T)"
    assert kept[3].startswith("interrupted · ")


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
    asked = Agent(name="sre", model=Says([call(1, "chatty")], ["Done."]), tools=[Chatty()])
    screen = await shown(asked, live=True)
    told = [d["text/plain"] for d, *_ in screen.sent if "copying" in d.get("text/plain", "")]
    assert 1 <= len(told) <= 10
    assert "(running, copying 0 of 1000)" in told[0]


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

    screen = Recording()
    renderer = CellRenderer(screen, live=True, agent="sre", session=None)
    policy = Policy(read=Action.ASK)
    asked = agent([call(1, "nap", seconds=0.1)], ["Done."], policy=policy)
    run = asked.stream("why?", approver=Slow())
    async for event in run:
        renderer.event(event)
    marks = [data["text/plain"][0] for data, *_ in screen.sent if "nap" in str(data)[:2000]]
    assert "?" in marks
    [row] = [m["aof"] for _, m, *_ in screen.sent if m.get("aof", {}).get("tool")]
    assert 0.05 <= row["duration"] < 0.5


def test_a_row_is_bounded_and_escaped() -> None:
    huge = ToolCall("1", "<b>x</b>", {"script": "<script>alert(1)</script>" * 10_000})
    row = Row(huge, "write", Outcome.OK, content="<img src=x>" * 10_000, artifact=True)
    bundle = row.bundle()
    assert len(bundle["text/html"]) < 30_000
    assert len(bundle["text/plain"]) < 300
    assert "<script" not in bundle["text/html"]
    assert "<img" not in bundle["text/html"]
    assert "<b>x</b>" not in bundle["text/html"]
    assert "characters left out" in bundle["text/html"]
    assert "kept with the run" in bundle["text/html"]


def test_arguments_in_short() -> None:
    given = {"argv": ["df", "-h", "my disk"], "n": 3, "text": "", "line": "a\x1b[2J\nb"}
    assert in_short(given) == 'argv=[df -h \'my disk\'] n=3 text="" line="a\\x1b[2J b"'
    assert in_short(None) == "(arguments that are no JSON)"


async def test_what_was_left_out_of_a_conversation_is_said_in_a_line() -> None:
    screen = Recording()
    renderer = CellRenderer(screen, live=False, agent="sre", session=None)
    renderer.event(ContextCompacted("openai:m", 9000, 4000, 10_000, ("read_log",), summarised=3))
    assert "context: openai:m: conversation shortened from about 9,000 to 4,000 tokens" in str(
        screen.kept
    )
