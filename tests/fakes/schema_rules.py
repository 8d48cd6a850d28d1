"""What the providers take as a JSON Schema for an answer, and how they refuse the rest.

Sources: OpenAI's guide to structured outputs ("Supported schemas") and the errors users report of
it; Anthropic's documentation of structured outputs ("JSON Schema limitations").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.fakes.rules import InvalidRequestError

_OPENAI_REFUSES = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "default",
    "prefixItems",
    "patternProperties",
    "uniqueItems",
)
_ANTHROPIC_REFUSES = (
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "prefixItems",
    "patternProperties",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)


def check_openai(wanted: Any, param: str, *, what: str = "response_format") -> None:
    """`response_format.json_schema`, or `text.format` of the Responses API."""
    if not isinstance(wanted, Mapping) or not isinstance(wanted.get("name"), str):
        raise InvalidRequestError(
            f"Missing required parameter: '{param}.name'.",
            code="missing_required_parameter",
            param=f"{param}.name",
        )
    name = wanted["name"]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        raise InvalidRequestError(
            f"Invalid '{param}.name': string does not match pattern. Expected a string that "
            "matches the pattern '^[a-zA-Z0-9_-]+$'.",
            code="invalid_value",
            param=f"{param}.name",
        )
    schema = wanted.get("schema")
    if not isinstance(schema, Mapping):
        raise InvalidRequestError(
            f"Missing required parameter: '{param}.schema'.",
            code="missing_required_parameter",
            param=f"{param}.schema",
        )
    refusal = _openai_refusal(schema, strict=bool(wanted.get("strict")))
    if refusal:
        raise InvalidRequestError(
            f"Invalid schema for {what} '{name}': {refusal}",
            code="invalid_json_schema",
            param=f"{param}.schema" if what != "response_format" else "response_format",
        )


def _openai_refusal(schema: Mapping[str, Any], *, strict: bool) -> str | None:
    if schema.get("type") != "object":
        return (
            "schema must be a JSON Schema of 'type: \"object\"', "
            f"got 'type: \"{schema.get('type', 'None')}\"'."
        )
    return _openai_strict(schema, schema, ()) if strict else None


def _openai_strict(schema: Any, root: Mapping[str, Any], path: tuple[str, ...]) -> str | None:
    context = f"In context={path!r}, "
    if not isinstance(schema, Mapping):
        return f"{context}schema must be an object."
    if "$ref" in schema:
        if set(schema) != {"$ref"}:
            extra = sorted(set(schema) - {"$ref"})
            return f"{context}$ref cannot have keywords {set(extra)!r}."
        known = str(schema["$ref"]).removeprefix("#/$defs/") in root.get("$defs", {})
        return None if known else f"{context}reference can only point to definitions in $defs."
    for keyword in _OPENAI_REFUSES:
        if keyword in schema:
            return f"{context}'{keyword}' is not permitted."
    if "anyOf" not in schema and "type" not in schema:
        return f"{context}schema must have a 'type' key."
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return f"{context}'additionalProperties' is required to be supplied and to be false."
        missing = [
            name
            for name in schema.get("properties", {})
            if name not in (schema.get("required") or ())
        ]
        if missing or "required" not in schema:
            name = missing[0] if missing else "required"
            return (
                f"{context}'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{name}'."
            )
    if schema.get("type") == "array" and "items" not in schema:
        return f"{context}array schema missing items."
    return _first(_openai_strict(each, root, (*path, *where)) for where, each in _below(schema))


def check_anthropic(wanted: Any) -> None:
    """`output_config.format`."""
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        raise InvalidRequestError("output_config.format.type: Input should be 'json_schema'")
    for name in wanted:
        if name not in ("type", "schema"):
            raise InvalidRequestError(
                f"output_config.format.{name}: Extra inputs are not permitted"
            )
    schema = wanted.get("schema")
    if not isinstance(schema, Mapping):
        raise InvalidRequestError("output_config.format.schema: Field required")
    refusal = _anthropic_refusal(schema, schema, ())
    if refusal:
        raise InvalidRequestError(f"output_config.format.schema: {refusal}")


def _anthropic_refusal(schema: Any, root: Mapping[str, Any], refs: tuple[str, ...]) -> str | None:
    if not isinstance(schema, Mapping):
        return "Input should be a valid dictionary"
    kind = schema.get("type")
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        if name in refs:
            return "Recursive schemas are not supported"
        if name not in root.get("$defs", {}):
            return f"Unresolvable reference: {schema['$ref']}"
        return _anthropic_refusal(root["$defs"][name], root, (*refs, name))
    unknown = sorted(set(schema).intersection(_ANTHROPIC_REFUSES))
    if unknown:
        return f"For '{kind}' type, properties {', '.join(unknown)} are not supported"
    if kind == "object" and schema.get("additionalProperties") is not False:
        if "additionalProperties" in schema:
            given = str(schema["additionalProperties"]).lower()
            return (
                f"For 'object' type, 'additionalProperties: {given}' is not supported. Please "
                "set 'additionalProperties' to false"
            )
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if schema.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    below = [each for where, each in _below(schema) if where[0] != "$defs"]
    return _first(_anthropic_refusal(each, root, refs) for each in below)


def _below(schema: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for keyword in ("properties", "$defs"):
        for name, each in (schema.get(keyword) or {}).items():
            found.append(((keyword, name), each))
    if "items" in schema:
        found.append((("items",), schema["items"]))
    for number, each in enumerate(schema.get("anyOf") or ()):
        found.append((("anyOf", str(number)), each))
    return found


def _first(refusals: Any) -> str | None:
    return next((each for each in refusals if each), None)
