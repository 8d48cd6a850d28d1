"""A dry run reads, and neither changes nor sends anything, by whichever way it is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aof_nb.agent import Agent
from aof_nb.errors import ConfigurationError
from aof_nb.events import CallWithheld, Event, Notice, RunFinished, RunStatus, ToolFinished
from aof_nb.gate import Gate
from aof_nb.journal.entries import ToolIntended, ToolReturned
from aof_nb.journal.runs import read_run
from aof_nb.messages import Outcome, ToolCall
from aof_nb.policy import (
    Action,
    Answer,
    ApprovalRequest,
    Policy,
    Rule,
)
from aof_nb.ports import Effect, Tool, ToolContext, ToolOutput, ToolSpec
from tests.notebook.fakes import Says

ANYTHING = Policy(read=Action.ALLOW, write=Action.ALLOW, destructive=Action.ALLOW)


class Counted:
    """A tool that notes its calls."""

    def __init__(
        self, name: str, effect: Effect, *, sends: bool | None = None, source: str = "mcp:lab"
    ) -> None:
        schema = {"type": "object"}
        self.spec = ToolSpec(
            name=name,
            description=f"Does {name}.",
            input_schema=schema,
            effect=effect,
            source=source,
            sends=sends,
        )
        self.calls: list[Mapping[str, Any]] = []

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.calls.append(arguments)
        return ToolOutput("done")


class Yes:
    async def ask(self, request: ApprovalRequest) -> Answer:
        return Answer(approved=True, digest=request.digest, similar=True, by="ann")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("AOF_APPROVE", raising=False)


def everything() -> list[Counted]:
    return [
        Counted("look", Effect.READ),
        Counted("restart", Effect.WRITE),
        Counted("drop", Effect.DESTRUCTIVE),
        Counted("post", Effect.READ, sends=True),
    ]


def calling(tools: list[Counted], *more: Any, **settings: Any) -> Agent:
    calls = [ToolCall(str(place), each.spec.name, {}) for place, each in enumerate(tools)]
    turns = [[each] for each in calls]
    model = Says(*turns, *(more or (["I would restart it."],)))
    return Agent(name="sre", model=model, tools=tools, **{"policy": ANYTHING} | settings)


@pytest.mark.parametrize("policy", [ANYTHING, Policy()])
async def test_reads_are_made_and_nothing_else(policy: Policy) -> None:
    tools = everything()
    events: list[Event] = []
    run = calling(tools, policy=policy).stream("Help.", approve="dry-run", approver=Yes())
    async for event in run:
        events.append(event)
    assert [len(each.calls) for each in tools] == [1, 0, 0, 0]
    outcomes = [each.outcome for each in events if isinstance(each, ToolFinished)]
    assert outcomes == [Outcome.OK] + [Outcome.DRY_RUN] * 3
    withheld = [each for each in events if isinstance(each, CallWithheld)]
    assert [each.tool for each in withheld] == ["restart", "drop", "post"]
    assert withheld[1].does == (
        "The MCP server lab says of it: Does drop.",
        "It may destroy something that cannot be brought back.",
    )
    assert run.result.withheld == tuple(withheld)
    assert run.result.status is RunStatus.COMPLETED
    told = [each for message in run.result.messages for each in message.tool_results]
    assert all(each.content.startswith("Dry run: not executed.") for each in told[1:])
    assert not any(each.is_error for each in told)
    assert any(isinstance(each, Notice) and "dry run" in each.text for each in events)


async def test_what_the_policy_denies_or_asks_about_is_not_made_either() -> None:
    ask, deny = Rule(action=Action.ASK, tool="look"), Rule(action=Action.DENY, tool="restart")
    tools = everything()[:2]
    result = await calling(tools, policy=Policy(rules=(ask, deny))).run("x", approve="dry-run")
    told = [each for message in result.messages for each in message.tool_results]
    assert [each.outcome for each in told] == [Outcome.DRY_RUN, Outcome.DENIED]
    assert [each.calls for each in tools] == [[], []]


@pytest.mark.parametrize(
    ("host", "made"), [("metrics.example", 1), ("paste.example", 0), ("localhost:9090", 1)]
)
async def test_a_read_that_sends_is_made_where_the_host_is_trusted(host: str, made: int) -> None:
    look = Counted("http", Effect.READ, sends=True, source="built-in")
    policy = Policy(trusted_hosts=("metrics.example",))
    guarded = Gate(policy, mode="dry-run").guard([look])[0]
    context = ToolContext(run_id="r", call_id="c", emit=lambda event: None)
    output = await guarded.call({"url": f"http://{host}/query"}, context)
    assert (len(look.calls), output.dry_run) == (made, not made)


@pytest.mark.parametrize("approve", ["ask", "all", "never", None])
async def test_the_environment_makes_every_run_of_the_process_dry(
    approve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_APPROVE", "dry-run")
    tools = everything()
    result = await calling(tools).run("x", approve=approve, approver=Yes())
    assert [len(each.calls) for each in tools] == [1, 0, 0, 0]
    assert read_run(result.run_id).begun.approve == "dry-run"


async def test_it_is_in_the_journal_as_what_it_was() -> None:
    result = await calling(everything()).run("x", approve="dry-run")
    recording = read_run(result.run_id)
    assert recording.begun.approve == "dry-run"
    assert [each.tool for each in recording.of(ToolIntended)] == ["look"]
    assert [each.tool for each in recording.of(CallWithheld)] == ["restart", "drop", "post"]
    assert [each.output.dry_run for each in recording.of(ToolReturned)] == [False, True, True, True]


@pytest.mark.parametrize("approve", [None, "all", "ask"])
async def test_a_dry_run_that_goes_on_stays_dry(approve: Any) -> None:
    tools = everything()
    broken = RuntimeError("the model is gone")
    first = await calling(tools[:2], [broken]).run("x", approve="dry-run")
    assert first.status is RunStatus.FAILED
    again = Agent(
        name="sre",
        model=Says([ToolCall("9", "drop", {})], ["Done."]),
        tools=tools,
        policy=ANYTHING,
    )
    run = again.resumed(first.run_id, approve=approve, approver=Yes())
    async for _ in run:
        pass
    assert [len(each.calls) for each in tools] == [1, 0, 0, 0]
    assert [each.tool for each in run.result.withheld or ()] == ["restart", "drop"]


async def test_a_run_that_was_carried_out_does_not_go_on_as_a_dry_run() -> None:
    broken = RuntimeError("the model is gone")
    agent = calling(everything()[:1], [broken])
    first = await agent.run("x", approve="all")
    with pytest.raises(ConfigurationError, match="cannot go on as a dry run"):
        agent.resumed(first.run_id, approve="dry-run")


async def test_a_replay_shows_the_same_and_makes_nothing(tmp_path: Path) -> None:
    cassette = tmp_path / "cassette.jsonl"
    tools = everything()
    first = await calling(tools).run("x", approve="dry-run", record=cassette)
    events: list[Event] = []
    run = calling(tools).stream("x", approve="all", replay=cassette)
    async for event in run:
        events.append(event)
    assert isinstance(events[-1], RunFinished)
    assert run.result.withheld == first.withheld
    assert [len(each.calls) for each in tools] == [1, 0, 0, 0]


async def test_the_conversation_is_not_kept() -> None:
    agent = calling(everything())
    await agent.run("x", approve="dry-run", session="inc-42")
    assert list(await agent.open_memory().load("inc-42")) == []


async def test_arguments_that_somebody_changed_are_not_a_way_around() -> None:
    restart: Tool = Counted("restart", Effect.WRITE)
    gate = Gate(ANYTHING, mode="dry-run", approver=Yes())
    context = ToolContext(run_id="r", call_id="c", emit=lambda event: None)
    assert isinstance(await gate.edited(restart, {}, "ann", context), str)
    assert "Dry run" in (gate.denial(restart, {}) or "")
