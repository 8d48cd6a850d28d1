"""The layer around a model that keeps secrets from it, and from what it says.

It is the outermost one: what is retried, cached, compacted and summarised beneath it holds no
secrets.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from aof_nb.errors import AllModelsFailed, AofError, ModelError
from aof_nb.events import (
    ModelEvent,
    ModelResponse,
    ResponseSuperseded,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from aof_nb.models.counting import counted
from aof_nb.models.layer import ModelLayer
from aof_nb.models.mapped_messages import MappedMessages
from aof_nb.ports import Model, ModelRequest, Tool
from aof_nb.redact import Redactor, StreamRedactor
from aof_nb.redact.tools import redact_error, redacted_tools

_Delta: TypeAlias = TextDelta | ThinkingDelta | ToolCallDelta


def redacted(model: Model, tools: Iterable[Tool], redactor: Redactor) -> tuple[Model, list[Tool]]:
    """A model and tools in layers that keep secrets out of a run.

    Args:
        model: The model, with its other layers around it.
        tools: The tools, without the policy around them.
        redactor: The run's; where its policy is not enabled they are returned as they are.

    Example:
        >>> from aof_nb.models import resolve_model
        >>> model, tools = redacted(resolve_model("ollama:qwen3"), [], Redactor())
        >>> model.name
        'ollama:qwen3'
    """
    if not redactor.policy.enabled:
        return model, list(tools)
    return RedactedModel(model, redactor), redacted_tools(tools, redactor)


class RedactedModel(ModelLayer):
    """A model that is sent no secrets and says none; for one run.

    Args:
        model: The model.
        redactor: The run's.
    """

    def __init__(self, model: Model, redactor: Redactor) -> None:
        super().__init__(model)
        self._redactor = redactor
        # Later requests repeat the first form of a message, whatever is known to be secret by then.
        self._messages = MappedMessages(redactor.message)
        self._systems: dict[str, str] = {}

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response to the request without its secrets."""
        redactor = self._redactor
        streams = _Streams(redactor)
        try:
            async with contextlib.aclosing(self._model.stream(self._without(request))) as events:
                async for event in events:
                    kind = type(event)
                    if kind is TextDelta or kind is ThinkingDelta or kind is ToolCallDelta:
                        if streams.passes(event):
                            yield event
                            continue
                        for delta in streams.taken():
                            yield delta
                    elif isinstance(event, ModelResponse):
                        for delta in streams.flushed():
                            yield delta
                        shown = self._messages.one(event.message)
                        same = shown is event.message
                        yield event if same else msgspec.structs.replace(event, message=shown)
                    else:
                        if isinstance(event, ResponseSuperseded):
                            streams.reset()
                        yield redactor.event(event)
        except AofError as error:
            for delta in streams.flushed():
                yield delta
            _redact(error, redactor)
            raise
        except Exception as error:
            said = f"{self.name} failed: {type(error).__name__}: {error}"
            shown_text = redactor.text(said)
            if shown_text is said:
                raise
            raise ModelError(shown_text) from None

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The input tokens of a request as this model is sent it, if the provider counts them."""
        return await counted(self._model, self._without(request))

    def _without(self, request: ModelRequest) -> ModelRequest:
        system = self._systems.get(request.system)
        if system is None:
            self._redactor.mentioned(request.system)
            system = self._systems[request.system] = self._redactor.text(request.system)
        messages = self._messages(request.messages)
        if messages is request.messages and system is request.system:
            return request
        return msgspec.structs.replace(request, messages=messages, system=system)


class _Streams:
    """One response's deltas. A text that another kind of delta follows has come to its end."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._streams: dict[type | int, tuple[StreamRedactor, str]] = {}
        self._last: type | int | None = None
        self._feed: Callable[[str], str] = str
        self._taken: list[_Delta] = []

    def passes(self, delta: Any) -> bool:
        """Takes a delta. Whether it can be shown as it is; else `taken` has what can."""
        kind = type(delta)
        text: str
        key: type | int = kind
        if kind is ToolCallDelta:
            key, text = delta.index, delta.arguments
        else:
            text = delta.text
        if key != self._last:
            self._begin(key, delta)
        shown = self._feed(text)
        if shown is text and not self._taken:
            return True
        if shown or kind is ToolCallDelta:
            self._taken.append(_like(key, delta.name if kind is ToolCallDelta else "", shown))
        return False

    def taken(self) -> list[_Delta]:
        """What can be shown now, of the last delta and of those before."""
        taken, self._taken = self._taken, []
        return taken

    def _begin(self, key: type | int, delta: Any) -> None:
        for each in (TextDelta, ThinkingDelta):
            if each is not key and each in self._streams:
                self._end(each)
        if key not in self._streams:
            name = delta.name if isinstance(delta, ToolCallDelta) else ""
            self._streams[key] = (self._redactor.stream(), name)
        self._last, self._feed = key, self._streams[key][0].feed

    def _end(self, key: type | int) -> None:
        stream, name = self._streams.pop(key)
        if rest := stream.flush():
            self._taken.append(_like(key, name, rest))

    def flushed(self) -> list[_Delta]:
        """What was held back until the end."""
        for key in list(self._streams):
            self._end(key)
        self._last = None
        return self.taken()

    def reset(self) -> None:
        """Forgets what was held back: the response is void."""
        self._streams.clear()
        self._taken.clear()
        self._last = None


def _like(key: type | int, name: str, text: str) -> _Delta:
    if isinstance(key, int):
        return ToolCallDelta(key, name, text)
    return ThinkingDelta(text) if key is ThinkingDelta else TextDelta(text)


def _redact(error: AofError, redactor: Redactor) -> None:
    redact_error(error, redactor)
    if isinstance(error, ModelError) and error.partial is not None:
        error.partial = redactor.message(error.partial)
    if isinstance(error, AllModelsFailed):
        for _, each in error.failures:
            _redact(each, redactor)
