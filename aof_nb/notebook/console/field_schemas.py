"""What a property of a JSON schema comes to, where it says so by references and alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_DEPTH = 8
_NULL = "null"
_EXAMPLES = {"string": "…", "integer": 0, "number": 0.5, "boolean": True, _NULL: None}


def plain_schema(
    schema: Mapping[str, Any], whole: Mapping[str, Any], *, required: bool
) -> dict[str, Any]:
    """A property's schema with what it refers to in its place.

    Where something is either null or of one other kind, and may be left out, it is of that kind:
    leaving it out says the same.

    Args:
        schema: The property's.
        whole: The schema that references lead into.
        required: Whether it has to be there.

    Example:
        >>> whole = {"$defs": {"Level": {"enum": ["low", "high"]}}}
        >>> plain_schema({"$ref": "#/$defs/Level"}, whole, required=True)
        {'enum': ['low', 'high']}
    """
    found = dict(schema)
    for _ in range(_DEPTH):
        inner = _inner(found, whole, required=required)
        if inner is None:
            break
        found = inner
    if "const" in found and "enum" not in found:
        found["enum"] = [found["const"]]
    return found


def example(schema: Mapping[str, Any], whole: Mapping[str, Any], depth: int = 4) -> str:
    """A value of a schema as JSON, to show its shape; empty if nothing is known of it.

    Args:
        schema: The schema.
        whole: The schema that references lead into.
        depth: How far it goes into what is nested.
    """
    value = _example(schema, whole, depth)
    return "" if value is None else msgspec.json.encode(value, enc_hook=str).decode()


def _inner(
    found: Mapping[str, Any], whole: Mapping[str, Any], *, required: bool
) -> dict[str, Any] | None:
    """One step further; None if there is none."""
    if isinstance(reference := found.get("$ref"), str):
        target = _target(reference, whole)
        rest = {key: each for key, each in found.items() if key != "$ref"}
        return None if target is None else {**target, **rest}
    kinds = found.get("type")
    nullable = not required and found.get("default") is None
    if isinstance(kinds, list):
        others = [each for each in kinds if each != _NULL]
        if len(others) == 1 and (nullable or len(kinds) == 1):
            return {**found, "type": others[0]}
    for key in ("anyOf", "oneOf", "allOf"):
        parts = found.get(key)
        if not isinstance(parts, list) or not all(isinstance(each, dict) for each in parts):
            continue
        others = [each for each in parts if each.get("type") != _NULL]
        if len(others) == 1 and (nullable or len(parts) == 1):
            rest = {name: each for name, each in found.items() if name != key}
            return {**others[0], **rest}
    return None


def _target(reference: str, whole: Mapping[str, Any]) -> dict[str, Any] | None:
    if not reference.startswith("#/"):
        return None
    found: Any = whole
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _example(schema: Mapping[str, Any], whole: Mapping[str, Any], depth: int) -> Any:
    schema = plain_schema(schema, whole, required=False)
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        inner = _example(items, whole, depth - 1) if isinstance(items, dict) and depth else None
        return [] if inner is None else [inner]
    if kind == "object":
        properties = schema.get("properties")
        fields = properties.items() if isinstance(properties, dict) and depth else ()
        return {
            name: _example(each, whole, depth - 1)
            for name, each in fields
            if isinstance(each, dict)
        }
    if isinstance(several := schema.get("anyOf"), list) and several and depth:
        first = several[0]
        return _example(first, whole, depth - 1) if isinstance(first, dict) else None
    return _EXAMPLES.get(kind) if isinstance(kind, str) else None
