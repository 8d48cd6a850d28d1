"""What is left out of a conversation that grows too long for a model; nothing here asks one.

Every result keeps what all providers insist on: each tool call is followed by its result, and the
conversation begins with the user's first message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.messages import Message, Outcome, Part, Text, ToolCall, ToolResult
from aof_nb.ports import Model
from aof_nb.truncation import truncate

SHORTEST_OUTPUT = 200
"""Characters; a tool's output that is no longer stays."""

_SUMMARY = (
    "[The earlier part of this conversation was left out, as it grew too long. What was found and "
    "done in it, as {model} has summarised it:]\n\n{text}"
)


class ContextPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when a conversation grows too long for its model.

    Args:
        window: Tokens of input the model takes, instead of what is known of it; for all models of
            the chain, or by full model name or provider.
        warn_at: The part of the window at which the user is warned, once a run.
        compact_at: The part of the window at which old parts are left out.
        keep_last: Turns at the end, a response and its tools' outputs, that stay as they are.
        summary_model: Who summarises old turns if leaving out old outputs is not enough: a model,
            None for the agent's own, False for nobody.

    Example:
        >>> ContextPolicy(window={"ollama": 32_768}, summary_model="openai:gpt-5-mini").warn_at
        0.8
    """

    window: int | Mapping[str, int] | None = None
    warn_at: float = 0.8
    compact_at: float = 0.9
    keep_last: int = 3
    summary_model: str | Model | Literal[False] | None = None

    def __post_init__(self) -> None:
        given = self.window.values() if isinstance(self.window, Mapping) else [self.window]
        if any(each is not None and each < 1 for each in given):
            raise ConfigurationError(
                f"window is {self.window}", remedy="give a positive number of tokens, or None"
            )
        if not (0 < self.warn_at <= 1 and 0 < self.compact_at <= 1 and self.keep_last >= 1):
            raise ConfigurationError(
                f"warn_at={self.warn_at:g}, compact_at={self.compact_at:g}, "
                f"keep_last={self.keep_last} is no context policy",
                remedy="give parts of the window between 0 and 1, and keep at least one turn",
            )


def last_turns(messages: tuple[Message, ...], keep: int) -> int:
    """Where the last turns begin: nothing before it belongs to anything after.

    Args:
        messages: The conversation.
        keep: How many turns; if there are fewer, the first begins it.
    """
    start = len(messages)
    for place in range(len(messages) - 1, 0, -1):
        if messages[place].role == "assistant" and messages[place - 1].role != "assistant":
            start = place
            keep -= 1
            if not keep:
                break
    return start


def without_outputs(
    messages: tuple[Message, ...], end: int
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """The conversation without long tool outputs before a place; and whose outputs they were."""
    dropped: list[str] = []
    kept = list(messages)
    for place in range(end):
        message = kept[place]
        if message.role != "tool":
            continue
        parts = tuple(_left_out(part) for part in message.parts)
        if any(new is not old for new, old in zip(parts, message.parts, strict=True)):
            pairs = zip(parts, message.parts, strict=True)
            dropped += [
                old.name for new, old in pairs if new is not old and isinstance(old, ToolResult)
            ]
            kept[place] = msgspec.structs.replace(message, parts=parts)
    return (tuple(kept) if dropped else messages), tuple(dropped)


def _left_out(part: Part) -> Part:
    if not isinstance(part, ToolResult) or len(part.content) <= SHORTEST_OUTPUT:
        return part
    whole = f"; whole output kept as {part.artifact}" if part.artifact else ""
    note = f"[output of {part.name} left out: {len(part.content):,} characters{whole}]"
    return msgspec.structs.replace(part, content=note) if len(note) < len(part.content) else part


def with_shorter_outputs(messages: tuple[Message, ...], most: int) -> tuple[Message, ...]:
    """The conversation with each tool output cut to so many characters."""
    return tuple(
        msgspec.structs.replace(
            message,
            parts=tuple(
                msgspec.structs.replace(
                    part, content=truncate(part.content, most, kept_as=part.artifact)
                )
                if isinstance(part, ToolResult) and len(part.content) > most + SHORTEST_OUTPUT
                else part
                for part in message.parts
            ),
        )
        if any(len(result.content) > most + SHORTEST_OUTPUT for result in message.tool_results)
        else message
        for message in messages
    )


class OldTurns(msgspec.Struct, frozen=True):
    """A conversation split for a summary.

    Args:
        first: The first user message, and what is before it.
        old: What is to be summarised.
        prompt: The latest prompt among it, which stays: it says what is being done.
        rest: The last turns.
    """

    first: tuple[Message, ...]
    old: tuple[Message, ...]
    prompt: tuple[Message, ...]
    rest: tuple[Message, ...]

    def summarised(self, text: str, model: str) -> tuple[Message, ...]:
        """The conversation with a summary in the place of the old turns."""
        summary = Message.user(_SUMMARY.format(model=model, text=text))
        return (*self.first, summary, *self.prompt, *self.rest)


def old_turns(messages: tuple[Message, ...], end: int, summary: Message | None = None) -> OldTurns:
    """Splits a conversation.

    Args:
        messages: The conversation.
        end: Where the last turns begin.
        summary: An earlier summary in it, which is summarised again.
    """
    users = [place for place in range(end) if messages[place].role == "user"]
    if not users:
        return OldTurns((), (), (), messages)
    first = users[0] + 1
    prompts = [place for place in users[1:] if messages[place] is not summary]
    latest = prompts[-1] if prompts else None
    old = tuple(messages[place] for place in range(first, end) if place != latest)
    prompt = () if latest is None else (messages[latest],)
    return OldTurns(messages[:first], old, prompt, messages[end:])


def as_text(messages: tuple[Message, ...], most: int) -> str:
    """A conversation as text, for a model that summarises it; each part at most so long.

    Example:
        >>> print(as_text((Message.user("why?"), Message.assistant("The pool is full.")), 100))
        user: why?
        assistant: The pool is full.
    """
    lines: list[str] = []
    for message in messages:
        for part in message.parts:
            match part:
                case Text(text=text):
                    lines.append(f"{message.role}: {truncate(text, most)}")
                case ToolCall(name=name, arguments=arguments, raw_arguments=raw):
                    given = raw if arguments is None else msgspec.json.encode(arguments).decode()
                    lines.append(f"{message.role} calls {name}: {truncate(given, most)}")
                case ToolResult(name=name, content=content, outcome=outcome):
                    ended = "" if outcome is Outcome.OK else f" ({outcome})"
                    lines.append(f"{name} answers{ended}: {truncate(content, most)}")
                case _:
                    pass
    return "\n".join(lines)
