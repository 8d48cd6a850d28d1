"""Typed answers: what an answer is to be, whether it is, and what the model is told if not.

What is wanted is a type (a pydantic model, a dataclass, ``list[str]``, whatever pydantic's
`TypeAdapter` takes) or a JSON Schema. Whatever the provider promises, the answer is validated
here; a violation goes back to the model a bounded number of times.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from aof_nb.argument_checks import listed
from aof_nb.errors import ConfigurationError, InvalidOutput
from aof_nb.json_text import json_values
from aof_nb.ports import OutputSchema
from aof_nb.schema_repair import repaired
from aof_nb.truncation import truncate

CORRECTION = "[Your answer does not fit its schema"
"""How a correction begins: a model that cannot better itself, a playbook, knows it by this."""

_WRAPPER = "answer"
_LONGEST_NAME = 64

Violation: TypeAlias = str
OnViolation: TypeAlias = Literal["retry", "fail", "passthrough"]


class Answer(NamedTuple):
    """A valid answer: what the caller gets, and the same as JSON data."""

    value: Any
    data: Any


class Judged(NamedTuple):
    """What comes of an answer: it is taken, or the model is told what is wrong with it."""

    answer: Answer | None = None
    correction: str = ""
    notice: str = ""


class Invalid(Exception):
    """A value does not fit; says where and why."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer of a run is to be.

    Args:
        schema: As models are sent it: always of an object.
        own: As it was declared.
        check: Gives the typed value of JSON data.
        wrapped: Whether the answer is sent as the one property of an object.
        coerce: Whether text is read as the number that is wanted.
        corrections: Times a violation goes back to the model; None for the run's own limit.
        passthrough: Whether the run completes, without a typed answer, if none is valid.
    """

    schema: OutputSchema
    own: dict[str, Any]
    check: Callable[[Any], Any]
    wrapped: bool = False
    coerce: bool = False
    corrections: int | None = None
    passthrough: bool = False

    def read(self, text: str) -> Answer:
        """The answer in a model's text.

        Raises:
            Invalid: If none in it fits, with what is wrong.
        """
        first: Invalid | None = None
        for value in json_values(text):
            for form in self._forms(value):
                try:
                    return self._accepted(form)
                except Invalid as invalid:
                    first = first or invalid
        if first is None:
            first = Invalid("there is no JSON in it" if text.strip() else "it is empty")
            if text.strip() and self.wrapped:
                # A text, such as one of an enumeration, need not be quoted.
                try:
                    return self._accepted(text.strip())
                except Invalid:
                    pass
        raise first

    def _forms(self, value: Any) -> list[Any]:
        if self.wrapped and isinstance(value, dict) and set(value) == {_WRAPPER}:
            return [value[_WRAPPER], value]
        return [value]

    def _accepted(self, data: Any) -> Answer:
        try:
            return Answer(self.check(_encodable(data)), data)
        except Invalid:
            mended = repaired(data, self.own, coerce=self.coerce)
            if mended == data and type(mended) is type(data):
                raise
        return Answer(self.check(mended), mended)


def expected(declared: Any) -> Expected | None:
    """What is expected of an answer; None for text.

    Args:
        declared: A type, a JSON Schema, an AOF ``output_schema``, or None or `str` for text.

    Raises:
        ConfigurationError: If it is no schema and pydantic can make none of it.

    Example:
        >>> expected(list[int]).read("They are [1, 2].").value
        [1, 2]
    """
    if declared is None or declared is str:
        return None
    if isinstance(declared, Expected):
        return declared
    if isinstance(declared, Mapping):
        return _from_schema(declared)
    try:
        return _from_type(declared)
    except TypeError:  # not hashable
        return _from_type.__wrapped__(declared)


def expected_again(schema: OutputSchema) -> Expected:
    """What is expected of a run that goes on, whose type is not at hand: the same, as JSON data.

    Example:
        >>> numbers = expected(list[int])
        >>> expected_again(numbers.schema).read("[1, 2]").value
        [1, 2]
    """
    own = schema.schema
    if own.get("required") == [_WRAPPER] == list(own.get("properties") or ()):
        kept = {key: own[key] for key in ("$defs", "definitions") if key in own}
        own = own["properties"][_WRAPPER] | kept
    return msgspec.structs.replace(_from_schema({"schema": own}), schema=schema)


def correction(violation: Violation) -> str:
    """What a model is told whose answer does not fit."""
    return f"{CORRECTION}: {violation}. Give the whole answer again, corrected, as JSON.]"


def violation_in(text: str) -> Violation | None:
    """What a correction said was wrong; None if the text is none."""
    if not text.startswith(CORRECTION):
        return None
    return text.removeprefix(CORRECTION).removeprefix(": ").rpartition(". Give the whole")[0]


class Answers:
    """Judges a run's answers.

    Args:
        wanted: What is expected.
        most: Corrections at most, unless the schema says another number.
    """

    def __init__(self, wanted: Expected, most: int) -> None:
        self._wanted = wanted
        self._most = most if wanted.corrections is None else wanted.corrections
        self._made = 0

    def judge(self, text: str, *, may_correct: bool) -> Judged:
        """Takes an answer, or says what is to be corrected.

        Args:
            text: The model's answer.
            may_correct: Whether the run may go on at all.

        Raises:
            InvalidOutput: If it is wrong and there is no correction left.
        """
        try:
            return Judged(self._wanted.read(text))
        except Invalid as invalid:
            violation = str(invalid)
        if may_correct and self._made < self._most:
            self._made += 1
            notice = f"the answer does not fit its schema, asked again: {violation}"
            return Judged(correction=correction(violation), notice=notice)
        if self._wanted.passthrough:
            notice = f"the answer does not fit its schema, passed through as text: {violation}"
            return Judged(Answer(text, None), notice=notice)
        after = f" after {self._made} correction{'s'[: self._made != 1]}" if self._made else ""
        raise InvalidOutput(
            f"the answer does not fit the output schema {self._wanted.schema.name!r}{after}",
            violation=violation,
            text=text,
            remedy="say in the instructions what is wanted, loosen output_schema, or name a "
            "stronger model; the answer is in the result's text",
        )


@functools.lru_cache(maxsize=128)
def _from_type(declared: Any) -> Expected:
    import pydantic

    shown = getattr(declared, "__name__", None) or str(declared)
    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(declared)
        own = adapter.json_schema()
    except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticInvalidForJsonSchema) as e:
        raise ConfigurationError(
            f"output_schema: pydantic makes no JSON Schema of {shown}: {e.message.splitlines()[0]}",
            remedy="give a pydantic model, a dataclass, a TypedDict, list[...] or a JSON Schema",
        ) from e

    def check(data: Any) -> Any:
        try:
            return adapter.validate_json(msgspec.json.encode(data))
        except pydantic.ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            raise Invalid(listed((each["loc"], each["msg"]) for each in details)) from None
        except Exception as error:
            raise ConfigurationError(
                f"output_schema: {shown} cannot validate: {type(error).__name__}: {error}",
                remedy="let its validators raise ValueError for what is wrong with an answer",
            ) from error

    return _made(own, check, name=shown)


def _from_schema(declared: Mapping[str, Any]) -> Expected:
    import jsonschema_rs

    own, settings = _settings(declared)
    try:
        # Schemas may come from files of others: what they refer to elsewhere is not fetched.
        validator = jsonschema_rs.validator_for(
            msgspec.json.encode(own).decode(), offline=True, validate_formats=True
        )
    except (ValueError, TypeError) as error:
        first_line = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"output_schema is no JSON Schema: {truncate(first_line, 400)}",
            remedy="see json-schema.org; type: object with properties: is the usual form",
        ) from error

    def check(data: Any) -> Any:
        if not validator.is_valid(data):
            errors = ((each.instance_path, each.message) for each in validator.iter_errors(data))
            raise Invalid(listed(errors))
        return data

    return _made(own, check, name=str(own.get("title") or "answer"), **settings)


_ENVELOPE = frozenset(["schema", "description", "strict", "format_hint", "name"])
_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_KEYWORDS = frozenset(
    [
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "enum",
        "items",
        "not",
        "oneOf",
        "patternProperties",
        "properties",
        "type",
    ]
)
_SETTINGS = frozenset(["validation_mode", "on_validation_error", "max_retries"])


def _settings(declared: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON Schema of what an AOF file says, and what it says besides."""
    own = {key: value for key, value in declared.items() if key not in _SETTINGS}
    settings: dict[str, Any] = {}
    if isinstance(own.get("schema"), Mapping) and own.keys() <= _ENVELOPE:
        outer, own = own, dict(own["schema"])
        for source, target in (("description", "description"), ("name", "title")):
            if outer.get(source):
                own.setdefault(target, outer[source])
        settings["strict"] = _one_of(outer, "strict", True, (True, False))
    else:
        own = _from_fields(own)
    mode = _one_of(declared, "validation_mode", "strict", ("strict", "lenient", "coerce"))
    after = _one_of(declared, "on_validation_error", "retry", ("retry", "fail", "passthrough"))
    most = declared.get("max_retries")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
        raise ConfigurationError(
            f"output_schema: max_retries: {most!r} is no number of times",
            remedy="a whole number from 0",
        )
    settings["coerce"] = mode == "coerce"
    settings["passthrough"] = after == "passthrough"
    settings["corrections"] = most if after == "retry" else 0
    if mode == "lenient":
        settings["strict"] = False
    return own, settings


def _from_fields(own: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object whose fields are listed: ``{host: string, restarts: integer}``."""
    if not own or own.keys() & _KEYWORDS:
        return own
    fields: dict[str, Any] = {}
    for name, each in own.items():
        if not isinstance(each, Mapping) and each not in _TYPES:
            raise ConfigurationError(
                f"output_schema: {name}: {each!r} is no type",
                remedy=f"write a JSON Schema, or fields with their types: {', '.join(_TYPES)}",
            )
        fields[name] = dict(each) if isinstance(each, Mapping) else {"type": each}
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _one_of(declared: Mapping[str, Any], key: str, default: Any, known: Sequence[Any]) -> Any:
    value = declared.get(key, default)
    if value not in known:
        raise ConfigurationError(
            f"output_schema: {key}: {value!r} is not known",
            remedy=f"it is one of {', '.join(map(str, known))}",
        )
    return value


def _made(
    own: dict[str, Any],
    check: Callable[[Any], Any],
    *,
    name: str,
    strict: bool = True,
    **settings: Any,
) -> Expected:
    kept: dict[str, Any] = {key: own[key] for key in ("$defs", "definitions") if key in own}
    target = _target(own)
    sent, wrapped = own, target.get("type") != "object"
    if target is not own:
        sent = {**target, **kept}
    if wrapped:
        inner = {key: value for key, value in own.items() if key not in {*kept, "$schema"}}
        sent = {
            "type": "object",
            "properties": {_WRAPPER: inner},
            "required": [_WRAPPER],
            "additionalProperties": False,
            **kept,
        }
    plain = re.sub(r"[^a-zA-Z0-9_-]+", "_", name).strip("_")[:_LONGEST_NAME] or "answer"
    description = str(own.get("description") or "")
    schema = OutputSchema(name=plain, schema=sent, description=description, strict=strict)
    return Expected(schema=schema, own=own, check=check, wrapped=wrapped, **settings)


def _target(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, or the definition it is a mere reference to."""
    ref = str(schema.get("$ref", ""))
    target = (schema.get("$defs") or {}).get(ref.removeprefix("#/$defs/"))
    return target if isinstance(target, dict) and ref.startswith("#/$defs/") else schema


def _encodable(data: Any) -> Any:
    """The same data, if it can be written down again."""
    try:
        msgspec.json.encode(data)
    except (UnicodeError, OverflowError, RecursionError) as error:
        raise Invalid(f"$: {error}") from None
    return data
