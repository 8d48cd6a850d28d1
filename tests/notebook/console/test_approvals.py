"""The inbox, while calls of several runs wait and others answer them too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, tool
from aof_nb.errors import ConfigurationError
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.runs import run_dir
from aof_nb.messages import ToolCall
from aof_nb.notebook.console.approvals import ApprovalsPage, Question
from aof_nb.notebook.console.inbox_approver import InboxApprover
from aof_nb.policy import Answer
from aof_nb.result import RunResult
from tests.notebook.console.hosts import FakeHost, until
from tests.notebook.fakes import Says


@tool
def restart(service: str) -> str:
    """Restarts a service."""
    return f"{service} restarted"


class Inbox:
    """The page, and runs whose calls wait in it."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.page = ApprovalsPage(host)
        self.page.build()
        self.runs: list[asyncio.Task[RunResult]] = []

    async def ask(self) -> Question:
        """Has one more call wait; the question that asks about it."""
        before = set(map(id, self.questions))
        call = ToolCall(id="c1", name="restart", arguments={"service": "web"})
        agent = Agent(name="mine", model=Says([call], ["done"]), tools=[restart])
        run = agent.run("Mend it.", approver=InboxApprover())
        self.runs.append(asyncio.create_task(run))
        async with asyncio.timeout(20):
            while True:
                await self.page.refresh()
                for each in self.questions:
                    if id(each) not in before:
                        return each
                await asyncio.sleep(0.02)

    @property
    def questions(self) -> list[Question]:
        return list(self.page._asked.values())

    @property
    def children(self) -> list[Any]:
        return list(self.page._box.children)


@pytest.fixture
async def inbox(tmp_path: Path) -> AsyncIterator[Inbox]:
    made = Inbox(FakeHost(tmp_path))
    yield made
    await made.host.end()
    for each in made.runs:
        each.cancel()
    await asyncio.gather(*made.runs, return_exceptions=True)


def elsewhere(question: Question, *, approved: bool) -> None:
    """Answers as ``aofctl approve`` does."""
    request = question._pending.request
    answer = Answer(approved=approved, digest=request.digest, by="sam")
    Approvals(run_dir(question._run_id)).answer(request, answer)


async def test_who_answers_second_is_told_and_the_first_answer_holds(inbox: Inbox) -> None:
    question = await inbox.ask()
    question._buttons[0].click()
    elsewhere(question, approved=False)
    await until(lambda: inbox.host.failures)
    [failure] = inbox.host.failures
    assert isinstance(failure, ConfigurationError)
    assert "restart has been answered already" in failure.message
    assert inbox.host.told == []
    result = await inbox.runs[0]
    assert result.tool_calls == 1
    assert "denied" in str(result.messages).lower()
    await inbox.page.refresh()
    assert inbox.children == []


async def test_a_question_keeps_its_place_in_the_page_when_one_before_it_is_answered(
    inbox: Inbox,
) -> None:
    first, second, third = [await inbox.ask() for _ in range(3)]
    widgets = [each.widget for each in (first, second, third)]
    elsewhere(first, approved=True)
    await inbox.runs[0]
    await inbox.page.refresh()
    assert inbox.questions == [second, third]
    assert inbox.children == widgets
    assert [each.layout.display for each in widgets] == ["none", None, None]
    elsewhere(third, approved=True)
    await inbox.runs[2]
    await inbox.page.refresh()
    assert inbox.children == widgets[:2]
    elsewhere(second, approved=True)
    await inbox.runs[1]
    await inbox.page.refresh()
    assert inbox.children == []
    assert all(each.comm is None for each in widgets)


async def test_arguments_are_unfolded_by_a_button_and_edited(inbox: Inbox) -> None:
    question = await inbox.ask()
    unfold, inside = question.widget.children[-1].children
    assert (unfold.description, inside.layout.display) == ("Edit the arguments", "none")
    unfold.value = True
    assert inside.layout.display is None
    typed, approve = inside.children[0].children
    typed.value = '{"service": "db"}'
    approve.click()
    result = await inbox.runs[0]
    assert "db restarted" in str(result.messages)
