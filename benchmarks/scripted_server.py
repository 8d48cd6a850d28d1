"""A scripted model provider on loopback that costs its machine as little as it can.

`python benchmarks/scripted_server.py --port-file FILE` serves, in a process of its own,
`POST /v1/messages` (Anthropic), `POST /v1/chat/completions` and `POST /v1/responses` (OpenAI),
streamed or not as the request asks. Authentication is not checked.

The model's name is the script: `bench-TURNS-CHUNKS[-pPACE]`. While the request holds fewer than
TURNS tool results the answer is one call of the tool `lookup` with `{"key": "turn-N"}`; then it is
text in CHUNKS deltas. Without a pace a response is a single write; with one (`p1ms`, `p500us`) an
event leaves at each tick of it, and events that are due together leave together, as on a real
network. `bench-5-200` is a five-turn agent, `bench-0-5000-p1ms` a long answer of 1,000 deltas a
second.

Every response is encoded once and kept. The server stops on SIGTERM, on SIGINT and, with
`--until-stdin-closes`, when whoever started it is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes import Reply, Text, ToolCall, Usage
from tests.fakes.chat_completions import chat_completion, openai_chat_frames
from tests.fakes.messages_api import anthropic_frames, anthropic_message
from tests.fakes.responses_api import openai_responses_frames, response
from tests.fakes.sse import dumps

TOOL = "lookup"
_MODEL = re.compile(rb'"model":\s*"(bench-(\d+)-(\d+)(?:-p(\d+)(us|ms))?)"')
_STREAM = re.compile(rb'"stream":\s*true')
_USAGE = re.compile(rb'"include_usage":\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_SENTENCE = "the checkout service waits for a lock that a long report holds on the orders table"


class _Protocol:
    """One wire protocol: how to count its tool results and encode its responses."""

    def __init__(
        self,
        result: bytes,
        frames: Callable[[Reply, dict[str, Any]], list[bytes]],
        whole: Callable[[Reply, dict[str, Any]], dict[str, Any]],
    ) -> None:
        # Inside a JSON string these quotes would be escaped, so that only real keys match.
        self.result = re.compile(result)
        self.frames = frames
        self.whole = whole


PROTOCOLS = {
    b"/v1/messages": _Protocol(rb'"type":\s*"tool_result"', anthropic_frames, anthropic_message),
    b"/v1/chat/completions": _Protocol(rb'"role":\s*"tool"', openai_chat_frames, chat_completion),
    b"/v1/responses": _Protocol(
        rb'"type":\s*"function_call_output"', openai_responses_frames, response
    ),
}


def answer(chunks: int) -> list[str]:
    """The deltas of a text."""
    words = _SENTENCE.split()
    return [words[i % len(words)] + " " for i in range(chunks)]


def _reply(turns: int, chunks: int, done: int) -> Reply:
    """What the model says when `done` tools have answered."""
    if done < turns:
        call = ToolCall(TOOL, {"key": f"turn-{done + 1}"}, id=f"call_{done + 1:04}")
        return Reply(call, usage=Usage(input=400 + 120 * done, output=20))
    deltas = answer(chunks)
    usage = Usage(input=400 + 120 * done, output=max(1, chunks))
    return Reply(Text("".join(deltas), deltas), usage=usage)


@lru_cache(maxsize=4096)
def _encoded(
    path: bytes, model: bytes, done: int, streamed: bool, usage: bool
) -> tuple[bytes, ...]:
    """The writes of a response: head and first event, further events, last chunk."""
    match = _MODEL.fullmatch(b'"model":"%b"' % model)
    assert match is not None
    protocol = PROTOCOLS[path]
    reply = _reply(int(match[2]), int(match[3]), done)
    request: dict[str, Any] = {"model": model.decode(), "stream_options": {"include_usage": usage}}
    if not streamed:
        body = dumps(protocol.whole(reply, request)).encode()
        return (_head(200, b"application/json", b"content-length: %d" % len(body)) + body,)
    frames = protocol.frames(reply, request)
    head = _head(200, b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")
    writes = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
    return (head + writes[0], *writes[1:-1], writes[-1] + b"0\r\n\r\n")


@lru_cache(maxsize=4096)
def _burst(path: bytes, model: bytes, done: int, streamed: bool, usage: bool) -> bytes:
    return b"".join(_encoded(path, model, done, streamed, usage))


def _head(status: int, kind: bytes, framing: bytes) -> bytes:
    lines = (
        b"HTTP/1.1 %d %b" % (status, b"OK" if status == 200 else b"Error"),
        b"content-type: " + kind,
        framing,
        b"connection: keep-alive",
        b"request-id: req_bench",
        b"x-request-id: req_bench",
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _refusal(path: bytes) -> bytes:
    """The response to a path or model that is not in the script."""
    message = f"no such path or model: {path.decode()}; models are bench-TURNS-CHUNKS[-pPACE]"
    body = dumps({"error": {"type": "not_found_error", "message": message, "code": None}}).encode()
    return _head(404, b"application/json", b"content-length: %d" % len(body)) + body


class ScriptedConnection(asyncio.Protocol):
    """One keep-alive connection; requests are answered one after the other."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.transport: Any = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport.set_write_buffer_limits(high=1 << 26)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._answer_next()

    def _answer_next(self) -> None:
        """Answer the request in the buffer, if it is complete and none is being answered."""
        if self.timer is not None or (end := self.buffer.find(b"\r\n\r\n")) < 0:
            return
        head = bytes(self.buffer[:end])
        if (body := self._take_body(head, end + 4)) is None:
            return
        path = head.split(b" ", 2)[1].partition(b"?")[0]
        model = _MODEL.search(body)
        if path not in PROTOCOLS or model is None:
            self.transport.write(_refusal(path))
            return
        done = len(PROTOCOLS[path].result.findall(body))
        streamed = _STREAM.search(body) is not None
        key = (path, model[1], done, streamed, _USAGE.search(body) is not None)
        if model[4] is None or not streamed:
            self.transport.write(_burst(*key))
            self._answer_next()
            return
        pace = int(model[4]) * (1e-3 if model[5] == b"ms" else 1e-6)
        loop = asyncio.get_running_loop()
        self._tick(_encoded(*key), 0, loop.time(), pace)

    def _take_body(self, head: bytes, start: int) -> bytes | None:
        """Remove the request from the buffer and return its body, or None until it is all here."""
        if _CHUNKED.search(head):
            body, size = b"", start
            while (line := self.buffer.find(b"\r\n", size)) >= 0:
                count = int(self.buffer[size:line], 16)
                body += self.buffer[line + 2 : line + 2 + count]
                size = line + 4 + count
                if count == 0:
                    break
            else:
                return None
            if len(self.buffer) < size:
                return None
        else:
            length = _LENGTH.search(head)
            size = start + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return None
            body = bytes(self.buffer[start:size])
        del self.buffer[:size]
        return body

    def _tick(self, writes: tuple[bytes, ...], sent: int, began: float, pace: float) -> None:
        """Send what is due and come back for the rest."""
        loop = asyncio.get_running_loop()
        due = min(len(writes), int((loop.time() - began) / pace) + 1)
        if due > sent:
            self.transport.write(b"".join(writes[sent:due]))
        if due < len(writes):
            at = began + due * pace
            self.timer = loop.call_at(at, self._tick, writes, due, began, pace)
            return
        self.timer = None
        self._answer_next()


async def serve(port_file: Path, until_stdin_closes: bool) -> None:
    """Serve until told to stop; `port_file` appears, complete, once connections are taken."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        loop.add_reader(0, lambda: os.read(0, 65536) or stop.set())
    server = await loop.create_server(ScriptedConnection, "127.0.0.1", 0, backlog=512)
    # Renamed into place, so that a reader never sees an empty file.
    partial = port_file.with_name(port_file.name + ".part")
    partial.write_text(str(server.sockets[0].getsockname()[1]))
    partial.replace(port_file)
    await stop.wait()
    server.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port's number")
    parser.add_argument("--until-stdin-closes", action="store_true")
    options = parser.parse_args()
    asyncio.run(serve(options.port_file, options.until_stdin_closes))


if __name__ == "__main__":
    main()
