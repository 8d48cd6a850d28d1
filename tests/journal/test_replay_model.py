"""``replay:JOURNAL``: the model's answers are recorded ones, the tools are live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aof_nb import Agent, RunStatus, resolve_model
from aof_nb.errors import ConfigurationError
from aof_nb.events import ModelFellBack
from aof_nb.journal.cassette import add_to_cassette
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.runs import find_run
from aof_nb.models.registry import shown_name
from aof_nb.models.timeouts import Timeouts
from tests.journal.steps import done, stepping_agent
from tests.journal.test_replay import Turns
from tests.journal.test_resume import Restart


async def test_the_tools_are_called_and_the_answers_cost_nothing(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    agent = stepping_agent(effects, 4)
    recorded = await agent.run("go", approve="all")
    before = done(effects)
    other = replace(agent, model=f"replay:{recorded.run_id}", timeouts=Timeouts())
    result = await other.run("go", approve="all")
    assert (result.status, result.text, result.messages) == (
        RunStatus.COMPLETED,
        recorded.text,
        recorded.messages,
    )
    assert done(effects) == before + before
    assert result.run_id != recorded.run_id
    assert result.usage == recorded.usage
    assert result.models == (f"replay:{recorded.run_id} (recorded)",)
    assert result.cost == 0


async def test_what_tools_return_now_is_not_compared() -> None:
    class Later(Restart):
        async def call(self, arguments, context):  # type: ignore[no-untyped-def]
            output = await super().call(arguments, context)
            return replace_content(output, f"{output.content}, again")

    def replace_content(output, content):  # type: ignore[no-untyped-def]
        return type(output)(content)

    from aof_nb.messages import ToolCall

    call = ToolCall("c", "restart", {"service": "web"})
    agent = Agent(model=Turns((call,), ("well",)), tools=[Restart()])
    recorded = await agent.run("mend it", approve="all")
    result = await replace(agent, model=f"replay:{recorded.run_id}", tools=[Later()]).run(
        "mend it", approve="all"
    )
    assert (result.status, result.text) == (RunStatus.COMPLETED, "well")
    assert result.messages[2].tool_results[0].content == "restarted web, again"


async def test_a_request_that_differs_fails_with_what_changed() -> None:
    agent = Agent(model=Turns(("one",)), instructions="Be brief.")
    recorded = await agent.run("go")
    name = f"replay:{recorded.run_id}"
    other = await replace(agent, model=name, instructions="Be long.").run("go")
    assert other.error is not None
    assert "-Be brief.\n+Be long." in other.error.message
    other = await replace(agent, model=name).run("gone")
    assert other.error is not None
    assert "-go\n+gone" in other.error.message
    fallen = replace(agent, model=name, fallback=[Turns(("by another",))])
    run = fallen.stream("gone")
    events = [event async for event in run]
    assert run.result.text == "by another"
    assert any(isinstance(event, ModelFellBack) for event in events)


async def test_each_run_of_a_cassette_is_found_and_one_is_gone_on_with(tmp_path: Path) -> None:
    cassette = tmp_path / "c.journal.jsonl"
    effects = tmp_path / "effects"
    agent = stepping_agent(effects, 3)
    for prompt in ("a", "b"):
        result = await agent.run(prompt, approve="all")
        add_to_cassette(cassette, find_run(result.run_id) / FILE_NAME)
    model = resolve_model(f"replay:{cassette}")
    for prompt in ("b", "a", "a"):
        again = await replace(agent, model=model).run(prompt, approve="all")
        assert (again.status, again.turns) == (RunStatus.COMPLETED, 4), again.error

    waiting = await replace(agent, model=f"replay:{cassette}").run("b", approve="ask")
    assert waiting.status is RunStatus.WAITING
    other = replace(agent, model=f"replay:{cassette}")
    resumed = await other.resume(waiting.run_id, approve="all")
    assert (resumed.status, resumed.turns) == (RunStatus.COMPLETED, 4), resumed.error


async def test_its_name_says_what_it_is_and_not_where(tmp_path: Path) -> None:
    name = f"replay:{tmp_path}/c.journal.jsonl"
    assert shown_name(name) == "replay:c.journal.jsonl (recorded)"
    missing = await Agent(model=name).run("go")
    assert isinstance(missing.error, ConfigurationError)
    assert "no recording" in missing.error.message


async def test_a_typed_answer_is_asked_as_it_was() -> None:
    agent = Agent(model=Turns(('{"answer": [1, 2]}',)), output_schema=list[int])
    recorded = await agent.run("numbers")
    assert recorded.output == [1, 2]
    again = await replace(agent, model=f"replay:{recorded.run_id}").run("numbers")
    assert again.output == [1, 2], again.error


@pytest.mark.parametrize("beside", [True, False])
def test_a_recording_beside_the_agents_file_is_found(tmp_path: Path, beside: bool) -> None:
    from aof_nb import load

    (tmp_path / "a.yaml").write_text(
        "apiVersion: aof.dev/v1\nkind: Agent\nmetadata: {name: a}\n"
        "spec: {model: 'replay:c.jsonl'}\n"
    )
    if beside:
        (tmp_path / "c.jsonl").write_text("")
    agent = load(tmp_path / "a.yaml")
    expected = f"replay:{tmp_path / 'c.jsonl'}" if beside else "replay:c.jsonl"
    assert isinstance(agent, Agent)
    assert agent.model == expected
