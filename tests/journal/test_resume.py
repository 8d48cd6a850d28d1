"""Resume: a run goes on where it stopped; what is unknown is asked about or left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb import Agent, Limits, Policy, RetryPolicy, RunStatus, tool
from aof_nb.errors import ApprovalPending, ConfigurationError, JournalError, Overloaded
from aof_nb.events import (
    ApprovalRequested,
    ModelEvent,
    ModelResponse,
    Notice,
    Steered,
    TextDelta,
    ToolStarted,
    TurnFinished,
)
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import (
    ModelRequested,
    RunContext,
    RunEnded,
    RunResumed,
    ToolIntended,
    encode_line,
)
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.recording import State, read_recording
from aof_nb.journal.runs import find_run, read_run
from aof_nb.memory import open_memory
from aof_nb.messages import Message, Outcome, StopReason, Text, ToolCall, Usage
from aof_nb.policy import Action, Answer, ApprovalRequest, Rule
from aof_nb.ports import Effect, ModelRequest, ToolContext, ToolOutput, ToolSpec
from tests.journal.test_replay import Nobody, Turns, comparable, events_of

RESTART = ToolCall("c1", "restart", {"service": "web"})


class Restart:
    """A tool that changes something, and counts how often."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.spec = ToolSpec(
            name="restart",
            description="Restarts a service.",
            input_schema={
                "type": "object",
                "properties": {"service": {"type": "string"}},
                "required": ["service"],
            },
            effect=Effect.WRITE,
        )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls.append(arguments["service"])
        return ToolOutput(f"restarted {arguments['service']}")


class Face:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, *, yes: bool, similar: bool = False) -> None:
        self.yes = yes
        self.similar = similar
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        return Answer(
            approved=self.yes, digest=request.digest, similar=self.similar, by="ann", via="test"
        )


def cut(run_id: str, keep: Any) -> None:
    """Leaves of a journal what comes before the first line that `keep` says no to."""
    path = find_run(run_id) / FILE_NAME
    recording = read_recording(path)
    lines = []
    for line in recording.lines:
        if not keep(line.entry):
            break
        lines.append(encode_line(line.at, line.entry))
    path.write_bytes(b"".join(lines))


def ended_before_outcome(run_id: str) -> None:
    """Leaves a journal as a crash does in the middle of a tool call."""
    seen = False

    def keep(entry: Any) -> bool:
        nonlocal seen
        before, seen = seen, seen or isinstance(entry, ToolIntended)
        return not before

    cut(run_id, keep)


async def begun(restart: Any, **options: Any) -> str:
    """A run that a crash has ended in the middle of its only tool call."""
    agent = Agent(model=Turns(("I restart it.", RESTART), ("done",)), tools=[restart])
    result = await agent.run("mend it", approve="all", **options)
    ended_before_outcome(result.run_id)
    return result.run_id


async def test_a_run_that_waits_goes_on_when_it_is_answered() -> None:
    restart = Restart()
    model = Turns(("I restart it.", RESTART), ("it is well",))
    agent = Agent(model=model, tools=[restart])
    waiting = await agent.run("mend it")
    assert waiting.status is RunStatus.WAITING
    assert restart.calls == []
    assert read_run(waiting.run_id).state is State.WAITING
    approvals = Approvals(find_run(waiting.run_id))
    [pending] = approvals.pending()
    assert (pending.request.tool.name, pending.request.arguments) == ("restart", {"service": "web"})

    still = await agent.resume(waiting.run_id)
    assert still.status is RunStatus.WAITING

    yes = Answer(approved=True, digest=pending.request.digest, by="bob", via="cli")
    approvals.answer(pending.request, yes)
    with pytest.raises(ConfigurationError, match="answered already"):
        approvals.answer(pending.request, yes)
    result = await agent.resume(waiting.run_id)
    assert (result.status, result.text) == (RunStatus.COMPLETED, "it is well")
    assert restart.calls == ["web"]
    assert len(model.asked) == 2
    assert approvals.pending() == []
    assert result.usage == Usage(input_tokens=14, output_tokens=6)


async def test_a_no_is_told_to_the_model() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("then not",)), tools=[restart])
    waiting = await agent.run("mend it")
    approvals = Approvals(find_run(waiting.run_id))
    [pending] = approvals.pending()
    approvals.answer(
        pending.request, Answer(approved=False, digest=pending.request.digest, by="bob", via="cli")
    )
    result = await agent.resume(waiting.run_id)
    assert (result.status, result.text, restart.calls) == (RunStatus.COMPLETED, "then not", [])
    [answered] = [m for m in result.messages if m.role == "tool"]
    assert answered.tool_results[0].outcome is Outcome.DENIED
    assert "bob" in answered.tool_results[0].content


async def test_an_answer_elsewhere_counts_while_a_face_asks() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])

    class Silent:
        async def ask(self, request: ApprovalRequest) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    run = agent.stream("mend it", approver=Silent())

    async def answer() -> None:
        approvals = Approvals(find_run(run.run_id))
        while not (pending := approvals.pending()):
            await asyncio.sleep(0.01)
        request = pending[0].request
        approvals.answer(request, Answer(approved=True, digest=request.digest, by="bob", via="cli"))

    async with asyncio.TaskGroup() as group:
        events = group.create_task(events_of(run))
        while not _exists(run.run_id):
            await asyncio.sleep(0.01)
        group.create_task(answer())
    assert run.result.status is RunStatus.COMPLETED
    assert restart.calls == ["web"]
    [answered] = [e for e in events.result() if type(e).__name__ == "ApprovalAnswered"]
    assert (answered.by, answered.via) == ("bob", "cli")


def _exists(run_id: str) -> bool:
    try:
        find_run(run_id)
    except ConfigurationError:
        return False
    return True


async def test_a_call_that_was_begun_is_left_alone_where_nobody_is_asked() -> None:
    restart = Restart()
    run_id = await begun(restart)
    model = Turns(("it may be well",))
    result = await Agent(model=model, tools=[restart]).resume(run_id)
    assert restart.calls == ["web"]
    assert result.status is RunStatus.COMPLETED
    [told] = model.asked[0].messages[-1].tool_results
    assert told.outcome is Outcome.INTERRUPTED
    assert "unknown" in told.content
    again = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=run_id)
    assert again.text == "it may be well"


@pytest.mark.parametrize("yes", [True, False])
async def test_a_person_decides_over_a_call_that_was_begun(yes: bool) -> None:
    restart, face = Restart(), Face(yes=yes)
    run_id = await begun(restart)
    agent = Agent(model=Turns(("done",)), tools=[restart])
    result = await agent.resume(run_id, approve="ask", approver=face)
    [asked] = face.asked
    assert "nobody knows whether it took effect" in asked.reason
    assert restart.calls == ["web", "web"][: 1 + yes]
    assert result.status is RunStatus.COMPLETED


async def test_where_a_person_is_wanted_and_nobody_is_there_the_run_waits() -> None:
    restart = Restart()
    run_id = await begun(restart)
    agent = Agent(model=Turns(("done",)), tools=[restart])
    assert (await agent.resume(run_id, approve="ask")).status is RunStatus.WAITING
    assert restart.calls == ["web"]


async def test_a_call_that_only_reads_is_made_again() -> None:
    looks = []

    @tool(effect=Effect.READ)
    def look(what: str) -> str:
        """Looks."""
        looks.append(what)
        return "well"

    call = ToolCall("c1", "look", {"what": "db"})
    agent = Agent(model=Turns((call,), ("fine",)), tools=[look])
    result = await agent.run("why?")
    ended_before_outcome(result.run_id)
    resumed = await Agent(model=Turns(("fine",)), tools=[look]).resume(result.run_id)
    assert (resumed.text, looks) == ("fine", ["db", "db"])


class Verified(Restart):
    """A tool that can find out whether a call took effect."""

    def __init__(self, outcome: ToolOutput | Exception | None) -> None:
        super().__init__()
        self.outcome = outcome

    async def verify(self, arguments: dict[str, Any]) -> ToolOutput | None:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "calls", "told"),
    [
        (ToolOutput("it had been restarted"), 1, "it had been restarted"),
        (None, 2, "restarted web"),
        (RuntimeError("no answer"), 1, "unknown"),
    ],
)
async def test_a_tool_that_can_find_out_decides(outcome: Any, calls: int, told: str) -> None:
    restart = Verified(outcome)
    run_id = await begun(restart)
    model = Turns(("done",))
    await Agent(model=model, tools=[restart]).resume(run_id)
    assert len(restart.calls) == calls
    assert told in model.asked[0].messages[-1].tool_results[0].content


async def test_what_was_approved_for_similar_calls_still_is() -> None:
    restart, face = Restart(), Face(yes=True, similar=True)
    second = ToolCall("c2", "restart", {"service": "db"})
    agent = Agent(model=Turns((RESTART,), (second,), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=face)
    cut(result.run_id, lambda e: not (isinstance(e, ModelRequested) and e.turn == 2))
    nobody = Face(yes=False)
    resumed = Agent(model=Turns((second,), ("done",)), tools=[restart])
    assert (await resumed.resume(result.run_id, approver=nobody)).text == "done"
    assert nobody.asked == []
    assert restart.calls == ["web", "db", "db"]


async def test_a_failed_run_asks_the_model_again() -> None:
    agent = Agent(
        model=Turns((RESTART,), ("half of ", Overloaded("no room"))),
        tools=[Restart()],
        retry=RetryPolicy(attempts=1),
    )
    failed = await agent.run("mend it", approve="all")
    assert failed.status is RunStatus.FAILED
    model = Turns(("now it is well",))
    resumed = await Agent(model=model, tools=[Restart()]).resume(failed.run_id)
    assert (resumed.status, resumed.text) == (RunStatus.COMPLETED, "now it is well")
    assert len(model.asked) == 1
    assert [m.role for m in model.asked[0].messages] == ["user", "assistant", "tool"]
    replayed = await Agent(model=Nobody()).run("mend it", replay=failed.run_id)
    assert "tools" in str(replayed.error)


async def test_a_resumed_run_says_what_is_from_the_journal() -> None:
    restart = Restart()
    run_id = await begun(restart)
    run = Agent(model=Turns(("done",)), tools=[restart]).resumed(run_id)
    events = await events_of(run)
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["I restart it.", "done"]
    assert [e.call.id for e in events if isinstance(e, ToolStarted)] == ["c1"]
    [notice] = [e for e in events if isinstance(e, Notice)]
    assert notice.text == "1 turn taken from the journal; the run goes on here"


async def test_a_run_that_has_ended_is_not_resumed() -> None:
    result = await Agent(model=Turns(("done",))).run("a")
    with pytest.raises(ConfigurationError, match="has ended"):
        Agent(model=Nobody()).resumed(result.run_id)
    with pytest.raises(ConfigurationError, match="no run 'nowhere'"):
        Agent(model=Nobody()).resumed("nowhere")
    with pytest.raises(ConfigurationError, match="one of agent 'agent'"):
        Agent(name="other", model=Nobody()).resumed(result.run_id)


async def test_a_run_that_goes_on_is_not_resumed() -> None:
    run_id = await begun(Restart())
    journal = Journal(find_run(run_id))
    try:
        with pytest.raises(JournalError, match="another process"):
            Agent(model=Nobody()).resumed(run_id)
    finally:
        journal.close()


async def test_a_damaged_journal_is_not_gone_on_with() -> None:
    run_id = await begun(Restart())
    path = find_run(run_id) / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"at": 1, "type": "model_re\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match="line 4"):
        Agent(model=Nobody()).resumed(run_id)


async def test_a_tool_that_is_gone_is_said_to_be() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    model = Turns(("without it",))
    result = await Agent(model=model).resume(waiting.run_id)
    assert result.text == "without it"
    assert "not available any more" in model.asked[0].messages[-1].tool_results[0].content


async def test_the_time_a_run_has_taken_counts_on() -> None:
    class Late(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            await asyncio.sleep(0.05)
            async with asyncio.timeout(5):
                async for event in super().stream(request):
                    yield event

    agent = Agent(model=Late((RESTART,), ("done",)), tools=[Restart()])
    waiting = await agent.run("mend it", limits=Limits(max_seconds=100))
    before = read_run(waiting.run_id).duration
    resumed = await agent.resume(waiting.run_id)
    assert resumed.status is RunStatus.WAITING
    recording = read_run(waiting.run_id)
    assert before >= 0.05
    assert recording.duration >= before
    times = [line.at for line in recording.lines]
    assert times == sorted(times)


async def test_a_session_gets_each_message_once(tmp_path: Path) -> None:
    memory = open_memory(f"disk:{tmp_path / 'memory'}")
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart], memory=memory)
    result = await agent.run("mend it", session="s", approve="all")
    # As if the process had died after memory was written, and before the journal's last line.
    cut(result.run_id, lambda entry: not isinstance(entry, RunEnded))
    again = Agent(model=Nobody(), tools=[restart], memory=memory)
    resumed = await again.resume(result.run_id)
    assert resumed.text == "done"
    kept = await memory.load("s")
    assert [message.role for message in kept] == ["user", "assistant", "tool", "assistant"]


async def test_a_session_s_past_is_the_recorded_one(tmp_path: Path) -> None:
    memory = open_memory(f"disk:{tmp_path / 'memory'}")
    first = Agent(model=Turns(("hello",)), memory=memory)
    await first.run("hi", session="s")
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[Restart()], memory=memory)
    waiting = await agent.run("mend it", session="s")
    await memory.append("s", [Message.user("meanwhile"), Message.assistant("indeed")])
    model = Turns(("done",))
    other = Agent(model=model, tools=[Restart()], memory=memory)
    await other.resume(waiting.run_id, approve="never")
    assert [m.text for m in model.asked[0].messages][:3] == ["hi", "hello", "mend it"]


async def test_what_is_said_meanwhile_joins_the_next_turn_also_when_it_is_resumed() -> None:
    restart = Restart()
    model = Turns((RESTART,), ("as you say",))
    agent = Agent(model=model, tools=[restart])
    run = agent.stream("mend it", approve="all")
    events = []
    async for event in run:
        events.append(event)
        if isinstance(event, ToolStarted):
            run.steer("but not the database")
    assert [e.text for e in events if isinstance(e, Steered)] == ["but not the database"]
    assert model.asked[1].messages[-1].text == "but not the database"
    replayed = await events_of(
        Agent(model=Nobody(), tools=[restart]).stream("mend it", replay=run.run_id)
    )
    assert comparable(replayed) == comparable(events)
    cut(run.run_id, lambda e: not (isinstance(e, ModelRequested) and e.turn == 2))
    again = Turns(("as you say",))
    resumed = Agent(model=again, tools=[restart]).resumed(run.run_id)
    told = [e.text for e in await events_of(resumed) if isinstance(e, Steered)]
    assert told == ["but not the database"]
    assert again.asked[0].messages[-1].text == "but not the database"
    entries = [line.entry for line in read_run(run.run_id).lines]
    assert len([each for each in entries if isinstance(each, Steered)]) == 1


@pytest.mark.parametrize("session", [None, "inc-42"])
async def test_what_is_said_too_late_for_a_turn_is_told_as_not_taken(session: str | None) -> None:
    agent = Agent(model=Turns(("done",)), memory="in_memory")
    run = agent.stream("mend it", session=session)
    events = []
    async for event in run:
        events.append(event)
        if isinstance(event, TurnFinished):
            run.steer("and the database")
    *_, notice, _ = events
    assert isinstance(notice, Notice)
    assert "not taken: “and the database”" in notice.text
    assert ("in the session inc-42" in notice.text) == (session is not None)
    assert run.not_taken() == []
    run.steer("and this")
    assert [each.text.count("“and this”") for each in run.not_taken()] == [1]


async def test_a_run_without_a_journal_refuses_what_it_would_wait_for() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("then not",)), tools=[restart], journal=False)
    result = await agent.run("mend it")
    assert (result.status, result.text, restart.calls) == (RunStatus.COMPLETED, "then not", [])


async def test_a_journal_that_cannot_be_begun_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "runs").write_text("a file where the runs should be")
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    run = Agent(model=Turns(("done",))).stream("a")
    events = await events_of(run)
    assert run.result.text == "done"
    [notice] = [e.text for e in events if isinstance(e, Notice)]
    assert "has no journal, and cannot be resumed" in notice


async def test_the_policy_is_the_present_one() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    denies = Policy(rules=(Rule(action=Action.DENY, tool="restart"),))
    strict = Agent(model=Turns(("done",)), tools=[restart], policy=denies)
    assert (await strict.resume(waiting.run_id)).status is RunStatus.COMPLETED
    assert restart.calls == []


TWO = (ToolCall("c1", "restart", {"service": "a"}), ToolCall("c2", "restart", {"service": "b"}))


@given(kept=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
async def test_cut_anywhere_it_comes_to_the_same_conversation(kept: int) -> None:
    """At every entry, as long as no call's outcome is unknown."""
    restart = Restart()
    turns: tuple[Any, ...] = (
        ("a", *TWO),
        ("b", ToolCall("c3", "restart", {"service": "c"})),
        ("done",),
    )
    result = await Agent(model=Turns(*turns), tools=[restart]).run("go", approve="all")
    path = find_run(result.run_id) / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]))
    recording = read_recording(path)
    if recording.ended is not None:
        return
    intended = [e.call_id for e in recording.of(ToolIntended)]
    done = len([line for line in recording.lines if type(line.entry).__name__ == "ToolReturned"])
    responded = sum(type(line.entry).__name__ == "ModelResponded" for line in recording.lines)
    restart.calls.clear()
    again = await Agent(model=Turns(*turns[responded:]), tools=[restart]).resume(recording)
    assert again.status is RunStatus.COMPLETED
    roles = [(m.role, [c.id for c in m.tool_calls]) for m in again.messages]
    assert roles == [(m.role, [c.id for c in m.tool_calls]) for m in result.messages]
    assert again.usage == result.usage
    assert len(restart.calls) == 3 - len(intended)
    if len(intended) == done:
        assert again.messages == result.messages
    entries = [line.entry for line in read_recording(path).lines]
    assert sum(isinstance(each, RunResumed) for each in entries) == 1


def response(*parts: Any) -> ModelResponse:
    return ModelResponse(Message("assistant", parts), StopReason.END_TURN, Usage(), model="m")


async def test_a_cancelled_run_goes_on() -> None:
    restart = Restart()

    class Endless(Turns):
        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            if any(m.role == "tool" for m in request.messages):
                yield TextDelta("I think ")
                await asyncio.sleep(60)
            yield response(Text("I restart it."), RESTART)

    run = Agent(model=Endless(), tools=[restart]).stream("mend it", approve="all")
    async for event in run:
        if isinstance(event, TextDelta):
            break
    await run.aclose()
    assert run.result.status is RunStatus.CANCELLED
    assert read_run(run.run_id).state is State.CANCELLED
    model = Turns(("done",))
    resumed = await Agent(model=model, tools=[restart]).resume(run.run_id)
    assert (resumed.text, restart.calls) == ("done", ["web"])
    assert len(model.asked[0].messages) == 3


async def test_asking_is_in_the_journal_with_who_and_how() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=Face(yes=True))
    kinds = [type(line.entry).__name__ for line in read_run(result.run_id).lines]
    order = ["ApprovalRequested", "ApprovalAnswered", "ToolIntended", "ToolReturned"]
    assert [kind for kind in kinds if kind in order] == order
    assert any(isinstance(line.entry, ApprovalRequested) for line in read_run("last").lines)


class Absent:
    """A face that finds nobody."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        raise ApprovalPending("there is no terminal to ask on")


async def test_a_face_that_finds_nobody_leaves_the_question_open() -> None:
    restart = Restart()
    agent = Agent(model=Turns((RESTART,), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=Absent())
    assert result.status is RunStatus.WAITING
    assert len(Approvals(find_run(result.run_id)).pending()) == 1
    assert (await agent.resume(result.run_id, approver=Face(yes=True))).text == "done"
    assert Approvals(find_run(result.run_id)).pending() == []


async def test_a_run_without_a_journal_cannot_wait() -> None:
    restart = Restart()
    model = Turns((RESTART,), ("then not",))
    agent = Agent(model=model, tools=[restart], journal=False)
    result = await agent.run("mend it", approver=Absent())
    assert (result.status, result.text, restart.calls) == (RunStatus.COMPLETED, "then not", [])
    [told] = result.messages[2].tool_results
    assert "nobody (there is no terminal to ask on)" in told.content


async def test_what_is_asked_otherwise_from_here_on_is_in_the_journal() -> None:
    restart = Restart()
    run_id = await begun(restart)
    model = Turns(("done",))
    other = Agent(model=model, tools=[restart], instructions="Be brief.")
    await other.resume(run_id)
    recording = read_run(run_id)
    contexts = {each.digest: each.system for each in recording.of(RunContext)}
    asked = [contexts[each.context] for each in recording.of(ModelRequested)]
    assert asked == ["", "Be brief."]


async def test_the_model_that_was_named_goes_on(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / f"{name}.yaml").write_text(
            "steps:\n  - call: {tool: restart, arguments: {service: web}}\n"
            f"  - answer: by the {name} one\n"
        )
    agent = Agent(model=f"script:{tmp_path}/own.yaml", tools=[Restart()])
    named = f"script:{tmp_path}/other.yaml"
    waiting = await agent.run("mend it", model=named)
    assert (await agent.resume(waiting.run_id, approve="all")).text == "by the other one"
    waiting = await agent.run("mend it", model=named)
    resumed = await agent.resume(waiting.run_id, approve="all", model=agent.model)
    assert resumed.text == "by the own one"
