"""A form made from a JSON schema: a field a property, judged in place while it is filled in."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import msgspec

from aof_nb.markdown import html_text, revealed
from aof_nb.notebook.console.field_schemas import example, plain_schema
from aof_nb.readable import indented_json, visible

_STRUCTURED = ("array", "object")
_NOTHING: Any = object()
_EITHER = {"yes": True, "no": False}
_ANY = '"text", 1, true, [] or {}'
_LINES = 4
_encoded = functools.partial(msgspec.json.encode, enc_hook=str)


class _Unreadable(ValueError):
    """A field's text that is no value of its type."""


class SchemaForm:
    """A form for the values of an object's properties.

    Text, numbers, booleans and enumerations have fields of their own; lists, objects and whatever
    may be of several types are written as JSON. A field that is left empty is left out, unless it
    is required text.

    Args:
        schema: The JSON schema of an object; if it is no valid one, only its fields are used. A
            string with ``"format": "multiline"`` gets several lines.
        value: What it begins with.

    Example:
        >>> form = SchemaForm({"properties": {"n": {"type": "integer"}}, "required": ["n"]})
        >>> form.problems
        {'n': 'this is required'}
        >>> form.value = {"n": 3}
        >>> form.value, form.problems
        ({'n': 3}, {})
    """

    def __init__(self, schema: Mapping[str, Any], value: Mapping[str, Any] | None = None) -> None:
        import ipywidgets
        import jsonschema_rs

        self._schema = dict(schema)
        try:
            # Schemas come from servers, too: what they refer to elsewhere is not fetched.
            self._validator: Any = jsonschema_rs.validator_for(self._schema, offline=True)
        except ValueError:
            self._validator = None
        properties, required = self._schema.get("properties"), self._schema.get("required")
        fields = properties if isinstance(properties, dict) else {}
        self._required = {str(each) for each in required} if isinstance(required, list) else set()
        self._changed: list[Callable[[], None]] = []
        self._silent = False
        self._fields = {
            name: _Field(
                name, part if isinstance(part, dict) else {}, self._schema, name in self._required
            )
            for name, part in fields.items()
        }
        self.problems: dict[str, str] = {}
        """What is wrong, by field; what is wrong with the whole by the empty name."""
        self._whole: Any = ipywidgets.HTML()
        boxes = [each.widget for each in self._fields.values()]
        self.widget: Any = ipywidgets.VBox([*boxes, self._whole])
        for each in self._fields.values():
            each.input.observe(self._edited, "value")
        self.value = dict(value or {})

    @property
    def value(self) -> dict[str, Any]:
        """What is filled in; fields that cannot be read are left out."""
        return self._read()[0]

    @value.setter
    def value(self, value: Mapping[str, Any]) -> None:
        self._silent = True
        try:
            for name, each in self._fields.items():
                each.write(value.get(name, _NOTHING))
        finally:
            self._silent = False
        self._judge()

    def on_change(self, changed: Callable[[], None]) -> None:
        """Has a function called when a person has changed a field, on any thread."""
        self._changed.append(changed)

    def mark(self, problems: Mapping[str, str]) -> None:
        """Shows what else is wrong with fields, beside what the schema says."""
        self._judge()
        for name, problem in problems.items():
            self.problems.setdefault(name, problem)
        self._show()

    def _edited(self, _: Any) -> None:
        if self._silent:
            return
        self._judge()
        for each in self._changed:
            each()

    def _read(self) -> tuple[dict[str, Any], dict[str, str]]:
        value: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for name, each in self._fields.items():
            try:
                read = each.read()
            except _Unreadable as error:
                problems[name] = str(error)
                continue
            if read is not _NOTHING:
                value[name] = read
        return value, problems

    def _judge(self) -> None:
        value, problems = self._read()
        for error in self._errors(value):
            path = list(error.instance_path)
            if path:
                within = ".".join(str(each) for each in path[1:])
                place, message = (
                    str(path[0]),
                    f"{within}: {error.message}" if within else error.message,
                )
                problems.setdefault(place, message)
        for name in self._required - set(value):
            problems.setdefault(name, "this is required")
        if not problems:
            whole = next(iter(self._errors(value)), None)
            problems |= {"": whole.message} if whole is not None else {}
        self.problems = problems
        self._show()

    def _errors(self, value: Mapping[str, Any]) -> Iterable[Any]:
        return () if self._validator is None else self._validator.iter_errors(value)

    def _show(self) -> None:
        for name, each in self._fields.items():
            each.complain(self.problems.get(name, ""))
        self._whole.value = _complaint(self.problems.get("", ""))


class _Field:
    """One property: its label, its input, what is wrong with it."""

    def __init__(
        self, name: str, declared: Mapping[str, Any], whole: Mapping[str, Any], required: bool
    ) -> None:
        import ipywidgets

        schema = plain_schema(declared, whole, required=required)
        self._schema, self._required = schema, required
        kind = schema.get("type")
        self._kind = kind if isinstance(kind, str) else ""
        label = f"{revealed(visible(name))}{' *' if required else ''}"
        told = revealed(visible(str(schema.get("description", ""))))
        full = {"width": "auto"}
        options: dict[str, Any] = {"layout": full, "tooltip": told or label}
        self._choices: dict[str, Any] = {}
        default = schema.get("default")
        self._empty = "" if default is None else f"default: {_named(default)}"
        if isinstance(schema.get("enum"), list) or self._kind == "boolean":
            self._choices = self._named_choices()
            self.input: Any = ipywidgets.Dropdown(options=list(self._choices), **options)
        elif self._is_json() or schema.get("format") == "multiline":
            shape = f"such as {example(schema, whole) or _ANY}"
            shape = "; ".join(each for each in (self._hint(), shape) if each)
            hint = "" if not self._is_json() else f"JSON: {revealed(visible(shape))}"
            self.input = ipywidgets.Textarea(placeholder=hint, rows=_LINES, **options)
        else:
            self.input = ipywidgets.Text(placeholder=self._hint(), **options)
        # Labels of ipywidgets are of a fixed width: the input's own names it for readers.
        self.input.description = label
        self.input.style.description_width = "130px"
        self._note: Any = ipywidgets.HTML(layout={"display": "none"})
        self._told: Any = ipywidgets.HTML(f"<small>{escape(told)}</small>" if told else "")
        self._told.layout.display = None if told else "none"
        for each in (self._note, self._told):
            each.layout.margin = "0 0 2px 138px"
        self.widget: Any = ipywidgets.VBox([self.input, self._told, self._note])
        self.widget.layout.overflow = "hidden"

    def _is_json(self) -> bool:
        return self._kind not in {"string", "number", "integer", "boolean"}

    def _hint(self) -> str:
        default = self._schema.get("default")
        if default is not None:
            return f"{_as_text(default)} if left empty"
        return self._kind if self._kind in {"number", "integer"} else ""

    def _named_choices(self) -> dict[str, Any]:
        if not isinstance(self._schema.get("enum"), list):
            return {self._empty: _NOTHING} | _EITHER
        listed = {_as_text(each): each for each in self._schema["enum"]}
        return {self._empty: _NOTHING} | listed

    def write(self, value: Any) -> None:
        """Puts a value in."""
        if self._choices:
            text = next(
                (name for name, each in self._choices.items() if _same(each, value)), self._empty
            )
        elif value is _NOTHING or (value is None and not self._is_json()):
            text = ""
        elif isinstance(value, str) and not self._is_json():
            text = value
        else:
            text = indented_json(value, encode=_encoded)
        if self.input.value != text:
            self.input.value = text

    def read(self) -> Any:
        """The value; `_NOTHING` if the field is empty.

        Raises:
            _Unreadable: If the text is none of the field's type.
        """
        text: str = self.input.value
        if self._choices:
            return self._choices.get(text, _NOTHING)
        if self._kind == "string":
            return text if text or self._required else _NOTHING
        if not text.strip():
            return _NOTHING
        if self._kind in {"number", "integer"}:
            return self._number(text.strip())
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise _Unreadable(f"this is not JSON: {error}") from None
        if self._kind in _STRUCTURED and not isinstance(value, list | dict):
            raise _Unreadable(f"write a JSON {self._kind}")
        return value

    def _number(self, text: str) -> int | float:
        try:
            number = int(text) if self._kind == "integer" else float(text)
            if math.isfinite(number):
                return number
            raise ValueError(text)
        except ValueError:
            kind = "whole number" if self._kind == "integer" else "number"
            raise _Unreadable(f"write a {kind}") from None

    def complain(self, problem: str) -> None:
        """Shows what is wrong with the value; nothing if nothing is."""
        self._note.value = _complaint(problem)
        self._note.layout.display = None if problem else "none"


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else _encoded(value).decode()


def _named(value: Any) -> str:
    return next((name for name, each in _EITHER.items() if each is value), _as_text(value))


def _complaint(problem: str) -> str:
    if not problem:
        return ""
    return f'<div class="aof-field-problem" role="alert">⚠ {html_text(problem)}</div>'
