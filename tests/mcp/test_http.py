"""What the network does to calls over streamable HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from aof_nb import McpServer
from aof_nb.errors import OutcomeUnknown, ToolError
from aof_nb.mcp.pool import McpPool
from tests.mcp.conftest import Run, offered
from tests.mcp.odd_http import BIG, OddHttp


@pytest.fixture
def odd_http() -> Iterator[OddHttp]:
    server = OddHttp()
    yield server
    server.close()


def spec(server: OddHttp, **more: Any) -> McpServer:
    return McpServer(name="odd", url=server.url, **more)


async def test_headers_are_sent_with_each_request(
    mcp: McpPool, odd_http: OddHttp, run: Run
) -> None:
    tools = await offered(mcp, spec(odd_http, headers={"Authorization": "Bearer t"}))
    await run.call(tools["odd__ok"])
    assert {headers["authorization"] for headers in odd_http.headers} == {"Bearer t"}


@pytest.mark.parametrize("how", ["die", "cut", "status_502", "status_500"])
async def test_a_write_whose_answer_is_lost_has_an_unknown_outcome_and_is_not_repeated(
    mcp: McpPool, odd_http: OddHttp, run: Run, how: str
) -> None:
    tools = await offered(mcp, spec(odd_http))
    with pytest.raises(OutcomeUnknown):
        await run.call(tools[f"odd__{how}"])
    assert odd_http.calls == [how]
    assert (await run.call(tools["odd__ok"])).content == "ok"


@pytest.mark.parametrize("how", ["die", "cut", "status_502", "status_500"])
async def test_a_read_whose_answer_is_lost_is_repeated_once(
    mcp: McpPool, odd_http: OddHttp, run: Run, how: str
) -> None:
    tools = await offered(mcp, spec(odd_http))
    with pytest.raises(ToolError) as caught:
        await run.call(tools[f"odd__read_{how}"])
    assert not isinstance(caught.value, OutcomeUnknown)
    assert odd_http.calls == [f"read_{how}"] * 2


async def test_an_answer_may_be_large(mcp: McpPool, odd_http: OddHttp, run: Run) -> None:
    tools = await offered(mcp, spec(odd_http))
    assert len((await run.call(tools["odd__big"])).content) == BIG


@pytest.mark.parametrize("how", ["cut", "status_502"])
async def test_an_answer_that_is_lost_alone_does_not_end_the_session(
    mcp: McpPool, odd_http: OddHttp, run: Run, how: str
) -> None:
    tools = await offered(mcp, spec(odd_http))
    with pytest.raises(OutcomeUnknown):
        await run.call(tools[f"odd__{how}"])
    assert [status.state for status in mcp.status()] == ["open"]
    await run.call(tools["odd__ok"])
    assert odd_http.sessions == ["session-0"]


async def test_a_forgotten_session_is_opened_again_and_the_write_made_once(
    mcp: McpPool, odd_http: OddHttp, run: Run
) -> None:
    tools = await offered(mcp, spec(odd_http))
    odd_http.forget()
    assert (await run.call(tools["odd__ok"])).content == "ok"
    assert odd_http.calls == ["ok"]
    assert odd_http.sessions == ["session-0", "session-1"]


@pytest.mark.parametrize("status", [401, 403, 503])
async def test_a_server_that_refuses_us_says_so_in_the_warning(
    mcp: McpPool, odd_http: OddHttp, status: int
) -> None:
    odd_http.refuse_with = status
    url = f"{odd_http.url}?token=secret"
    [warning] = (await mcp.tools([McpServer(name="odd", url=url)])).warnings
    assert f"it answered with HTTP status {status}" in warning
    assert odd_http.url in warning
    assert "secret" not in warning


async def test_a_server_that_does_not_say_goodbye_does_not_hold_us(
    mcp: McpPool, odd_http: OddHttp
) -> None:
    odd_http.goodbye_seconds = 30
    await offered(mcp, spec(odd_http))
    begun = time.monotonic()
    await mcp.close()
    assert time.monotonic() - begun < 15
