"""Shortening a conversation so that it stays one that every provider takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from aof_nb.messages import Message, ToolResult
from aof_nb.truncation import truncate

_encode = msgspec.json.Encoder().encode
_SHORTEST_OUTPUT = 200


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
    return _newest(messages, limit, lambda _: 1)


def fitted(messages: Sequence[Message], max_bytes: int) -> list[Message]:
    """The end of a conversation that fits into a number of bytes.

    Old exchanges go first. If the last one is still too large, its tool outputs are shortened,
    the oldest first, down to a few lines each.

    Args:
        messages: The conversation, oldest first.
        max_bytes: Bytes as JSON; passed only by a last exchange that cannot be shortened.
    """
    kept = _newest(messages, max_bytes, size)
    excess = sum(map(size, kept)) - max_bytes
    for place, message in enumerate(kept):
        if excess <= 0:
            break
        if message.tool_results:
            kept[place] = _shortened(message)
            excess -= size(message) - size(kept[place])
    return kept


def _newest(
    messages: Sequence[Message], most: int, weight: Callable[[Message], int]
) -> list[Message]:
    starts = [place for place, message in enumerate(messages) if message.role == "user"]
    if not starts:
        return list(messages)
    total, start, end = 0, starts[-1], len(messages)
    for candidate in reversed(starts):
        total += sum(weight(message) for message in messages[candidate:end])
        if total > most:
            break
        start = end = candidate
    return list(messages[start:])


def _shortened(message: Message) -> Message:
    parts = tuple(
        msgspec.structs.replace(part, content=truncate(part.content, _SHORTEST_OUTPUT))
        if isinstance(part, ToolResult) and len(part.content) > 2 * _SHORTEST_OUTPUT
        else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)
