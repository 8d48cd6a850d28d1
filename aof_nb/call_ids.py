"""Ids that no two tool calls of a conversation share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from aof_nb.messages import Message, ToolCall


class CallIds:
    """The ids of a conversation's tool calls, in the order in which they were made.

    Playbooks and some servers count their calls anew each time; other providers refuse a
    conversation in which two calls have one id, and results are kept by it.

    Args:
        conversation: The messages so far.

    Example:
        >>> ids = CallIds()
        >>> twice = Message("assistant", (ToolCall("a", "t", {}), ToolCall("a", "t", {})))
        >>> [call.id for call in ids.distinct(twice).tool_calls]
        ['a', 'a_2']
    """

    def __init__(self, conversation: Iterable[Message] = ()) -> None:
        self._known = {call.id for each in conversation for call in each.tool_calls}

    def distinct(self, message: Message) -> Message:
        """The next message, with other ids where calls have those of earlier ones, or none."""
        calls, known = message.tool_calls, self._known
        if not calls:
            return message
        count = len(known)
        if known.isdisjoint(call.id for call in calls) and all(call.id for call in calls):
            known.update(call.id for call in calls)
            if len(known) == count + len(calls):
                return message
            known.difference_update(call.id for call in calls)
        parts = list(message.parts)
        for place, part in enumerate(parts):
            if isinstance(part, ToolCall):
                numbered = (f"{part.id or 'call'}_{number}" for number in itertools.count(2))
                own = next(
                    each
                    for each in itertools.chain([part.id], numbered)
                    if each and each not in known
                )
                known.add(own)
                parts[place] = msgspec.structs.replace(part, id=own)
        return msgspec.structs.replace(message, parts=tuple(parts))
