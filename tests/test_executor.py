"""The loop's invariants, over scripted and over random schedules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb.errors import BrokenStream, Overloaded, ToolError
from aof_nb.events import (
    Event,
    LimitReached,
    ModelEvent,
    ModelResponse,
    Notice,
    RunFinished,
    RunStarted,
    RunStatus,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from aof_nb.executor import INTERRUPTED, Record, Task, execute
from aof_nb.journal.artifacts import Artifacts
from aof_nb.limits import Limits
from aof_nb.messages import Message, Outcome, Part, StopReason, Text, ToolCall, ToolResult, Usage
from aof_nb.models.structured import structured
from aof_nb.ports import Effect, Model, ModelRequest, ToolContext, ToolOutput, ToolSpec
from aof_nb.structured_output import CORRECTION, expected

ANY = {"type": "object"}


@dataclass
class Turn:
    """What a scripted model does in one turn."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(10, 5))
    stop: StopReason | None = None
    error: Exception | None = None
    pause: float = 0.0

    @property
    def response(self) -> ModelResponse:
        parts: tuple[Part, ...] = ((Text(self.text),) if self.text else ()) + self.calls
        stop = self.stop or (StopReason.TOOL_USE if self.calls else StopReason.END_TURN)
        return ModelResponse(Message("assistant", parts, model="m"), stop, self.usage, "m")


class Scripted:
    """Plays turns; the last one again and again."""

    name = "test:model"

    def __init__(self, *turns: Turn) -> None:
        self.turns = turns
        self.requests: list[ModelRequest] = []
        self.open = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        turn = self.turns[min(len(self.requests), len(self.turns)) - 1]
        self.open += 1
        try:
            for character in turn.text:
                await asyncio.sleep(0)
                yield TextDelta(character)
            if turn.pause:
                await asyncio.sleep(turn.pause)
            if turn.error is not None:
                raise turn.error
            yield turn.response
        finally:
            self.open -= 1


class Does:
    """A tool that does what a function says, and counts."""

    def __init__(
        self,
        name: str,
        work: Callable[[dict[str, Any], ToolContext], Any] = lambda a, c: "ok",
        *,
        schema: dict[str, Any] | None = None,
        exclusive: bool = False,
    ) -> None:
        self.spec = ToolSpec(
            name=name,
            description="",
            input_schema=schema or ANY,
            effect=Effect.READ,
            exclusive=exclusive,
        )
        self.work = work
        self.calls: list[dict[str, Any]] = []
        self.running = 0
        self.most = 0

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls.append(arguments)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            result = self.work(arguments, context)
            if asyncio.iscoroutine(result):
                result = await result
        finally:
            self.running -= 1
        return result if isinstance(result, ToolOutput) else ToolOutput(str(result))


def call(name: str, place: int = 0, **arguments: Any) -> ToolCall:
    return ToolCall(f"c{place}", name, arguments)


def task(model: Model, *tools: Does, limits: Limits | None = None, **options: Any) -> Task:
    return Task(
        run_id="r1",
        agent="a",
        model=model,
        prompt="why?",
        tools=tools,
        limits=limits or Limits(),
        **options,
    )


async def run(given_task: Task, record: Record | None = None) -> tuple[list[Event], Record]:
    record = record or Record(transcript=[])
    events = [event async for event in execute(given_task, record)]
    assert_valid(record)
    return events, record


def assert_valid(record: Record) -> None:
    """Invariants 1 and 4, of any transcript at any end."""
    assert record.status is not None
    messages = record.transcript
    for place, message in enumerate(messages):
        if message.tool_calls:
            answers = messages[place + 1]
            assert answers.role == "tool"
            asked = [c.id for c in message.tool_calls]
            assert [result.call_id for result in answers.tool_results] == asked
        if message.role == "tool":
            assert messages[place - 1].tool_calls


def results(record: Record) -> list[tuple[Outcome, str]]:
    return [(r.outcome, r.content) for m in record.transcript for r in m.tool_results]


def finish(events: list[Event]) -> RunFinished:
    [last] = [event for event in events if isinstance(event, RunFinished)]
    assert events[-1] is last
    return last


async def test_calls_have_ids_of_their_own_in_the_whole_conversation(tmp_path: Path) -> None:
    said = iter("abcde")
    tool = Does("t", lambda a, c: next(said) * 100)
    twice = Turn(calls=(ToolCall("c0", "t", {}), ToolCall("c0", "t", {}), ToolCall("", "t", {})))
    model = Scripted(twice, Turn(calls=(ToolCall("c0_2", "t", {}),)), Turn("done"))
    record = Record(
        transcript=[
            Message.user("before"),
            Message("assistant", (ToolCall("c0", "t", {}),)),
            Message("tool", (ToolResult("c0", "t", "x"),)),
        ]
    )
    limits = Limits(max_output_chars=10)
    events, record = await run(
        task(model, tool, limits=limits, artifacts=Artifacts(tmp_path)), record
    )
    ids = [part.id for each in record.transcript for part in each.tool_calls]
    assert ids == ["c0", "c0_2", "c0_3", "call_2", "c0_2_2"]
    assert [e.call.id for e in events if isinstance(e, ToolStarted)] == ids[1:]
    saved = [
        Path(e.artifact).read_text() for e in events if isinstance(e, ToolFinished) and e.artifact
    ]
    assert sorted(saved) == [each * 100 for each in "abcd"]


@pytest.mark.parametrize("limits", [Limits(), Limits(max_seconds=60)])
@pytest.mark.parametrize("after", ["raises", "hangs", "raises when closed"])
async def test_what_a_model_does_after_its_response_takes_nothing_from_it(
    after: str, limits: Limits
) -> None:
    class Restless(Scripted):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            try:
                yield self.turns[0].response
                if after == "raises":
                    raise RuntimeError("the connection was reset")
                await asyncio.Event().wait()
            finally:
                if after == "raises when closed":
                    raise RuntimeError("the connection was reset")

    _, record = await asyncio.wait_for(run(task(Restless(Turn("because")), limits=limits)), 10)
    assert record.status is RunStatus.COMPLETED
    assert record.text == "because"
    assert record.usage == Usage(10, 5)


async def test_calls_of_a_refused_response_are_not_made() -> None:
    tool = Does("look")
    model = Scripted(Turn("I cannot", (call("look", 1, a=1),), stop=StopReason.REFUSAL))
    events, record = await run(task(model, tool))
    assert tool.calls == []
    assert [outcome for outcome, _ in results(record)] == [Outcome.ERROR]
    assert finish(events).status is RunStatus.REFUSED


async def test_a_call_that_may_have_lost_its_arguments_is_not_made() -> None:
    tool = Does("delete_pods")
    cut = Turn(
        "", (call("delete_pods", 1, n=1), call("delete_pods", 2)), stop=StopReason.MAX_TOKENS
    )
    _, record = await run(task(Scripted(cut, Turn("sorry")), tool))
    assert tool.calls == [{"n": 1}]
    assert [outcome for outcome, _ in results(record)] == [Outcome.OK, Outcome.ERROR]
    assert "limit of output tokens" in results(record)[1][1]


async def test_a_model_without_tools_has_no_more_turns_for_asking_for_one() -> None:
    model = Scripted(Turn(calls=(call("imagined"),)))
    events, record = await run(task(model, limits=Limits(max_turns=1)))
    assert len(model.requests) == 1
    assert finish(events).status is RunStatus.LIMIT
    assert record.limit == "turns"


async def test_output_that_no_encoding_can_hold_is_mended_before_a_model_sees_it() -> None:
    listing = Does("list", lambda a, c: "caf\udce9.log \ud83d\ude00")
    model = Scripted(Turn(calls=(call("list"),)), Turn("done"))
    _, record = await run(task(model, listing))
    assert results(record) == [(Outcome.OK, "caf\ufffd.log \U0001f600")]
    msgspec.json.encode(model.requests[-1].messages)


async def test_an_answer() -> None:
    events, record = await run(task(Scripted(Turn("because"))))
    assert isinstance(events[0], RunStarted)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "because"
    assert finish(events).status is RunStatus.COMPLETED
    assert record.text == "because"
    assert record.usage == Usage(10, 5)


async def test_calls_run_together_and_results_go_back_in_order() -> None:
    gate = asyncio.Event()

    async def first(_: Any, __: Any) -> str:
        await gate.wait()
        return "first"

    def second(_: Any, __: Any) -> str:
        gate.set()
        return "second"

    model = Scripted(Turn(calls=(call("one", 1), call("two", 2))), Turn("done"))
    events, record = await run(task(model, Does("one", first), Does("two", second)))
    assert results(record) == [(Outcome.OK, "first"), (Outcome.OK, "second")]
    ended = [e.call_id for e in events if isinstance(e, ToolFinished)]
    assert ended == ["c2", "c1"]


async def test_an_exclusive_tool_runs_alone_and_in_its_place() -> None:
    order: list[str] = []

    async def work(arguments: dict[str, Any], _: Any) -> str:
        order.append(f"+{arguments['n']}")
        await asyncio.sleep(0.01)
        order.append(f"-{arguments['n']}")
        return ""

    shared, alone = Does("s", work), Does("x", work, exclusive=True)
    asked = (call("s", 1, n=1), call("s", 2, n=2), call("x", 3, n=3), call("s", 4, n=4))
    await run(task(Scripted(Turn(calls=asked), Turn("ok")), shared, alone))
    assert order == ["+1", "+2", "-1", "-2", "+3", "-3", "+4", "-4"]


SCHEMA = {
    "type": "object",
    "properties": {"lines": {"type": "integer", "minimum": 1}},
    "required": ["lines"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (call("read_lgo"), "Did you mean 'read_log'?"),
        (call("read_log", lines="x"), '$.lines: "x" is not of type "integer"'),
        (call("read_log"), '"lines" is a required property'),
        (ToolCall("c0", "read_log", None, '{"lines": '), "not a JSON object"),
    ],
)
async def test_a_wrong_call_goes_back_to_the_model(asked: ToolCall, expected: str) -> None:
    tool = Does("read_log", schema=SCHEMA)
    events, record = await run(task(Scripted(Turn(calls=(asked,)), Turn("sorry")), tool))
    [(outcome, content)] = results(record)
    assert outcome is Outcome.ERROR
    assert expected in content
    assert not tool.calls
    assert finish(events).status is RunStatus.COMPLETED


async def test_a_run_closed_between_a_response_and_its_calls_is_valid() -> None:
    record = Record(transcript=[])
    asked = Scripted(Turn(calls=(call("read_log"),)), Turn("ok"))
    events = execute(task(asked, Does("read_log")), record)
    async for event in events:
        if isinstance(event, TurnFinished):
            break
    await events.aclose()
    assert_valid(record)


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"$ref": "http://127.0.0.1:1/schema"}, {"$ref": "#/none"}]
)
async def test_a_tool_whose_schema_is_unusable_can_be_called(schema: dict[str, Any]) -> None:
    tool = Does("read_log", schema=schema)
    await run(task(Scripted(Turn(calls=(call("read_log", lines=1),)), Turn("ok")), tool))
    assert len(tool.calls) == 1


async def test_a_tools_exception_goes_back_to_the_model() -> None:
    def fails(_: Any, __: Any) -> str:
        raise ToolError("no service 'x'", remedy="there are: checkout")

    def exits(_: Any, __: Any) -> str:
        raise SystemExit(3)

    def cancels(_: Any, __: Any) -> str:
        raise asyncio.CancelledError

    model = Scripted(Turn(calls=(call("f", 1), call("e", 2), call("c", 3))), Turn("sorry"))
    _, record = await run(task(model, Does("f", fails), Does("e", exits), Does("c", cancels)))
    assert results(record) == [
        (Outcome.ERROR, "no service 'x'\nthere are: checkout"),
        (Outcome.ERROR, "SystemExit: 3"),
        (Outcome.INTERRUPTED, INTERRUPTED),
    ]


async def test_the_last_turn_has_no_tools() -> None:
    model = Scripted(Turn(calls=(call("t"),)), Turn(calls=(call("t"),)), Turn("found this"))
    tool = Does("t")
    events, record = await run(task(model, tool, limits=Limits(max_turns=3)))
    assert [request.tool_choice for request in model.requests] == ["auto", "auto", "none"]
    assert model.requests[2].tools, "they stay declared"
    assert (record.status, record.limit) == (RunStatus.LIMIT, "turns")
    assert record.text == "found this"
    assert [e.turn for e in events if isinstance(e, TurnStarted) and e.tools_withheld] == [3]
    assert record.transcript[-1].role == "assistant", "the note about the limit is not kept"


async def test_a_model_that_calls_on_although_tools_are_withheld() -> None:
    model, tool = Scripted(Turn("text", calls=(call("t"),))), Does("t")
    events, record = await run(task(model, tool, limits=Limits(max_turns=2)))
    assert len(tool.calls) == 1
    assert len(model.requests) == 2
    assert finish(events).status is RunStatus.LIMIT
    assert results(record)[-1][0] is Outcome.ERROR


async def test_the_limit_of_tool_calls() -> None:
    asked = tuple(call("t", n, n=n) for n in range(5))
    model, tool = Scripted(Turn(calls=asked), Turn("enough")), Does("t")
    _, record = await run(task(model, tool, limits=Limits(max_tool_calls=3)))
    assert len(tool.calls) == 3
    assert record.limit == "tool_calls"
    assert record.text == "enough"
    assert [outcome for outcome, _ in results(record)] == [Outcome.OK] * 3 + [Outcome.ERROR] * 2


async def test_the_limit_of_tokens() -> None:
    turn = Turn("t", calls=(call("t"),), usage=Usage(400, 100))
    model = Scripted(turn, turn, Turn("so far"))
    events, record = await run(task(model, Does("t"), limits=Limits(max_tokens=1600)))
    assert len(model.requests) == 3
    assert (record.limit, record.text) == ("tokens", "so far")
    assert record.usage.total_tokens <= 1600
    assert any(isinstance(e, LimitReached) for e in events)


async def test_calls_beyond_the_limit_of_tokens_are_not_made() -> None:
    model, tool = Scripted(Turn("t", calls=(call("t"),), usage=Usage(400, 100))), Does("t")
    events, _ = await run(task(model, tool, limits=Limits(max_tokens=500)))
    assert not tool.calls
    assert len(model.requests) == 1
    assert finish(events).limit == "tokens"


async def test_wall_time_stops_a_tool() -> None:
    async def forever(_: Any, __: Any) -> None:
        await asyncio.Event().wait()

    tool = Does("t", forever)
    limits = Limits(max_seconds=0.2)
    events, record = await run(task(Scripted(Turn("a", calls=(call("t"),))), tool, limits=limits))
    assert results(record) == [(Outcome.INTERRUPTED, INTERRUPTED)]
    assert finish(events).limit == "seconds"
    assert tool.running == 0
    assert [e.outcome for e in events if isinstance(e, ToolFinished)] == [Outcome.INTERRUPTED]


async def test_wall_time_stops_a_model() -> None:
    model = Scripted(Turn("half an ans", pause=30))
    events, record = await run(task(model, limits=Limits(max_seconds=0.2)))
    assert finish(events).status is RunStatus.LIMIT
    assert record.text == "half an ans"
    assert record.transcript[-1].interrupted
    assert model.open == 0


async def test_a_repeated_failing_call_is_told_and_then_stopped() -> None:
    def fails(_: Any, __: Any) -> str:
        raise ToolError("no")

    model, tool = Scripted(Turn(calls=(call("t", n=1),))), Does("t", fails)
    events, record = await run(task(model, tool))
    assert len(tool.calls) == 2
    contents = [content for _, content in results(record)]
    assert "Do not repeat it" in contents[1]
    assert "already failed 2 times" in contents[2]
    assert record.limit == "repeated_call"
    assert len(model.requests) == 4
    assert finish(events).status is RunStatus.LIMIT


async def test_corrections_are_bounded() -> None:
    turns = [Turn(calls=(call("nope", n, n=n),)) for n in range(20)]
    model = Scripted(*turns)
    _, record = await run(task(model, Does("t"), limits=Limits(max_corrections=3)))
    assert record.limit == "corrections"
    assert len(model.requests) == 5


async def test_a_good_call_resets_the_corrections() -> None:
    turns = [Turn(calls=(call("t" if n % 3 == 2 else "no", n, n=n),)) for n in range(11)]
    model = Scripted(*turns, Turn("done"))
    _, record = await run(task(model, Does("t"), limits=Limits(max_corrections=2)))
    assert record.status is RunStatus.COMPLETED


async def test_what_was_not_kept_is_not_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no directory")
    model = Scripted(Turn(calls=(call("t"),)), Turn("ok"))
    events, record = await run(
        task(
            model,
            Does("t", lambda a, c: "x" * 1000),
            limits=Limits(max_output_chars=100),
            artifacts=Artifacts(tmp_path / "full"),
        )
    )
    [(_, content)] = results(record)
    assert "characters left out" in content
    assert "kept" not in content
    [ended] = [e for e in events if isinstance(e, ToolFinished)]
    assert (ended.content, ended.artifact) == (content, None)
    assert any("was not kept" in e.text for e in events if isinstance(e, Notice))


async def test_output_is_capped_the_same_way_and_kept_whole(tmp_path: Path) -> None:
    text = "\n".join(f"line {n}" for n in range(5000))
    contents = []
    for _ in range(2):
        model = Scripted(Turn(calls=(call("t"),)), Turn("ok"))
        events, record = await run(
            task(
                model,
                Does("t", lambda a, c: text),
                limits=Limits(max_output_chars=1000),
                artifacts=Artifacts(tmp_path / "a"),
            )
        )
        contents.append(results(record)[0][1])
    [ended] = [e for e in events if isinstance(e, ToolFinished)]
    assert contents[0] == contents[1]
    assert len(contents[0]) < 1200
    assert contents[0].startswith("line 0\n")
    assert contents[0].endswith("line 4999")
    assert "characters left out" in contents[0]
    assert ended.artifact is not None
    kept = Path(ended.artifact)
    assert kept.read_text() == text
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert kept.name in contents[0]


async def test_a_broken_stream_keeps_what_had_arrived() -> None:
    model = Scripted(Turn("half an ans", error=Overloaded("busy", remedy="wait")))
    events, record = await run(task(model))
    assert finish(events).error == "busy"
    assert finish(events).remedy == "wait"
    assert isinstance(record.error, Overloaded)
    assert record.error.partial is not None
    assert record.error.partial.text == "half an ans"
    assert record.transcript[-1] == Message(
        "assistant", (Text("half an ans"),), model="test:model", interrupted=True
    )


async def test_a_model_without_a_response_is_a_broken_stream() -> None:
    class Silent(Scripted):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield TextDelta("hm")

    _, record = await run(task(Silent(Turn())))
    assert isinstance(record.error, BrokenStream)


@pytest.mark.parametrize(
    ("stop", "status", "limit"),
    [
        (StopReason.REFUSAL, RunStatus.REFUSED, None),
        (StopReason.MAX_TOKENS, RunStatus.LIMIT, "max_tokens"),
        (StopReason.CONTEXT_FULL, RunStatus.FAILED, None),
    ],
)
async def test_stop_reasons(stop: StopReason, status: RunStatus, limit: str | None) -> None:
    events, record = await run(task(Scripted(Turn("a", stop=stop))))
    assert finish(events).status is status
    assert record.limit == limit


async def test_a_paused_turn_goes_on() -> None:
    model = Scripted(Turn("searching", stop=StopReason.PAUSE), Turn("found"))
    _, record = await run(task(model))
    assert [m.text for m in record.transcript] == ["why?", "searching", "found"]


async def test_progress_from_another_thread_is_an_event() -> None:
    async def work(_: Any, context: ToolContext) -> str:
        await asyncio.to_thread(context.emit, ToolProgress(context.call_id, "half", 1, 2))
        return "ok"

    events, _ = await run(task(Scripted(Turn(calls=(call("t"),)), Turn("k")), Does("t", work)))
    assert ToolProgress("c0", "half", 1, 2) in events


async def test_closing_the_generator_in_the_middle_of_a_tool() -> None:
    async def forever(_: Any, __: Any) -> None:
        await asyncio.Event().wait()

    tool, record = Does("t", forever), Record(transcript=[])
    events = execute(task(Scripted(Turn("a", calls=(call("t"),))), tool), record)
    async for event in events:
        if isinstance(event, ToolStarted):
            break
    await asyncio.sleep(0)
    await events.aclose()
    assert_valid(record)
    assert record.status is RunStatus.CANCELLED
    assert tool.running == 0


@pytest.mark.parametrize("odd", ["plain text", None, {"a": 1}, ToolOutput(7)])  # type: ignore[arg-type]
async def test_a_tool_that_returns_what_it_should_not_costs_the_run_nothing(odd: Any) -> None:
    class Odd(Does):
        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            return odd  # type: ignore[no-any-return]

    _, record = await run(task(Scripted(Turn(calls=(call("t"),)), Turn("ok")), Odd("t")))
    assert record.status is RunStatus.COMPLETED
    assert results(record) == [(Outcome.OK, str(odd))]


async def test_calls_whose_turn_comes_after_the_time_is_over_are_not_made() -> None:
    async def takes_long(_: Any, __: Any) -> str:
        await asyncio.sleep(60)
        return ""

    slow, second = Does("slow", takes_long, exclusive=True), Does("second", exclusive=True)
    asked = Turn(calls=(call("slow", 1), call("second", 2)))
    events, record = await run(task(Scripted(asked), slow, second, limits=Limits(max_seconds=0.2)))
    assert second.calls == []
    assert [outcome for outcome, _ in results(record)] == [Outcome.INTERRUPTED, Outcome.ERROR]
    assert "time was over" in results(record)[1][1]
    assert finish(events).status is RunStatus.LIMIT


@pytest.mark.parametrize("times", [1, 2])
async def test_an_outcome_known_when_the_run_is_cancelled_is_kept(times: int) -> None:
    running, cancelled, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn(_: Any, __: Any) -> str:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            await go_on.wait()
            return "rolled back"
        return ""

    record = Record(transcript=[])
    given_task = task(Scripted(Turn(calls=(call("t"),))), Does("t", stubborn))
    consumer = asyncio.create_task(run(given_task, record))
    await running.wait()
    consumer.cancel()
    await cancelled.wait()
    if times == 2:
        consumer.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert results(record) == [(Outcome.OK, "rolled back")]


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
async def test_a_tool_that_ignores_its_cancellation_does_not_hold_the_run(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aof_nb.executor._PATIENCE_SECONDS", 0.2)
    let_go, running = asyncio.Event(), asyncio.Event()

    async def ignores(_: Any, __: Any) -> str:
        running.set()
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()
        return "at last"

    limits = Limits(max_seconds=0.1 if how == "out of time" else 60)
    record = Record(transcript=[])
    given_task = task(Scripted(Turn(calls=(call("t"),))), Does("t", ignores), limits=limits)
    consumer = asyncio.create_task(run(given_task, record))
    await running.wait()
    if how == "cancelled":
        consumer.cancel()
    await asyncio.wait([consumer], timeout=10)
    assert consumer.done()
    assert results(record) == [(Outcome.INTERRUPTED, INTERRUPTED)]
    let_go.set()


KINDS = ("ok", "slow", "error", "huge", "unknown", "invalid", "exclusive", "progress")


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Turn], Limits, int | None, bool]:
    turns = []
    for number in range(draw(st.integers(1, 6))):
        kinds = draw(st.lists(st.sampled_from(KINDS), max_size=4))
        calls = tuple(
            ToolCall(
                f"c{number}.{place}",
                kind,
                None if kind == "invalid" else {"n": draw(st.integers(0, 2))},
                "{" if kind == "invalid" else "",
            )
            for place, kind in enumerate(kinds)
        )
        error = draw(st.sampled_from([None] * 8 + [Overloaded("busy"), ValueError("bug")]))
        text = draw(st.sampled_from(["", "some text", '{"n": 1}', '{"n": "x"}']))
        stop = draw(st.sampled_from([None] * 8 + [StopReason.REFUSAL, StopReason.MAX_TOKENS]))
        turns.append(Turn(text, calls, error=error, stop=stop))
    limits = Limits(
        max_turns=draw(st.integers(1, 8)),
        max_tool_calls=draw(st.none() | st.integers(0, 6)),
        max_tokens=draw(st.none() | st.integers(15, 120)),
        max_corrections=draw(st.integers(0, 3)),
        max_repeats=draw(st.integers(1, 3)),
        max_output_chars=50,
    )
    stop_after = draw(st.none() | st.integers(0, 60))
    return turns, limits, stop_after, draw(st.booleans())


class AnswersByTool(Scripted):
    """The same turns from a model whose answers are taken by a tool."""

    structured_output = "tool"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            yield _by_tool(event)


def _by_tool(event: ModelEvent) -> ModelEvent:
    if isinstance(event, ModelResponse) and event.message.text.startswith("{"):
        text, others = event.message.text, event.message.tool_calls
        asked = ToolCall("a", "answer", msgspec.json.decode(text))
        message = Message("assistant", (asked, *others), model="m")
        reason = StopReason.TOOL_USE if event.stop_reason is StopReason.END_TURN else None
        return msgspec.structs.replace(
            event, message=message, stop_reason=reason or event.stop_reason
        )
    return event


class AnswersNatively(Scripted):
    structured_output = "native"


@given(schedules(), st.sampled_from([None, AnswersNatively, AnswersByTool, Scripted]))
@settings(max_examples=400, deadline=None)
def test_the_invariants_hold_over_random_schedules(
    schedule: tuple[list[Turn], Limits, int | None, bool], kind: type[Scripted] | None
) -> None:
    wanted = expected({"n": "integer"}) if kind is not None else None
    turns, limits, stop_after, by_cancelling = schedule

    async def slow(_: Any, __: Any) -> str:
        for _unused in range(3):
            await asyncio.sleep(0)
        return "slow"

    def error(_: Any, __: Any) -> str:
        raise RuntimeError("no")

    def progress(_: Any, context: ToolContext) -> str:
        context.emit(ToolProgress(context.call_id))
        return "ok"

    async def scenario() -> None:
        tools = [
            Does("ok"),
            Does("slow", slow),
            Does("error", error),
            Does("huge", lambda a, c: "x\n" * 500),
            Does("invalid"),
            Does("exclusive", slow, exclusive=True),
            Does("progress", progress),
        ]
        model, record = (kind or Scripted)(*turns), Record(transcript=[])
        held = structured(model, wanted.schema) if wanted is not None else model
        events: list[Event] = []

        async def consume() -> None:
            given_task = task(held, *tools, limits=limits, output=wanted)
            stream = execute(given_task, record)
            async with contextlib.aclosing(stream):
                async for event in stream:
                    events.append(event)
                    if len(events) == stop_after:
                        if not by_cancelling:
                            return
                        me = asyncio.current_task()
                        assert me is not None
                        me.cancel()

        consuming = asyncio.create_task(consume())
        await asyncio.wait([consuming])
        if not consuming.cancelled():
            consuming.result()
        # 1 and 2: every call has its result; 4: one status.
        assert_valid(record)
        # 3: nothing outlives the run.
        assert model.open == 0
        assert all(tool.running == 0 for tool in tools)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # 4: one end.
        ends = [event for event in events if isinstance(event, RunFinished)]
        went_away = consuming.cancelled() or (stop_after is not None and len(events) >= stop_after)
        assert len(ends) == 1 or (not ends and went_away)
        assert not ends or events[-1] is ends[0]
        # 5: order.
        started: list[str] = []
        finished: list[str] = []
        for event in events:
            if isinstance(event, ToolStarted):
                started.append(event.call.id)
            elif isinstance(event, ToolFinished):
                finished.append(event.call_id)
                assert finished.count(event.call_id) <= started.count(event.call_id)
        if ends:
            assert sorted(started) == sorted(finished)
        # 6: bounded.
        assert len(model.requests) <= limits.max_turns
        made = sum(len(tool.calls) for tool in tools)
        assert limits.max_tool_calls is None or made <= limits.max_tool_calls
        assert all(len(content) < 400 for _, content in results(record) if "left out" in content)
        # 7: typed, or failed.
        if wanted is not None and record.status is RunStatus.COMPLETED:
            assert record.answer is not None
            assert record.answer.value == {"n": 1}
        assert wanted is not None or record.answer is None
        corrected = sum(CORRECTION in each.text for each in record.transcript)
        assert corrected <= limits.max_corrections
        assert "answer" not in [each.name for m in record.transcript for each in m.tool_calls]

    asyncio.run(scenario())
