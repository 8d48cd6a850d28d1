"""The scripted model: a playbook that reads real tool results, and needs no language model.

It is stateless: each turn it plays the playbook anew over the conversation, taking the
results of the calls it has already made from there, until it comes to the first call that has
not been made, or to an answer. The same conversation always gives the same turn, so a run can
be resumed, and tested.

The playbook's form is described in ``docs/playbooks.md``.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.errors import ConfigurationError, InvalidOutput, ResourceError
from aof_nb.events import ModelEvent, ModelResponse, TextDelta
from aof_nb.messages import Message, Outcome, Part, StopReason, Text, ToolCall, ToolResult, Usage
from aof_nb.models.playbook import (
    Answer,
    Branches,
    Call,
    Literal,
    Playbook,
    Step,
    load_playbook,
)
from aof_nb.ports import ModelRequest, StructuredOutput
from aof_nb.structured_output import violation_in


class ScriptModel:
    """A deterministic model that follows a playbook.

    Args:
        path: The playbook's file.
        pace: Seconds between the words it says, for demonstrations.

    Raises:
        ResourceError: If the playbook is wrong; with file, line and field.
    """

    structured_output: StructuredOutput = "native"
    reads_results = True
    """A playbook reads what tools returned as it is."""

    def __init__(self, path: str | Path, *, pace: float = 0.0) -> None:
        self._path = Path(path)
        self._pace = pace
        self._playbook: Playbook | None = None

    @property
    def name(self) -> str:
        """``script:FILE (scripted)``: it never poses as a language model."""
        return f"script:{self._path.name} (scripted)"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the next turn of the playbook."""
        if self._playbook is None:
            self._playbook = await asyncio.to_thread(load_playbook, self._path)
        exchange = _Exchange(request, self.name)
        self._check_answer(exchange)
        move = _Player(self._playbook, exchange).next_move()
        if move.wait and not exchange.withheld:
            await asyncio.sleep(move.wait)
        for words in re.findall(r"\S*\s*(?:\S+\s*){0,3}", move.text):
            if words:
                if self._pace:
                    await asyncio.sleep(self._pace)
                yield TextDelta(words)
        parts: tuple[Part, ...] = (Text(move.text),) if move.text else ()
        parts += move.calls
        yield ModelResponse(
            message=Message("assistant", parts, model=self.name),
            stop_reason=StopReason.TOOL_USE if move.calls else StopReason.END_TURN,
            usage=Usage(),
            model=self.name,
        )

    def _check_answer(self, exchange: _Exchange) -> None:
        """Fails where its own answer is to be corrected: it would only be given again."""
        answer = exchange.answered
        if exchange.violation is not None and answer is not None and answer.model == self.name:
            raise InvalidOutput(
                f"{self._path}: the playbook's answer does not fit the output schema",
                violation=exchange.violation,
                text=answer.text,
                remedy="give the answer as a mapping with the schema's fields",
            )


class _Move(msgspec.Struct):
    """What the model does in one turn."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    wait: float = 0.0


class _Exchange:
    """The part of a conversation that began with the last prompt.

    Args:
        request: The request.
        model: The scripted model's name. The turns of others, where it is asked because they
            could not go on, are none of its playbook's.
    """

    def __init__(self, request: ModelRequest, model: str) -> None:
        self.withheld = request.tool_choice == "none"
        self.tools = [tool.name for tool in request.tools]
        messages = list(request.messages)
        if self.withheld and self.tools and len(messages) > 1 and messages[-1].role == "user":
            # The loop's own remark on the last turn is not a prompt.
            messages.pop()
        last = messages[-1] if messages else None
        self.violation = violation_in(last.text) if last and last.role == "user" else None
        self.answered = messages[-2] if len(messages) > 1 else None
        starts = [place for place, each in enumerate(messages) if _is_prompt(each)]
        start = starts[-1] if starts else 0
        self.prompt = messages[start].text if starts else ""
        self.turns: list[Sequence[ToolResult]] = [
            results.tool_results
            for asked, results in itertools.pairwise(messages[start:])
            if results.role == "tool" and asked.model in {None, model}
        ]


def _is_prompt(message: Message) -> bool:
    return message.role == "user" and violation_in(message.text) is None


class _Player:
    """Plays a playbook over an exchange."""

    def __init__(self, playbook: Playbook, exchange: _Exchange) -> None:
        self._playbook = playbook
        self._exchange = exchange
        self._turn = 0
        self._said: list[str] = []
        self._scope: dict[str, Any] = {
            "prompt": exchange.prompt,
            "results": {},
            "tools": exchange.tools,
        }

    def next_move(self) -> _Move:
        for move in self._play(self._playbook.steps):
            if self._exchange.withheld and move.calls:
                text = "The playbook was stopped by a limit before it came to an answer."
                return _Move("\n\n".join([*self._said, text]))
            return move
        return _Move("\n\n".join([*self._said, "The playbook ended without an answer."]))

    def _play(self, steps: Sequence[Step]) -> Iterator[_Move]:
        from jmespath.exceptions import JMESPathError

        for step in steps:
            if step.when is not None and not step.when.value(self._scope):
                continue
            if step.say is not None and not isinstance(step.action, Call):
                self._said.append(step.say.text(self._scope).strip())
            match step.action:
                case Answer(content):
                    if isinstance(content, Literal):
                        value = content.value(self._scope)
                        answer = _json(value, "the answer", step.place).decode()
                    else:
                        answer = content.text(self._scope).strip()
                    yield _Move("\n\n".join([*self._said, answer]))
                    return
                case Branches(branches):
                    for condition, chosen in branches:
                        if condition is None or condition.value(self._scope):
                            yield from self._play(chosen)
                            break
                case Call():
                    yield from self._call(step, step.action)
            for name, expression in step.let.items():
                try:
                    self._scope[name] = expression.search(self._scope)
                except JMESPathError as error:
                    raise ResourceError(
                        f"let.{name}: {error}", file=step.place, remedy="see jmespath.org"
                    ) from error

    def _call(self, step: Step, call: Call) -> Iterator[_Move]:
        for attempt in range(call.most):
            if self._turn == len(self._exchange.turns):
                said = [*self._said]
                if step.say is not None and attempt == 0:
                    said.append(step.say.text(self._scope).strip())
                yield _Move("\n\n".join(said), self._asked(step, call), call.wait)
            self._said.clear()
            results = self._exchange.turns[self._turn]
            self._turn += 1
            for name, result in zip(call.asked, results, strict=False):
                self._scope["results"] = self._scope["results"] | {name: _seen(result)}
            if call.until is None or call.until.value(self._scope):
                return

    def _asked(self, step: Step, call: Call) -> tuple[ToolCall, ...]:
        calls = []
        for place, (tool, arguments) in enumerate(call.asked.values()):
            if tool not in self._exchange.tools:
                raise ConfigurationError(
                    f"{step.place}: the agent has no tool {tool!r}",
                    remedy=f"it has: {', '.join(self._exchange.tools) or 'none'}",
                )
            values = {key: value.value(self._scope) for key, value in arguments.items()}
            values = msgspec.json.decode(_json(values, f"the arguments of {tool!r}", step.place))
            calls.append(ToolCall(f"script_{self._turn + 1}_{place + 1}", tool, values))
        return tuple(calls)


def _json(value: Any, what: str, place: str) -> bytes:
    try:
        return msgspec.json.encode(value, enc_hook=_listed)
    except (TypeError, ValueError) as error:
        raise ResourceError(
            f"{what} cannot be sent: {error}",
            file=place,
            remedy="give text, numbers, lists and mappings; "
            "a key called items is read as data['items']",
        ) from error


def _listed(value: Any) -> Any:
    """What Jinja2's filters give, such as ``map``'s, as a list."""
    if isinstance(value, Iterator | range):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no value")


def _seen(result: ToolResult) -> dict[str, Any]:
    """A result as the playbook's expressions see it."""
    try:
        data = msgspec.json.decode(result.content)
    except (msgspec.DecodeError, UnicodeError):
        data = None
    return {
        "ok": result.outcome is Outcome.OK,
        "denied": result.outcome is Outcome.DENIED,
        "outcome": result.outcome.value,
        "content": result.content,
        "data": data,
    }
