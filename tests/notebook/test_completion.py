"""What Tab offers in the magics' lines and in the YAML below them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import aof_nb
from aof_nb.agent import Agent
from aof_nb.mcp.spec import McpServer
from aof_nb.notebook import lookups, registry
from aof_nb.notebook.completion import Completion
from aof_nb.notebook.yaml_completion import yaml_candidates
from aof_nb.policy import set_ambient_approver
from aof_nb.resources.schema import AgentSpec
from tests.notebook.fakes import Says


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(lookups, "_PATIENCE", 20)
    made = InteractiveShell()
    aof_nb.load_ipython_extension(made)
    sre = Agent(name="sre", model=Says(["Hi."]), memory=f"file:{tmp_path / 'memory'}")
    made.user_ns |= {"sre": sre, "dba": Agent(model="script:x.yaml"), "_hidden": sre}
    registry.servers["lab"] = McpServer(name="lab", command="python")
    yield made
    set_ambient_approver(None)
    registry.servers.clear()


def offered(shell: Any, typed: str) -> list[str]:
    """What Tab offers where ``|`` stands in a cell."""
    before, _, after = typed.partition("|" if "§" not in typed else "§")
    with provisionalcompleter():
        found = list(shell.Completer.completions(before + after, len(before)))
    line = before.rpartition("\n")[2]
    start = len(before) - len(line)
    for each in found:
        assert each.start >= start
        assert each.text.startswith(before[each.start :])
    return [each.text for each in found]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("%%aof s|", ["sre"]),
        ("%aof ask |", ["dba", "sre"]),
        ("r = %aof too|", ["tools"]),
        ("%aof help to|", ["tools"]),
        ("%aof tools d|", ["dba"]),
        ("%aof history s|", ["sre"]),
        ("%aof memory s|", ["sre"]),
        ("%aof mcp l|", ["lab"]),
        ("%%aof sre --ap|", ["--approve", "--approval-timeout"]),
        ("%%aof sre --approve n|", ["never"]),
        ("%%aof --approve never s|", ["sre"]),
        ("%aof replay last --p|", ["--pace"]),
        ("%aof runs --|", ["--help"]),
        ("%%aof sre --model anth|", ["anthropic:claude-sonnet-5"]),
        ("%%aof sre -m script:|", ["script:triage.yaml"]),
    ],
)
def test_lines(shell: Any, typed: str, completed: list[str]) -> None:
    assert offered(shell, typed) == completed


async def test_runs_and_sessions(shell: Any) -> None:
    result = await shell.user_ns["sre"].run("Why?", session="inc-42")
    assert offered(shell, "%aof show l|") == ["last"]
    for line in ("%aof show ", "%aof resume ", "%aof save-runbook x.ipynb --run "):
        assert offered(shell, f"{line}{result.run_id[:4]}|") == [result.run_id]
    assert Completion(shell).candidates("%aof replay ")[result.run_id] == "sre, completed"
    assert offered(shell, "%%aof sre --session i|") == ["inc-42"]
    assert offered(shell, "%aof ask sre why -s |") == ["inc-42"]
    completion = Completion(shell)
    assert not completion.candidates("%%aof dba --session i")
    assert "--approve" not in completion.candidates("%%aof sre --approve ask --a")


@pytest.mark.parametrize(
    ("body", "completed"),
    [
        ("ins§", ["instructions: "]),
        ("model: x\nmod§", []),
        ("system: x\nins§", []),
        ("mod§\nmodel: x", []),
        ("policy:\n  des§", ["destructive: "]),
        ("policy:\n  write: d§", ["deny"]),
        ("policy:\n  rules:\n    - ac§", ["action: "]),
        ("policy:\n  rules:\n  - action: deny\n    ef§", ["effect: "]),
        ("policy:\n  rules:\n  - action: deny\n    action§", []),
        ("policy:\n  rules:\n  - action: deny\n  - action: a§", ["allow", "ask"]),
        ("policy: {write: deny, re§", ["read: "]),
        ("policy: {wr§", ["write: "]),
        ("policy: {write: de§", ["deny"]),
        ("limits:\n  max_turns: 3\nfall§", ["fallback: "]),
        ("limits:\n  # so far\n\n  max_co§", ["max_cost: ", "max_corrections: "]),
        ("instructions: |\n  Look.\nlim§", ["limits:"]),
        ("instructions: |\n  Look.\n  lim§", []),
        ("tools: [shell, kub§", ["kubectl"]),
        ("tools:\n- she§", ["shell"]),
        ("tools:\n  - name: shell\n    conf§", ["config: "]),
        ("mcp_servers: [l§", ["lab"]),
        ("mcp_servers:\n- name: x\n  transport: st§", ["stdio", "streamable-http"]),
        ("journal: t§", ["true"]),
        ("model: anth§", ["anthropic:claude-sonnet-5"]),
        ("memory: d§", ["disk", "disk:"]),
        ("memory:\n  max_m§", ["max_messages: "]),
        ("spec:\n  mod§", ["model: "]),
        ("# ins§", []),
        ("nothing:\n  mod§", []),
    ],
)
def test_an_agents_yaml(shell: Any, body: str, completed: list[str]) -> None:
    above, _, below = body.partition("§")
    rows = above.split("\n")
    begun, found = yaml_candidates("agent", rows, below.split("\n")[1:], shell.user_ns)
    assert rows[-1].endswith(begun)
    assert [each for each in found if each.startswith(begun)] == completed
    if completed:
        assert offered(shell, f"%%aof_agent ops\n{body}") == completed


def test_a_servers_yaml(shell: Any) -> None:
    assert offered(shell, "%%aof_mcp lab\ncomm|") == ["command: "]
    assert offered(shell, "%%aof_mcp lab\nurl: x\ntransport: h|") == ["http"]
    assert "model: " not in offered(shell, "%%aof_mcp lab\n|")


def test_other_text_is_not_completed(shell: Any) -> None:
    completion = Completion(shell)
    for line in ("%%time a", "print(%aof", "aof ask ", "%%aof_agent s", "%%aof sre x"):
        assert not completion.candidates(line)


@given(st.text(alphabet="%aof_gentmcpskr= -:{}[],|\n\t'\"é", max_size=60))
def test_it_never_raises_and_is_fast(typed: str) -> None:
    completion = Completion(InteractiveShell.instance())
    from IPython.core.completer import CompletionContext

    for head in ("", "%aof ", "%%aof ", "%%aof_agent x\n", "%%aof_mcp x\n"):
        text = head + typed
        rows = text.split("\n")
        context = CompletionContext(
            token="",
            full_text=text,
            cursor_position=len(rows[-1]),
            cursor_line=len(rows) - 1,
            limit=100,
        )
        completion.found(context)


def test_a_slow_memory_does_not_hold_up_typing(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    offered(shell, "%%aof_agent x\nmod|")

    class Slow:
        async def sessions(self) -> list[str]:
            time.sleep(0.5)
            return ["inc-42"]

    shell.user_ns["slow"] = Agent(name="slow", model=Says(), memory=Slow())  # type: ignore[arg-type]
    completion = Completion(shell)
    began = time.perf_counter()
    assert not completion.candidates("%%aof slow --session ")
    assert time.perf_counter() - began < 0.2
    deadline = time.monotonic() + 20
    while not completion.candidates("%%aof slow --session "):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_field_of_an_agent_can_be_completed(shell: Any) -> None:
    from aof_nb.resources.schema import NOT_CARRIED_OUT

    found = {each.rstrip(": ") for each in offered(shell, "%%aof_agent x\n|")}
    assert found == set(AgentSpec.model_fields) - set(NOT_CARRIED_OUT)
