"""Played back against an agent that is not the recorded one any more: nothing hangs or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec
import pytest

from aof_nb import Agent, Limits, Policy, Replay, RunStatus
from aof_nb.errors import AofError, InvalidOutput, ReplayMismatch
from aof_nb.events import (
    ApprovalRequested,
    ModelEvent,
    ModelResponse,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from aof_nb.journal import recorder
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import (
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ToolIntended,
    ToolRefused,
    ToolReturned,
    ToolWithdrawn,
)
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.recorder import RequestDigests
from aof_nb.journal.runs import find_run, read_run
from aof_nb.messages import Message, Outcome, ToolCall
from aof_nb.policy import Action, Rule
from aof_nb.ports import Effect, ModelRequest, ToolContext, ToolOutput, ToolSpec
from tests.journal.test_replay import Nobody, Turns, events_of
from tests.journal.test_resume import RESTART, Face, Restart, Verified, begun, cut


class Does:
    """A tool that does what it is told, and counts."""

    def __init__(
        self,
        name: str,
        effect: Effect = Effect.READ,
        *,
        takes: int = 0,
        schema: dict[str, Any] | None = None,
        exclusive: bool = False,
        late: bool = False,
    ) -> None:
        self.spec = ToolSpec(
            name=name,
            description="",
            input_schema=schema or {"type": "object"},
            effect=effect,
            exclusive=exclusive,
        )
        self.takes = takes
        self.late = late
        self.calls = 0

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls += 1
        for _ in range(self.takes):
            await asyncio.sleep(0)
        if self.late:
            progress = ToolProgress(context.call_id, "after all")
            asyncio.get_running_loop().call_soon(context.emit, progress)
        return ToolOutput(f"{self.spec.name} has done it")


def before_turn(turn: int) -> Callable[[Any], bool]:
    return lambda entry: not (isinstance(entry, ModelRequested) and entry.turn == turn)


async def within(seconds: float, work: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await work


A, B = ToolCall("a", "one", {}), ToolCall("b", "two", {})


async def test_tools_that_must_run_alone_now_and_did_not_then() -> None:
    first, second = Does("one", takes=8), Does("two")
    result = await Agent(model=Turns((A, B), ("done",)), tools=[first, second]).run("go")
    ended = [each.call_id for each in read_run(result.run_id).of(ToolReturned)]
    assert ended == ["b", "a"]
    cut(result.run_id, before_turn(2))
    alone = [Does("one", exclusive=True), Does("two", exclusive=True)]
    again = Agent(model=Turns(("done",)), tools=alone)
    resumed = await within(20, again.resume(result.run_id))
    assert (resumed.text, [each.calls for each in alone]) == ("done", [0, 0])
    assert resumed.messages == result.messages


async def test_what_a_tool_says_after_its_end_stops_nobody() -> None:
    tools = [Does("one", late=True), Does("two", takes=6)]
    run = Agent(model=Turns((A, B), ("done",)), tools=tools).stream("go")
    await events_of(run)
    kinds = [type(line.entry) for line in read_run(run.run_id).lines]
    late = kinds.index(ToolProgress)
    assert ToolReturned in kinds[:late]
    assert ToolReturned in kinds[late:]
    replayed = await within(20, Agent(model=Nobody(), tools=tools).run("go", replay=run.run_id))
    assert (replayed.text, replayed.messages) == ("done", run.result.messages)
    cut(run.run_id, before_turn(2))
    resumed = Agent(model=Turns(("done",)), tools=tools)
    assert (await within(20, resumed.resume(run.run_id))).text == "done"
    assert [each.calls for each in tools] == [1, 1]


STRICT = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize("outcome", [True, False])
async def test_a_call_that_would_not_be_made_now_was_made_all_the_same(outcome: bool) -> None:
    tool = Does("one", Effect.WRITE)
    result = await Agent(model=Turns((A,), ("done",)), tools=[tool]).run("go", approve="all")
    if outcome:
        cut(result.run_id, before_turn(2))
    else:
        cut(result.run_id, lambda each: not isinstance(each, ToolReturned))
    model, now = Turns(("done",)), Does("one", Effect.WRITE, schema=STRICT)
    resumed = await Agent(model=model, tools=[now]).resume(result.run_id)
    assert now.calls == 0
    [told] = model.asked[0].messages[-1].tool_results
    if outcome:
        assert (told.outcome, told.content) == (Outcome.OK, "one has done it")
    else:
        assert told.outcome is Outcome.INTERRUPTED
    assert resumed.text == "done"
    assert not list(read_run(result.run_id).of(ToolRefused))


async def test_limits_below_what_was_done_undo_nothing() -> None:
    tool = Does("one", Effect.WRITE)
    calls = [ToolCall(f"c{n}", "one", {"n": n}) for n in range(3)]
    result = await Agent(model=Turns(calls, ("done",)), tools=[tool]).run("go", approve="all")
    cut(result.run_id, before_turn(2))
    agent = Agent(model=Turns(("done",)), tools=[tool])
    resumed = await agent.resume(result.run_id, limits=Limits(max_tool_calls=1, max_turns=1))
    results = resumed.messages[2].tool_results
    assert [each.outcome for each in results] == [Outcome.OK] * 3
    assert tool.calls == 3


async def test_a_call_that_would_be_made_now_is_made() -> None:
    tool = Does("one", schema=STRICT)
    agent = Agent(model=Turns((A,), ("done",)), tools=[tool])
    result = await agent.run("go")
    assert tool.calls == 0
    cut(result.run_id, before_turn(2))
    loose = Does("one")
    resumed = await Agent(model=Turns(("done",)), tools=[loose]).resume(result.run_id)
    assert (resumed.messages[2].tool_results[0].outcome, loose.calls) == (Outcome.OK, 1)
    replay = Agent(model=Nobody(), tools=[Does("one")]).run("go", replay=result.run_id)
    assert isinstance((await within(20, replay)).error, ReplayMismatch)


async def test_tools_that_are_renamed() -> None:
    tool = Does("one", Effect.WRITE)
    result = await Agent(model=Turns((A,), ("done",)), tools=[tool]).run("go", approve="all")
    cut(result.run_id, before_turn(2))
    renamed = Does("uno", Effect.WRITE)
    model = Turns((ToolCall("x", "uno", {}),), ("done",))
    resumed = await Agent(model=model, tools=[renamed]).resume(result.run_id, approve="all")
    assert (resumed.text, renamed.calls, tool.calls) == ("done", 1, 1)
    assert resumed.messages[2] == result.messages[2]


async def test_a_call_of_a_tool_that_is_gone_is_not_said_not_to_have_been_made() -> None:
    restart = Restart()
    run_id = await begun(restart)
    model = Turns(("who knows",))
    result = await Agent(model=model).resume(run_id)
    [told] = model.asked[0].messages[-1].tool_results
    assert told.outcome is Outcome.INTERRUPTED
    assert "not available any more" in told.content
    [returned] = read_run(run_id).of(ToolReturned)
    assert returned.output.unknown
    assert result.text == "who knows"


async def test_a_call_of_a_tool_that_is_gone_has_its_outcome_in_the_journal() -> None:
    restart = Restart()
    waiting = await Agent(model=Turns((RESTART,)), tools=[restart]).run("mend it")
    await Agent(model=Turns(("without it",))).resume(waiting.run_id)
    [returned] = read_run(waiting.run_id).of(ToolReturned)
    assert "not available any more. It was not carried out" in returned.output.content


async def test_a_call_that_is_made_again_and_withdrawn_is_still_unknown() -> None:
    restart = Restart()
    run_id = await begun(restart)
    journal = Journal(find_run(run_id))
    again = ToolIntended(call_id="c1", tool="restart", effect="write", arguments={"service": "web"})
    journal.write(again, ToolWithdrawn("c1"))
    journal.close()
    model = Turns(("who knows",))
    await Agent(model=model, tools=[restart]).resume(run_id)
    assert model.asked[0].messages[-1].tool_results[0].outcome is Outcome.INTERRUPTED
    assert restart.calls == ["web"]


class Shell(Restart):
    """A tool of which some calls are alike."""

    def similar(self, arguments: Mapping[str, Any]) -> str:
        return str(arguments["service"]).partition(" ")[0]


def shell(call_id: str, command: str) -> ToolCall:
    return ToolCall(call_id, "restart", {"service": command})


async def test_only_what_is_similar_needs_no_approval_when_it_goes_on() -> None:
    tool = Shell()
    agent = Agent(model=Turns((shell("1", "kubectl get"),), ("done",)), tools=[tool])
    result = await agent.run("go", approver=Face(yes=True, similar=True))
    cut(result.run_id, before_turn(2))
    face = Face(yes=False)
    rest = [shell("2", "kubectl describe"), shell("3", "rm -rf /"), shell("4", "")]
    resumed = Agent(model=Turns(rest, ("done",)), tools=[tool])
    await resumed.resume(result.run_id, approver=face)
    assert {each.arguments["service"] for each in face.asked} == {"rm -rf /", ""}
    assert tool.calls == ["kubectl get", "kubectl describe"]


async def test_what_was_approved_for_another_definition_is_asked_again() -> None:
    tool = Restart()
    agent = Agent(model=Turns((shell("1", "kubectl get"),), ("done",)), tools=[tool])
    result = await agent.run("go", approver=Face(yes=True, similar=True))
    cut(result.run_id, before_turn(2))
    changed = Restart()
    changed.spec = msgspec.structs.replace(changed.spec, description="Does something else.")
    face = Face(yes=False)
    again = Agent(model=Turns((shell("2", "kubectl get"),), ("done",)), tools=[changed])
    await again.resume(result.run_id, approver=face)
    assert len(face.asked) == 1
    assert changed.calls == []


async def test_calls_after_one_that_waits_wait_as_well_if_they_are_to_be_made_after_it() -> None:
    restart, alone, beside = Restart(), Does("one", exclusive=True), Does("two")
    turn = (ToolCall("b", "two", {}), RESTART, ToolCall("a", "one", {}))
    agent = Agent(model=Turns(turn, ("done",)), tools=[restart, alone, beside])
    run = agent.stream("go")
    events = await events_of(run)
    assert run.result.status is RunStatus.WAITING
    assert (alone.calls, beside.calls) == (0, 1)
    assert [each.call.id for each in events if isinstance(each, ToolStarted)] == ["b", "c1"]
    last = run.result.messages[-1].tool_results
    assert [each.outcome for each in last] == [Outcome.OK, Outcome.DENIED, Outcome.DENIED]
    [pending] = Approvals(find_run(run.run_id)).pending()
    assert pending.request.call_id == "c1"
    resumed = await agent.resume(run.run_id, approve="all")
    assert (resumed.status, alone.calls, beside.calls) == (RunStatus.COMPLETED, 1, 1)
    assert [each.outcome for each in resumed.messages[2].tool_results] == [Outcome.OK] * 3


async def test_a_question_that_nobody_answered_is_asked_once_when_it_goes_on() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    for _ in range(2):
        again = agent.resumed(waiting.run_id)
        asked = [e for e in await events_of(again) if isinstance(e, ApprovalRequested)]
        assert len(asked) == 1
    face = Face(yes=True)
    last = agent.resumed(waiting.run_id, approver=face)
    asked = [e for e in await events_of(last) if isinstance(e, ApprovalRequested)]
    assert (len(asked), len(face.asked)) == (1, 1)
    replayed = Agent(model=Nobody(), tools=[restart]).stream("mend it", replay=waiting.run_id)
    events = await events_of(replayed)
    assert len([e for e in events if isinstance(e, ApprovalRequested)]) == 1
    assert replayed.result.text == "done"


async def test_what_waited_and_was_not_asked_again_does_not_wait_any_more() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    approvals = Approvals(find_run(waiting.run_id))
    assert len(approvals.pending()) == 1
    assert (await agent.resume(waiting.run_id, approve="all")).status is RunStatus.COMPLETED
    assert approvals.pending() == []


class Crashes(Turns):
    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        async for event in super().stream(request):
            if isinstance(event, ModelResponse) and len(self.asked) > 1:
                raise RuntimeError("a bug of the model")
            yield event


@pytest.mark.parametrize(
    "error", [None, InvalidOutput("it does not fit", violation="$: no", text="[]")]
)
async def test_a_run_that_failed_in_any_way_fails_so_again(error: AofError | None) -> None:
    model: Any = Turns((A,), ("half ", error)) if error else Crashes((A,), ("half ",))
    if error is not None:
        error.violation = ["a", {"list": "of"}]  # type: ignore[attr-defined]
    failed = await Agent(model=model, tools=[Does("one")]).run("go")
    assert failed.status is RunStatus.FAILED
    assert len(list(read_run(failed.run_id).of(ModelFailed))) == 1
    replayed = await Agent(model=Nobody(), tools=[Does("one")]).run("go", replay=failed.run_id)
    assert replayed.status is RunStatus.FAILED
    assert str(replayed.error) == str(failed.error)
    assert replayed.messages == failed.messages


async def test_a_run_that_ran_out_of_time_is_replayed_without_a_limit_and_says_so() -> None:
    class Stalls(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield TextDelta("let me ")
            await asyncio.Event().wait()

    limited = await Agent(model=Stalls(), limits=Limits(max_seconds=0.2)).run("go")
    assert limited.limit == "seconds"
    replayed = await within(20, Agent(model=Nobody()).run("go", replay=limited.run_id))
    assert isinstance(replayed.error, ReplayMismatch)
    assert "limits" in replayed.error.remedy


async def test_only_the_last_turn_is_another_one() -> None:
    tools = [Does("one"), Does("two")]
    agent = Agent(model=Turns((A,), (B,), ("done",)), tools=tools)
    result = await agent.run("go")
    path = find_run(result.run_id) / FILE_NAME
    text = path.read_text()
    path.write_text(text.replace("two has done it", "two has failed"))
    replay = Agent(model=Nobody(), tools=tools).stream("go", replay=result.run_id)
    finished = [e.call_id for e in await events_of(replay) if isinstance(e, ToolFinished)]
    assert finished == ["a", "b"]
    error = replay.result.error
    assert isinstance(error, ReplayMismatch)
    assert "turn 3" in error.message


async def test_the_recorded_pace_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Takes(Does):
        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            await asyncio.sleep(0.1)
            return await super().call(arguments, context)

    class Silent(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            await asyncio.sleep(0.1)
            async for event in super().stream(request):
                yield event

    tool = Takes("one")
    turns = [["so ", ToolCall(f"c{n}", "one", {})] for n in range(3)]
    result = await Agent(model=Silent(*turns), tools=[tool]).run("go")
    took = read_run(result.run_id).duration
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float, *rest: Any) -> None:
        slept.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Agent(model=Nobody(), tools=[tool]).run("go", replay=Replay(result.run_id, pace=1))
    # Neither the tools' time nor the model's is waited for twice.
    assert 0.7 * took < sum(slept) < 1.2 * took


async def test_a_resumed_run_is_resumed_again_and_again() -> None:
    tool = Does("one", Effect.WRITE)
    calls = [ToolCall(f"c{n}", "one", {"n": n}) for n in range(5)]
    turns = [*[(each,) for each in calls], ("done",)]
    run_id = (await Agent(model=Turns(*turns), tools=[tool]).run("go", approve="all")).run_id
    cut(run_id, before_turn(2))
    tool.calls = 1
    for turn in range(2, 6):
        agent = Agent(model=Turns(*turns[turn - 1 :]), tools=[tool])
        run = agent.resumed(run_id)
        async for event in run:
            if isinstance(event, ToolFinished) and event.call_id == f"c{turn - 1}":
                break
        await run.aclose()
        assert run.result.status is RunStatus.CANCELLED
        assert tool.calls == turn
    result = await Agent(model=Turns(("done",)), tools=[tool]).resume(run_id)
    assert (result.text, tool.calls, result.turns) == ("done", 5, 6)
    times = [line.at for line in read_run(run_id).lines]
    assert times == sorted(times)
    turns_asked = [each.turn for each in read_run(run_id).of(ModelResponded)]
    assert turns_asked == list(range(1, 7))
    replayed = await Agent(model=Nobody(), tools=[tool]).run("go", replay=run_id)
    assert replayed.messages == result.messages


async def test_a_run_cancelled_while_tools_were_called_goes_on() -> None:
    class Hangs(Does):
        async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
            await asyncio.Event().wait()
            raise AssertionError

    quick, hangs = Does("one", Effect.WRITE), Hangs("two", Effect.WRITE)
    run = Agent(model=Turns((A, B)), tools=[quick, hangs]).stream("go", approve="all")
    async for event in run:
        if isinstance(event, ToolFinished):
            break
    await run.aclose()
    again = Does("two", Effect.WRITE)
    resumed = await Agent(model=Turns(("done",)), tools=[quick, again]).resume(run.run_id)
    assert (quick.calls, again.calls) == (1, 0)
    outcomes = [each.outcome for each in resumed.messages[2].tool_results]
    assert outcomes == [Outcome.OK, Outcome.INTERRUPTED]


def test_a_request_costs_the_same_however_long_the_run_is(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    real = recorder.encode_in_order

    def counted(value: Any) -> bytes:
        data = real(value)
        encoded.append(len(data))
        return data

    monkeypatch.setattr(recorder, "encode_in_order", counted)
    digests, messages = RequestDigests(), [Message.user("go")]
    costs, written = [], []
    for n in range(400):
        encoded.clear()
        *_, asked = digests.describe(ModelRequest(messages=tuple(messages)))
        costs.append(sum(encoded))
        written.append(len(msgspec.json.encode(asked)))
        call = ToolCall(f"{n:04}", "one", {})
        messages.append(Message("assistant", (call,)))
        messages.append(Message("tool", ()))
    assert max(costs[2:]) == min(costs[2:])
    assert max(written[2:]) - min(written[2:]) < 10


def test_a_request_s_hash_is_that_of_all_its_messages() -> None:
    def digest(*texts: str, after: tuple[str, ...] = ()) -> str:
        digests = RequestDigests()
        for each in (after, texts) if after else (texts,):
            messages = tuple(Message.user(text) for text in each)
            *_, asked = digests.describe(ModelRequest(messages=messages))
        assert isinstance(asked, ModelRequested)
        return asked.digest

    assert digest("a", "b") == digest("a", "b", after=("a",)) == digest("a", "b", after=("x", "y"))
    assert digest("a", "b") == digest("a", "b", after=("a", "b", "c"))
    assert (
        len({digest("a", "b"), digest("b", "a"), digest("a"), digest("ab"), digest("x", "b")}) == 5
    )


DENIES = Policy(rules=(Rule(action=Action.DENY, tool="restart"),))


@pytest.mark.parametrize("verified", [False, True])
async def test_what_the_policy_denies_now_is_not_done_again(verified: bool) -> None:
    restart = Restart()
    run_id = await begun(restart)
    again = Verified(None) if verified else Restart()
    face, model = Face(yes=True), Turns(("then not",))
    agent = Agent(model=model, tools=[again], policy=DENIES)
    await agent.resume(run_id, approve="ask", approver=face)
    assert (again.calls, face.asked) == ([], [])
    [told] = model.asked[0].messages[-1].tool_results
    assert "policy denies" in told.content
    # That it took no effect is known only where it was found out.
    assert told.outcome is (Outcome.DENIED if verified else Outcome.INTERRUPTED)


async def test_a_fork_asks_for_what_was_approved_for_another_run() -> None:
    tool = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[tool])
    result = await agent.run("go", approver=Face(yes=True, similar=True))
    face = Face(yes=False)
    again = Agent(model=Turns((shell("2", "db"),), ("done",)), tools=[tool])
    fork = again.fork(result.run_id, 2, approver=face)
    await events_of(fork)
    assert [each.arguments["service"] for each in face.asked] == ["db"]
    assert tool.calls == ["web"]


async def test_a_resumed_run_is_forked() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    await agent.resume(waiting.run_id, approve="all")
    model = Turns(("another answer",))
    fork = Agent(model=model, tools=[restart]).fork(waiting.run_id, 2, prompt="be brief")
    await events_of(fork)
    assert fork.result.text == "another answer"
    assert [each.role for each in model.asked[0].messages] == ["user", "assistant", "tool", "user"]
    assert restart.calls == ["web"]
    replayed = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=fork.run_id)
    assert replayed.messages == fork.result.messages
