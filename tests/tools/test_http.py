"""The HTTP tool reaches what it may, and nothing private by any spelling or detour."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ToolError
from aof_nb.ports import Effect
from aof_nb.tools.http import HttpTool, is_public
from tests.tools.calls import call

OPEN = HttpTool(allow_private=True, methods=["GET", "HEAD", "POST"])


async def show(request: web.Request) -> web.Response:
    seen = {
        "method": request.method,
        "path": request.path_qs,
        "auth": request.headers.getall("Authorization", []),
        "team": request.headers.getall("X-Team", []),
        "body": await request.text(),
    }
    return web.json_response(seen)


async def redirect(request: web.Request) -> web.Response:
    status = int(request.query.get("status", 302))
    return web.Response(status=status, headers={"Location": request.query["to"]})


async def again(request: web.Request) -> web.Response:
    raise web.HTTPFound("/again")


async def answer(request: web.Request) -> web.StreamResponse:
    kind = request.match_info["kind"]
    if kind == "binary":
        return web.Response(body=b"\x89PNG\0\1\2", content_type="image/png")
    if kind == "latin":
        return web.Response(
            body="é".encode("latin-1"), headers={"Content-Type": "text/x; charset=latin-1"}
        )
    if kind == "charset":
        return web.Response(body=b"ok", headers={"Content-Type": "text/plain; charset=nonsense"})
    if kind == "bomb":
        body = gzip.compress(b"x" * 50_000_000)
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})
    if kind == "slow":
        await asyncio.sleep(60)
    if kind == "endless":
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"y" * 65536)
        return response
    return web.Response(status=503, text="overloaded")


@pytest.fixture
async def server() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/show", show)
    app.router.add_route("*", "/redirect", redirect)
    app.router.add_route("*", "/again", again)
    app.router.add_route("*", "/answer/{kind}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_request_and_its_answer(server: str) -> None:
    tool = HttpTool(
        allow_private=True, methods=["POST"], headers={"Authorization": "t", "X-Team": "a"}
    )
    output = await call(tool, url=f"{server}/show?a=b c", body="hi", headers={"x-team": "sre"})
    assert output.content.startswith("HTTP 200 OK application/json; charset=utf-8\n\n{")
    assert (output.is_error, output.data["status"]) == (False, 200)
    for said in [
        '"method": "POST"',
        '"/show?a=b+c"',
        '"auth": ["t"]',
        '"team": ["sre"]',
        '"body": "hi"',
    ]:
        assert said in output.content


async def test_a_failure_of_the_server_is_an_error_with_its_body(server: str) -> None:
    output = await call(OPEN, url=f"{server}/answer/down")
    assert output.is_error
    assert output.content.startswith("HTTP 503 Service Unavailable")
    assert output.content.endswith("overloaded")


@pytest.mark.parametrize(
    ("kind", "content"),
    [("binary", "(7 bytes of image/png)"), ("latin", "é"), ("charset", "ok")],
)
async def test_bodies_that_are_not_utf8(server: str, kind: str, content: str) -> None:
    output = await call(OPEN, url=f"{server}/answer/{kind}")
    assert output.content.partition("\n\n")[2] == content


@pytest.mark.parametrize("kind", ["bomb", "endless"])
async def test_a_long_body_is_cut(server: str, kind: str) -> None:
    output = await call(OPEN, url=f"{server}/answer/{kind}")
    assert output.content.endswith("\n[cut after 2,000,000 bytes]")
    assert len(output.content) < 2_001_000


async def test_time_is_over(server: str) -> None:
    with pytest.raises(ToolError, match=r"No answer within 0\.2 s"):
        await call(HttpTool(allow_private=True, timeout=0.2), url=f"{server}/answer/slow")


async def test_methods(server: str) -> None:
    with pytest.raises(ToolError, match=r"DELETE is not allowed\. Allowed: GET, HEAD"):
        await call(HttpTool(allow_private=True), url=f"{server}/show", method="delete")
    output = await call(HttpTool(allow_private=True), url=f"{server}/show", method="head")
    assert output.content.startswith("HTTP 200")
    assert HttpTool().spec.effect is Effect.READ
    assert HttpTool(methods=["get", "options"]).spec.effect is Effect.READ
    assert OPEN.spec.effect is Effect.WRITE
    assert OPEN.spec.input_schema["properties"]["method"]["enum"] == ["GET", "HEAD", "POST"]


async def test_redirects_are_followed(server: str) -> None:
    for status, method in [(302, "POST"), (303, "GET"), (307, "POST"), (308, "POST")]:
        url = f"{server}/redirect?status={status}&to=/show"
        output = await call(OPEN, url=url, method="POST", body="x")
        assert f'"method": "{method}"' in output.content
    with pytest.raises(ToolError, match="More than 5 redirects"):
        await call(OPEN, url=f"{server}/again")


async def test_credentials_stay_with_their_origin(server: str) -> None:
    tool = HttpTool(allow_private=True, headers={"Authorization": "t"})
    elsewhere = server.replace("127.0.0.1", "localhost")
    same = await call(tool, url=f"{server}/redirect?to={server}/show")
    assert '"auth": ["t"]' in same.content
    other = await call(tool, url=f"{server}/redirect?to={elsewhere}/show")
    assert '"auth": []' in other.content
    back = quote(f"{elsewhere}/redirect?to={server}/show", safe="")
    assert '"auth": []' in (await call(tool, url=f"{server}/redirect?to={back}")).content


SPELLINGS = [
    "127.0.0.1",
    "localhost",
    "LOCALHOST",
    "user@127.0.0.1",
    "0x7f.1",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::127.0.0.1]",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127.0.0.1.",
    "public.example@127.0.0.1",
    "public.example\\@127.0.0.1",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_leads_to_a_private_address(server: str, host: str) -> None:
    port = server.rpartition(":")[2]
    with pytest.raises(ToolError):
        await call(HttpTool(), url=f"http://{host}:{port}/show")


async def test_a_redirect_does_not_lead_to_a_private_address(server: str) -> None:
    tool = HttpTool(allow_hosts=["LocalHost"])
    url = server.replace("127.0.0.1", "localhost")
    assert "HTTP 200" in (await call(tool, url=f"{url}/show")).content
    with pytest.raises(ToolError, match=r"is at 127\.0\.0\.1, a private address") as caught:
        await call(tool, url=f"{url}/redirect?to={server}/show")
    assert "allow_hosts" in caught.value.remedy
    with pytest.raises(ToolError, match="is not an http or https address"):
        await call(OPEN, url=f"{server}/redirect?to=file:///etc/passwd")


async def test_a_name_does_not_lead_to_a_private_address(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not one that has public addresses at first, or besides."""
    port = int(server.rpartition(":")[2])
    mapped: Any = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:7f00:1", port, 0, 0))
    private: Any = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    for addresses in ([private], [mapped], [private, mapped]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=addresses, **__: found)
        with pytest.raises(ToolError, match="a private address"):
            await call(HttpTool(), url=f"http://public.example:{port}/show")
        opened = HttpTool(allow_hosts=["public.example"])
        assert "HTTP 200" in (await call(opened, url=f"http://public.example:{port}/show")).content


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/show", "", "ftp://x.example/", "http://", "http://[::1", "x:y"]
)
async def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ToolError):
        await call(OPEN, url=url)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ToolError, match="The request failed: Cannot connect"):
            await call(OPEN, url=f"http://127.0.0.1:{taken.getsockname()[1]}/")


async def test_a_header_cannot_smuggle_another(server: str) -> None:
    with pytest.raises(ToolError, match="The request failed"):
        await call(OPEN, url=f"{server}/show", headers={"X-Team": "a\r\nAuthorization: t"})


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address: Any) -> None:
    low = f"{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
    judged = is_public(str(address))
    assert judged == (address.is_global and not address.is_multicast)
    for spelling in (f"::ffff:{low}", f"64:ff9b::{low}", f"2002:{low}::1"):
        assert is_public(spelling) == judged
    assert not is_public(f"::{low}")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("2606:4700::1111", True),
        ("8.8.8.8", True),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("224.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
