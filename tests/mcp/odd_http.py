"""A streamable HTTP MCP server (2025-11-25) in a thread, that fails the way networks fail.

It speaks the wire protocol with the standard library alone. A tool's name says what becomes of a
call of it: ``ok``, ``big`` (an answer of 3 MB), ``status_502``, ``cut`` (the response stream ends
without a response), ``die`` (the connection is closed without a word), each with ``read_`` before
it for a read-only tool.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BIG = 3_000_000
KINDS = ("ok", "big", "status_502", "status_500", "cut", "die")
TOOLS = [
    {
        "name": f"{prefix}{kind}",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": bool(prefix)},
    }
    for prefix in ("", "read_")
    for kind in KINDS
]


class OddHttp:
    """The server; `calls` are the names of the tools that were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.sessions: list[str] = []
        self.forgotten: set[str] = set()
        self.refuse_with: int | None = None
        self.goodbye_seconds = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/mcp"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Loses all sessions, as a server does that was started again."""
        self.forgotten.update(self.sessions)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(405)

            def do_DELETE(self) -> None:
                time.sleep(odd.goodbye_seconds)
                self.reply(200)

            def do_POST(self) -> None:
                odd.headers.append({name.lower(): value for name, value in self.headers.items()})
                length = int(self.headers["content-length"])
                message = json.loads(self.rfile.read(length))
                session = self.headers.get("mcp-session-id")
                if odd.refuse_with is not None:
                    self.reply(odd.refuse_with)
                elif session in odd.forgotten:
                    self.reply(404)
                elif "id" not in message:
                    self.reply(202)
                else:
                    self.answer(message)

            def answer(self, message: dict[str, Any]) -> None:
                match message["method"]:
                    case "initialize":
                        odd.sessions.append(f"session-{len(odd.sessions)}")
                        result = {
                            "protocolVersion": message["params"]["protocolVersion"],
                            "capabilities": {"tools": {"listChanged": True}},
                            "serverInfo": {"name": "odd", "version": "1"},
                        }
                        self.result(message, result, ("mcp-session-id", odd.sessions[-1]))
                    case "tools/list":
                        self.result(message, {"tools": TOOLS})
                    case "tools/call":
                        self.call(message)
                    case _:
                        error = {"code": -32601, "message": "no such method"}
                        self.reply(200, {"id": message["id"], "error": error})

            def call(self, message: dict[str, Any]) -> None:
                name = message["params"]["name"]
                odd.calls.append(name)
                match name.removeprefix("read_"):
                    case "ok":
                        self.result(message, {"content": [{"type": "text", "text": "ok"}]})
                    case "status_502":
                        self.reply(502)
                    case "status_500":
                        error = {"code": -32603, "message": "Internal server error"}
                        self.reply(500, {"id": message["id"], "error": error})
                    case "cut":
                        self.stream(b": a comment\n\n")
                    case "big":
                        text = {"type": "text", "text": "x" * BIG}
                        result = {"id": message["id"], "result": {"content": [text]}}
                        data = json.dumps({"jsonrpc": "2.0", **result}).encode()
                        self.stream(b"event: message\ndata: " + data + b"\n\n")
                    case "die":
                        self.close_connection = True

            def stream(self, data: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = True

            def result(self, message: dict[str, Any], result: Any, *headers: Any) -> None:
                self.reply(200, {"id": message["id"], "result": result}, *headers)

            def reply(self, status: int, body: Any = None, *headers: tuple[str, str]) -> None:
                data = b"" if body is None else json.dumps({"jsonrpc": "2.0", **body}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        return Handler
