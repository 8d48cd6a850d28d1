"""Shortening and mending a conversation so that it stays one that every provider takes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aof_nb.messages import Message, Outcome, Part, ToolCall, ToolResult
from aof_nb.truncation import truncate

ROOM = 0.9
"""The part of its limit that a session is shortened to, so that not each append shortens it."""

_encode = msgspec.json.Encoder().encode
_SHORTEST_OUTPUT = 200
_LOST = "[this output was lost: the memory's record of it is damaged]"


def size(message: Message) -> int:
    """Bytes a message takes as JSON."""
    return len(_encode(message))


def newest_messages(messages: Sequence[Message], limit: int | None) -> list[Message]:
    """The end of a conversation, of whole exchanges and at most `limit` messages.

    An exchange begins with what the user said and holds all that came of it. The last one is
    kept even if it alone is longer than the limit: half of it would not be a conversation.

    Args:
        messages: The conversation, oldest first.
        limit: Messages; None for all.

    Example:
        >>> talk = [Message.user("a"), Message.assistant("b"), Message.user("c")]
        >>> [each.text for each in newest_messages(talk, 2)]
        ['c']
    """
    if limit is None:
        return list(messages)
    start = None
    for place in range(len(messages) - 1, -1, -1):
        if start is not None and len(messages) - place > limit:
            break
        if messages[place].role == "user":
            start = place
    return list(messages[start:])


def fitted(messages: Sequence[Message], max_bytes: int, *, overhead: int = 0) -> list[Message]:
    """The end of a conversation that fits into a number of bytes.

    Tool outputs are shortened to a few lines each, the oldest first; if that is not enough, the
    oldest exchanges are left out, never the last one. What is kept is a message each for as many
    of the last ones.

    Args:
        messages: The conversation, oldest first.
        max_bytes: Bytes as JSON; passed only by a last exchange that cannot be shortened.
        overhead: Bytes that each message takes besides its own.
    """
    kept = list(messages)
    sizes = [size(message) + overhead for message in kept]
    excess = sum(sizes) - max_bytes
    for place, message in enumerate(kept):
        if excess <= 0:
            break
        if message.tool_results:
            kept[place] = _shortened(message)
            shorter = size(kept[place]) + overhead
            excess -= sizes[place] - shorter
            sizes[place] = shorter
    start = 0
    for place, message in enumerate(kept):
        if excess <= 0:
            break
        if message.role == "user":
            excess -= sum(sizes[start:place])
            start = place
    return kept[start:]


def _shortened(message: Message) -> Message:
    parts = tuple(
        msgspec.structs.replace(
            part, content=truncate(part.content, _SHORTEST_OUTPUT, kept_as=part.artifact)
        )
        if isinstance(part, ToolResult) and len(part.content) > 2 * _SHORTEST_OUTPUT
        else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)


def mended(messages: Sequence[Message]) -> list[Message]:
    """What is left of a conversation after some of its messages were lost.

    A call whose output is gone gets one that says so, an output whose call is gone is left out,
    and it begins with the user.

    Args:
        messages: The messages that are left, in their order.

    Example:
        >>> asked = Message("assistant", (ToolCall("1", "look", {}),))
        >>> [each.role for each in mended([asked, Message.user("a"), asked])]
        ['user', 'assistant', 'tool']
    """
    kept: list[Message] = []
    waiting: tuple[ToolCall, ...] = ()
    for message in messages:
        if message.role != "user" and not kept:
            continue
        if message.role == "tool":
            if waiting:
                kept.append(_answers(waiting, message))
            waiting = ()
            continue
        if waiting:
            kept.append(_answers(waiting, None))
        waiting = message.tool_calls
        kept.append(message)
    if waiting:
        kept.append(_answers(waiting, None))
    return kept


def _answers(calls: Sequence[ToolCall], found: Message | None) -> Message:
    there = {result.call_id: result for result in found.tool_results} if found else {}
    parts: tuple[Part, ...] = tuple(
        there.get(call.id) or ToolResult(call.id, call.name, _LOST, Outcome.INTERRUPTED)
        for call in calls
    )
    if found is not None and parts == found.parts:
        return found
    return Message("tool", parts)
