"""The HTTP tool. Private addresses are out of its reach unless they are opened."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aof_nb.errors import ToolError
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec

if TYPE_CHECKING:
    import aiohttp
    from aiohappyeyeballs import AddrInfoType, SocketFactoryType
    from yarl import URL

_MOST_BYTES = 2_000_000
_MOST_REDIRECTS = 5
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class HttpTool:
    """Makes HTTP requests.

    Each address is checked when a socket to it is opened, so that no spelling of an address,
    name, redirect or second look-up leads to a private one.

    Args:
        methods: The methods allowed. With more than GET, HEAD and OPTIONS its effect is write.
        allow_private: Whether loopback, private and link-local addresses may be reached.
        allow_hosts: Hosts that may be reached although their addresses are private.
        headers: Sent with each request.
        timeout: Seconds a request may take.
    """

    def __init__(
        self,
        *,
        methods: Sequence[str] = ("GET", "HEAD"),
        allow_private: bool = False,
        allow_hosts: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._methods = tuple(method.upper() for method in methods)
        self._allow_private = allow_private
        self._allow_hosts = frozenset(host.lower() for host in allow_hosts)
        self._headers = dict(headers or {})
        self._timeout = timeout
        text: dict[str, Any] = {"type": "string"}
        self.spec = ToolSpec(
            name="http",
            description="Makes an HTTP request and returns its status, headers and body.",
            input_schema={
                "type": "object",
                "properties": {
                    "url": text | {"description": "An http or https address."},
                    "method": {"enum": list(self._methods), "default": self._methods[0]},
                    "headers": {"type": "object", "additionalProperties": text},
                    "body": text,
                },
                "required": ["url"],
                "additionalProperties": False,
            },
            effect=Effect.READ if _READ_METHODS.issuperset(self._methods) else Effect.WRITE,
            source="built-in",
            sends=True,
        )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Makes the request; a status of 400 and above is an error with the body."""
        import aiohttp

        method = str(arguments.get("method") or self._methods[0]).upper()
        if method not in self._methods:
            raise ToolError(f"{method} is not allowed. Allowed: {', '.join(self._methods)}.")
        try:
            async with asyncio.timeout(self._timeout):
                return await self._request(method, arguments)
        except TimeoutError:
            raise ToolError(f"No answer within {self._timeout:g} s.") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise ToolError(f"The request failed: {error}") from error

    async def _request(self, method: str, arguments: Mapping[str, Any]) -> ToolOutput:
        import aiohttp
        from multidict import CIMultiDict
        from yarl import URL

        url = _checked(URL(str(arguments["url"])))
        headers = CIMultiDict(self._headers)
        headers.update(arguments.get("headers") or {})
        body = arguments.get("body")
        origin = url.origin()
        no_limit = aiohttp.ClientTimeout(total=None)
        for _ in range(_MOST_REDIRECTS + 1):
            refused: list[str] = []
            connector = aiohttp.TCPConnector(socket_factory=self._sockets(url, refused))
            try:
                async with (
                    aiohttp.ClientSession(connector=connector, timeout=no_limit) as session,
                    session.request(
                        method, url, headers=headers, data=body, allow_redirects=False
                    ) as response,
                ):
                    location = response.headers.get("location")
                    if response.status not in {301, 302, 303, 307, 308} or location is None:
                        return await self._output(response)
            except aiohttp.ClientConnectionError:
                if not refused:
                    raise
                raise ToolError(
                    f"{url.host} is at {refused[0]}, a private address, which this tool may "
                    "not reach.",
                    remedy="a person can open it with allow_hosts or allow_private",
                ) from None
            url = _checked(url.join(URL(location)))
            if url.origin() != origin:
                # Credentials meant for one origin are not handed to another.
                headers.clear()
            if response.status == 303 and method != "HEAD":
                method, body = "GET", None
        raise ToolError(f"More than {_MOST_REDIRECTS} redirects; the last one to {url}.")

    async def _output(self, response: aiohttp.ClientResponse) -> ToolOutput:
        body = bytearray()
        async for piece in response.content.iter_chunked(65536):
            body += piece
            if len(body) > _MOST_BYTES:
                break
        cut = f"\n[cut after {_MOST_BYTES:,} bytes]" if len(body) > _MOST_BYTES else ""
        kind = response.headers.get("content-type", "")
        try:
            text = bytes(body[:_MOST_BYTES]).decode(response.charset or "utf-8", errors="replace")
        except LookupError:
            text = bytes(body[:_MOST_BYTES]).decode(errors="replace")
        if b"\0" in body[:8192]:
            text = f"({len(body):,} bytes of {kind or 'binary data'})"
        data = {"status": response.status, "headers": dict(response.headers), "body": text}
        shown = f"HTTP {response.status} {response.reason or ''} {kind}".rstrip()
        return ToolOutput(f"{shown}\n\n{text}{cut}", data=data, is_error=response.status >= 400)

    def _sockets(self, url: URL, refused: list[str]) -> SocketFactoryType:
        """What opens sockets to the addresses of a host, and notes those that it refuses."""
        open_to_all = self._allow_private or str(url.host).lower() in self._allow_hosts

        def open_socket(info: AddrInfoType) -> socket.socket:
            family, kind, proto, _, address = info
            if not open_to_all and not is_public(str(address[0])):
                refused.append(str(address[0]))
                raise PermissionError(f"{address[0]} is a private address")
            return socket.socket(family, kind, proto)

        return open_socket


def _checked(url: URL) -> URL:
    if url.scheme not in {"http", "https"} or not url.host:
        raise ToolError(f"{str(url)!r} is not an http or https address.")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet.

    IPv6 addresses that stand for an IPv4 one (mapped, 6to4, NAT64) are judged as that one.

    Example:
        >>> is_public("1.1.1.1"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
        (True, False, False)
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        embedded = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            embedded = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if embedded is None and found not in _GLOBAL_UNICAST:
            return False
        found = embedded or found
    return found.is_global and not found.is_multicast
