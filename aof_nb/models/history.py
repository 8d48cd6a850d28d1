"""What of a conversation may be sent to a provider that did not write it, or not to its end."""

from __future__ import annotations

import hashlib
import re

from aof_nb.messages import Message, Part, Thinking

_DIGEST_LENGTH = 8
_NOT_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")


def sent_parts(message: Message) -> tuple[Part, ...]:
    """A message's parts without reasoning at its end.

    A response that was cut off while the model was thinking ends so, and all providers refuse
    reasoning that nothing follows.
    """
    parts = message.parts
    end = len(parts)
    while end and isinstance(parts[end - 1], Thinking):
        end -= 1
    return parts if end == len(parts) else parts[:end]


def exact_id(call_id: str, size: int) -> str:
    """A call's id for a provider that wants exactly so many letters and digits, as Mistral does.

    Args:
        call_id: As the model's provider, which may be another one, has given it.
        size: Characters, 64 at most.

    Example:
        >>> exact_id("D681PevKs", 9), exact_id("call_1", 9)
        ('D681PevKs', 'a66c15e0b')
    """
    if len(call_id) == size and call_id.isascii() and call_id.isalnum():
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:size]


def fitting_id(call_id: str, most: int, *, plain: bool = False) -> str:
    """A call's id as a provider takes it: the same one for the same id, always.

    Args:
        call_id: As the model's provider, which may be another one, has given it.
        most: Characters.
        plain: Whether only letters, digits, ``_`` and ``-`` may be in it.

    Example:
        >>> fitting_id("call_1", 40, plain=True), fitting_id("read:0", 40, plain=True)
        ('call_1', 'read_0_2dddf05a')
    """
    fit = _NOT_PLAIN.sub("_", call_id) if plain else call_id
    if fit == call_id and 0 < len(fit) <= most:
        return fit
    digest = hashlib.sha256(call_id.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{fit[: most - _DIGEST_LENGTH - 1]}_{digest}"
