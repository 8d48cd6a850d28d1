"""The HTTP tool. Private addresses are out of its reach unless they are opened."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from aof_nb.errors import ToolError
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import ResolveResult

_MOST_BYTES = 2_000_000
_MOST_REDIRECTS = 5
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class HttpTool:
    """Makes HTTP requests.

    Names are resolved once, the addresses checked, and the connection made to a checked
    address, so that neither a redirect nor a second look-up can lead to a private one.

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
        )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Makes the request; a status of 400 and above is an error with the body."""
        import aiohttp

        method = str(arguments.get("method") or self._methods[0]).upper()
        if method not in self._methods:
            raise ToolError(f"{method} is not allowed. Allowed: {', '.join(self._methods)}.")
        connector = aiohttp.TCPConnector(resolver=self._resolver())
        limit = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
                return await self._request(session, method, arguments)
        except TimeoutError:
            raise ToolError(f"No answer within {self._timeout:g} s.") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise ToolError(f"The request failed: {error}") from error

    async def _request(
        self, session: aiohttp.ClientSession, method: str, arguments: Mapping[str, Any]
    ) -> ToolOutput:
        url = str(arguments["url"])
        headers = self._headers | dict(arguments.get("headers") or {})
        body = arguments.get("body")
        origin = urlsplit(url)[:2]
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_url(url)
            async with session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                location = response.headers.get("location")
                if response.status not in {301, 302, 303, 307, 308} or location is None:
                    return await self._output(response)
            url = urljoin(url, location)
            if urlsplit(url)[:2] != origin:
                # Credentials meant for one origin are not handed to another.
                headers = {}
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
        text = bytes(body[:_MOST_BYTES]).decode(response.charset or "utf-8", errors="replace")
        if b"\0" in body[:8192]:
            text = f"({len(body):,} bytes of {kind or 'binary data'})"
        data = {"status": response.status, "headers": dict(response.headers), "body": text}
        shown = f"HTTP {response.status} {response.reason or ''} {kind}".rstrip()
        return ToolOutput(f"{shown}\n\n{text}{cut}", data=data, is_error=response.status >= 400)

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ToolError(f"{url!r} is not an http or https address.")
        try:
            address = ipaddress.ip_address(parts.hostname)
        except ValueError:
            return
        # A literal address is not resolved, so the resolver never sees it.
        self._check_address(parts.hostname, address)

    def _check_address(
        self, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        if self._allow_private or host.lower() in self._allow_hosts:
            return
        mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        if not (mapped or address).is_global or address.is_multicast:
            raise ToolError(
                f"{host} is at {address}, a private address, which this tool may not reach.",
                remedy="a person can open it with allow_hosts or allow_private",
            )

    def _resolver(self) -> Any:
        from aiohttp.abc import AbstractResolver

        check = self._check_address

        class Checked(AbstractResolver):
            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
            ) -> list[ResolveResult]:
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
                results: list[ResolveResult] = []
                for kind, _, proto, _, address in found:
                    check(host, ipaddress.ip_address(str(address[0]).partition("%")[0]))
                    results.append(
                        {
                            "hostname": host,
                            "host": str(address[0]),
                            "port": port,
                            "family": kind,
                            "proto": proto,
                            "flags": socket.AI_NUMERICHOST,
                        }
                    )
                return results

            async def close(self) -> None:
                pass

        return Checked()
