"""A model that does as it is told: answers, fails, or breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from aof_nb.errors import BrokenStream, ModelError
from aof_nb.events import ModelEvent, ModelResponse, TextDelta
from aof_nb.messages import Message, Opaque, Part, StopReason, Text, Usage
from aof_nb.ports import ModelRequest

Behaviour = ModelError | str | Callable[[], ModelError | str]


class Unreliable:
    """Behaves as in its list, and as in the last entry from then on.

    An error is raised at once; one whose `partial` holds text after that text was streamed.
    """

    def __init__(self, name: str, *behaviours: Behaviour, seconds: float = 0.0) -> None:
        self.name = name
        self.behaviours = list(behaviours)
        self.seconds = seconds
        self.times: list[float] = []
        self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.times.append(asyncio.get_running_loop().time())
        behaviour = self.behaviours[min(len(self.times), len(self.behaviours)) - 1]
        if callable(behaviour):
            behaviour = behaviour()
        try:
            await asyncio.sleep(self.seconds)
            if isinstance(behaviour, ModelError):
                if behaviour.partial is not None and behaviour.partial.text:
                    yield TextDelta(behaviour.partial.text)
                raise behaviour
            yield TextDelta(behaviour)
            yield ModelResponse(
                Message("assistant", (Text(behaviour),), model=self.name),
                StopReason.END_TURN,
                Usage(10, 5),
                self.name,
            )
        finally:
            self.closed += 1


def breaks_after(text: str, *, ran_a_tool: bool = False) -> BrokenStream:
    """The error of a response that breaks off after this text."""
    parts: tuple[Part, ...] = (Text(text),)
    if ran_a_tool:
        parts += (Opaque("anthropic", {"type": "server_tool_use", "name": "web_search"}),)
    error = BrokenStream("anthropic: the response broke off (reset)", provider="anthropic")
    error.partial = Message("assistant", parts, interrupted=True)
    return error
