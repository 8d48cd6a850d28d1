"""Conversations to keep, and whether what came back is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aof_nb.memory import Memory
from aof_nb.messages import Message, ToolCall, ToolResult

Make = Callable[..., Memory]


def exchange(n: int, *, output: str = "ok") -> list[Message]:
    return [
        Message.user(f"question {n}"),
        Message("assistant", (ToolCall(f"c{n}", "look", {"n": n}),)),
        Message("tool", (ToolResult(f"c{n}", "look", output),)),
        Message.assistant(f"answer {n}"),
    ]


def said(messages: Sequence[Message], role: str = "user") -> list[str]:
    return [each.text for each in messages if each.role == role]


def is_valid(messages: Sequence[Message]) -> bool:
    """Whether a provider would take it: starts with the user, every call has its result."""
    if messages and messages[0].role != "user":
        return False
    before: list[str] = []
    for message, following in zip(messages, [*messages, None][1:], strict=True):
        asked = [call.id for call in message.tool_calls]
        if message.role == "tool" and [each.call_id for each in message.tool_results] != before:
            return False
        if asked and (
            following is None or [each.call_id for each in following.tool_results] != asked
        ):
            return False
        before = asked
    return True
