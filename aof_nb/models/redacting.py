"""The layer around a model that keeps secrets from it, and from what it says.

It is the outermost one: what is retried, cached, compacted and summarised beneath it holds no
secrets.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

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
from aof_nb.messages import Message
from aof_nb.models.counting import counted
from aof_nb.models.layer import ModelLayer
from aof_nb.ports import Model, ModelRequest, Tool
from aof_nb.redact import Redactor, StreamRedactor
from aof_nb.redact.tools import redact_error, redacted_tools


def redacted(model: Model, tools: Iterable[Tool], redactor: Redactor) -> tuple[Model, list[Tool]]:
    """A model and tools in layers that keep secrets out of a run.

    Args:
        model: The model, with its other layers around it.
        tools: The tools, without the policy around them.
        redactor: The run's.

    Example:
        >>> from aof_nb.models import resolve_model
        >>> model, tools = redacted(resolve_model("ollama:qwen3"), [], Redactor())
        >>> model.name
        'ollama:qwen3'
    """
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
        self._known: dict[int, tuple[weakref.ref[Message], Message | None]] = {}
        self._systems: dict[str, str] = {}

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams one response to the request without its secrets."""
        redactor = self._redactor
        streams = _Streams(redactor)
        try:
            async with contextlib.aclosing(self._model.stream(self._without(request))) as events:
                async for event in events:
                    match event:
                        case TextDelta() | ThinkingDelta() | ToolCallDelta():
                            for delta in streams.fed(event):
                                yield delta
                        case ModelResponse(message=message):
                            for delta in streams.flushed():
                                yield delta
                            shown = self._message(message)
                            if shown is message:
                                yield event
                            else:
                                yield msgspec.structs.replace(event, message=shown)
                        case _:
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
        messages = tuple(self._message(message) for message in request.messages)
        same = all(new is old for new, old in zip(messages, request.messages, strict=True))
        if same and system is request.system:
            return request
        return msgspec.structs.replace(request, messages=messages, system=system)

    def _message(self, message: Message) -> Message:
        """A message as it was redacted when it was first seen: later requests repeat the first."""
        key = id(message)
        known = self._known.get(key)
        if known is not None and known[0]() is message:
            return known[1] or message
        shown = self._redactor.message(message)
        forget = weakref.ref(message, lambda _: self._known.pop(key, None))
        self._known[key] = (forget, None if shown is message else shown)
        return shown


class _Streams:
    """One response's deltas. What another kind of delta follows has come to its end."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text: StreamRedactor | None = None
        self._thinking: StreamRedactor | None = None
        self._calls: dict[int, tuple[StreamRedactor, str]] = {}

    def fed(
        self, delta: TextDelta | ThinkingDelta | ToolCallDelta
    ) -> Sequence[TextDelta | ThinkingDelta | ToolCallDelta]:
        """What can be shown now that a delta has come."""
        match delta:
            case TextDelta(text=text):
                if self._text is None:
                    ended = list(self.flushed())
                    self._text = self._redactor.stream()
                    return [*ended, *self.fed(delta)]
                shown = self._text.feed(text)
                return (delta,) if shown is text else _text(shown)
            case ThinkingDelta(text=text):
                if self._thinking is None:
                    ended = list(self.flushed())
                    self._thinking = self._redactor.stream()
                    return [*ended, *self.fed(delta)]
                shown = self._thinking.feed(text)
                return (delta,) if shown is text else _thinking(shown)
            case ToolCallDelta(index=index, name=name, arguments=arguments):
                before = list(self._flushed_texts())
                stream, _ = self._calls.setdefault(index, (self._redactor.stream(), name))
                shown = stream.feed(arguments)
                if shown is not arguments:
                    delta = ToolCallDelta(index, name, shown)
                return [*before, delta]

    def flushed(self) -> Iterator[TextDelta | ThinkingDelta | ToolCallDelta]:
        """What was held back until the end."""
        yield from self._flushed_texts()
        for index, (stream, name) in self._calls.items():
            if rest := stream.flush():
                yield ToolCallDelta(index, name, rest)
        self._calls.clear()

    def _flushed_texts(self) -> Iterator[TextDelta | ThinkingDelta]:
        text, self._text = self._text, None
        thinking, self._thinking = self._thinking, None
        if thinking is not None:
            yield from _thinking(thinking.flush())
        if text is not None:
            yield from _text(text.flush())

    def reset(self) -> None:
        """Forgets what was held back: the response is void."""
        self._text = self._thinking = None
        self._calls.clear()


def _text(shown: str) -> Sequence[TextDelta]:
    return (TextDelta(shown),) if shown else ()


def _thinking(shown: str) -> Sequence[ThinkingDelta]:
    return (ThinkingDelta(shown),) if shown else ()


def _redact(error: AofError, redactor: Redactor) -> None:
    redact_error(error, redactor)
    if isinstance(error, ModelError) and error.partial is not None:
        error.partial = redactor.message(error.partial)
    if isinstance(error, AllModelsFailed):
        for _, each in error.failures:
            _redact(each, redactor)
