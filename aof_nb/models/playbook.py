"""A playbook's form: what people write, checked and compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from aof_nb.errors import ResourceError
from aof_nb.yaml_text import field_path, line_of, parse_documents

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_STEP_FIELDS = ("id", "when", "say", "call", "calls", "repeat", "wait", "let", "choose", "answer")
_ACTIONS = ("call", "calls", "choose", "answer")


@dataclass(frozen=True, slots=True)
class Template:
    """Text with ``{{ expressions }}``; alone in its braces, an expression keeps its type."""

    source: str
    place: str
    environment: SandboxedEnvironment

    def text(self, scope: Mapping[str, Any]) -> str:
        """The text, filled in."""
        try:
            return self.environment.from_string(self.source).render(scope)
        except Exception as error:  # an expression may divide by zero, add text to a number...
            raise self._wrong(error) from error

    def value(self, scope: Mapping[str, Any]) -> Any:
        """The value of a lone expression, or else the text."""
        from jinja2 import Undefined

        stripped = self.source.strip()
        inner = stripped[2:-2]
        if not (stripped.startswith("{{") and stripped.endswith("}}")) or "{{" in inner:
            return self.text(scope)
        try:
            compiled = self.environment.compile_expression(inner, undefined_to_none=False)
            value = compiled(**scope)
            if isinstance(value, Undefined):
                str(value)
        except Exception as error:
            raise self._wrong(error) from error
        return value

    def _wrong(self, error: Exception) -> ResourceError:
        return ResourceError(
            f"{self.source.strip()!r}: {error or type(error).__name__}",
            file=self.place,
            remedy="results.<id> has ok, denied, outcome, content and data",
        )


@dataclass(frozen=True, slots=True)
class Condition:
    """A Jinja2 expression that is true or false."""

    template: Template

    def value(self, scope: Mapping[str, Any]) -> bool:
        """Whether it holds."""
        return bool(self.template.value(scope))


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it stands, or a structure with templates in it."""

    content: Any

    def value(self, scope: Mapping[str, Any]) -> Any:
        """The value, with its templates filled in."""
        return _fill(self.content, scope)


def _fill(content: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(content, Template):
        return content.value(scope)
    if isinstance(content, dict):
        return {key: _fill(value, scope) for key, value in content.items()}
    if isinstance(content, list):
        return [_fill(value, scope) for value in content]
    return content


@dataclass(frozen=True, slots=True)
class Call:
    """Tool calls of one turn, by the names their results get; perhaps again and again."""

    asked: Mapping[str, tuple[str, Mapping[str, Literal]]]
    until: Condition | None = None
    most: int = 1
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Branches:
    """The first branch whose condition holds is played; one without always does."""

    branches: Sequence[tuple[Condition | None, Sequence[Step]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The end: text, or data for a run with an output schema."""

    text: Template | Literal


Action: TypeAlias = Call | Branches | Answer | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a playbook; `place` is its file and line."""

    place: str
    action: Action
    when: Condition | None = None
    say: Template | None = None
    let: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Playbook:
    """A checked playbook."""

    name: str
    steps: Sequence[Step]


def load_playbook(path: Path) -> Playbook:
    """Reads and checks a playbook.

    Raises:
        ResourceError: If it cannot be read or is wrong; with file, line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ResourceError(
            f"the playbook cannot be read: {error.strerror}",
            file=str(path),
            remedy="check the path; it is taken from the working directory",
        ) from error
    return parse_playbook(text, file=str(path))


def parse_playbook(text: str, *, file: str) -> Playbook:
    """Checks a playbook's text."""
    documents = parse_documents(text, file=file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ResourceError("a playbook is one mapping", file=file, line=1, remedy="see playbooks")
    return _Reader(documents[0], file).playbook()


class _Reader:
    """Compiles a document, saying of what is wrong where it stands."""

    def __init__(self, document: Any, file: str) -> None:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self._document = document
        self._file = file
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        self._environment.filters["jmespath"] = _search
        self._ids: set[str] = set()

    def playbook(self) -> Playbook:
        self._known_keys(self._document, (), ("kind", "name", "description", "steps"))
        if self._document.get("kind", "Playbook") != "Playbook":
            raise self._wrong(("kind",), "not a playbook", "kind: Playbook")
        name = str(self._document.get("name") or Path(self._file).stem)
        return Playbook(name, self._steps(self._document.get("steps"), ("steps",)))

    def _steps(self, steps: Any, path: tuple[str | int, ...]) -> list[Step]:
        if not isinstance(steps, list) or not steps:
            raise self._wrong(path, "steps are a list", "steps: with a '-' for each step")
        return [self._step(step, (*path, place)) for place, step in enumerate(steps)]

    def _step(self, step: Any, path: tuple[str | int, ...]) -> Step:
        if not isinstance(step, dict):
            raise self._wrong(path, "a step is a mapping", f"use {', '.join(_STEP_FIELDS)}")
        self._known_keys(step, path, _STEP_FIELDS)
        actions = [key for key in _ACTIONS if key in step]
        if len(actions) > 1:
            both = " and ".join(actions)
            raise self._wrong(path, f"a step does one thing, not {both}", "make two steps of it")
        if not actions and not {"say", "let"} & set(step):
            raise self._wrong(path, "the step does nothing", f"give one of {', '.join(_ACTIONS)}")
        for key in {"repeat", "wait"} & set(step):
            if not {"call", "calls"} & set(step):
                raise self._wrong((*path, key), f"{key} goes with a call", "move it to a call")
        return Step(
            place=f"{self._file}:{line_of(self._document, path)}",
            action=self._action(step, path, actions[0] if actions else None),
            when=self._condition(step.get("when"), (*path, "when")) if "when" in step else None,
            say=self._template(step["say"], (*path, "say")) if "say" in step else None,
            let=self._let(step.get("let") or {}, (*path, "let")),
        )

    def _action(self, step: Any, path: tuple[str | int, ...], action: str | None) -> Action:
        if action is None:
            return None
        here = (*path, action)
        value = step[action]
        if action == "answer":
            if isinstance(value, dict | list):
                return Answer(Literal(self._templates(value, here)))
            return Answer(self._template(value, here))
        if action == "choose":
            if not isinstance(value, list) or not value:
                raise self._wrong(here, "choose is a list", "- when: ... with steps: below it")
            return self._branches(value, here)
        if action == "call":
            asked = {str(step.get("id") or f"step_{path[-1]}"): value}
        else:
            asked = value
            if not isinstance(value, dict) or not value:
                raise self._wrong(here, "calls is a mapping", "NAME: {tool: ..., arguments: {}}")
        for name in asked:
            if name in self._ids:
                raise self._wrong(path, f"the id {name!r} is used twice", "ids are unique")
            self._ids.add(name)
        calls = {
            name: self._called(each, here if action == "call" else (*here, name))
            for name, each in asked.items()
        }
        repeat = step.get("repeat") or {}
        self._known_keys(repeat, (*path, "repeat"), ("until", "max"))
        until = repeat.get("until")
        return Call(
            asked=calls,
            until=None if until is None else self._condition(until, (*path, "repeat", "until")),
            most=self._times(repeat.get("max", 10), (*path, "repeat", "max")) if repeat else 1,
            wait=self._seconds(step.get("wait") or 0, (*path, "wait")),
        )

    def _times(self, value: Any, path: tuple[str | int, ...]) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
        raise self._wrong(path, f"{value!r} is no number of times", "a whole number from 1")

    def _seconds(self, value: Any, path: tuple[str | int, ...]) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return float(value)
        raise self._wrong(path, f"{value!r} is no number of seconds", "such as 2 or 0.5")

    def _called(self, call: Any, path: tuple[str | int, ...]) -> tuple[str, dict[str, Literal]]:
        self._known_keys(call, path, ("tool", "arguments"))
        if not isinstance(call.get("tool"), str):
            raise self._wrong(path, "a call names its tool", "tool: NAME")
        arguments = call.get("arguments") or {}
        self._known_keys(arguments, (*path, "arguments"), None)
        return call["tool"], {
            str(key): Literal(self._templates(value, (*path, "arguments", key)))
            for key, value in arguments.items()
        }

    def _branches(self, branches: list[Any], path: tuple[str | int, ...]) -> Branches:
        # Only one of them is played, so they may use the same ids.
        before, used = self._ids, set(self._ids)
        compiled = []
        for place, each in enumerate(branches):
            self._ids = set(before)
            compiled.append(self._branch(each, (*path, place)))
            used |= self._ids
        self._ids = used
        return Branches(compiled)

    def _branch(
        self, branch: Any, path: tuple[str | int, ...]
    ) -> tuple[Condition | None, Sequence[Step]]:
        self._known_keys(branch, path, ("when", "steps"))
        condition = None
        if "when" in branch:
            condition = self._condition(branch["when"], (*path, "when"))
        return condition, self._steps(branch.get("steps"), (*path, "steps"))

    def _let(self, let: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
        import jmespath

        self._known_keys(let, path, None)
        compiled = {}
        for name, expression in let.items():
            try:
                compiled[str(name)] = jmespath.compile(str(expression))
            except jmespath.exceptions.JMESPathError as error:
                what = f"not a JMESPath expression: {error}"
                raise self._wrong((*path, name), what, "see jmespath.org") from None
        return compiled

    def _templates(self, value: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(value, dict):
            return {str(key): self._templates(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._templates(each, (*path, place)) for place, each in enumerate(value)]
        if isinstance(value, str):
            return self._template(value, path) if "{{" in value or "{%" in value else str(value)
        return value

    def _condition(self, value: Any, path: tuple[str | int, ...]) -> Condition:
        source = str(value).strip()
        if not source.startswith("{{"):
            source = "{{ " + source + " }}"
        return Condition(self._template(source, path))

    def _template(self, value: Any, path: tuple[str | int, ...]) -> Template:
        from jinja2 import TemplateSyntaxError

        source = str(value)
        try:
            self._environment.parse(source)
        except TemplateSyntaxError as error:
            raise self._wrong(path, f"not valid Jinja2: {error.message}", "check braces") from None
        place = f"{self._file}:{line_of(self._document, path)}"
        return Template(source, place, self._environment)

    def _known_keys(
        self, value: Any, path: tuple[str | int, ...], known: Sequence[str] | None
    ) -> None:
        import difflib

        if not isinstance(value, dict):
            raise self._wrong(path, "this is a mapping", "key: value, indented below it")
        for key in value:
            if known is not None and key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"use {', '.join(known)}"
                raise self._wrong((*path, key), f"unknown field {key!r}", remedy)

    def _wrong(self, path: tuple[str | int, ...], message: str, remedy: str) -> ResourceError:
        line = line_of(self._document, path)
        return ResourceError(
            message, file=self._file, line=line, field=field_path(path), remedy=remedy
        )


def _search(data: Any, expression: str) -> Any:
    import jmespath

    return jmespath.search(expression, data)
