"""What the magics take and refuse, in a shell of this process."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

import aof_nb
from aof_nb.agent import Agent
from aof_nb.errors import AofError
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import ToolCall
from aof_nb.notebook import registry
from aof_nb.notebook.cell_run import RunOptions
from aof_nb.notebook.commands import COMMANDS
from aof_nb.notebook.failures import CellFailed
from aof_nb.notebook.options import cell_parser, run_options
from aof_nb.notebook.settings import settings_of
from aof_nb.policy import set_ambient_approver
from aof_nb.tools import tool
from tests.notebook.fakes import Says


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    made = InteractiveShell()
    aof_nb.load_ipython_extension(made)
    yield made
    set_ambient_approver(None)
    for kept in (registry.agents, registry.servers, registry.asked, registry.spent):
        kept.clear()


async def cell(shell: Any, code: str) -> Any:
    """Executes a cell as a kernel does; raises what it raised."""
    transformed = shell.transform_cell(code)
    result = await shell.run_cell_async(code, transformed_cell=transformed, store_history=False)
    result.raise_error()
    return result.result


def says(*answers: str) -> Agent:
    return Agent(name="sre", model=Says(*([answer] for answer in answers)))


async def test_the_prompt_is_expanded_and_the_result_kept(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.agents["sre"] = says("Hi.")
    shell.user_ns["who"] = "you"
    await cell(shell, "%%aof sre --out r --session s\n  greet {who}, not {{who}}\n")
    result = shell.user_ns["r"]
    assert result.messages[0].text == "greet you, not {who}"
    assert result.text == "Hi."
    assert capsys.readouterr().out.startswith("Hi.\nsays (scripted) · 1 turn · ")


async def test_a_line_gives_the_result(shell: Any) -> None:
    shell.user_ns["sre"] = says("One.", "Two.", "Three.")
    await cell(
        shell,
        'texts = []\nfor n in range(2):\n    r = %aof ask sre "what\'s {n}?" --approve never\n'
        "    texts.append((r.text, r.messages[0].text))\n",
    )
    assert shell.user_ns["texts"] == [("One.", "what's 0?"), ("Two.", "what's 1?")]
    assert await cell(shell, "%aof ask sre three words here") is None


async def test_a_defined_agent_comes_before_a_variable(shell: Any) -> None:
    shell.user_ns["sre"] = says("variable")
    registry.agents["sre"] = says("defined")
    await cell(shell, "r = %aof ask sre hi")
    assert shell.user_ns["r"].text == "defined"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("%%aof srr\nhi", "no agent 'srr' .did you mean 'sre'"),
        ("%%aof\nhi", "required: agent"),
        ("%%aof sre\n  \n", "prompt is missing"),
        ("%%aof sre --approve perhaps\nhi", "invalid choice: 'perhaps'"),
        ("%%aof sre --max-turns 0\nhi", "give 1 or more"),
        ("%%aof sre --out a.b\nhi", "name of a variable"),
        ("%%aof sre --frsh\nhi", "unrecognized arguments: --frsh; see %%aof\\?"),
        ("%%aof sre --sesion x\nhi", "unrecognized.*--sesion.*did you mean '--session'"),
        ("%%aof sre --approve al\nhi", "invalid choice: 'al'.*did you mean 'all'"),
        ("%aof replay last --pce 1", "%aof replay: .*did you mean '--pace'"),
        ("%aof help rusume", "no such command .did you mean 'resume'"),
        ("%aof runs all", "%aof runs: unrecognized arguments: all"),
        ("%aof aks sre hi", "no such command .did you mean 'ask'"),
        ("%aof ask sre what's up", "double quotes"),
        ("%aof ask sre", "required: prompt"),
        ("%%aof_agent\nmodel: x", "required: name"),
        ("%%aof_mcp a b\nurl: x", "unrecognized arguments: b"),
    ],
)
async def test_bad_arguments_are_usage_errors(shell: Any, code: str, told: str) -> None:
    registry.agents["sre"] = says("Hi.")
    with pytest.raises(UsageError, match=told):
        await cell(shell, code)


def test_what_holds_where_the_line_does_not_say(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = cell_parser()

    def options(*given: str) -> RunOptions:
        return run_options(parser.read(["sre", *given]), settings_of(shell))

    assert options().approve == "ask"
    shell.run_line_magic("config", 'AOF.approve = "all"')
    assert options().approve == "all"
    monkeypatch.setenv("AOF_APPROVE", "never")
    assert options().approve == "never"
    assert options("--approve", "ask").approve == "ask"
    monkeypatch.setenv("AOF_APPROVE", "yes")
    with pytest.raises(UsageError, match="AOF_APPROVE=yes"):
        options()
    monkeypatch.delenv("AOF_APPROVE")
    assert options().approval_timeout is None
    shell.run_line_magic("config", 'AOF.approval_timeout = "5m"')
    assert options().approval_timeout == 300
    monkeypatch.setenv("AOF_APPROVAL_TIMEOUT", "2m")
    assert options().approval_timeout == 120
    assert options("--approval-timeout", "inf").approval_timeout == math.inf
    with pytest.raises(UsageError, match="--approval-timeout: 'soon' is not a duration"):
        options("--approval-timeout", "soon")
    shell.run_line_magic("config", 'AOF.model = "openai:gpt-5"')
    shell.run_line_magic("config", 'AOF.session = "inc-42"')
    shell.run_line_magic("config", "AOF.max_turns = 3")
    held = options()
    assert (held.model, held.session, held.max_turns) == ("openai:gpt-5", "inc-42", 3)
    said = options("-m", "script:x.yaml", "-s", "other", "--max-turns", "7")
    assert (said.model, said.session, said.max_turns) == ("script:x.yaml", "other", 7)


async def test_a_dry_run_lists_what_it_would_do(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    @tool(effect="write")
    def restart(service: str) -> str:
        """Restarts a service."""
        made.append(service)
        return "restarted"

    calls = [ToolCall("1", "restart", {"service": "web"})]
    registry.agents["sre"] = Agent(name="sre", model=Says(calls, ["I would."]), tools=[restart])
    await cell(shell, "%%aof sre --dry-run --approve all --out r\nHelp.\n")
    assert made == []
    told = capsys.readouterr().out
    assert "this is a dry run" in told
    assert "not executed: restart: Restarts a service. · It changes something." in told
    assert "Dry run: 1 call was not executed.\n1. restart: Restarts a service." in told
    assert [each.arguments for each in shell.user_ns["r"].withheld] == [{"service": "web"}]


async def test_an_unknown_variable_fails_before_the_run(shell: Any) -> None:
    registry.agents["sre"] = says("Hi.")
    shell.user_ns["namespace"] = "prod"
    with pytest.raises(CellFailed, match="did you mean 'namespace'") as caught:
        await cell(shell, "%%aof sre\nin {namespaec}")
    assert "{{namespaec}}" in caught.value.remedy


async def test_servers_and_agents_from_yaml(
    shell: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert "No agents yet" in (await cell(shell, "%aof agents"), capsys.readouterr().out)[1]
    shell.user_ns["port"] = 8080
    await cell(shell, "%%aof_mcp web\nurl: http://127.0.0.1:{port}/mcp\n")
    assert registry.servers["web"].url == "http://127.0.0.1:8080/mcp"
    await cell(shell, "%%aof_agent ops\nmodel: openai:gpt-5\nmcp_servers: [web]\n")
    assert list(registry.agents["ops"].mcp_servers) == [registry.servers["web"]]
    await cell(shell, "%aof agents")
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [
        "MCP server web: http, http://127.0.0.1:8080/mcp",
        "agent ops: openai:gpt-5, 0 tools, MCP: web",
    ]
    assert out[3].split() == ["ops", "openai:gpt-5", "0", "web"]
    with pytest.raises(CellFailed, match="<cell>:2"):
        await cell(shell, "%%aof_mcp odd\nuri: http://127.0.0.1/mcp\n")
    assert "odd" not in registry.servers


async def test_the_conversations_of_an_agents_memory(
    shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    registry.agents["sre"] = says("Hi.")
    registry.agents["sre"].memory = f"file:{tmp_path}"
    await cell(shell, "%aof memory sre")
    assert "No conversations yet" in capsys.readouterr().out
    await cell(shell, "%%aof sre --session inc-42\nwhy?")
    capsys.readouterr()
    await cell(shell, "%aof memory sre")
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["inc-42", "2"]
    with pytest.raises(UsageError, match=r"%aof memory: .*required: agent"):
        await cell(shell, "%aof memory")


async def test_servers_are_listed_with_their_state(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from aof_nb.mcp.pool import pool

    await cell(shell, "%aof mcp")
    assert "No MCP servers yet" in capsys.readouterr().out
    registry.servers["lab"] = McpServer(
        name="lab", command=sys.executable, args=("-m", "aof_nb.lab.server")
    )
    registry.servers["gone"] = McpServer(name="gone", command="no-such-program")
    shell.user_ns["ops"] = Agent(name="ops", model=Says(), mcp_servers=[*registry.servers.values()])
    await cell(shell, "%aof mcp")
    assert capsys.readouterr().out.count("not connected yet") == 2
    try:
        await cell(shell, "%aof tools ops")
        assert "lab__restart" in (out := capsys.readouterr().out)
        assert out.startswith("warning: ")
        await cell(shell, "%aof mcp")
        lab, gone = capsys.readouterr().out.splitlines()[1:]
        assert re.match(r"lab +stdio .*aof_nb.lab.server +open, \d+ tools$", lab)
        assert re.match(r"gone +stdio +no-such-program +failed: .*no-such-program", gone)
        await cell(shell, "%aof mcp lab")
        head, *rows = capsys.readouterr().out.splitlines()
        assert head.split()[:2] == ["tool", "effect"]
        assert any(row.startswith("lab__restart") for row in rows)
        with pytest.raises(UsageError, match="did you mean 'lab'"):
            await cell(shell, "%aof mcp lap")
    finally:
        await pool().close()


async def test_changed_definitions_are_shown_and_accepted(
    shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aof_nb.mcp.definition import Definition
    from aof_nb.mcp.pins import check

    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    registry.servers["lab"] = server = McpServer(name="lab", command="lab-server")
    for description in ("Reads.", "Sends."):
        check(server, [Definition(name="read", description=description, input_schema={})])
    await cell(shell, "%aof mcp lab --diff")
    assert "-  Reads.\n+  Sends." in capsys.readouterr().out
    await cell(shell, "%aof mcp lab read --accept")
    assert capsys.readouterr().out == "accepted: read as changed\n"
    with pytest.raises(UsageError, match="name the server"):
        await cell(shell, "%aof mcp --diff")


async def test_what_tools_say_of_themselves_does_not_act_on_a_terminal(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    @tool(effect="read")
    def look() -> str:
        """Looks.\x1b[2J\u202e"""
        return ""

    shell.user_ns["ops"] = Agent(name="ops", model=Says(), tools=[look])
    await cell(shell, "%aof tools ops")
    assert "Looks.\\x1b[2J⟨U+202E⟩" in capsys.readouterr().out


async def test_tools_are_listed(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.user_ns["ops"] = Agent(name="ops", model=Says(), tools=["shell", "read_file"])
    await cell(shell, "%aof tools ops")
    out = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert out == [["tool", "effect"], ["read_file", "read"], ["shell", "write"]]
    await cell(shell, "%aof tools")
    assert "built-in: " in capsys.readouterr().out
    await cell(shell, "%aof help")
    assert "%aof ask AGENT PROMPT" in capsys.readouterr().out


async def test_what_is_not_awaited_says_so(shell: Any) -> None:
    registry.agents["sre"] = says("Hi.")
    await cell(shell, "def f():\n    r = %aof ask sre hi\n    return r\npending = f()")
    pending = shell.user_ns["pending"]
    assert "has to be awaited" in repr(pending)
    assert (await pending).text == "Hi."


@pytest.mark.parametrize("asked", ["%aof?", "%%aof?", "%%aof_agent?", "%%aof_mcp?"])
def test_a_question_mark_shows_what_a_magic_takes(
    shell: Any, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell(asked, store_history=False)
    text = capsys.readouterr().out
    if "_" in asked:
        assert f"usage: {asked[:-1]} name" in text
        return
    for option in ("--session", "--out", "--approve", "--model", "--max-turns", "--debug"):
        assert option in text
    for name, command in COMMANDS.items():
        assert f"%aof {name}" in text
        assert command.does in text


async def test_debug_shows_the_error_itself(shell: Any) -> None:
    registry.agents["sre"] = Agent(name="sre", model="script:no-such.yaml")
    with pytest.raises(CellFailed):
        await cell(shell, "%aof ask sre why")
    for code in ("%aof ask sre why --debug", "%%aof sre --debug\nwhy"):
        with pytest.raises(AofError) as caught:
            await cell(shell, code)
        assert not isinstance(caught.value, CellFailed)


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_has_help(
    shell: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await cell(shell, f"%aof {name} --help") is None
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: %aof {name}")
    for action in COMMANDS[name].parser.options:
        assert action.help
        assert action.option_strings[0] in shown
    await cell(shell, f"%aof help {name}")
    assert capsys.readouterr().out == shown


async def test_the_definitions_have_help(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for magic in ("%%aof", "%%aof_agent", "%%aof_mcp"):
        for body in ("\n \n", "\nhi"):
            await cell(shell, f"{magic} --help{body}")
            assert capsys.readouterr().out.startswith(f"usage: {magic} ")
        await cell(shell, f"%aof help {magic}")
        assert capsys.readouterr().out.startswith(f"usage: {magic} ")
    assert not registry.agents


async def test_nothing_asked_is_a_status(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await cell(shell, "%aof")
    assert "%%aof_agent NAME" in capsys.readouterr().out
    registry.agents["sre"] = says("Hi.")
    registry.servers["lab"] = McpServer(name="lab", command="python")
    shell.run_line_magic("config", 'AOF.session = "inc-42"')
    await cell(shell, "%aof")
    assert capsys.readouterr().out.splitlines()[:4] == [
        "agents    sre (says (scripted))",
        "servers   lab: not connected yet",
        "runs      none is going on or waits",
        "defaults  approve ask, model as each agent says, session inc-42",
    ]


async def test_what_was_asked_is_listed(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    await cell(shell, "%aof history")
    assert "Nothing was asked" in capsys.readouterr().out
    registry.agents["sre"] = says("Hi.", "There.")
    registry.agents["dba"] = Agent(name="dba", model=Says([ValueError("broken")]))
    shell.user_ns["n"] = 42
    await cell(shell, "%%aof sre --out r\ngreet {n}\x1b[2J")
    with pytest.raises(CellFailed):
        await cell(shell, "%aof ask dba why")
    await cell(shell, "%aof ask sre again")
    capsys.readouterr()
    await cell(shell, "%aof history")
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["asked", "agent", "status", "took", "cost", "run", "prompt"]
    assert [row.split()[1:3] for row in rows] == [
        ["sre", "completed"],
        ["dba", "failed"],
        ["sre", "completed"],
    ]
    assert shell.user_ns["r"].run_id in rows[0]
    assert rows[0].endswith(r"greet 42\x1b[2J")
    await cell(shell, "%aof history sre -n 1")
    assert capsys.readouterr().out.splitlines()[1:] == rows[2:]
    with pytest.raises(UsageError, match="did you mean 'sre'"):
        await cell(shell, "%aof history sr")


async def test_an_interrupt_ends_the_run(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    napping = asyncio.Event()

    @tool(effect="read")
    async def nap(seconds: float) -> None:
        """Sleeps."""
        napping.set()
        await asyncio.sleep(seconds)

    model = Says([ToolCall("1", "nap", {"seconds": 60})], ["Never."])
    shell.user_ns["sre"] = Agent(name="sre", model=model, tools=[nap])
    running = asyncio.create_task(cell(shell, "%%aof sre --out r\nhi"))
    await asyncio.wait_for(napping.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    out = capsys.readouterr().out
    assert "? nap seconds=60 (interrupted, outcome unknown)\ninterrupted · " in out
    assert shell.user_ns["r"].status == "cancelled"


async def test_an_interrupt_while_the_cost_is_counted_leaves_the_record(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, counting, let_go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def cost(_: Any) -> float:
        loop.call_soon_threadsafe(counting.set)
        let_go.wait(30)
        return 1.0

    monkeypatch.setattr("aof_nb.models.prices.cost", cost)
    monkeypatch.setenv("AOF_FRONTEND", "live")
    shell.display_pub = published = CapturingDisplayPublisher()
    shell.user_ns["sre"] = says("All is well.")
    running = asyncio.create_task(cell(shell, "%%aof sre --out r\nhi"))
    try:
        await asyncio.wait_for(counting.wait(), 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError, match="had ended already"):
            await running
    finally:
        let_go.set()
    last = published.outputs[-1]
    assert "All is well." in last["data"]["text/markdown"]
    assert last["metadata"]["aof"]["status"] == "completed"
    assert shell.user_ns["r"].text == "All is well."
