"""What a request asks for that was not recorded, told as a diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import msgspec

from aof_nb.journal.encoding import encode
from aof_nb.journal.entries import Derived, ModelRequested, RunContext, WholeMessage
from aof_nb.journal.recorder import message_digest
from aof_nb.messages import Message, Text, Thinking, ToolCall, ToolResult
from aof_nb.ports import ModelRequest, ToolOutput, ToolSpec
from aof_nb.readable import indented_json

_CONTEXT_LINES = 2
_MOST_LINES = 60


class Recorded:
    """The requests of a recording, rebuilt one by one."""

    def __init__(self) -> None:
        self.context: RunContext | None = None
        self.tool_choice = "auto"
        self.messages: list[WholeMessage | Derived] = []
        self._responses: dict[str, Message] = {}
        self._outputs: dict[str, ToolOutput] = {}

    def add(self, request: ModelRequested, context: RunContext | None) -> None:
        """Goes on to the next request."""
        self.context = context
        self.tool_choice = request.tool_choice
        self.messages = self.messages[: request.kept] + list(request.messages)

    def respond(self, message: Message) -> None:
        """Notes a response."""
        self._responses[message_digest(message)] = message

    def output(self, call_id: str, output: ToolOutput) -> None:
        """Notes what a tool call came to."""
        self._outputs[call_id] = output

    def text(self, place: int, like: Message | None) -> str:
        """A recorded message as text; a tool's outputs as they were before they were cut."""
        if place >= len(self.messages):
            return ""
        message = self.messages[place]
        if isinstance(message, WholeMessage):
            return _text(message.message)
        if message.role == "assistant" and message.digest in self._responses:
            return _text(self._responses[message.digest])
        results = like.tool_results if like is not None else ()
        outputs = [(each, self._outputs.get(each.call_id)) for each in results]
        return "\n".join(
            _result(each.name, each.call_id, output.content if output else "(not recorded)")
            for each, output in outputs
        )

    def digest(self, place: int) -> str:
        """A recorded message's hash."""
        message = self.messages[place]
        return message.digest if isinstance(message, Derived) else message_digest(message.message)


def difference(recorded: Recorded, request: ModelRequest, *, with_tools: bool) -> str:
    """How a request differs from the recorded one, as a unified diff; empty if it does not.

    Args:
        recorded: The recording, as far as this request.
        request: The request.
        with_tools: Whether what tools returned is compared too.
    """
    parts = list(_context_differences(recorded.context, request))
    if recorded.tool_choice != request.tool_choice:
        parts.append(unified("tool choice", recorded.tool_choice, request.tool_choice))
    for place in range(max(len(recorded.messages), len(request.messages))):
        message = request.messages[place] if place < len(request.messages) else None
        if message is not None and place < len(recorded.messages):
            if recorded.digest(place) == message_digest(message):
                continue
            if message.role == "tool" and not with_tools:
                continue
        role = message.role if message is not None else "recorded"
        was, now = recorded.text(place, message), "" if message is None else _text(message)
        parts.append(
            unified(f"message {place + 1} ({role})", was, now)
            or f"message {place + 1} ({role}) differs in what is not shown"
        )
        break
    return "\n".join(part for part in parts if part)


def _context_differences(context: RunContext | None, request: ModelRequest) -> Iterator[str]:
    if context is None:
        return
    yield unified("instructions", context.system, request.system)
    was = {tool.name: tool for tool in context.tools}
    now = {tool.name: tool for tool in request.tools}
    yield unified("tools", "\n".join(sorted(was)), "\n".join(sorted(now)))
    for name in sorted(was.keys() & now.keys()):
        if was[name] != now[name]:
            yield unified(f"tool {name}", _laid_out(was[name]), _laid_out(now[name]))
    yield unified("sampling", _laid_out(context.sampling), _laid_out(request.sampling))
    yield unified(
        "output schema", _laid_out(context.output_schema), _laid_out(request.output_schema)
    )


def unified(name: str, was: str, now: str, *, sides: tuple[str, str] = ("recorded", "this")) -> str:
    """A unified diff between what was recorded and what is; empty if they are the same.

    Args:
        name: What it is that differs.
        was: How it was recorded.
        now: How it is.
        sides: What the two are called.
    """
    if was == now:
        return ""
    lines = list(
        difflib.unified_diff(
            was.splitlines(),
            now.splitlines(),
            f"{sides[0]} {name}",
            f"{sides[1]} {name}",
            lineterm="",
            n=_CONTEXT_LINES,
        )
    )
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"... {len(lines) - _MOST_LINES} lines more"]
    return "\n".join(lines)


def _laid_out(value: Any) -> str:
    if isinstance(value, ToolSpec):
        value = msgspec.structs.asdict(value)
    return indented_json(value, encode=encode)


def _text(message: Message) -> str:
    lines = []
    for part in message.parts:
        match part:
            case Text(text=text) | Thinking(text=text):
                lines.append(text)
            case ToolCall():
                arguments = part.raw_arguments if part.arguments is None else part.arguments
                lines.append(f"{part.name}({encode(arguments).decode()})")
            case ToolResult():
                lines.append(_result(part.name, part.call_id, part.content))
            case _:
                lines.append(_laid_out(part))
    return "\n".join(lines)


def _result(name: str, call_id: str, content: str) -> str:
    return f"{name} ({call_id}):\n{content}"
