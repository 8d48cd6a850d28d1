"""Runbooks as MCP tools, through the official client."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    ImageContent,
    InputRequiredResult,
    ResourceLink,
    ToolListChangedNotification,
)

from aof_nb import Agent, McpServer
from aof_nb.errors import ConfigurationError
from aof_nb.events import ToolFinished, ToolProgress
from aof_nb.mcp.pool import pool
from aof_nb.runbooks.mcp_server import RunbookServer
from aof_nb.runbooks.mcp_transports import is_loopback, serve_http
from tests.notebooks import printed, write_notebook
from tests.runbooks.test_run import ASK, WAIT, alive, pids

PIXEL = bytes.fromhex("89504e470d0a1a0a")
LEGACY, MODERN = "legacy", "auto"
ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])


@pytest.fixture
def books(tmp_path: Path) -> Path:
    directory = tmp_path / "books"
    directory.mkdir()
    return directory


@contextlib.asynccontextmanager
async def connected(books: Path, era: str = MODERN, **options: Any) -> AsyncGenerator[Client]:
    """A client of a server in this process."""
    client = {
        name: options.pop(name)
        for name in ("elicitation_callback", "message_handler")
        if name in options
    }
    server = RunbookServer(books, runs=books.parent / "kept", **options)
    async with Client(server, mode=era, **client) as connection:
        yield connection


def text(result: CallToolResult) -> str:
    assert result.content[0].type == "text"
    return result.content[0].text


@ERAS
async def test_a_call_runs_the_notebook_and_tells_how_far_it_is(books: Path, era: str) -> None:
    write_notebook(
        books / "count.ipynb",
        "md:# Count",
        "print(replicas + 1, repr(version))",
        parameters="replicas = 1\nversion = None  # of what",
    )
    told: list[tuple[float, float | None, str | None]] = []

    async def progressed(done: float, total: float | None, message: str | None) -> None:
        told.append((done, total, message))

    async with connected(books, era) as client:
        assert client.protocol_version == ("2026-07-28" if era == MODERN else "2025-11-25")
        [tool] = (await client.list_tools()).tools
        assert (tool.name, tool.title) == ("count", "Count")
        assert tool.input_schema["required"] == ["version"]
        result = await client.call_tool(
            "count", {"replicas": 4, "version": "1.10"}, progress_callback=progressed
        )
        assert not result.is_error
        assert text(result).endswith("\n\n5 '1.10'")
        said = result.structured_content
        assert (said["status"], said["text"], said["refused"]) == ("completed", "5 '1.10'", [])
        assert printed(Path(said["notebook"])) == "5 '1.10'\n"
        assert [(total, message) for _, total, message in told] == [
            (4, "replicas = 1"),
            (4, "Parameters"),
            (4, "Count"),
            (4, "Count"),
        ]
        assert [done for done, _, _ in told] == [1, 2, 3, 4]
        listed = {each.uri for each in (await client.list_resources()).resources}
        links = {each.uri: each for each in result.content if isinstance(each, ResourceLink)}
        assert links.keys() == listed
        assert said["report"] in listed
        for uri, kind, part in (
            (f"runbook://runs/{said['run_id']}.md", "text/markdown", "# Count"),
            (f"runbook://runs/{said['run_id']}.html", "text/html", "<html"),
            (f"runbook://runs/{said['run_id']}.ipynb", "application/x-ipynb+json", '"cells"'),
        ):
            [contents] = (await client.read_resource(uri)).contents
            assert contents.mime_type == kind
            assert "1.10" in contents.text
            assert part in contents.text
    assert oct((books.parent / "kept").stat().st_mode & 0o777) == "0o700"


async def test_reports_outlive_the_server_and_nothing_else_can_be_read(books: Path) -> None:
    kept = books.parent / "kept"
    kept.mkdir()
    (kept / "old-1.html").write_text("<html>old")
    (books.parent / "secret.html").write_text("secret")
    async with connected(books) as client:
        listed = [each.uri for each in (await client.list_resources()).resources]
        assert listed == ["runbook://runs/old-1.md", "runbook://runs/old-1.html"]
        [contents] = (await client.read_resource(listed[1])).contents
        assert contents.text == "<html>old"
        templates = (await client.list_resource_templates()).resource_templates
        assert "runbook://runs/{run_id}.md" in {each.uri_template for each in templates}
        for uri in (
            "runbook://runs/../secret.html",
            "runbook://runs/..%2Fsecret.html",
            "runbook://runs/gone.html",
            "runbook://runs/old-1.txt",
            "runbook://runs/old-1.md",
            f"file://{books.parent}/secret.html",
        ):
            with pytest.raises(MCPError, match="there is no resource"):
                await client.read_resource(uri)


async def test_what_cells_marked_as_result_show_is_the_result(books: Path) -> None:
    write_notebook(
        books / "look.ipynb",
        "print('not this')",
        "from IPython.display import JSON, Image, Markdown\n"
        f"display(Markdown('**full**'), JSON({{'used': 9}}), Image({PIXEL!r}, format='png'))\n"
        "print('\\x1b[31mred\\x1b[0m')",
        "print('nor this')",
        tags={1: ["result"]},
        aof={"title": "Look"},
    )
    async with connected(books) as client:
        result = await client.call_tool("look")
    assert text(result).startswith("Look: completed in ")
    assert result.structured_content["text"] == "**full**\n\nred"
    assert result.structured_content["data"] == {"used": 9}
    [image] = [each for each in result.content if isinstance(each, ImageContent)]
    assert base64.b64decode(image.data) == PIXEL


async def test_a_failure_names_the_cell_and_says_what_there_was(books: Path) -> None:
    write_notebook(
        books / "fall.ipynb", "print('before')", "md:## Fall", "raise ValueError('too far')", aof={}
    )
    async with connected(books) as client:
        result = await client.call_tool("fall")
        assert result.is_error
        assert text(result).startswith("Fall: cell 2 (Fall) failed: ValueError: too far")
        said = result.structured_content
        assert (said["status"], said["text"]) == ("failed", "before")
        assert said["error"] == {
            "cell": 2,
            "title": "Fall",
            "error": "ValueError",
            "message": "too far",
        }
        [report] = (await client.read_resource(said["report"])).contents
        assert "too far" in report.text


async def test_a_runbook_s_time_limit_holds(books: Path) -> None:
    write_notebook(books / "slow.ipynb", "import time; time.sleep(1000)", aof={"time_limit": "12s"})
    async with connected(books) as client:
        result = await client.call_tool("slow")
    assert result.is_error
    assert "not done after its time limit of 12 s" in text(result)
    assert result.structured_content["status"] == "timeout"


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("count", {"replicas": "many", "name": "x"}, r"'replicas' takes an int.*its default is 1"),
        ("count", {"replica": 1, "name": "x"}, "did you mean 'replicas'"),
        ("count", {"replicas": 2}, r"count needs a value for 'name' \(name: of what\)"),
        ("count", {"replicas": 0, "name": "x"}, "expected int >= 1"),
        ("plain", {"replicas": 0}, "there is no parameter 'replicas'|takes no parameters"),
    ],
)
async def test_wrong_arguments_are_told_with_a_remedy_and_nothing_runs(
    books: Path, tool: str, arguments: dict[str, Any], said: str
) -> None:
    write_notebook(
        books / "count.ipynb",
        "1",
        parameters="replicas: Annotated[int, Ge(1)] = 1\nname = None  # of what",
    )
    write_notebook(books / "plain.ipynb", "1", aof={})
    async with connected(books) as client:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        assert re.search(said, text(result))
        with pytest.raises(MCPError, match="did you mean 'count'"):
            await client.call_tool("conut", {})
    assert list((books.parent / "kept").iterdir()) == []


Reply = Callable[[ElicitRequestParams], ElicitResult]


def replying(*answers: ElicitResult) -> Any:
    """An elicitation callback that answers in turn, and notes what it was asked."""
    waiting = list(answers)

    async def answer(_: Any, params: ElicitRequestParams) -> ElicitResult:
        answer.asked.append(params.message)  # type: ignore[attr-defined]
        return waiting.pop(0)

    answer.asked = []  # type: ignore[attr-defined]
    return answer


YES = ElicitResult(action="accept", content={"decision": "once"})
NO = ElicitResult(action="accept", content={"decision": "no"})


@ERAS
async def test_the_client_s_user_is_asked_for_approvals(books: Path, era: str) -> None:
    write_notebook(
        books / "ask.ipynb",
        ASK,
        ASK,
        ASK,
        aof={},
        tags={0: ["result"], 1: ["result"], 2: ["result"]},
    )
    replies = replying(YES, NO, ElicitResult(action="cancel"))
    async with connected(books, era, approve="ask", elicitation_callback=replies) as client:
        result = await client.call_tool("ask")
    assert result.structured_content["text"].split("\n\n") == [
        "approved: True",
        "approved: False",
        "approved: False",
    ]
    assert replies.asked[0] == (
        "The runbook ask wants to call restart (write)\nIt changes something.\n  service: web"
    )
    assert len(result.structured_content["refused"]) == 2


@pytest.mark.parametrize("approve", ["ask", "never"])
async def test_where_nobody_can_be_asked_the_result_says_what_was_refused(
    books: Path, approve: Any
) -> None:
    write_notebook(books / "ask.ipynb", ASK, aof={})
    async with connected(books, approve=approve) as client:
        result = await client.call_tool("ask")
    assert not result.is_error
    assert "needed an approval: restart(service=web)" in text(result)
    assert result.structured_content["text"] == "approved: False"
    assert result.structured_content["refused"] == [
        {"tool": "restart", "arguments": {"service": "web"}}
    ]


async def test_only_the_same_call_goes_on_with_a_run_that_waits(books: Path) -> None:
    write_notebook(books / "ask.ipynb", ASK, parameters="x = 1")
    async with connected(books, approve="ask", elicitation_callback=replying()) as client:
        first = await client.session.call_tool("ask", {"x": 2}, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        state = first.request_state
        for token, arguments in ((state, {"x": 3}), ("guessed", {"x": 2})):
            with pytest.raises(MCPError, match="no such run that waits"):
                await client.session.call_tool("ask", arguments, request_state=token)
        result = await client.session.call_tool(
            "ask", {"x": 2}, request_state=state, input_responses={"approval": YES}
        )
        assert isinstance(result, CallToolResult)
        assert result.structured_content["text"] == "approved: True"
        with pytest.raises(MCPError, match="no such run that waits"):
            await client.session.call_tool("ask", {"x": 2}, request_state=state)


async def test_a_question_that_nobody_comes_back_to_is_answered_no(
    books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aof_nb.runbooks.served_run.PATIENCE", 0.1)
    write_notebook(books / "ask.ipynb", ASK, aof={})
    async with connected(books, approve="ask", elicitation_callback=replying()) as client:
        first = await client.session.call_tool("ask", {}, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        await asyncio.sleep(0.5)
        result = await client.session.call_tool(
            "ask", {}, request_state=first.request_state, input_responses={"approval": YES}
        )
    assert isinstance(result, CallToolResult)
    assert result.structured_content["text"] == "approved: False"


async def test_several_runs_at_once_share_the_places_there_are(
    books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aof_nb.runbooks.served_run.HEARTBEAT", 0.2)
    write_notebook(
        books / "turn.ipynb",
        "import pathlib, time\n"
        "mine = pathlib.Path(f'run-{number}')\n"
        "mine.touch()\n"
        "others = len(list(pathlib.Path().glob('run-*')))\n"
        "time.sleep(1)\n"
        "mine.unlink()\n"
        "print(number, others)",
        parameters="number = 0",
    )
    told: dict[int, list[float]] = {number: [] for number in range(3)}

    async with connected(books, concurrency=2) as client:

        async def call(number: int) -> str:
            async def progressed(done: float, _total: float | None, _message: str | None) -> None:
                told[number].append(done)

            result = await client.call_tool(
                "turn", {"number": number}, progress_callback=progressed
            )
            return str(result.structured_content["text"])

        results = await asyncio.gather(*(call(number) for number in range(3)))
    assert [each.split()[0] for each in results] == ["0", "1", "2"]
    assert max(int(each.split()[1]) for each in results) <= 2
    for steps in told.values():
        # The client hears of it while a cell runs, and each time more.
        assert len(steps) > 4
        assert steps == sorted(set(steps))
        assert steps[-1] == 4


@ERAS
async def test_clients_are_told_when_the_runbooks_change(
    books: Path, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aof_nb.runbooks.mcp_server.WATCH", 0.05)
    write_notebook(books / "one.ipynb", "1", aof={})
    changed = asyncio.Event()

    async def noticed(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    async with connected(books, era, message_handler=noticed) as client:
        assert [each.name for each in (await client.list_tools()).tools] == ["one"]
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed
        async with contextlib.AsyncExitStack() as stack:
            if era == MODERN:
                told = await stack.enter_async_context(client.listen(tools_list_changed=True))
            await asyncio.sleep(0.2)
            write_notebook(books / "two.ipynb", "1", aof={})
            async with asyncio.timeout(30):
                await (anext(aiter(told)) if era == MODERN else changed.wait())
        assert [each.name for each in (await client.list_tools()).tools] == ["one", "two"]


@contextlib.asynccontextmanager
async def over_http(
    books: Path, *, token: str | None = None, **options: Any
) -> AsyncGenerator[str]:
    """A server of this process's that listens on a port of its own; its URL."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = RunbookServer(books, runs=books.parent / "kept")
    serving = asyncio.create_task(
        serve_http(server, port=0, token=token, on_listening=listening.set_result, **options)
    )
    await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await listening
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def over_stdio(books: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "aof_nb.cli", "mcp", "serve", str(books), "--runs", str(books.parent / "kept")],
        env=dict(os.environ),
    )


async def gone(started: list[int]) -> None:
    async with asyncio.timeout(60):
        while any(alive(pid) for pid in started):
            await asyncio.sleep(0.05)


@ERAS
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_cancelled_call_leaves_no_kernel(books: Path, era: str, transport: str) -> None:
    write_notebook(books / "wait.ipynb", WAIT, "print('never')", aof={})
    write_notebook(books / "next.ipynb", "print('well')", aof={})
    async with contextlib.AsyncExitStack() as stack:
        place: Any = (
            over_stdio(books)
            if transport == "stdio"
            else await stack.enter_async_context(over_http(books))
        )
        client = await stack.enter_async_context(Client(place, mode=era))
        calling = asyncio.create_task(client.call_tool("wait"))
        started = await pids(books)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await gone(started)
        assert (await client.call_tool("next")).structured_content["text"] == "well"
    [kept] = (books.parent / "kept").glob("wait-*.ipynb")
    assert printed(kept) == "put away\n"


async def test_a_stopped_server_ends_its_runs_and_says_so(books: Path) -> None:
    write_notebook(books / "wait.ipynb", WAIT, aof={})
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(over_http(books))
        async with Client(url, mode=MODERN) as client:
            calling = asyncio.create_task(client.call_tool("wait"))
            started = await pids(books)
            await stack.aclose()
            assert not any(alive(pid) for pid in started)
            result = await calling
    assert result.is_error
    assert text(result) == "the server was stopped, and the run with it"


async def test_http_wants_its_token_and_its_own_name(books: Path) -> None:
    write_notebook(books / "one.ipynb", "1", aof={})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with over_http(books, token="sesame", allowed_hosts=["runbooks.example"]) as url:
        async with httpx2.AsyncClient() as http:

            async def status(**headers: str) -> int:
                return (await http.post(url, json=body, headers=headers)).status_code

            right = {"Authorization": "Bearer sesame"}
            assert await status() == 401
            assert await status(Authorization="Bearer sesam") == 401
            assert await status(**right, Host="evil.example") == 421
            assert await status(**right, Origin="https://evil.example") == 403
            known = await status(
                **right, Host="runbooks.example", Origin="https://runbooks.example"
            )
            assert known not in {401, 403, 421}
        async with (
            httpx2.AsyncClient(headers={"Authorization": "Bearer sesame"}) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            assert [each.name for each in (await client.list_tools()).tools] == ["one"]


async def test_a_port_that_is_taken_is_said(books: Path) -> None:
    async with over_http(books) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1, port {port}"):
            await serve_http(RunbookServer(books, runs=books.parent / "kept"), port=port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False)),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


async def test_our_own_agents_call_runbooks(books: Path, tmp_path: Path) -> None:
    write_notebook(
        books / "usage.ipynb",
        "print(f'{volume} is 91 % full')",
        parameters="volume = 'data'",
        aof={"effect": "read"},
    )
    playbook = tmp_path / "look.yaml"
    playbook.write_text(
        "steps:\n"
        "- id: usage\n"
        "  call: {tool: books__usage, arguments: {volume: logs}}\n"
        "- answer: '{{ results.usage.content.splitlines()[2] }}'\n"
    )
    parameters = over_stdio(books)
    server = McpServer(
        name="books",
        command=parameters.command,
        args=tuple(parameters.args),
        env={"AOF_STATE_DIR": str(tmp_path / "state")},
    )
    agent = Agent(name="sre", model=f"script:{playbook}", mcp_servers=[server])
    events = [event async for event in agent.stream("how full?", approve="never")]
    [finished] = [event for event in events if isinstance(event, ToolFinished)]
    progress = [event for event in events if isinstance(event, ToolProgress)]
    await pool().close()
    assert finished.data["text"] == "logs is 91 % full"
    assert events[-1].text == "logs is 91 % full"
    assert [event.total for event in progress] == [4.0] * 4
