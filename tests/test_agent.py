"""An agent's runs: their events, results, sessions, failures and ends."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, Limits, McpServer, RunFailed, Sampling, tool
from aof_nb.errors import ConfigurationError, MemoryStoreError, MissingCredential, Overloaded
from aof_nb.events import (
    Event,
    ModelEvent,
    ModelResponse,
    Notice,
    RunFinished,
    RunStarted,
    RunStatus,
    TextDelta,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from aof_nb.messages import Message, Outcome, StopReason, Text, ToolCall, Usage
from aof_nb.models.resilience import RetryPolicy
from aof_nb.policy import Answer, ApprovalRequest, set_ambient_approver
from aof_nb.ports import ModelRequest
from aof_nb.run import MOST_OF_THE_PAST

Turn = str | Exception | tuple[ToolCall, ...] | Callable[[], Any]


class Fake:
    """A model that plays turns: a text, tool calls, an error, or something to wait for."""

    name = "fake:model"
    reads_results = True

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.requests: list[ModelRequest] = []
        self.open = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        turn = self.turns.pop(0)
        self.open += 1
        try:
            if callable(turn):
                yield TextDelta("half an ans")
                turn = await turn()
            if isinstance(turn, Exception):
                raise turn
            if isinstance(turn, str):
                yield TextDelta(turn)
                message, stop = Message("assistant", (Text(turn),)), StopReason.END_TURN
            else:
                message, stop = Message("assistant", turn), StopReason.TOOL_USE
            yield ModelResponse(message, stop, Usage(10, 5), "model-2026")
        finally:
            self.open -= 1


@tool(effect="read")
def status(service: str) -> str:
    """The state of a service."""
    return f"{service} is slow"


LOOK = (ToolCall("c1", "status", {"service": "checkout"}),)


async def events_of(run: Any) -> list[Event]:
    return [event async for event in run]


def is_valid(messages: list[Message]) -> bool:
    """Whether each tool call is followed by its result."""
    return all(
        following is not None
        and [each.call_id for each in following.tool_results]
        == [each.id for each in message.tool_calls]
        for message, following in zip(messages, [*messages[1:], None], strict=True)
        if message.tool_calls
    )


async def test_a_run_and_its_events() -> None:
    model = Fake(LOOK, "It is slow.")
    sampling = Sampling(temperature=0.1)
    agent = Agent(
        name="sre", model=model, instructions="Be brief.", tools=[status], sampling=sampling
    )
    run = agent.stream("What is wrong?", run_id="r-1")
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = run.result
    events = await events_of(run)
    assert [type(each) for each in events] == [
        RunStarted,
        TurnStarted,
        TurnFinished,
        ToolStarted,
        ToolFinished,
        TurnStarted,
        TextDelta,
        TurnFinished,
        RunFinished,
    ]
    assert events[0] == RunStarted("r-1", "sre", "fake:model", "What is wrong?", None)
    first, second = model.requests
    assert (first.system, first.sampling, first.messages) == (
        "Be brief.",
        sampling,
        (Message.user("What is wrong?"),),
    )
    assert [each.name for each in first.tools] == ["status"]
    assert second.messages[-1].tool_results[0].content == "checkout is slow"
    result, last = run.result, events[-1]
    assert isinstance(last, RunFinished)
    assert result.status is last.status is RunStatus.COMPLETED
    assert result.text == result.output == str(result) == last.text == "It is slow."
    assert (result.run_id, result.agent, result.turns, result.tool_calls) == ("r-1", "sre", 2, 1)
    assert result.usage == Usage(20, 10)
    assert result.models == ("fake:model",)
    assert result.cost is None
    assert list(result.messages) == run.transcript
    assert result.raise_for_status() is result
    assert result.duration > 0


async def test_run_gives_the_result() -> None:
    agent = Agent(model="no-such:model", limits=Limits(max_turns=1))
    result = await agent.run("hi", model=Fake("hello"), limits=Limits(max_turns=3))
    assert (result.text, result.status, result.error) == ("hello", RunStatus.COMPLETED, None)


async def test_a_run_can_be_iterated_once() -> None:
    run = Agent(model=Fake("hello")).stream("hi")
    assert len(await events_of(run)) == 5
    assert await events_of(run) == []


def test_ids_of_runs_are_their_own() -> None:
    agent = Agent(model=Fake())
    assert len({agent.stream("hi").run_id for _ in range(50)}) == 50


def test_run_sync_outside_a_loop_and_again() -> None:
    agent = Agent(model=Fake("one", LOOK, "two"), tools=[status])
    assert agent.run_sync("hi").text == "one"
    assert agent.run_sync("hi").text == "two"


async def test_run_sync_inside_a_loop_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Agent(model=Fake("one")).run_sync("hi")
    assert "await agent.run" in caught.value.remedy


async def test_an_answer_shows_as_markdown() -> None:
    result = await Agent(model=Fake("**slow**")).run("hi")
    data, metadata = result._repr_mimebundle_()
    assert data == {"text/markdown": "**slow**", "text/plain": "**slow**"}
    assert metadata["aof"]["run_id"] == result.run_id
    failed = await Agent(
        model=Fake(Overloaded("no capacity", remedy="wait")), retry=RetryPolicy(attempts=1)
    ).run("hi")
    assert failed._repr_mimebundle_()[0]["text/markdown"] == "**no capacity**\n\nwait"


@pytest.mark.parametrize("memory", [None, "in_memory", "file:{place}", "disk", "disk:{place}"])
async def test_a_session_goes_on(
    memory: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    url = None if memory is None else memory.format(place=tmp_path / "m")
    model = Fake(LOOK, "It is slow.", "As I said.", "Who are you?")
    agent = Agent(model=model, tools=[status], memory=url)
    first = await agent.run("What is wrong?", session="inc-1")
    again = agent
    if url is not None and url.startswith("disk"):
        again = Agent(model=model, tools=[status], memory=url)
    second = await again.run("Say it again.", session="inc-1")
    asked = model.requests[2].messages
    assert asked == (*first.messages, Message.user("Say it again."))
    assert second.messages == (*asked, second.messages[-1])
    assert await again.open_memory().load("inc-1") == list(second.messages)
    other = await again.run("Hello.", session="inc-2")
    assert len(other.messages) == 2


async def test_without_a_session_nothing_is_kept(tmp_path: Path) -> None:
    agent = Agent(model=Fake("one", "two"), memory=f"disk:{tmp_path / 'm'}")
    await agent.run("hi")
    assert len((await agent.run("hi")).messages) == 2
    assert not (tmp_path / "m").exists()


async def test_a_session_is_given_its_newest_exchanges_and_loses_none() -> None:
    model = Fake("1", "2", "3", "4")
    agent = Agent(model=model, max_context_messages=3)
    for n in range(4):
        await agent.run(f"q{n}", session="s")
    assert [each.text for each in model.requests[3].messages] == ["q2", "3", "q3"]
    assert len(await agent.open_memory().load("s")) == 8


async def test_a_conversation_that_is_damaged_goes_on_and_the_run_says_so(tmp_path: Path) -> None:
    agent = Agent(model=Fake("one", "two", "three"), memory=f"file:{tmp_path}")
    for prompt in ("q1", "q2"):
        await agent.run(prompt, session="s")
    file = tmp_path / "sessions" / "s.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], "spoilt", *lines[3:], ""]))
    run = agent.stream("q3", session="s")
    [notice] = [each for each in await events_of(run) if isinstance(each, Notice)]
    assert f"line 3 of {file} is damaged" in notice.text
    said = [each.text for each in run.result.messages]
    assert said == ["q1", "q2", "two", "q3", "three"]


async def test_a_run_is_given_no_more_of_the_past_than_it_can_use() -> None:
    model = Fake("one")
    agent = Agent(model=model)
    past = [Message.user("q"), Message.assistant("a")] * 1_500
    await agent.open_memory().append("s", past)
    await agent.run("now", session="s")
    assert len(model.requests[0].messages) == MOST_OF_THE_PAST + 1
    assert len(await agent.open_memory().load("s")) == 3_002


async def test_a_conversation_that_cannot_be_read_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("no directory")
    model = Fake("one")
    result = await Agent(model=model, memory=f"disk:{tmp_path / 'm'}").run("hi", session="s")
    assert isinstance(result.error, MemoryStoreError)
    assert str(tmp_path / "m") in result.error.message
    assert (result.status, model.requests) == (RunStatus.FAILED, [])


async def test_a_conversation_that_cannot_be_kept_is_said_and_the_answer_stays(
    tmp_path: Path,
) -> None:
    async def spoil() -> str:
        shutil.rmtree(tmp_path / "m")
        (tmp_path / "m").write_text("no directory")
        return "the answer"

    run = Agent(model=Fake(spoil), memory=f"disk:{tmp_path / 'm'}").stream("hi", session="s")
    events = await events_of(run)
    [notice] = [each for each in events if isinstance(each, Notice)]
    assert "the conversation was not kept" in notice.text
    assert isinstance(events[-1], RunFinished)
    assert (run.result.text, run.result.status) == ("the answer", RunStatus.COMPLETED)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("anthropic:claude-sonnet-5", "ANTHROPIC_API_KEY"),
        ("openai:gpt-5", "OPENAI_API_KEY"),
        ("openai-chat:gpt-4o", "OPENAI_API_KEY"),
    ],
)
async def test_a_missing_key_is_named(
    model: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    run = Agent(model=model).stream("hi")
    events = await events_of(run)
    assert isinstance(events[0], RunStarted)
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.status is RunStatus.FAILED
    assert variable in str(last.error)
    assert variable in str(last.remedy)
    assert isinstance(run.result.error, MissingCredential)
    with pytest.raises(RunFailed) as caught:
        run.result.raise_for_status()
    assert caught.value.result == run.result
    assert variable in caught.value.remedy
    assert caught.value.__cause__ is run.result.error


@pytest.mark.parametrize("model", ["antropic:x", "llama", "script:/no/such.yaml", ""])
async def test_an_unknown_model_is_named(model: str) -> None:
    result = await Agent(model=model).run("hi")
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, ConfigurationError)
    assert model.removeprefix("script:") in result.error.message
    assert result.error.remedy


async def test_an_unknown_tool_and_a_name_twice_are_named() -> None:
    result = await Agent(model=Fake(), tools=["shel"]).run("hi")
    assert result.error is not None
    assert "did you mean 'shell'" in result.error.remedy
    result = await Agent(model=Fake(), tools=[status, status]).run("hi")
    assert result.error is not None
    assert "two tools are called 'status'" in result.error.message


async def test_a_failing_model_is_reported_and_not_raised() -> None:
    error = Overloaded("no capacity", remedy="wait a minute")

    async def breaks() -> Exception:
        return error

    model = Fake(LOOK, breaks)
    retry = RetryPolicy(attempts=1)
    run = Agent(name="sre", model=model, tools=[status], retry=retry).stream("hi")
    events = await events_of(run)
    result, last = run.result, events[-1]
    assert isinstance(last, RunFinished)
    assert (last.error, last.remedy) == ("no capacity", "wait a minute")
    assert (result.status, result.error, result.text) == (RunStatus.FAILED, error, "half an ans")
    assert result.messages[-1].interrupted
    with pytest.raises(RunFailed, match="sre: no capacity"):
        result.raise_for_status()


async def test_a_server_that_does_not_start_is_a_warning() -> None:
    broken = McpServer(name="broken", command=sys.executable, args=("-c", "raise SystemExit(3)"))
    model = Fake(LOOK, "fine")
    agent = Agent(model=model, tools=[status], mcp_servers=[broken])
    run = agent.stream("hi")
    events = await events_of(run)
    [notice] = [each for each in events if isinstance(each, Notice)]
    assert "broken" in notice.text
    assert (run.result.text, run.result.status) == ("fine", RunStatus.COMPLETED)
    assert [each.name for each in model.requests[0].tools] == ["status"]


class Waits:
    """A tool's work that waits until it is cancelled, and says so."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            self.ended.set()
        raise AssertionError


@pytest.mark.parametrize("where", ["model", "tool"])
@pytest.mark.parametrize("how", ["cancel", "aclose"])
async def test_a_run_can_be_stopped_at_any_time(where: str, how: str, tmp_path: Path) -> None:
    waits = Waits()

    @tool(effect="read")
    async def wait() -> str:
        """Waits."""
        return await waits()

    if where == "model":
        model = Fake(LOOK, waits)
    else:
        model = Fake(LOOK, (ToolCall("c2", "wait", {}), ToolCall("c3", "status", {"service": "x"})))
    agent = Agent(model=model, tools=[status, wait], memory=f"disk:{tmp_path / 'm'}")
    run = agent.stream("hi", session="s")
    seen: list[Event] = []

    async def read() -> None:
        async for event in run:
            seen.append(event)
            if how == "aclose" and isinstance(event, TextDelta | ToolStarted):
                if isinstance(event, ToolStarted) and event.call.name != "wait":
                    continue
                return

    reading = asyncio.create_task(read())
    if how == "cancel":
        await waits.begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        await reading
        await run.aclose()
    assert waits.ended.is_set() == waits.begun.is_set()
    assert model.open == 0
    result = run.result
    assert (result.status, result.error) == (RunStatus.CANCELLED, None)
    assert is_valid(run.transcript)
    assert not any(isinstance(each, RunFinished) for each in seen)
    if where == "model":
        assert result.text == "half an ans"
        assert result.messages[-1].interrupted
    else:
        results = result.messages[-1].tool_results
        assert [each.call_id for each in results] == ["c2", "c3"]
        assert results[0].outcome is Outcome.INTERRUPTED
    assert await agent.open_memory().load("s") == list(result.messages)
    with pytest.raises(RunFailed, match="the run was cancelled"):
        result.raise_for_status()
    assert (await agent.run("Go on.", session="s", model=Fake("on"))).text == "on"


class Says:
    def __init__(self, approved: bool) -> None:
        self.approved = approved
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        return Answer(approved=self.approved, digest=request.digest, by="ann")


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({"approver": Says(True)}, Outcome.OK),
        ({"approver": Says(False)}, Outcome.DENIED),
        ({"approve": "all"}, Outcome.OK),
        ({"approve": "never", "approver": Says(True)}, Outcome.DENIED),
        ({}, Outcome.DENIED),
    ],
)
async def test_what_changes_something_needs_a_yes(options: Any, outcome: Outcome) -> None:
    done: list[str] = []

    @tool
    def restart(service: str) -> str:
        """Restarts a service."""
        done.append(service)
        return "restarted"

    model = Fake((ToolCall("c1", "restart", {"service": "web"}),), "ok")
    result = await Agent(model=model, tools=[restart]).run("repair", **options)
    assert result.messages[2].tool_results[0].outcome is outcome
    assert done == (["web"] if outcome is Outcome.OK else [])


async def test_the_place_itself_asks_where_no_approver_is_given() -> None:
    @tool
    def restart() -> str:
        """Restarts."""
        return "restarted"

    ambient, call = Says(True), (ToolCall("c1", "restart", {}),)
    set_ambient_approver(lambda: ambient)
    try:
        agent = Agent(model=Fake(call, "ok", call, "ok"), tools=[restart])
        result = await agent.run("repair", run_id="r")
        assert result.messages[2].tool_results[0].outcome is Outcome.OK
        assert [each.run_id for each in ambient.asked] == ["r"]
        await agent.run("repair", approve="never")
        assert len(ambient.asked) == 1
    finally:
        set_ambient_approver(None)


async def test_a_long_output_is_cut_and_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))

    @tool(effect="read")
    def log() -> str:
        """A log."""
        return "line\n" * 10_000

    model = Fake((ToolCall("c1", "log", {}),), "ok")
    agent = Agent(model=model, tools=[log], limits=Limits(max_output_chars=1000))
    run = agent.stream("read", run_id="r")
    [finished] = [each for each in await events_of(run) if isinstance(each, ToolFinished)]
    assert len(model.requests[1].messages[-1].tool_results[0].content) < 1200
    assert finished.artifact == str(tmp_path / "runs" / "r" / "artifacts" / "c1.txt")
    assert Path(finished.artifact).read_text() == "line\n" * 10_000
