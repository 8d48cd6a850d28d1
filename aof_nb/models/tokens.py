"""How many input tokens a request will be, rather too many than too few, and cheaply.

No tokenizer is asked: those of Anthropic and Google are not public. ASCII text is taken for a
token every three characters, where English has about four; what is not ASCII for one every one to
two bytes. What the provider has counted for a request is taken for it from then on, so that only
what is new is estimated.
"""

from __future__ import annotations

import math

import msgspec

from aof_nb.messages import Message, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from aof_nb.ports import ModelRequest, ToolSpec

CHARACTERS_PER_TOKEN = 3
PER_MESSAGE = 8
PER_BLOCK = 8
PER_TOOL = 24
FOR_TOOLS = 350
"""Providers tell a model that has tools how to call them, in some hundred tokens."""

_LEAST_SCALE = 0.5


def text_tokens(text: str) -> float:
    """About how many tokens a text is.

    Example:
        >>> round(text_tokens("why is checkout slow?")), round(text_tokens("なぜ遅いの"))
        (7, 12)
    """
    characters = len(text)
    if text.isascii():
        return characters / CHARACTERS_PER_TOKEN
    beyond = len(text.encode("utf-8", "surrogatepass")) - characters
    return characters / CHARACTERS_PER_TOKEN + beyond


def message_tokens(message: Message) -> int:
    """About how many tokens a message is."""
    return PER_MESSAGE + math.ceil(sum(map(_part_tokens, message.parts)))


def _part_tokens(part: Part) -> float:
    match part:
        case Text(text=text, opaque=opaque):
            return PER_BLOCK + text_tokens(text) + (_json_tokens(opaque) if opaque else 0)
        case ToolResult(content=content, call_id=call_id):
            return PER_BLOCK + text_tokens(content) + len(call_id) / 2
        case ToolCall(id=call_id, name=name, arguments=arguments, raw_arguments=raw):
            size = text_tokens(raw) if arguments is None else _json_tokens(arguments)
            return PER_BLOCK + size + text_tokens(name) + len(call_id) / 2
        case Thinking(text=text, opaque=opaque):
            # A signature is not counted; encrypted reasoning stands for some that is.
            return PER_BLOCK + (text_tokens(text) if text else _json_tokens(opaque))
        case Opaque(block=block):
            return PER_BLOCK + _json_tokens(block)


def tools_tokens(tools: tuple[ToolSpec, ...]) -> int:
    """About how many tokens the declarations of tools are."""
    if not tools:
        return 0
    declared = sum(
        PER_TOOL
        + text_tokens(tool.name)
        + text_tokens(tool.description)
        + _json_tokens(tool.input_schema)
        for tool in tools
    )
    return FOR_TOOLS + math.ceil(declared)


def _json_tokens(value: object) -> float:
    return text_tokens(msgspec.json.encode(value).decode())


def estimate(request: ModelRequest) -> int:
    """About how many input tokens a request is, of which nothing is known."""
    head = tools_tokens(request.tools) + math.ceil(text_tokens(request.system))
    return head + sum(map(message_tokens, request.messages))


class TokenMeter:
    """Counts the requests of one run to one model, each by what is new in it.

    Example:
        >>> meter = TokenMeter()
        >>> first = ModelRequest(messages=(Message.user("why?" * 300),))
        >>> meter.count(first)
        416
        >>> meter.learn(300)
        >>> meter.count(first)
        300
    """

    def __init__(self) -> None:
        self._head: tuple[str, tuple[ToolSpec, ...]] = ("", ())
        self._head_size = 0
        self._messages: tuple[Message, ...] = ()
        self._size = 0
        self._scale = 1.0
        self._reported: tuple[int, int, int] | None = None

    @property
    def estimated(self) -> int:
        """How many tokens of the last count no provider has counted."""
        if self._reported is None:
            return math.ceil(self._size * self._scale)
        return math.ceil((self._size - self._reported[1]) * max(1.0, self._scale))

    def count(self, request: ModelRequest) -> int:
        """About how many input tokens a request is.

        If it goes on from one whose size was reported, it is that and what is new; never less.
        """
        system, tools = self._head
        if request.tools is not tools or request.system != system:
            self._head = (request.system, request.tools)
            head = tools_tokens(request.tools) + math.ceil(text_tokens(request.system))
            self._size += head - self._head_size
            self._head_size = head
            self._reported = None
        messages, known = request.messages, len(self._messages)
        # Where messages are the same objects, as they are from turn to turn, this reads none.
        if len(messages) >= known and messages[:known] == self._messages:
            self._size += sum(map(message_tokens, messages[known:]))
        else:
            self._size = self._head_size + sum(map(message_tokens, messages))
            if self._reported is not None:
                reported = self._reported[0]
                if len(messages) < reported or messages[:reported] != self._messages[:reported]:
                    self._reported = None
        self._messages = messages
        counted = 0 if self._reported is None else self._reported[2]
        return counted + self.estimated

    def gauge(self, request: ModelRequest) -> int:
        """About how many input tokens a request is that may not be sent."""
        return math.ceil(estimate(request) * self._scale)

    def learn(self, input_tokens: int) -> None:
        """What the provider has counted for the request that was counted last."""
        # So few were not all: some local servers cut a request to fit, and say nothing.
        if not self._size or input_tokens < self._size * _LEAST_SCALE:
            self._reported = None
            return
        self._scale = input_tokens / self._size
        self._reported = (len(self._messages), self._size, input_tokens)
