"""The redactor of a run: secrets out, placeholders in, and back again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    Event,
    LimitReached,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    Notice,
    RetryScheduled,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
)
from aof_nb.messages import Message, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from aof_nb.ports import ToolOutput
from aof_nb.redact.assignments import accepted
from aof_nb.redact.commands import words_of
from aof_nb.redact.declared import declared_secrets
from aof_nb.redact.kubernetes import decoded_entry, entries_of
from aof_nb.redact.names import kind_of
from aof_nb.redact.placeholders import RedactionState
from aof_nb.redact.settings import RedactionPolicy
from aof_nb.redact.spans import Span
from aof_nb.redact.stream import StreamRedactor
from aof_nb.redact.texts import TextRedactor
from aof_nb.redact.values import is_distinct, is_harmless
from aof_nb.secret_placeholders import PLACEHOLDER

_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_MOST_REVEALED = 200
_OPTION = re.compile(r"--?[A-Za-z][A-Za-z0-9-]*")

T = TypeVar("T")
E = TypeVar("E", bound="Event | ModelEvent")


class Redactor(TextRedactor):
    """Replaces secrets by placeholders, and placeholders by secrets; for one run.

    The same secret has the same placeholder wherever it appears; one that is encoded says how. A
    secret that is found by its shape or place is looked for everywhere from then on. Safe for
    use by several threads.

    Args:
        secrets: What is known to be secret, by name.
        policy: What else counts as secret.
        state: Of the run that this one goes on with.

    Example:
        >>> redactor = Redactor({"DEPLOY_TOKEN": "c0rrect-h0rse"})
        >>> redactor.text("curl -H 'X-Token: c0rrect-h0rse' && export DB_PASSWORD=hunter2")
        "curl -H 'X-Token: [secret:DEPLOY_TOKEN]' && export DB_PASSWORD=[secret:db-password-1]"
    """

    @classmethod
    def from_environment(
        cls,
        *more: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        policy: RedactionPolicy | None = None,
        state: RedactionState | None = None,
    ) -> Redactor:
        """A redactor that knows the secrets of a process.

        Args:
            more: Further variables, and HTTP headers, whose names say what is secret: an agent's,
                an MCP server's.
            environment: The environment; this process's if None.
            policy: What else counts as secret.
            state: Of the run that this one goes on with.
        """
        variables = policy.variables if policy else ()
        sources = (os.environ if environment is None else environment, *more)
        return cls(declared_secrets(*sources, variables=variables), policy=policy, state=state)

    @property
    def state(self) -> RedactionState:
        """What is to be kept beside the run, for one that goes on with it."""
        with self._lock:
            return self._placeholders.state

    @property
    def count(self) -> int:
        """How many secrets have been replaced so far; `state` changes when it grows."""
        return len(self._placeholders)

    def stream(self) -> StreamRedactor:
        """What redacts one text that comes in pieces."""
        return StreamRedactor(self)

    def value(self, value: Any, *, origin: str = "") -> Any:
        """JSON data without its secrets, in keys and values; the same object if it has none.

        Fields are judged by their names too, and objects of kind Secret as Kubernetes has them.

        Args:
            value: Anything; what is no JSON is left as it is.
            origin: What shows it.
        """
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value, origin=origin)
        if not self._patterns:
            try:
                if not self.index.hits(msgspec.json.encode(value).decode()):
                    return value
            except (TypeError, ValueError, RecursionError):
                pass
        with self._lock:
            return self._value(value, origin)

    def _value(self, value: Any, origin: str) -> Any:
        if isinstance(value, str):
            return self.text(value, origin=origin)
        if isinstance(value, dict):
            return self._mapping(value, origin)
        if isinstance(value, list | tuple):
            items = list(self._items(value, origin))
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else items
        return value

    def _items(self, values: Sequence[Any], origin: str) -> Iterator[Any]:
        before = ""
        for value in values:
            if isinstance(value, str) and before and accepted(before.strip("-"), value):
                yield self._whole(value, before, origin)
            else:
                yield self._value(value, origin)
            option = isinstance(value, str) and _OPTION.fullmatch(value)
            before = value if option else ""

    def _mapping(self, mapping: dict[Any, Any], origin: str) -> dict[Any, Any]:
        secret = {
            (field, entry.key): Span(
                0, len(entry.shown), kind_of(entry.key), entry.secret, entry.encoding
            )
            for field, _, entry in entries_of(mapping)
        }
        found: dict[Any, Any] = {}
        same = True
        named = mapping.get("name")
        for key, value in mapping.items():
            shown = self.text(key, origin=origin) if isinstance(key, str) else key
            if secret and key in {"data", "stringData"} and isinstance(value, dict):
                new: Any = {
                    each: self._entry(inner, secret.get((key, each)), origin)
                    for each, inner in value.items()
                }
                new = value if all(new[each] is value[each] for each in value) else new
            else:
                name = named if key == "value" and isinstance(named, str) else key
                new = self._field(name, value, origin)
            same = same and shown is key and new is value
            found[shown] = new
        return mapping if same else found

    def _entry(self, value: Any, span: Span | None, origin: str) -> Any:
        if span is None or "[secret:" in value:
            return self._value(value, origin)
        self._learn([span], value, origin)
        return self._placeholder(value, span, origin)

    def _field(self, name: Any, value: Any, origin: str) -> Any:
        if not isinstance(name, str):
            return self._value(value, origin)
        if isinstance(value, str):
            if accepted(name, value):
                return self._whole(value, name, origin)
            if name.lower() in _HEADERS:
                line = f"{name}: {value}"
                new = self.text(line, origin=origin)
                return value if new is line else new[len(name) + 2 :]
        elif type(value) is int and value > 999 and accepted(name, str(value)):
            return self._whole(str(value), name, origin)
        return self._value(value, origin)

    def _whole(self, value: str, name: str, origin: str) -> str:
        """The placeholder of a value that is wholly secret because of its name."""
        span = Span(0, len(value), kind_of(name))
        if self._allow and self._allowed(value, span):
            return value
        inner = self.text(value, origin=origin)
        if PLACEHOLDER.fullmatch(inner):
            return inner
        self._learn([span], value, origin)
        return self._placeholder(value, span, origin)

    def message(self, message: Message) -> Message:
        """A message without secrets; the same object if it has none.

        What only a provider understands stays as it is unless a secret is in it; reasoning that
        holds one is no longer sent to the provider, as it would refuse it changed.
        """
        parts = message.parts
        if message.role == "user":
            for part in parts:
                if isinstance(part, Text):
                    self.mentioned(part.text)
        for place, part in enumerate(parts):
            shown = _PARTS[type(part)](self, part)
            if shown is not part:
                parts = (*parts[:place], shown, *parts[place + 1 :])
        return message if parts is message.parts else msgspec.structs.replace(message, parts=parts)

    def call(self, call: ToolCall) -> ToolCall:
        """A tool call without secrets; the same object if it has none."""
        arguments, raw, opaque = call.arguments, call.raw_arguments, call.opaque
        arguments = self.value(arguments) if arguments else arguments
        raw = self.text(raw) if raw else raw
        opaque = self.value(opaque) if opaque else opaque
        if arguments is call.arguments and raw is call.raw_arguments and opaque is call.opaque:
            return call
        return msgspec.structs.replace(call, arguments=arguments, raw_arguments=raw, opaque=opaque)

    def mentioned(self, text: str) -> None:
        """Notes the placeholders that a user has written: they may be used as if shown.

        Args:
            text: What a user wrote; not what a tool returned.
        """
        if "[secret:" in text:
            with self._lock:
                for match in PLACEHOLDER.finditer(text):
                    self._placeholders.mention(match["name"])

    def revealed(self, text: str, *, origin: str = "") -> None:
        """Notes that all of a text is secret, and what it stands for if it is Base64.

        Args:
            text: What a call has printed that asks for nothing else.
            origin: The call.
        """
        try:
            runs = list(words_of(msgspec.json.decode(text)))
        except (msgspec.DecodeError, RecursionError):
            runs = text.split()
        spans = [
            Span(0, len(entry.shown), "revealed-secret", entry.secret)
            for entry in (decoded_entry("", run) for run in runs[:_MOST_REVEALED])
            if is_distinct(entry.secret) and not is_harmless(entry.shown)
        ]
        with self._lock:
            self._learn(spans, text, origin)

    def output(self, output: ToolOutput, *, origin: str = "") -> ToolOutput:
        """A tool's output without secrets; the same object if it has none.

        Args:
            output: The output.
            origin: The call it came from.
        """
        data = self.value(output.data, origin=origin)
        content = self.text(output.content, origin=origin)
        if content is output.content and data is output.data:
            return output
        return msgspec.structs.replace(output, content=content, data=data)

    def event(self, event: E) -> E:
        """An event without secrets; the same object if it has none."""
        fields = _FIELDS.get(type(event))
        if fields is None:
            return event
        changed: dict[str, Any] = {}
        for field in fields:
            old = getattr(event, field)
            new: Any
            if isinstance(old, Message):
                new = self.message(old)
            elif isinstance(old, ToolCall):
                new = self.call(old)
            else:
                new = self.value(old)
            if new is not old:
                changed[field] = new
        return msgspec.structs.replace(event, **changed) if changed else event

    def restore(self, value: T) -> T:
        """JSON data with the true values in the place of placeholders.

        Args:
            value: Anything; the same object if there is no placeholder in it.

        Raises:
            ToolError: If a placeholder's value is not known.
        """
        with self._lock:
            return self._restored(value)  # type: ignore[no-any-return]

    def _restored(self, value: Any) -> Any:
        if isinstance(value, str):
            if "[secret:" not in value:
                return value
            return PLACEHOLDER.sub(self._placeholders.value, value)
        if isinstance(value, dict):
            found = {self._restored(key): self._restored(each) for key, each in value.items()}
            same = all(new is old for new, old in zip(found.values(), value.values(), strict=True))
            return value if same and found.keys() == value.keys() else found
        if isinstance(value, list | tuple):
            items = [self._restored(each) for each in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else items
        return value


def _text(redactor: Redactor, part: Text) -> Text:
    text = redactor.text(part.text)
    return part if text is part.text else Text(text)


def _thinking(redactor: Redactor, part: Thinking) -> Thinking:
    text, opaque = redactor.text(part.text), redactor.value(part.opaque)
    if text is part.text and opaque is part.opaque:
        return part
    return Thinking(text, "", {})


def _opaque(redactor: Redactor, part: Opaque) -> Opaque:
    block = redactor.value(part.block)
    return part if block is part.block else Opaque(part.provider, block)


def _result(redactor: Redactor, part: ToolResult) -> ToolResult:
    content = redactor.text(part.content)
    return part if content is part.content else msgspec.structs.replace(part, content=content)


_PARTS: Mapping[type, Callable[[Redactor, Any], Part]] = {
    Text: _text,
    Thinking: _thinking,
    Opaque: _opaque,
    ToolCall: Redactor.call,
    ToolResult: _result,
}
_FIELDS: Mapping[type, tuple[str, ...]] = {
    ApprovalAnswered: ("arguments", "reason"),
    ApprovalRequested: ("arguments", "reason"),
    LimitReached: ("detail",),
    ModelFellBack: ("reason",),
    ModelResponse: ("message",),
    Notice: ("text",),
    RetryScheduled: ("reason",),
    RunFinished: ("text", "error", "remedy", "output"),
    RunStarted: ("prompt",),
    TextDelta: ("text",),
    ThinkingDelta: ("text",),
    ToolCallDelta: ("arguments",),
    ToolFinished: ("content", "data"),
    ToolProgress: ("message",),
    ToolStarted: ("call",),
    TurnFinished: ("message",),
}
