"""Resources, prompts and pings, of servers of the old protocol and the new."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aof_nb import McpServer
from aof_nb.errors import McpError
from aof_nb.mcp.browsing import (
    PromptArgument,
    get_prompt,
    ping,
    prompts,
    read_resource,
    resources,
)
from aof_nb.mcp.pool import McpPool
from tests.mcp.conftest import Odd

TESTS = Path(__file__).parents[1]


@pytest.fixture
def library(tmp_path: Path) -> McpServer:
    program = TESTS / "notebook" / "console" / "library_server.py"
    return McpServer(name="library", command=sys.executable, args=(str(program), str(tmp_path)))


async def test_resources_and_prompts_are_listed_and_read(mcp: McpPool, library: McpServer) -> None:
    found = {each.uri: each for each in await resources(mcp, library)}
    assert found["note://runbook"].mime_type == "text/plain"
    assert found["note://{topic}/page"].template
    assert not found["note://blob"].template
    [part] = await read_resource(mcp, library, "note://disks/page")
    assert (part.title, part.text) == ("note://disks/page", "about disks")
    [blob] = await read_resource(mcp, library, "note://blob")
    assert blob.text == "[application/octet-stream, 1,234 bytes]"
    [prompt] = await prompts(mcp, library)
    assert prompt.arguments == (
        PromptArgument(name="alert", required=True),
        PromptArgument(name="tone"),
    )
    assert prompt.schema["required"] == ["alert"]
    [said] = await get_prompt(mcp, library, "triage", {"alert": "disk"})
    assert (said.title, said.text) == ("user", "Triage disk, calm.")


async def test_what_is_not_there_is_an_error_of_the_server(
    mcp: McpPool, library: McpServer
) -> None:
    with pytest.raises(McpError, match="MCP server 'library' says: "):
        await read_resource(mcp, library, "note://none")
    with pytest.raises(McpError, match="MCP server 'library' says: "):
        await get_prompt(mcp, library, "triage", {})


async def test_a_server_with_tools_alone_has_neither(mcp: McpPool, odd: Odd) -> None:
    assert await resources(mcp, odd.spec()) == []
    assert await prompts(mcp, odd.spec()) == []
    assert odd.noted("lists") == []


async def test_a_server_answers_a_ping_even_if_it_does_not_know_the_word(
    mcp: McpPool, odd: Odd, library: McpServer
) -> None:
    assert 0 < await ping(mcp, odd.spec()) < 20
    assert 0 < await ping(mcp, library) < 20


async def test_a_server_that_is_gone_is_started_again_for_what_may_be_repeated(
    mcp: McpPool, odd: Odd
) -> None:
    await ping(mcp, odd.spec())
    first = odd.pid
    await mcp.close("odd")
    assert await ping(mcp, odd.spec()) > 0
    assert odd.pid != first


async def test_a_server_that_does_not_start_says_where_its_log_is(mcp: McpPool) -> None:
    nowhere = McpServer(name="nowhere", command="/no/such/program")
    with pytest.raises(McpError, match="cannot be used") as caught:
        await ping(mcp, nowhere)
    assert "its log is" in caught.value.remedy
    status = mcp.status_of(nowhere)
    assert status is not None
    assert status.state == "failed"
    assert mcp.status_of(McpServer(name="nowhere", command="/other")) is None
