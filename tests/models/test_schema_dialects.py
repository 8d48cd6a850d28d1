"""Schemas in the providers' dialects: accepted by their rules, and true to what was declared."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from aof_nb.models.schema_dialects import ANTHROPIC_SCHEMAS, OPENAI_SCHEMAS, Dialect
from aof_nb.schema_repair import repaired
from aof_nb.structured_output import expected
from tests.fakes.rules import InvalidRequestError
from tests.fakes.schema_rules import check_anthropic, check_openai

both = pytest.mark.parametrize(
    "dialect", [OPENAI_SCHEMAS, ANTHROPIC_SCHEMAS], ids=lambda each: each.name
)


def check(dialect: Dialect, schema: dict[str, Any]) -> None:
    """What the provider's API would do with it."""
    if dialect is OPENAI_SCHEMAS:
        check_openai({"name": "answer", "schema": schema, "strict": True}, "text.format")
    else:
        check_anthropic({"type": "json_schema", "schema": schema})


class Host(BaseModel):
    """A host."""

    name: str = Field(min_length=2, description="Its name.")
    up: bool | None = None


class Report(BaseModel):
    hosts: list[Host] = Field(min_length=2)
    main: Host = Field(description="The main one.")
    restarts: int = Field(3, ge=1, le=9)
    severity: Literal["low", "high"] | None
    either: int | list[str] | Host


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


def sent(declared: Any) -> dict[str, Any]:
    wanted = expected(declared)
    assert wanted is not None
    return wanted.schema.schema


DECLARED: list[Any] = [Report, Host, list[int], list[Host], Literal["a", "b"], int, Host | int]


@both
@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_the_api_accepts_what_is_written(dialect: Dialect, declared: Any) -> None:
    with pytest.raises(InvalidRequestError):
        check(dialect, sent(declared) | {"additionalProperties": True})
    strict = dialect.strict(sent(declared))
    assert strict is not None
    check(dialect, strict)


@both
@pytest.mark.parametrize(
    "declared",
    [
        dict[str, int],
        tuple[int, str],
        Any,
        {"type": "object", "properties": {"data": {"type": "object"}}},
        {"type": "object", "properties": {"x": {}}},
        {"type": "object", "allOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "properties": {"a": {"type": "array"}}},
    ],
    ids=str,
)
def test_what_a_dialect_cannot_say_is_not_bent(dialect: Dialect, declared: Any) -> None:
    assert dialect.strict(sent(declared)) is None


def test_recursion_is_said_where_it_can_be() -> None:
    strict = OPENAI_SCHEMAS.strict(sent(Tree))
    assert strict is not None
    check(OPENAI_SCHEMAS, strict)
    assert ANTHROPIC_SCHEMAS.strict(sent(Tree)) is None


def test_too_many_optional_properties_are_too_much_for_anthropic() -> None:
    fields = {f"f{number}": {"type": "string"} for number in range(25)}
    schema = {"type": "object", "properties": fields}
    assert ANTHROPIC_SCHEMAS.strict(schema) is None
    assert ANTHROPIC_SCHEMAS.strict(schema | {"required": ["f1"]}) is not None


@both
def test_constraints_without_a_keyword_are_told(dialect: Dialect) -> None:
    strict = dialect.strict(sent(Report))
    assert strict is not None
    name = strict["$defs"]["Host"]["properties"]["name"]
    assert name["description"] == 'Its name.\n\n{"minLength":2}'
    restarts = str(strict["properties"]["restarts"])
    assert "'minimum': 1" in restarts if dialect is OPENAI_SCHEMAS else '"minimum":1' in restarts


def test_an_optional_property_is_null_where_all_are_required() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    strict = OPENAI_SCHEMAS.strict(schema | {"required": ["a"]})
    assert strict is not None
    assert strict["required"] == ["a", "b"]
    assert strict["properties"]["b"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert repaired({"a": "x", "b": None}, schema | {"required": ["a"]}) == {"a": "x"}


SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 1, "description": "Words."},
        {"type": "integer", "minimum": 0, "maximum": 3},
        {"type": ["number", "null"]},
        {"type": "boolean"},
        {"enum": ["a", "b", None]},
        {"const": 7},
        {"enum": [1, "one"], "default": 1},
        {"$ref": "#/$defs/shared"},
        {"$ref": "#/$defs/shared", "description": "Shared."},
    ]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
    return fields.flatmap(
        lambda found: st.builds(
            lambda required, closed: {
                "type": "object",
                "properties": found,
                "required": sorted(required),
                **({"additionalProperties": False} if closed else {}),
            },
            st.sets(st.sampled_from(sorted(found))),
            st.booleans(),
        )
    )


SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 3}, inner)
        | st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(lambda branches: {"oneOf": branches}, st.lists(inner, min_size=1, max_size=2))
        | objects(inner)
    ),
    max_leaves=6,
)
SHARED = {"$defs": {"shared": {"type": "object", "properties": {"x": {"type": "integer"}}}}}


@both
@given(schema=objects(SCHEMAS))
@settings(max_examples=300, deadline=None)
def test_any_schema_is_accepted_and_none_is_widened(
    dialect: Dialect, schema: dict[str, Any]
) -> None:
    own = schema | SHARED
    strict = dialect.strict(own)
    assert strict is not None
    check(dialect, strict)
    jsonschema_rs.meta.validate(strict)
    assert dialect.strict(own) == strict
    # What the schema wants at least is what the dialect wants at least.
    assert set(own["required"]) <= set(strict["required"])
    assert own["properties"].keys() == strict["properties"].keys()
