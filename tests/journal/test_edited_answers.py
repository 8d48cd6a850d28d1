"""Arguments that a person has changed: what is carried out, played back and gone on with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aof_nb import Agent, RunStatus
from aof_nb.events import ApprovalAnswered
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import ToolIntended
from aof_nb.journal.runs import find_run, read_run
from aof_nb.messages import ToolCall
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import ToolOutput
from tests.journal.test_replay import Nobody, Turns
from tests.journal.test_resume import RESTART, Restart, cut, ended_before_outcome

AGAIN = ToolCall("c2", "restart", {"service": "web"})


class Editor:
    """Approves with other arguments, the first call only."""

    def __init__(self, arguments: dict[str, Any], *, similar: bool = False) -> None:
        self.arguments = arguments
        self.similar = similar
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        return Answer(
            approved=True,
            digest=request.digest,
            similar=self.similar,
            by="ann",
            arguments=self.arguments if len(self.asked) == 1 else None,
        )


class Yes:
    """Approves, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        return Answer(approved=True, digest=request.digest, by="bob")


class Checked(Restart):
    """Finds out what became of a call, and remembers of which."""

    def __init__(self) -> None:
        super().__init__()
        self.verified: list[str] = []

    async def verify(self, arguments: dict[str, Any]) -> ToolOutput | None:
        self.verified.append(arguments["service"])
        return None


async def edited_and_killed(restart: Restart) -> tuple[Agent, str]:
    """A run that a crash has ended in the middle of a call whose arguments a person changed."""
    agent = Agent(model=Turns(("I restart it.", RESTART), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=Editor({"service": "cache"}))
    assert restart.calls == ["cache"]
    ended_before_outcome(result.run_id)
    restart.calls.clear()
    return agent, result.run_id


async def test_the_changed_call_is_carried_out_and_recorded_with_both() -> None:
    restart = Restart()
    agent = Agent(model=Turns(("I restart it.", RESTART), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=Editor({"service": "cache"}))
    recording = read_run(result.run_id)
    [intended] = recording.of(ToolIntended)
    [answered] = recording.of(ApprovalAnswered)
    assert restart.calls == ["cache"]
    assert intended.arguments == {"service": "cache"}
    assert answered.arguments == {"service": "cache"}
    [asked] = [m for m in result.messages if m.tool_calls]
    assert asked.tool_calls[0].arguments == {"service": "web"}
    told = result.messages[-2].tool_results[0].content
    assert told.startswith('[ann approved this call with changed arguments: {"service":"cache"}]')


async def test_a_replay_tells_the_same_of_it() -> None:
    restart = Restart()
    agent = Agent(model=Turns(("I restart it.", RESTART), ("done",)), tools=[restart])
    result = await agent.run("mend it", approver=Editor({"service": "cache"}))
    again = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=result.run_id)
    assert again.messages == result.messages
    assert restart.calls == ["cache"]


async def test_a_call_that_a_crash_cut_off_is_asked_about_as_it_was_begun() -> None:
    restart, face = Restart(), Yes()
    agent, run_id = await edited_and_killed(restart)
    await agent.resume(run_id, approver=face)
    assert [each.arguments for each in face.asked] == [{"service": "cache"}]
    assert restart.calls == ["cache"]


async def test_a_call_that_a_crash_cut_off_is_verified_as_it_was_begun() -> None:
    restart = Checked()
    agent, run_id = await edited_and_killed(restart)
    await agent.resume(run_id, approver=Yes())
    assert restart.verified == ["cache"]
    assert restart.calls == ["cache"]


@pytest.mark.parametrize("killed", [False, True])
async def test_changed_arguments_are_approved_for_one_call_only(killed: bool) -> None:
    restart = Restart()
    model = Turns(("One.", RESTART), ("Two.", AGAIN), ("done",))
    agent = Agent(model=model, tools=[restart])
    face: Any = Editor({"service": "cache"}, similar=True)
    result = await agent.run("mend it", approver=face)
    if not killed:
        assert len(face.asked) == 2
        return
    seen = 0

    def keep(entry: Any) -> bool:
        nonlocal seen
        seen += isinstance(entry, ToolIntended)
        return seen < 2 and getattr(entry, "call_id", "") != "c2"

    cut(result.run_id, keep)
    face = Yes()
    await agent.resume(result.run_id, approver=face)
    assert [each.call_id for each in face.asked] == ["c2"]


async def test_an_answer_given_while_the_run_was_gone_is_taken_with_its_changes() -> None:
    restart = Restart()
    agent = Agent(model=Turns(("I restart it.", RESTART), ("done",)), tools=[restart])
    waiting = await agent.run("mend it")
    assert waiting.status is RunStatus.WAITING
    approvals = Approvals(find_run(waiting.run_id))
    [pending] = approvals.pending()
    yes = Answer(approved=True, digest=pending.request.digest, by="ann")
    approvals.answer(pending.request, msgspec.structs.replace(yes, arguments={"service": "cache"}))
    result = await agent.resume(waiting.run_id)
    assert result.status is RunStatus.COMPLETED
    assert restart.calls == ["cache"]


async def test_a_call_that_is_asked_about_again_can_be_changed_then() -> None:
    restart, face = Restart(), Editor({"service": "queue"})
    agent, run_id = await edited_and_killed(restart)
    result = await agent.resume(run_id, approver=face)
    assert [each.arguments for each in face.asked] == [{"service": "cache"}]
    assert restart.calls == ["queue"]
    assert '{"service":"queue"}' in result.messages[-2].tool_results[0].content


async def test_the_model_is_told_of_the_change_after_a_crash_too() -> None:
    restart = Restart()
    agent, run_id = await edited_and_killed(restart)
    result = await agent.resume(run_id, approver=Yes())
    told = result.messages[-2].tool_results[0].content
    assert told.startswith('[ann approved this call with changed arguments: {"service":"cache"}]')
    again = await Agent(model=Nobody(), tools=[restart]).run("mend it", replay=run_id)
    assert again.messages == result.messages


async def test_a_second_crash_does_not_bring_the_first_arguments_back() -> None:
    restart, face = Restart(), Yes()
    agent, run_id = await edited_and_killed(restart)
    await agent.resume(run_id, approver=Yes())
    seen = 0

    def keep(entry: Any) -> bool:
        nonlocal seen
        before = seen
        seen += isinstance(entry, ToolIntended)
        return before < 2

    cut(run_id, keep)
    await agent.resume(run_id, approver=face)
    assert [each.arguments for each in face.asked] == [{"service": "cache"}]
    assert restart.calls == ["cache", "cache"]
