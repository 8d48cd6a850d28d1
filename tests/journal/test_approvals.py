"""Approvals as files: what is answered, what no longer waits, and what nobody is to take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.journal.approvals import Approvals, RecordedApprover
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import ToolSpec

SPEC = ToolSpec(name="restart", description="Restarts.", input_schema={"type": "object"})
REQUEST = ApprovalRequest(run_id="r", call_id="c", tool=SPEC, arguments={"a": 1}, reason="why")


def yes(request: ApprovalRequest = REQUEST, by: str = "bob") -> Answer:
    return Answer(approved=True, digest=request.digest, by=by, via="cli")


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "r")


def test_what_does_not_wait_is_not_answered(approvals: Approvals) -> None:
    with pytest.raises(ConfigurationError, match="does not wait"):
        approvals.answer(REQUEST, yes())
    approvals.ask(REQUEST)
    approvals.answer(REQUEST, yes())
    with pytest.raises(ConfigurationError, match="answered already"):
        approvals.answer(REQUEST, yes())
    assert approvals.take(REQUEST) == yes()
    # It was good for that one use.
    assert approvals.take(REQUEST) is None
    with pytest.raises(ConfigurationError, match="does not wait"):
        approvals.answer(REQUEST, yes())


def test_a_call_whose_tool_has_changed_waits_once(approvals: Approvals) -> None:
    changed = msgspec.structs.replace(
        REQUEST, tool=msgspec.structs.replace(SPEC, description="Does something else.")
    )
    other = msgspec.structs.replace(REQUEST, call_id="d")
    for each in (REQUEST, other, changed):
        approvals.ask(each)
    assert {each.request.digest for each in approvals.pending()} == {
        changed.digest,
        other.digest,
    }
    assert approvals.take(changed) is None


class Asks:
    """A face that answers, fails or waits."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.ended = False

    async def ask(self, request: ApprovalRequest) -> Answer:
        try:
            if isinstance(self.outcome, Exception):
                raise self.outcome
            if self.outcome is None:
                await asyncio.Event().wait()
            assert isinstance(self.outcome, Answer)
            return self.outcome
        finally:
            self.ended = True


async def test_a_face_that_fails_leaves_nothing_that_waits(approvals: Approvals) -> None:
    with pytest.raises(RuntimeError, match="no terminal"):
        await RecordedApprover(approvals, Asks(RuntimeError("no terminal"))).ask(REQUEST)
    assert approvals.pending() == []


async def test_an_answer_that_was_given_before_is_taken_without_asking(
    approvals: Approvals,
) -> None:
    approvals.ask(REQUEST)
    approvals.answer(REQUEST, yes())
    face = Asks(yes(by="ann"))
    assert (await RecordedApprover(approvals, face).ask(REQUEST)).by == "bob"
    assert not face.ended


@pytest.mark.parametrize("after", [0, 1, 2, 5, 20])
async def test_a_question_that_is_given_up_is_withdrawn(approvals: Approvals, after: int) -> None:
    face = Asks()
    before = asyncio.all_tasks()
    asking = asyncio.create_task(RecordedApprover(approvals, face).ask(REQUEST))
    for _ in range(after):
        await asyncio.sleep(0.002)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert approvals.pending() == []
    assert asyncio.all_tasks() == before


async def test_an_answer_from_elsewhere_ends_the_asking(approvals: Approvals) -> None:
    face = Asks()
    asking = asyncio.create_task(RecordedApprover(approvals, face).ask(REQUEST))
    while not approvals.pending():
        await asyncio.sleep(0.01)
    approvals.answer(REQUEST, yes())
    assert (await asking).by == "bob"
    assert face.ended
    assert approvals.pending() == []
