"""Building a response out of what a provider streams: what all providers share of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import msgspec

from aof_nb.errors import BrokenStream, ModelError
from aof_nb.events import ModelEvent, ModelResponse, TextDelta, ThinkingDelta, ToolCallDelta
from aof_nb.messages import Message, Part, StopReason, Text, ToolCall, Usage

FailureT = TypeVar("FailureT", bound=ModelError)


class Decoder(Protocol):
    """Turns one provider's stream into events and, at last, a response."""

    @property
    def complete(self) -> bool:
        """Whether all of the response that matters has arrived."""
        ...

    def feed(self, payload: bytes) -> None:
        """Takes the data of one server-sent event.

        Raises:
            ModelError: If the provider reports an error in the stream.
        """
        ...

    def events(self) -> Iterator[ModelEvent]:
        """What has come since the last call."""
        ...

    def response(self) -> ModelResponse:
        """The whole response."""
        ...

    def partial(self) -> tuple[Message | None, Usage]:
        """What has arrived so far, for an error."""
        ...


class Deltas:
    """What is passed on to the reader, with neighbouring pieces of text joined.

    Text that arrives in one read of the socket is one event: a reader cannot show it sooner,
    and a burst costs no more than its bytes.
    """

    def __init__(self) -> None:
        self._done: list[ModelEvent] = []
        self._kind: type[TextDelta | ThinkingDelta] | None = None
        self._texts: list[str] = []

    def text(self, text: str) -> None:
        """More of the answer."""
        if self._kind is not TextDelta:
            self._join()
            self._kind = TextDelta
        self._texts.append(text)

    def thinking(self, text: str) -> None:
        """More of the visible reasoning."""
        if self._kind is not ThinkingDelta:
            self._join()
            self._kind = ThinkingDelta
        self._texts.append(text)

    def tool_call(self, index: int, name: str, arguments: str) -> None:
        """More of a tool call."""
        self._join()
        self._done.append(ToolCallDelta(index, name, arguments))

    def take(self) -> list[ModelEvent]:
        """All since the last call."""
        self._join()
        done, self._done = self._done, []
        return done

    def _join(self) -> None:
        if self._texts and self._kind is not None:
            self._done.append(self._kind("".join(self._texts)))
            self._texts.clear()
        self._kind = None


def tool_call(call_id: str, name: str, raw: str, opaque: dict[str, Any] | None = None) -> ToolCall:
    """A tool call from the text of its arguments; no text means no arguments."""
    arguments: Any = {}
    if raw.strip():
        try:
            arguments = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        arguments = None
    return ToolCall(call_id, name, arguments, raw if arguments is None else "", opaque or {})


def string(value: Any) -> str:
    """A provider's text; nothing where it has sent something else."""
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """A provider's list of objects, without what is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


class _Kind(msgspec.Struct):
    type: Any = None


def is_known(payload: bytes, kinds: frozenset[str]) -> bool:
    """Whether an event that has not the shape we know is of a type that we know."""
    kind = msgspec.json.decode(payload, type=_Kind).type
    return isinstance(kind, str) and kind in kinds


def interrupted(parts: list[Part], model: str) -> Message | None:
    """What had arrived of a response, as a message; None if that is nothing."""
    kept = tuple(part for part in parts if not isinstance(part, Text) or part.text)
    return Message("assistant", kept, model=model, interrupted=True) if kept else None


def broken(decoder: Decoder, provider: str, cause: str) -> BrokenStream:
    """The error for a stream that ended too early."""
    return with_partial(
        decoder,
        BrokenStream(
            f"{provider}: the response broke off ({cause})",
            provider=provider,
            remedy="run it again; what had arrived is kept in the conversation",
        ),
    )


def with_partial(decoder: Decoder, error: FailureT) -> FailureT:
    """The error, with what had arrived."""
    error.partial, error.partial_usage = decoder.partial()
    return error


def stop_reason(found: str | None, known: dict[str, StopReason]) -> StopReason:
    """A provider's word for why it stopped, in ours."""
    return known.get(found or "", StopReason.OTHER)
