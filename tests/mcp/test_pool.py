"""Starting servers, keeping them, changing them, losing them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from aof_nb import McpServer
from aof_nb.errors import ConfigurationError, ToolError
from aof_nb.mcp.pins import accept
from aof_nb.mcp.pool import McpPool
from aof_nb.ports import Effect
from aof_nb.tool_names import check_unique
from tests.mcp.conftest import Odd, Run, alive, offered, until

SLOW_START = "import time; time.sleep(60)"


async def test_tools_bear_the_names_effects_and_schemas_of_their_server(
    mcp: McpPool, odd: Odd
) -> None:
    tools = await offered(mcp, odd.spec())
    effects = {name: tool.spec.effect for name, tool in tools.items()}
    assert effects["odd__sleep"] is Effect.READ
    assert effects["odd__count"] is Effect.WRITE
    assert effects["odd__wipe"] is Effect.DESTRUCTIVE
    assert effects["odd__plain"] is Effect.WRITE
    spec = tools["odd__plain"].spec
    assert (spec.source, spec.description) == ("mcp:odd", "It is plain.")
    assert spec.input_schema == {"type": "object"}


async def test_patterns_choose_among_the_servers_own_names(mcp: McpPool, odd: Odd) -> None:
    tools = await offered(mcp, odd.spec(tools=("s*", "count")))
    assert set(tools) == {"odd__sleep", "odd__silent", "odd__count"}


async def test_a_list_that_breaks_the_protocol_costs_that_servers_tools(
    mcp: McpPool, odd: Odd
) -> None:
    found = await mcp.tools([odd.spec("stringy")])
    assert found.tools == []
    [warning] = found.warnings
    assert "'odd' does not tell its tools" in warning
    assert "inputSchema.type Input should be 'object'" in warning
    assert "\n" not in warning


async def test_a_connection_lives_across_runs_and_concurrent_first_uses_share_it(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    first, second = await asyncio.gather(offered(mcp, odd.spec()), offered(mcp, odd.spec()))
    third = await offered(mcp, odd.spec())
    await run.call(first["odd__count"])
    await run.call(second["odd__count"])
    await run.call(third["odd__count"])
    assert odd.noted("starts") == ["x"]
    assert odd.noted("calls") == ["count"] * 3


async def test_tools_are_listed_anew_only_when_the_server_says_that_they_changed(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    await offered(mcp, odd.spec())
    assert len(odd.noted("lists")) == 1
    await run.call(tools["odd__learn"])
    assert "odd__learnt" in await offered(mcp, odd.spec())
    assert len(odd.noted("lists")) == 2


async def test_a_tool_that_has_changed_since_it_was_offered_is_not_called(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    await run.call(tools["odd__plain"])
    await run.call(tools["odd__turn"])
    with pytest.raises(ToolError, match=r"no longer offers plain as it was.*not carried out"):
        await run.call(tools["odd__plain"])
    assert (await run.call(tools["odd__count"])).content == "count done"
    assert "odd__plain" not in {tool.spec.name for tool in (await mcp.tools([odd.spec()])).tools}
    accept("odd", "plain")
    await run.call((await offered(mcp, odd.spec()))["odd__plain"])
    assert odd.noted("calls") == ["plain", "turn", "count", "plain"]


async def test_a_changed_spec_closes_the_old_server_and_starts_another(
    mcp: McpPool, odd: Odd
) -> None:
    await offered(mcp, odd.spec())
    old = odd.pid
    tools = await offered(mcp, odd.spec(env={"GREETING": "hello"}))
    await until(lambda: not alive(old))
    assert odd.noted("starts") == ["x", "x"]
    output = await Run().call(tools["odd__environment"])
    assert '"GREETING": "hello"' in output.content


async def test_agents_that_choose_different_tools_of_a_server_share_it(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    reading = await offered(mcp, odd.spec(tools=("count",)))
    repairing = await offered(mcp, odd.spec(tools=("wipe", "count")))
    assert (set(reading), set(repairing)) == ({"odd__count"}, {"odd__count", "odd__wipe"})
    await run.call(reading["odd__count"])
    await run.call(repairing["odd__count"])
    assert odd.noted("starts") == ["x"]


async def test_a_call_under_way_survives_a_changed_spec(mcp: McpPool, odd: Odd, run: Run) -> None:
    tools = await offered(mcp, odd.spec())
    old = odd.pid
    call = asyncio.create_task(run.call(tools["odd__sleep"], seconds=1))
    await until(lambda: odd.noted("calls") == ["sleep"])
    await offered(mcp, odd.spec(env={"GREETING": "hello"}))
    assert (await call).content == "slept"
    await until(lambda: not alive(old))
    with pytest.raises(ToolError, match="has been closed"):
        await run.call(tools["odd__count"])


async def test_a_server_is_given_its_variables_and_directory_and_not_all_of_ours(
    mcp: McpPool, odd: Odd, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    tools = await offered(mcp, odd.spec(env={"REGION": "eu"}, cwd=str(tmp_path)))
    output = await run.call(tools["odd__environment"])
    assert '"REGION": "eu"' in output.content
    assert f'"cwd": "{tmp_path}"' in output.content
    assert "sk-secret" not in output.content


async def test_what_cannot_start_costs_a_warning_with_cause_and_log_and_nothing_else(
    mcp: McpPool, odd: Odd, state: Path
) -> None:
    python = sys.executable
    crash = "import sys; sys.exit('no database')"
    found = await mcp.tools(
        [
            McpServer(name="missing", command="no-such-program-here"),
            McpServer(name="crash", command=python, args=("-I", "-S", "-c", crash)),
            McpServer(name="nowhere", command=python, cwd="/no/such/directory"),
            McpServer(name="hangs", command=python, args=("-I", "-c", SLOW_START), timeout=1),
            McpServer(name="unreachable", url="http://127.0.0.1:9/mcp"),
            McpServer(name="unreachable-sse", url="http://127.0.0.1:9/sse", transport="sse"),
            odd.spec(),
        ]
    )
    assert {tool.spec.source for tool in found.tools} == {"mcp:odd"}
    causes = {
        "missing": "cannot start 'no-such-program-here': No such file or directory",
        "crash": "no database",
        "nowhere": "/no/such/directory",
        "hangs": "did not answer within 1 s",
        "unreachable": "ConnectError",
        "unreachable-sse": "ConnectError",
    }
    assert len(found.warnings) == len(causes)
    for warning, (name, cause) in zip(found.warnings, causes.items(), strict=True):
        assert warning.startswith(f"MCP server '{name}' (")
        assert cause in warning
        assert f"its log is {state / 'mcp' / name}.log" in warning
        assert (state / "mcp" / f"{name}.log").exists()
    states = {each.name: (each.state, each.tools) for each in mcp.status()}
    assert states["crash"] == ("failed", 0)
    assert states["odd"] == ("open", len(found.tools))


async def test_a_server_that_failed_is_tried_again_at_the_next_run(
    mcp: McpPool, odd: Odd, tmp_path: Path
) -> None:
    script = tmp_path / "late.py"
    spec = odd.spec(args=(str(script), str(odd.directory)))
    assert (await mcp.tools([spec])).tools == []
    script.write_text((Path(__file__).with_name("odd_server.py")).read_text())
    assert (await mcp.tools([spec])).tools != []


async def test_servers_start_together(mcp: McpPool, tmp_path: Path) -> None:
    # Each waits, before it speaks, for the other to have been started.
    odd_server = Path(__file__).with_name("odd_server.py")
    wait = (
        "import sys, time, pathlib, runpy\n"
        "mine, other = (pathlib.Path(p) for p in sys.argv[1:3])\n"
        "(mine / 'here').touch()\n"
        "while not (other / 'here').exists(): time.sleep(0.02)\n"
        f"sys.argv = ['odd', str(mine)]; runpy.run_path({str(odd_server)!r})\n"
    )
    places = [str(tmp_path / name) for name in ("a", "b")]
    for place in places:
        Path(place).mkdir()
    specs = [
        McpServer(name=name, command=sys.executable, args=("-I", "-c", wait, *order), timeout=30)
        for name, order in (("a", places), ("b", places[::-1]))
    ]
    tools = await offered(mcp, *specs)
    assert {tool.spec.source for tool in tools.values()} == {"mcp:a", "mcp:b"}


async def test_names_that_collide_are_an_error_that_names_both(mcp: McpPool, odd: Odd) -> None:
    tools = (await mcp.tools([odd.spec(name="a b"), odd.spec(name="a_b")])).tools
    with pytest.raises(ConfigurationError, match=r"from mcp:a b, one from mcp:a_b"):
        check_unique([tool.spec for tool in tools])
    with pytest.raises(ConfigurationError, match="two different MCP servers are called 'odd'"):
        await mcp.tools([odd.spec(), odd.spec(timeout=5)])


async def test_the_log_has_what_the_server_says_and_is_bounded(
    mcp: McpPool, odd: Odd, run: Run, state: Path
) -> None:
    log = state / "mcp" / "odd.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n" * 300_000)
    tools = await offered(mcp, odd.spec())
    await run.call(tools["odd__broken_json"])
    text = log.read_text()
    assert "odd server at your service" in text
    assert "[sdk] error: Failed to parse JSONRPC message" in text
    assert len(text) < 10_000
    [status] = mcp.status()
    assert status.log == str(log)
    assert status.transport == "stdio"
    assert status.latency is not None
    assert 0 < status.latency < 30


async def test_closing_ends_the_process_and_the_next_run_starts_another(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    old = odd.pid
    begun = time.monotonic()
    call = asyncio.create_task(run.call(tools["odd__silent"]))
    await until(lambda: odd.noted("calls") == ["silent"])
    await mcp.close("odd")
    assert not alive(old)
    assert time.monotonic() - begun < 20
    with pytest.raises(ToolError):
        await call
    assert mcp.status() == []
    await offered(mcp, odd.spec())
    assert alive(odd.pid)


async def test_closing_while_a_server_starts_ends_the_start(mcp: McpPool) -> None:
    hangs = McpServer(name="hangs", command=sys.executable, args=("-I", "-c", SLOW_START))
    starting = asyncio.create_task(mcp.tools([hangs]))
    await until(lambda: [each.state for each in mcp.status()] == ["connecting"])
    await mcp.close()
    [warning] = (await starting).warnings
    assert "the connection was closed" in warning


async def test_a_server_that_died_between_runs_is_started_again(
    mcp: McpPool, odd: Odd, run: Run
) -> None:
    tools = await offered(mcp, odd.spec())
    os.kill(odd.pid, signal.SIGKILL)
    await until(lambda: mcp.status()[0].state == "closed")
    assert (await run.call(tools["odd__count"])).content == "count done"
    assert odd.noted("starts") == ["x", "x"]
