"""Forms made from JSON schemas."""

from __future__ import annotations

import socket
from typing import Any

import ipywidgets
import pytest

from aof_nb.notebook.console.forms import SchemaForm

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "service": {"type": "string", "minLength": 2, "description": "<b>Which</b> one"},
        "lines": {"type": "integer", "minimum": 1},
        "ratio": {"type": "number"},
        "force": {"type": "boolean"},
        "level": {"enum": ["low", "high", 3]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": {},
    },
    "required": ["service", "lines"],
    "additionalProperties": False,
}


def field(form: SchemaForm, name: str) -> Any:
    found = [box.children[0] for box in form.widget.children if isinstance(box, ipywidgets.VBox)]
    return next(each for each in found if each.description.removesuffix(" *") == name)


def test_required_fields_are_marked_and_missed() -> None:
    form = SchemaForm(SCHEMA)
    assert field(form, "lines").description == "lines *"
    assert form.problems["lines"] == "this is required"
    assert "shorter than 2" in form.problems["service"]


def test_values_come_back_as_they_went_in() -> None:
    value = {
        "service": "checkout",
        "lines": 3,
        "ratio": 0.5,
        "force": False,
        "level": 3,
        "labels": {"a": "b"},
        "anything": [1, None, "x"],
    }
    form = SchemaForm(SCHEMA, value)
    assert form.value == value
    assert form.problems == {}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("lines", "many", "write a whole number"),
        ("lines", "1.5", "write a whole number"),
        ("lines", "0", "0 is less than the minimum of 1"),
        ("ratio", "nan", "write a number"),
        ("labels", "{", "this is not JSON"),
        ("labels", "3", "write a JSON object"),
        ("labels", '{"a": 1}', "a: 1 is not of type"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(name: str, text: str, problem: str) -> None:
    form = SchemaForm(SCHEMA, {"service": "checkout", "lines": 1})
    field(form, name).value = text
    assert problem in form.problems[name]
    box = next(each for each in form.widget.children if field(form, name) in each.children)
    assert "⚠" in box.children[2].value


def test_only_what_a_person_changes_is_told() -> None:
    form, told = SchemaForm(SCHEMA), []
    form.on_change(lambda: told.append(form.value))
    form.value = {"service": "checkout", "lines": 1}
    assert told == []
    field(form, "lines").value = "2"
    assert told == [{"service": "checkout", "lines": 2}]


def test_an_empty_field_is_left_out() -> None:
    form = SchemaForm(SCHEMA, {"service": "checkout", "lines": 1, "ratio": 2.0, "force": True})
    field(form, "ratio").value = ""
    field(form, "force").value = ""
    assert form.value == {"service": "checkout", "lines": 1}


def test_descriptions_are_text() -> None:
    form = SchemaForm(SCHEMA)
    said = form.widget.children[0].children[1].value
    assert "&lt;b&gt;Which&lt;/b&gt;" in said


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "nonsense", "enum": 3}}, "required": "a"},
        {"properties": ["a"], "required": {}},
        {"properties": {"a": {"minLength": "x"}}},
    ],
)
def test_what_is_no_schema_makes_a_form_all_the_same(schema: dict[str, Any]) -> None:
    form = SchemaForm(schema)
    assert form.problems == {}
    assert form.value == {}


def test_what_a_schema_refers_to_elsewhere_is_not_fetched() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
        SchemaForm({"properties": {"a": {"$ref": url}}})
        with pytest.raises(BlockingIOError):
            listener.accept()


NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "colour": {"$ref": "#/$defs/Colour"},
        "shade": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "default": None},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "old": {"type": ["string", "null"]},
        "mode": {"enum": ["fast", "safe"], "default": "safe"},
        "force": {"type": "boolean", "default": False},
        "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "null": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "loop": {"$ref": "#/$defs/Loop"},
        "gone": {"$ref": "#/$defs/Nowhere"},
    },
    "required": ["colour", "null"],
    "$defs": {
        "Colour": {"enum": ["red", "blue"], "type": "string"},
        "Point": {"type": "object", "properties": {"x": {"type": "integer"}}},
        "Loop": {"$ref": "#/$defs/Loop"},
    },
}


def test_what_a_schema_refers_to_has_a_field_of_its_kind() -> None:
    form = SchemaForm(NESTED)
    assert list(field(form, "colour").options) == ["", "red", "blue"]
    assert list(field(form, "shade").options) == ["", "red", "blue"]
    for name, kind in (("count", ipywidgets.Text), ("old", ipywidgets.Text)):
        assert type(field(form, name)) is kind
    field(form, "colour").value = "red"
    field(form, "count").value = "3"
    field(form, "null").value = "null"
    assert form.value == {"colour": "red", "count": 3, "null": None}
    assert form.problems == {}
    assert SchemaForm(NESTED, form.value).value == form.value


def test_a_field_says_what_holds_if_it_is_left_and_what_its_json_looks_like() -> None:
    form = SchemaForm(NESTED)
    assert field(form, "mode").value == "default: safe"
    assert field(form, "force").value == "default: no"
    assert field(form, "points").placeholder == 'JSON: such as [{"x":0}]'
    assert field(form, "either").placeholder == "JSON: such as 0"
    field(form, "force").value = "yes"
    assert form.value["force"] is True
