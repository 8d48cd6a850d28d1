"""Journals as timelines: what was called and approved, what broke off, what damage leaves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aof_nb import Agent, Limits, RunStatus, tool
from aof_nb.errors import JournalError
from aof_nb.events import Notice, Steered
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import (
    Line,
    ModelRequested,
    ModelResponded,
    Parent,
    RunBegun,
    RunEnded,
    RunResumed,
    ToolIntended,
    ToolReturned,
    encode_line,
)
from aof_nb.journal.journal import Journal
from aof_nb.journal.reading import read_timeline, timeline
from aof_nb.journal.recording import Recording, State, read_recording
from aof_nb.journal.runs import find_run, read_run
from aof_nb.journal.summary import summaries
from aof_nb.journal.timeline import Call, CallOutcome, Remark, Timeline, Turn, as_json
from aof_nb.journal.timeline_html import as_html
from aof_nb.journal.timeline_markdown import as_markdown
from aof_nb.journal.timeline_text import as_text
from aof_nb.journal.wording import callouts
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.models.resilience import RetryPolicy
from aof_nb.policy import Answer
from aof_nb.ports import Effect, ToolOutput
from tests.journal.conftest import Kill, told
from tests.journal.scenes import (
    ANSWER,
    INCIDENT,
    Clicks,
    Says,
    call,
    incident,
    incident_agent,
    killed_agent,
    restart,
)


def calls_of(run: Timeline) -> dict[str, Call]:
    return {each.id: each for each in run.calls}


async def test_an_incident_from_its_first_request_to_its_answer(state: Path) -> None:
    result = await incident("Why is checkout slow?")
    run = told(result.run_id)
    assert (run.state, run.agent, run.session) == (State.COMPLETED, "sre", "inc-42")
    assert (run.prompt, run.text, run.model) == ("Why is checkout slow?", ANSWER, Says.name)
    assert run.instructions == "You are on call."
    assert (run.usage_by_model, run.usage) == (result.usage_by_model, result.usage)
    assert run.cost == result.cost
    assert run.cost is not None
    assert run.cost > 0
    assert [turn.number for turn in run.turns] == [1, 2, 3]
    first, second, third = run.turns
    assert first.thinking == "Latency first, then the database."
    assert [each.kind for each in first.remarks] == ["retry_scheduled"]
    assert first.remarks[0].text.endswith("overloaded, again in 0.4 s (2/5)")
    assert [each.kind for each in second.remarks] == [
        "response_superseded",
        "model_fell_back",
        "notice",
        "context_compacted",
    ]
    assert second.text == "A migration holds a lock. I end it, then restart checkout."
    assert (third.text, third.calls, third.stop_reason) == (ANSWER, (), "end_turn")
    assert [each.kind for each in run.items if isinstance(each, Remark)] == ["run_ended"]
    assert run.began <= first.asked <= (first.answered or run.last) <= run.last


async def test_calls_of_one_id_are_told_apart_and_say_who_allowed_them(state: Path) -> None:
    run = told((await incident()).run_id)
    outcomes = [
        (each.tool, (each.arguments or {}).get("service"), each.outcome) for each in run.calls
    ]
    assert outcomes == [
        ("logs", "checkout", CallOutcome.OK),
        ("logs", "gone", CallOutcome.ERROR),
        ("run_command", None, CallOutcome.OK),
        ("restart", "checkout", CallOutcome.OK),
        ("restart", "payments", CallOutcome.DENIED),
        ("nonsense", None, CallOutcome.REFUSED),
    ]
    looked, _, command, _, payments, nonsense = run.calls
    assert (looked.effect, looked.approvals, len(looked.begun)) == ("read", (), 1)
    assert looked.output.startswith("03:14:00 checkout timeout")
    assert looked.output.count("\n") == 299
    assert command.arguments == {"argv": ["psql", "-c", "select pg_terminate_backend(4711)"]}
    assert command.effect == "destructive"
    [yes] = command.approvals
    assert (yes.approved, yes.by, yes.via, yes.taken) == (True, "ines", "notebook", True)
    assert yes.answered is not None
    assert yes.asked <= yes.answered <= command.begun[0]
    [no] = payments.approvals
    assert (no.approved, no.note) == (False, "payments <b>is fine</b>")
    assert payments.begun == ()
    assert "There is no tool 'nonsense'" in nonsense.output


async def test_the_model_is_told_why_a_call_was_denied(state: Path) -> None:
    result = await incident()
    results = [each for message in result.messages for each in message.tool_results]
    assert results[4].content == (
        "Denied by ines: restart was not carried out. The reason given: payments <b>is fine</b>"
    )


async def test_a_run_that_waits_is_answered_elsewhere_and_resumed(state: Path) -> None:
    agent = incident_agent((call("restart", service="web"),), (Text("Restarted."),))
    result = await agent.run("restart web")
    assert result.status is RunStatus.WAITING
    run = told(result.run_id)
    [waiting] = run.waiting
    assert (run.state, waiting.outcome, waiting.begun) == (
        State.WAITING,
        CallOutcome.WAITING,
        (),
    )
    assert [each.title for each in callouts(run)] == ["Waits for approval"]
    directory = find_run(result.run_id)
    [pending] = Approvals(directory).pending()
    answer = Answer(
        approved=True, digest=pending.request.digest, similar=True, by="ola", via="aofctl"
    )
    Approvals(directory).answer(pending.request, answer)
    run = told(result.run_id)
    [given_] = run.waiting[0].approvals
    assert (given_.approved, given_.by, given_.taken) == (True, "ola", False)
    assert [each.title for each in callouts(run)] == ["Answered"]

    await agent.resume(result.run_id)
    run = told(result.run_id)
    assert (run.state, len(run.resumed), run.waiting) == (State.COMPLETED, 1, [])
    [done] = run.calls
    [taken] = done.approvals
    assert (done.outcome, len(done.begun)) == (CallOutcome.OK, 1)
    assert (taken.by, taken.via, taken.similar, taken.taken) == ("ola", "aofctl", True, True)
    assert taken.answered is not None
    assert [each.kind for each in run.items if isinstance(each, Remark)] == [
        "run_ended",
        "run_resumed",
        "run_ended",
    ]


async def test_what_was_killed_in_the_middle_is_unknown_and_stays_so(kill: Kill) -> None:
    run = told(kill())
    looked, restarted = run.calls
    assert run.state is State.INTERRUPTED
    assert (looked.outcome, restarted.outcome) == (CallOutcome.OK, CallOutcome.UNKNOWN)
    assert run.unknown == [restarted]
    warnings = {each.title: each for each in callouts(run)}
    assert warnings.keys() == {"Outcome unknown", "Interrupted"}
    assert "restart service=die was begun at" in warnings["Outcome unknown"].text
    assert "aofctl resume killed" in warnings["Interrupted"].text

    await killed_agent().resume("killed", approve="never")
    run = told("killed")
    assert run.state is State.COMPLETED
    assert [each.outcome for each in run.calls] == [CallOutcome.OK, CallOutcome.UNKNOWN]
    assert "not repeated" in run.unknown[0].output
    for shown in (str(as_text(run)), as_markdown(run), as_html(run)):
        assert "Outcome unknown" in shown


async def test_a_call_that_is_made_again_says_that_it_was_begun_twice(
    kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill()
    monkeypatch.setattr("tests.journal.scenes.os.kill", lambda *_: None)
    await killed_agent().resume("killed", approve="ask", approver=Clicks())
    again = calls_of(told("killed"))["restart"]
    assert (again.outcome, len(again.begun)) == (CallOutcome.OK, 2)
    assert again.approvals[-1].by == "ines"
    assert "nobody knows whether it took effect" in again.approvals[-1].reason
    assert "begun 2 times" in as_markdown(told("killed"))


async def test_a_read_that_was_interrupted_is_no_alarm(state: Path) -> None:
    begun = []

    async def endless(service: str) -> str:
        """Never ends."""
        begun.append(service)
        await asyncio.Event().wait()
        return service

    model = Says((call("look", service="a"), call("change", service="b")), (Text("done"),))
    tools = [
        tool(effect=Effect.READ, name="look")(endless),
        tool(effect=Effect.WRITE, name="change")(endless),
    ]
    agent = Agent(name="sre", model=model, tools=tools)
    task = asyncio.create_task(agent.run("x", approve="all", run_id="cut"))
    while len(begun) < 2:
        await asyncio.sleep(0.01)
    run = told("cut")
    assert run.state is State.RUNNING
    assert [each.outcome for each in run.calls] == [CallOutcome.RUNNING] * 2
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    run = told("cut")
    assert run.state is State.CANCELLED
    outcomes = [each.outcome for each in run.calls]
    assert outcomes == [CallOutcome.INTERRUPTED, CallOutcome.UNKNOWN]
    assert [each.title for each in callouts(run)] == ["Outcome unknown"]


async def test_limits_and_what_the_user_says_meanwhile(state: Path) -> None:
    agent = incident_agent((call("logs", service="web"),))
    run = agent.stream("x", limits=Limits(max_turns=3), run_id="limited")
    async for event in run:
        if type(event).__name__ == "TurnFinished":
            run.steer("mind the database")
    shown = told("limited")
    assert (shown.state, shown.limit) == (State.LIMIT, "turns")
    remarks = [each.text for each in shown.items if isinstance(each, Remark)]
    assert "the user said: mind the database" in remarks
    assert any(each.startswith("limit turns: ") for each in remarks)
    assert not any("the model was told: mind" in each for each in remarks)
    assert shown.turns[-1].tools_withheld


def test_a_failed_run_says_why(state: Path) -> None:
    broken = Says((Notice("soon"),))
    broken.stream = _broken  # type: ignore[method-assign]
    agent = Agent(name="sre", model=broken, retry=RetryPolicy(attempts=1))
    asyncio.run(agent.run("x", run_id="failed"))
    run = told("failed")
    assert (run.state, run.error) == (State.FAILED, "no capacity")
    assert (run.turns[0].error, run.turns[0].answered is not None) == ("no capacity", True)
    assert [each.title for each in callouts(run)] == ["Failed"]


async def _broken(_request: object):
    from aof_nb.errors import Overloaded

    raise Overloaded("no capacity", provider="test", remedy="wait")
    yield


def test_times_are_those_of_the_wall_also_after_a_pause(tmp_path: Path) -> None:
    def request(turn: int) -> ModelRequested:
        return ModelRequested(turn=turn, digest="", context="")

    lines = [
        Line(0.5, RunBegun(run_id="r", agent="a", model="m", prompt="p", time=1000.0)),
        Line(1.5, request(1)),
        Line(2.0, RunResumed(time=90_000.0)),
        Line(2.5, request(1)),
        Line(3.0, Steered("go on")),
        Line(4.0, _ended()),
    ]
    run = timeline(Recording(tmp_path / "journal.jsonl", lines))
    first, resumed, again, said, ended = run.items
    assert isinstance(first, Turn)
    assert isinstance(again, Turn)
    assert first.asked == datetime.fromtimestamp(1001.0, UTC)
    assert again.asked == datetime.fromtimestamp(90_000.5, UTC)
    assert (first.answered, again.answered) == (None, None)
    assert [each.kind for each in (resumed, said, ended) if isinstance(each, Remark)] == [
        "run_resumed",
        "steered",
        "run_ended",
    ]
    assert run.last == datetime.fromtimestamp(90_002.0, UTC)
    assert run.duration == 4.0
    assert "4.0 s, within 24 h 43 min" in str(as_text(run))


def _ended() -> RunEnded:
    return RunEnded(
        status=RunStatus.COMPLETED,
        text="t",
        turns=1,
        tool_calls=0,
        duration=4.0,
        usage_by_model={"script:a": Usage()},
    )


async def test_a_fork_names_its_parent(state: Path) -> None:
    parent = await incident("x")
    other = incident_agent(*INCIDENT[:2], (Text("Another answer."),))
    fork = other.fork(parent.run_id, 3, prompt="Say it in short.")
    async for _ in fork:
        pass
    run = told(fork.run_id)
    assert run.parent == Parent(run_id=parent.run_id, turn=3)
    assert (run.state, run.text, run.resumed) == (State.COMPLETED, "Another answer.", ())
    assert [(turn.number, turn.inherited) for turn in run.turns] == [
        (1, True),
        (2, True),
        (3, False),
    ]
    assert max(turn.asked for turn in run.turns[:2]) <= run.began
    assert run.usage == fork.result.usage
    remarks = [each.kind for each in run.items if isinstance(each, Remark)]
    assert remarks == ["steered", "run_forked", "run_ended"]
    assert "Changes and approvals" not in as_markdown(run)
    assert "Changes and approvals" in as_markdown(told(parent.run_id))
    for shown in (str(as_text(run)), as_markdown(run), as_html(run)):
        assert f"{parent.run_id}, before its turn 3" in shown
        assert shown.count("taken over") == 2
    [listed] = [each for each in summaries() if each.run_id == fork.run_id]
    assert listed.forked_from == parent.run_id


def test_a_fork_tells_its_own_turns_from_those_it_took_over(tmp_path: Path) -> None:
    def turn(number: int, at: float) -> list[Line]:
        asked = ModelRequested(turn=number, digest="", context="")
        message = Message("assistant", (Text(f"t{number}"), ToolCall(f"c{number}", "restart", {})))
        responded = ModelResponded(
            turn=number, message=message, stop_reason=StopReason.TOOL_USE, usage=Usage(), model="m"
        )
        call_id = f"c{number}"
        intended = ToolIntended(call_id=call_id, tool="restart", effect="write", arguments={})
        returned = ToolReturned(
            call_id=call_id, tool="restart", output=ToolOutput("ok"), duration=0.1
        )
        return [Line(at, asked), Line(at, responded), Line(at, intended), Line(at, returned)]

    parent = Parent(run_id="parent", turn=3)
    begun = RunBegun(run_id="f", agent="a", model="m", prompt="p", time=5000.0, parent=parent)
    lines = [Line(0.0, begun), *turn(1, 10.0), *turn(2, 20.0)]
    live = [Line(20.0, RunResumed(time=5000.5)), *turn(3, 21.0), Line(22.0, _ended())]
    resumed = [Line(22.0, RunResumed(time=9000.0)), *turn(4, 23.0)]
    run = timeline(Recording(tmp_path / "journal.jsonl", [*lines, *live, *resumed]))
    assert [turn.inherited for turn in run.turns] == [True, True, False, False]
    assert [turn.asked.timestamp() for turn in run.turns] == [4990.0, 5000.0, 5001.5, 9001.0]
    assert [each.kind for each in run.items if isinstance(each, Remark)] == [
        "run_forked",
        "run_ended",
        "run_resumed",
    ]
    assert [each.timestamp() for each in run.resumed] == [9000.0]
    assert run.duration == 3.0
    assert as_markdown(run).count("`restart` | write") == 2
    assert as_markdown(run).count("taken over") == 2


NOTEBOOK = b"""\
{"at":0.0,"type":"playbook_begun","run_id":"n","notebook":"/books/disks.ipynb",\
"title":"Check <b>disks</b>","time":1800000000.0}
{"at":1.0,"type":"cell_begun","cell":"a","time":1800000001.0,"title":"Load"}
{"at":2.0,"type":"cell_ended","cell":"a","status":"failed","error":"KeyError: x"}
"""


async def test_a_run_that_is_no_agent_s_is_shown_entry_by_entry(state: Path) -> None:
    result = await incident_agent((Text("hi"),)).run("x")
    inner = find_run(result.run_id) / "journal.jsonl"
    _, *rest = inner.read_bytes().splitlines(keepends=True)
    begun = msgspec.structs.replace(
        read_recording(inner).begun, notebook_run="n", time=1_800_000_001.5
    )
    inner.write_bytes(encode_line(0.0, begun) + b"".join(rest))
    path = state / "runs" / "n" / "journal.jsonl"
    path.parent.mkdir()
    path.write_bytes(NOTEBOOK)
    run = read_timeline(path)
    assert (run.run_id, run.agent, run.state) == ("n", "disks.ipynb", State.INTERRUPTED)
    assert run.prompt == "Check <b>disks</b>"
    remarks = [each for each in run.items if isinstance(each, Remark)]
    assert [each.kind for each in remarks] == [
        "playbook_begun",
        "cell_begun",
        "agent_run",
        "cell_ended",
    ]
    assert remarks[2].text == f"{result.run_id} of sre: completed, 1 turn"
    assert remarks[3].text == "cell=a status=failed error=KeyError: x"
    assert remarks[3].at.timestamp() == 1_800_000_002.0
    assert run.usage == result.usage
    assert run.cost == result.cost
    written(run)
    end = b'{"at":3.0,"type":"playbook_ended","status":"failed","duration":3.0,"error":"a cell"}\n'
    path.write_bytes(NOTEBOOK + b"nonsense\n" + end + b'{"at')
    run = read_timeline(path)
    assert (run.state, run.error, run.torn) == (State.FAILED, "a cell", True)
    assert [each.partition(":")[0] for each in run.damage] == ["line 4"]
    path.write_bytes(NOTEBOOK + end.replace(b"failed", b"timeout"))
    assert read_timeline(path).limit == "timeout"
    path.write_bytes(b'{"type":"cell_begun","cell":"a"}\n')
    with pytest.raises(JournalError, match="is no journal"):
        read_timeline(path)


async def test_kinds_of_entries_to_come_are_shown_as_they_are(state: Path) -> None:
    result = await incident("x")
    path = find_run(result.run_id) / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    new = b'{"at":0.010,"type":"cell_begun","cell":"c7","title":"Check <b>disks</b>","n":{"a":1}}\n'
    path.write_bytes(b"".join([*lines[:3], new, *lines[3:], new.replace(b"c7", b"c8")]))
    run = told(result.run_id)
    found = [each for each in run.items if isinstance(each, Remark) and each.kind == "cell_begun"]
    assert [each.text for each in found] == [
        'cell=c7 title=Check <b>disks</b> n={"a":1}',
        'cell=c8 title=Check <b>disks</b> n={"a":1}',
    ]
    assert run.items.index(found[0]) < 3
    assert run.items[-1] is found[1]
    assert not run.damage
    assert "cell begun cell=c7" in str(as_text(run))
    assert "<b>disks" not in as_html(run)


async def test_damage_is_named_and_costs_only_what_it_hits(state: Path) -> None:
    result = await incident()
    path = find_run(result.run_id) / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    [second] = [n for n, line in enumerate(lines) if b'"model_responded","turn":2' in line]
    lines[second] = lines[second][:40] + b"\xff\0" + lines[second][42:]
    lines.insert(4, b"[1, 2]\n")
    path.write_bytes(b"".join(lines) + b'{"at":9,"type":"noti')
    run = told(result.run_id)
    assert [each.partition(":")[0] for each in run.damage] == ["line 5", f"line {second + 2}"]
    assert run.torn
    assert {"run_command", "restart", "restart_2"} <= calls_of(run).keys()
    assert calls_of(run)["restart_2"].outcome is CallOutcome.DENIED
    assert run.text == ANSWER
    titles = [each.title for each in callouts(run)]
    assert titles == ["The journal is damaged", "The journal's last line is cut off"]


def written(run: Timeline) -> None:
    """All forms of a timeline: none may fail."""
    str(as_text(run, full=True))
    as_markdown(run)
    as_html(run)
    msgspec.json.decode(as_json(run))


async def test_a_journal_cut_anywhere_can_be_shown(state: Path) -> None:
    result = await incident()
    path = find_run(result.run_id) / "journal.jsonl"
    whole = path.read_bytes()
    ends = {place + 1 for place, byte in enumerate(whole) if byte == 10}
    begun = min(ends)
    places = ends | set(random.Random(4).sample(range(begun, len(whole)), 60))
    for place in sorted(places):
        path.write_bytes(whole[:place])
        run = told(result.run_id)
        assert run.torn == (place not in ends)
        assert not run.damage
        written(run)
    for place in (0, begun // 2, begun - 1):
        path.write_bytes(whole[:place])
        with pytest.raises(JournalError):
            told(result.run_id)


_wholes: list[bytes] = []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_bytes_a_journal_holds_nothing_fails(state: Path, data: st.DataObject) -> None:
    if not _wholes:
        result = asyncio.run(incident())
        _wholes.append((find_run(result.run_id) / "journal.jsonl").read_bytes())
    whole = bytearray(_wholes[0])
    begun = whole.index(b"\n") + 1
    for place in data.draw(st.lists(st.integers(begun, len(whole) - 1), min_size=1, max_size=8)):
        whole[place] = data.draw(st.integers(0, 255))
    lines = bytes(whole[begun:]).split(b"\n")
    if data.draw(st.booleans()):
        lines = data.draw(st.permutations(lines))
    path = state / "mutated.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(whole[:begun]) + b"\n".join(lines))
    written(timeline(read_recording(path)))


async def test_a_run_that_goes_on_is_seen_to(state: Path) -> None:
    result = await incident_agent((Text("hi"),)).run("x")
    held = Journal(find_run(result.run_id))
    held.write(RunResumed(time=5.0))
    assert told(result.run_id).state is State.RUNNING
    held.close()
    assert told(result.run_id).state is State.INTERRUPTED


async def test_artifacts_are_found_beside_the_journal(state: Path) -> None:
    agent = incident_agent((call("logs", service="web", lines=2000),), (Text("done"),))
    result = await agent.run("x")
    [looked] = told(result.run_id).calls
    assert looked.artifact is not None
    assert Path(looked.artifact).read_text() == looked.output


async def test_what_a_run_leaves_is_its_owner_s_alone(state: Path) -> None:
    agent = incident_agent(
        (call("logs", service="web", lines=2000), call("restart", service="web")), (Text("done"),)
    )
    result = await agent.run("x")
    assert result.status is RunStatus.WAITING
    directory = find_run(result.run_id)
    [pending] = Approvals(directory).pending()
    answer = Answer(approved=True, digest=pending.request.digest)
    Approvals(directory).answer(pending.request, answer)
    found = {each.relative_to(state).as_posix(): each for each in state.rglob("*")}
    assert len([each for each in found if "artifacts/" in each]) == 1
    assert len([each for each in found if "approvals/" in each]) == 2
    for each in found.values():
        assert each.stat().st_mode & 0o777 == (0o700 if each.is_dir() else 0o600), each


async def test_the_json_holds_all_of_it(state: Path) -> None:
    result = await incident()
    content = msgspec.json.decode(as_json(told(result.run_id)))
    assert content["cost"] == result.cost
    assert content["usage"]["input_tokens"] == result.usage.input_tokens
    kinds = [each["type"] for each in content["items"]]
    assert kinds == ["turn", "turn", "turn", "remark"]
    assert content["items"][0]["calls"][0]["output"].count("\n") == 299
    assert datetime.fromisoformat(content["began"]).tzinfo is not None
    assert restart.spec.name in {each["tool"] for each in content["items"][1]["calls"]}
    assert read_run(result.run_id).run_id == content["run_id"]
