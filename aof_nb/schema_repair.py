"""Small differences between an answer and its schema that have one meaning.

Providers that want every property have ``null`` for one that is left out; models write
``"42"`` for 42.
"""

from __future__ import annotations

from typing import Any

_DEEPEST = 100


def may_be_null(schema: Any, root: dict[str, Any]) -> bool:
    """Whether a schema lets null through, as far as its types say it."""
    schema = _resolved(schema, root)
    if not isinstance(schema, dict):
        return schema is not False
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        return any(may_be_null(each, root) for each in branches)
    if "const" in schema:
        return schema["const"] is None
    if "enum" in schema:
        return None in schema["enum"]
    given = schema.get("type")
    if given is None:
        return not {"properties", "items", "allOf"} & schema.keys()
    return given == "null" or (isinstance(given, list) and "null" in given)


def repaired(value: Any, schema: Any, *, coerce: bool = False) -> Any:
    """The value without the nulls that stand for nothing; the same one if there are none.

    Args:
        value: JSON.
        schema: The schema it is to fit.
        coerce: Whether text is read as the number or the truth value that is wanted.

    Example:
        >>> schema = {"type": "object", "properties": {"host": {"type": "string"}}}
        >>> repaired({"host": None}, schema)
        {}
    """
    return _repaired(value, schema, schema if isinstance(schema, dict) else {}, coerce, 0)


def _repaired(value: Any, schema: Any, root: dict[str, Any], coerce: bool, depth: int) -> Any:
    schema = _resolved(schema, root)
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return value
    for part in schema.get("allOf") or ():
        value = _repaired(value, part, root, coerce, depth + 1)
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    for branch in branches:
        if _looks_like(value, branch, root):
            value = _repaired(value, branch, root, coerce, depth + 1)
            break
    if isinstance(value, dict):
        return _object(value, schema, root, coerce, depth)
    if isinstance(value, list):
        items = schema.get("items")
        return [_repaired(each, items, root, coerce, depth + 1) for each in value]
    return _coerced(value, schema) if coerce and isinstance(value, str) else value


def _object(
    value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], coerce: bool, depth: int
) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    result: dict[str, Any] = {}
    for name, each in value.items():
        own = properties.get(name, schema.get("additionalProperties"))
        if each is None and name in properties and name not in required:
            if may_be_null(own, root):
                result[name] = None
            continue
        result[name] = _repaired(each, own, root, coerce, depth + 1)
    return result


def _looks_like(value: Any, branch: Any, root: dict[str, Any]) -> bool:
    """Whether a branch of a union is the one that was meant: by type, keys and constants."""
    branch = _resolved(branch, root)
    if not isinstance(branch, dict):
        return False
    if isinstance(value, list):
        return branch.get("type") == "array" or "items" in branch
    if not isinstance(value, dict):
        return branch.get("type") in {"integer", "number", "boolean"}
    properties = branch.get("properties") or {}
    if not properties or any(name not in value for name in branch.get("required") or ()):
        return False
    for name, each in properties.items():
        constant = _resolved(each, root)
        fixed = isinstance(constant, dict) and "const" in constant and name in value
        if fixed and value[name] != constant["const"]:
            return False
    return True


def _coerced(text: str, schema: dict[str, Any]) -> Any:
    given = schema.get("type")
    kinds = given if isinstance(given, list) else [given]
    if "string" in kinds:
        return text
    try:
        if "integer" in kinds:
            return int(text)
        if "number" in kinds:
            return float(text)
    except ValueError:
        return text
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    return text


def _resolved(schema: Any, root: dict[str, Any]) -> Any:
    for _ in range(_DEEPEST):
        ref = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(ref, str):
            return schema
        _, place, name = [*ref.split("/", 2), "", ""][:3]
        schema = (root.get(place) or {}).get(name) if ref.startswith("#/") else None
    return schema
