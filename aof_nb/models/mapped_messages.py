"""A conversation with each message changed once, however often it is sent again."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable

from aof_nb.messages import Message


class MappedMessages:
    """Changes conversations that each repeat the one before and add to it, for what is new.

    A message is changed when it is first seen, and the same object stands for it from then on, so
    that its encoding need not be paid for again.

    Args:
        change: Makes another message of one, or returns it as it is.

    Example:
        >>> louder = MappedMessages(lambda message: Message.user(message.text.upper()))
        >>> asked = (Message.user("why?"),)
        >>> louder(asked)[0].text, louder(asked)[0] is louder(asked)[0]
        ('WHY?', True)
    """

    def __init__(self, change: Callable[[Message], Message]) -> None:
        self._change = change
        self._known: dict[int, tuple[weakref.ref[Message], Message | None]] = {}
        self._last: tuple[tuple[Message, ...], tuple[Message, ...]] = ((), ())

    def __call__(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation as it is to be; the same object if nothing in it changes."""
        asked, sent = self._last
        size = len(asked)
        if messages[:size] == asked:
            more = tuple(map(self.one, messages[size:]))
        else:
            sent, size = (), 0
            more = tuple(map(self.one, messages))
        same = sent is asked or not size
        if same and all(map(operator.is_, more, messages[size:])):
            sent = messages
        else:
            sent = (*sent, *more)
        self._last = messages, sent
        return sent

    def one(self, message: Message) -> Message:
        """A message as it is to be."""
        key = id(message)
        known = self._known.get(key)
        if known is not None and known[0]() is message:
            return known[1] or message
        changed = self._change(message)
        forget = weakref.ref(message, lambda _: self._known.pop(key, None))
        self._known[key] = (forget, None if changed is message else changed)
        return changed
