"""No secret leaves the tool that showed it: not to the model, the journal, memory or events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aof_nb import Agent, Effect, RunStatus, tool
from aof_nb.journal.entries import ToolIntended
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.runs import find_run, read_run
from aof_nb.memory import open_memory
from aof_nb.messages import ToolCall
from aof_nb.redact import RedactionPolicy
from tests.journal.test_replay import Nobody, Turns, events_of
from tests.journal.test_resume import cut

TOKEN = "tk-9f8e7d6c5b4a39281706"
FOUND = "ghp_" + "Zk3" * 12


class Vault:
    """Tools that show a secret, and take one."""

    def __init__(self) -> None:
        self.given: list[str] = []

        @tool(effect=Effect.READ)
        def show(name: str) -> dict[str, Any]:
            """Shows a secret."""
            return {"text": f"deploy with {TOKEN}", "github": f"token: {FOUND}"}

        @tool(effect=Effect.WRITE)
        def use(secret: str) -> str:
            """Uses a secret."""
            self.given.append(secret)
            return f"used {secret}"

        self.tools = [show, use]


SHOW = ToolCall("a", "show", {"name": "x"})


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", TOKEN)


def files_with(text: str, *directories: Path) -> list[Path]:
    return [
        path
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


async def test_a_secret_is_known_by_its_placeholder_to_all_but_the_tool(tmp_path: Path) -> None:
    vault = Vault()
    use = ToolCall("b", "use", {"secret": "[secret:DEPLOY_TOKEN]"})
    model = Turns(("I look.", SHOW), (f"It is {FOUND[:9]}", FOUND[9:], use), ("done",))
    memory = open_memory(f"disk:{tmp_path / 'memory'}")
    agent = Agent(
        model=model, tools=vault.tools, memory=memory, instructions=f"Never tell {TOKEN}."
    )
    run = agent.stream(f"What is {TOKEN}?", session="s", approve="all")
    events = await events_of(run)
    assert run.result.status is RunStatus.COMPLETED
    assert vault.given == [TOKEN]
    told = msgspec.json.encode([model.asked, events, run.result.messages], enc_hook=str)
    for secret in (TOKEN, FOUND):
        assert secret.encode() not in told
        assert files_with(secret, tmp_path, find_run(run.run_id)) == []
    assert b"[secret:DEPLOY_TOKEN]" in told
    kept = await memory.load("s")
    assert kept[0].text == "What is [secret:DEPLOY_TOKEN]?"
    [intended] = [e for e in read_run(run.run_id).of(ToolIntended) if e.tool == "use"]
    assert intended.arguments == {"secret": "[secret:DEPLOY_TOKEN]"}

    replayed = await Agent(
        model=Nobody(), tools=vault.tools, instructions=f"Never tell {TOKEN}."
    ).run(f"What is {TOKEN}?", replay=run.run_id)
    assert (replayed.status, vault.given) == (RunStatus.COMPLETED, [TOKEN])


async def test_a_run_that_goes_on_has_the_same_placeholders() -> None:
    vault = Vault()
    agent = Agent(model=Turns((SHOW,), ("done",)), tools=vault.tools)
    result = await agent.run("look")
    [shown] = [m.tool_results[0].content for m in result.messages if m.role == "tool"]
    assert "[secret:github-token-1]" in shown
    cut(result.run_id, lambda entry: type(entry).__name__ != "ToolReturned")
    model = Turns(("done",))
    again = await Agent(model=model, tools=vault.tools).resume(result.run_id)
    [told] = [m.tool_results[0].content for m in again.messages if m.role == "tool"]
    assert told == shown
    assert (find_run(result.run_id) / "redaction.json").stat().st_mode & 0o777 == 0o600


async def test_a_value_that_this_process_has_not_seen_is_asked_for_again() -> None:
    vault = Vault()
    use = ToolCall("b", "use", {"secret": "[secret:github-token-1]"})
    agent = Agent(model=Turns((SHOW,), ("let me",), ("done",)), tools=vault.tools)
    result = await agent.run("look")
    path = find_run(result.run_id) / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    second = next(n for n, line in enumerate(lines) if b'"turn":2' in line)
    path.write_bytes(b"".join(lines[:second]))
    model = Turns((use,), ("I see",))
    resumed = await Agent(model=model, tools=vault.tools).resume(result.run_id, approve="all")
    assert resumed.text == "I see"
    assert vault.given == []
    assert "show" in model.asked[1].messages[-1].tool_results[0].content


async def test_it_can_be_turned_off_and_told_more() -> None:
    vault = Vault()
    open_agent = Agent(
        model=Turns((SHOW,), ("done",)),
        tools=vault.tools,
        redaction=RedactionPolicy(enabled=False),
    )
    result = await open_agent.run("look")
    assert TOKEN in result.messages[2].tool_results[0].content
    more = Agent(
        model=Turns(("ticket TCK-1234 is open",)),
        redaction=RedactionPolicy(patterns={"ticket": r"TCK-\d+"}),
    )
    assert (await more.run("which?")).text == "ticket [secret:ticket-1] is open"
