"""A conversation of a memory as HTML, and where words stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aof_nb.markdown import html_text, to_html
from aof_nb.messages import Message, Outcome, Text, Thinking, ToolCall, ToolResult
from aof_nb.models.compaction import as_text
from aof_nb.truncation import truncate

_PART_CHARS = 20_000
_ALL_CHARS = 500_000
_AROUND = 60
_SEARCHED_CHARS = 200_000
_ROLES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tools"}


def conversation_html(messages: Sequence[Message], damaged: Sequence[str] = ()) -> str:
    """A conversation as HTML, each message under who has said it.

    Args:
        messages: The messages, oldest first; where they are too many the oldest are left out.
        damaged: What could not be read, a sentence each.
    """
    pieces: list[str] = []
    length = 0
    for message in reversed(messages):
        piece = _message(message)
        length += len(piece)
        if length > _ALL_CHARS and pieces:
            pieces.append('<p class="aof-told">The messages before are left out: export it.</p>')
            break
        pieces.append(piece)
    notes = "".join(f'<div class="aof-problem">{html_text(each)}</div>' for each in damaged)
    return notes + "".join(reversed(pieces))


def snippet(messages: Sequence[Message], words: str) -> str | None:
    """The text around the first place where words stand in a conversation; None if nowhere.

    Args:
        messages: The messages.
        words: What is looked for, in any case.

    Example:
        >>> snippet([Message.user("Why is the pool full?")], "POOL")
        'user: Why is the pool full?'
    """
    text = " ".join(as_text(tuple(messages), _SEARCHED_CHARS).split())
    wanted = " ".join(words.split()).lower()
    lowered = text.lower()
    # Where lowering changes the length, the place is only near.
    at = min(lowered.find(wanted), len(text))
    if at < 0:
        return None
    start, end = max(0, at - _AROUND), at + len(wanted) + _AROUND
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _message(message: Message) -> str:
    notes = [message.model or "", "cut off" if message.interrupted else ""]
    about = " · ".join(each for each in notes if each)
    who = _ROLES.get(message.role, message.role)
    told = f' <span class="aof-told">{html_text(about)}</span>' if about else ""
    return f"<h4>{html_text(who)}{told}</h4>{''.join(_parts(message))}"


def _parts(message: Message) -> Iterator[str]:
    for part in message.parts:
        match part:
            case Text(text=text) if message.role == "assistant":
                yield to_html(truncate(text, _PART_CHARS))
            case Text(text=text):
                yield f"<pre>{html_text(truncate(text, _PART_CHARS))}</pre>"
            case Thinking(text=text) if text:
                yield _folded("Thought", text)
            case ToolCall(name=name, arguments=arguments, raw_arguments=raw):
                yield _folded(f"Calls {name}", raw if arguments is None else _json(arguments))
            case ToolResult(name=name, content=content, outcome=outcome):
                ended = "" if outcome is Outcome.OK else f" ({outcome})"
                yield _folded(f"{name} answers{ended}", content)
            case _:
                pass


def _folded(title: str, text: str) -> str:
    body = f"<pre>{html_text(truncate(text, _PART_CHARS))}</pre>"
    return f"<details><summary>{html_text(title)}</summary>{body}</details>"


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()
