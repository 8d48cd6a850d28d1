"""Replay: the same events in the same order, with no model and no tool; what differs is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb import Agent, Limits, Replay, RunStatus, tool
from aof_nb.errors import JournalError, Overloaded, ReplayMismatch, ToolError
from aof_nb.events import (
    Event,
    ModelEvent,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunFinished,
    TextDelta,
    ThinkingDelta,
    ToolFinished,
    ToolProgress,
)
from aof_nb.journal.cassette import add_to_cassette, rewind
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.runs import find_run, run_directories
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import Effect, ModelRequest, ToolContext, ToolOutput, ToolSpec

Turn = Sequence[Any]


class Turns:
    """A model that plays turns: texts, events and calls."""

    name = "test:turns"
    reads_results = True

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.asked: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        turn = self.turns[len(self.asked)] if len(self.asked) < len(self.turns) else ("done",)
        self.asked.append(request)
        parts: list[Any] = []
        for each in turn:
            if isinstance(each, str):
                yield TextDelta(each)
                parts.append(Text(each))
            elif isinstance(each, ToolCall):
                parts.append(each)
            elif isinstance(each, Exception):
                raise each
            else:
                yield each
            await asyncio.sleep(0)
        calls = any(isinstance(part, ToolCall) for part in parts)
        yield ModelResponse(
            message=Message("assistant", tuple(parts)),
            stop_reason=StopReason.TOOL_USE if calls else StopReason.END_TURN,
            usage=Usage(input_tokens=7, output_tokens=3),
            model="turns-1",
        )


class Nobody:
    """A model that must not be asked."""

    name = "test:turns"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        raise AssertionError("the model was asked in a replay")
        yield


class Slow:
    """A tool that takes its time, tells how far it is, and may fail."""

    def __init__(self, effect: Effect = Effect.WRITE, *, exclusive: bool = False) -> None:
        self.spec = ToolSpec(
            name=f"slow_{effect.value}{'_alone' if exclusive else ''}",
            description="Takes its time.",
            input_schema={
                "type": "object",
                "properties": {"steps": {"type": "integer"}, "fails": {"type": "boolean"}},
                "required": ["steps"],
            },
            effect=effect,
            exclusive=exclusive,
        )
        self.calls = 0

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls += 1
        for step in range(arguments["steps"]):
            context.emit(ToolProgress(context.call_id, f"step {step}"))
            await asyncio.sleep(0.001 * (step % 3))
        if arguments.get("fails"):
            raise ToolError("it failed", remedy="try another way")
        return ToolOutput(f"after {arguments['steps']} steps", data={"n": arguments["steps"]})


class Moody:
    """An approver that says yes to even numbers of steps, after a while."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        await asyncio.sleep(0.002)
        yes = request.arguments["steps"] % 2 == 0
        return Answer(approved=yes, digest=request.digest, by="moody", via="test")


async def events_of(run: Any) -> list[Event]:
    return [event async for event in run]


def comparable(events: list[Event]) -> list[Event]:
    """Events without how long things took, and without where whole outputs are kept."""

    def plain(event: Event) -> Event:
        if isinstance(event, ToolFinished):
            return msgspec.structs.replace(event, duration=0.0, artifact=None)
        if isinstance(event, RunFinished):
            return msgspec.structs.replace(event, duration=0.0)
        return event

    return [plain(event) for event in events]


calls = st.builds(
    lambda name, steps, fails, bad: (
        name,
        {"steps": "many"} if bad else {"steps": steps, "fails": fails},
    ),
    st.sampled_from(
        ["slow_read", "slow_write", "slow_write_alone", "slow_destructive", "slw_read"]
    ),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)
pieces = st.one_of(
    st.sampled_from(["a", "bc ", "\n", "é"]),
    st.builds(ThinkingDelta, st.just("hm")),
    st.builds(RetryScheduled, st.just("m"), st.just("overloaded"), st.just(0.1), *[st.just(1)] * 2),
    st.just(ResponseSuperseded("m")),
    st.just(Notice("nearly full")),
)
turns = st.lists(st.tuples(st.lists(pieces, max_size=4), st.lists(calls, max_size=4)), max_size=4)


@given(plan=turns, most=st.integers(1, 6), spare=st.sampled_from([None, 2]))
@settings(max_examples=60, deadline=None)
async def test_a_replay_tells_the_same_in_the_same_order(
    plan: list[Any], most: int, spare: int | None
) -> None:
    played = []
    for number, (said, wanted) in enumerate(plan):
        asked = [ToolCall(f"c{number}_{n}", *each) for n, each in enumerate(wanted)]
        played.append([*said, *asked])
        if not wanted:
            break
    tools = [Slow(Effect.READ), Slow(), Slow(exclusive=True), Slow(Effect.DESTRUCTIVE)]
    limits = Limits(max_turns=most, max_tool_calls=spare, max_output_chars=1000)
    agent = Agent(model=Turns(*played), tools=tools, limits=limits)
    run = agent.stream("go", approver=Moody())
    recorded = await events_of(run)
    count = [each.calls for each in tools]
    again = Agent(model=Nobody(), tools=tools, limits=limits)
    replay = again.stream("go", replay=run.run_id)
    replayed = await events_of(replay)
    assert comparable(replayed) == comparable(recorded)
    assert [each.calls for each in tools] == count
    assert replay.result.messages == run.result.messages
    assert replay.result.usage == run.result.usage
    third = await events_of(again.stream("go", replay=run.run_id))
    volatile = [type(event) for event in third]
    assert volatile == [type(event) for event in recorded]
    durations = [each.duration for each in replayed if isinstance(each, RunFinished)]
    assert durations == [each.duration for each in third if isinstance(each, RunFinished)]


async def test_a_replay_leaves_no_trace() -> None:
    result = await Agent(model=Turns(("a",))).run("go")
    before = list(run_directories())
    replayed = await Agent(model=Nobody()).run("go", replay=result.run_id)
    assert (replayed.text, replayed.run_id) == ("a", result.run_id)
    assert list(run_directories()) == before


@tool(effect=Effect.READ)
def look(what: str) -> str:
    """Looks."""
    return f"{what} is well"


CALL = ToolCall("c", "look", {"what": "db"})


async def recorded(**options: Any) -> str:
    agent = Agent(model=Turns(("I look.", CALL), ("fine",)), tools=[look], **options)
    return (await agent.run("why?")).run_id


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"instructions": "be bold"}, "+be bold"),
        ({"tools": []}, "-look"),
        ({"tools": [look, Slow()]}, "+slow_write"),
        ({"sampling": {"temperature": 0.5}}, "0.5"),
    ],
)
async def test_what_has_changed_is_told(changed: dict[str, Any], told: str) -> None:
    from aof_nb import Sampling

    if "sampling" in changed:
        changed = {"sampling": Sampling(**changed["sampling"])}
    run_id = await recorded(instructions="be careful")
    declared = {"instructions": "be careful", "tools": [look], **changed}
    result = await Agent(model=Nobody(), **declared).run("why?", replay=run_id)
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, ReplayMismatch)
    assert told in result.error.difference
    assert "turn 1" in result.error.message
    assert "--record" in result.error.remedy


async def test_another_prompt_is_told() -> None:
    run_id = await recorded()
    result = await Agent(model=Nobody(), tools=[look]).run("why not?", replay=run_id)
    assert isinstance(result.error, ReplayMismatch)
    assert "-why?" in result.error.difference
    assert "+why not?" in result.error.difference


async def test_what_was_not_recorded_is_asked_of_another_model() -> None:
    run_id = await recorded(instructions="be careful")
    other = Turns(("bold",))
    replay = Replay(run_id, otherwise=other)
    agent = Agent(model=Nobody(), tools=[look], instructions="be bold")
    run = agent.stream("why?", replay=replay)
    notices = [event.text for event in await events_of(run) if isinstance(event, Notice)]
    assert run.result.text == "bold"
    assert len(other.asked) == 1
    assert any("asking test:turns" in each for each in notices)
    same = Agent(model=Nobody(), tools=[look], instructions="be careful")
    assert (await same.run("why?", replay=replay)).text == "fine"
    assert len(other.asked) == 1


async def test_a_failed_run_fails_again_in_the_same_way() -> None:
    error = Overloaded("no room", provider="x", status=529, request_id="req_1", remedy="wait")
    failing = await Agent(model=Turns(("I ", error)), retry=_no_retries()).run("b")
    replayed = await Agent(model=Nobody()).run("b", replay=failing.run_id)
    assert replayed.status is failing.status is RunStatus.FAILED
    assert failing.error is not None
    assert replayed.error is not None
    assert type(replayed.error) is type(failing.error)
    assert replayed.error.message == failing.error.message
    assert replayed.error.remedy == failing.error.remedy


def _no_retries() -> Any:
    from aof_nb import RetryPolicy

    return RetryPolicy(attempts=1)


async def test_a_run_that_ran_out_of_time_does_so_again() -> None:
    async def stalls(request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        yield TextDelta("let me ")
        await asyncio.sleep(60)

    class Stalling:
        name = "test:stalling"
        stream = staticmethod(stalls)

    agent = Agent(model=Stalling(), limits=Limits(max_seconds=0.3))
    run = agent.stream("go")
    seen = await events_of(run)
    assert run.result.status is RunStatus.LIMIT
    replayed = await events_of(
        Agent(model=Nobody(), limits=Limits(max_seconds=0.3)).stream("go", replay=run.run_id)
    )
    assert comparable(replayed) == comparable(seen)


async def test_the_recorded_pace_is_kept_if_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Paced(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            for word in ("a", "b", "c"):
                await asyncio.sleep(0.03)
                yield TextDelta(word)
            yield ModelResponse(
                Message.assistant("abc"), StopReason.END_TURN, Usage(), model="paced"
            )

    result = await Agent(model=Paced()).run("go")
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float, *rest: Any) -> None:
        slept.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Agent(model=Nobody()).run("go", replay=Replay(result.run_id, pace=2))
    assert 0.15 < sum(slept) < 2
    slept.clear()
    await Agent(model=Nobody()).run("go", replay=result.run_id)
    assert sum(slept) == 0


async def test_a_cassette_gives_each_run_its_own(tmp_path: Path) -> None:
    cassette = tmp_path / "notebook.journal.jsonl"
    for prompt, answer in (("a", "one"), ("b", "two"), ("a", "three")):
        result = await Agent(model=Turns((answer,))).run(prompt)
        add_to_cassette(cassette, find_run(result.run_id) / FILE_NAME)
    agent = Agent(model=Nobody())
    said = [(await agent.run(prompt, replay=cassette)).text for prompt in ("a", "b", "a", "a")]
    assert said == ["one", "two", "three", "three"]
    rewind(cassette)
    assert (await agent.run("a", replay=cassette)).text == "one"
    missing = await Agent(name="other", model=Nobody()).run("a", replay=cassette)
    assert missing.error is not None
    assert "holds no run of agent 'other'" in missing.error.message


async def test_a_run_added_again_takes_the_place_of_itself(tmp_path: Path) -> None:
    cassette = tmp_path / "c.jsonl"
    result = await Agent(model=Turns(("one",))).run("a")
    journal = find_run(result.run_id) / FILE_NAME
    for _ in range(2):
        add_to_cassette(cassette, journal)
    assert cassette.read_text().count('"run_begun"') == 1
    assert str(tmp_path) not in cassette.read_text()


async def test_the_environment_replays_and_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cassette = tmp_path / "c.jsonl"
    monkeypatch.setenv("AOF_RECORD", str(cassette))
    await Agent(model=Turns(("one",))).run("a")
    monkeypatch.delenv("AOF_RECORD")
    monkeypatch.setenv("AOF_REPLAY", str(cassette))
    assert (await Agent(model=Nobody()).run("a")).text == "one"
    monkeypatch.setenv("AOF_REPLAY", str(tmp_path / "missing.jsonl"))
    result = await Agent(model=Nobody()).run("a")
    assert result.error is not None
    assert "no recording" in result.error.message


async def test_a_damaged_recording_is_told(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("what?\n")
    result = await Agent(model=Nobody()).run("a", replay=tmp_path / "c.jsonl")
    assert isinstance(result.error, JournalError)
    assert "no journal" in result.error.message
