"""The dialects of JSON Schema that providers hold a model to, and schemas said in them.

A strict schema lets through no more keys than it names, and knows few keywords. What a dialect
has no keyword for goes into the description, for the model to read; the answer is validated
against the schema as it was declared in any case. Some schemas cannot be said at all: open maps,
anything at all, and in some dialects recursion.

Sources: OpenAI, *Structured model outputs*, "Supported schemas"; Anthropic, *Structured
outputs*, "JSON Schema limitations".
"""

from __future__ import annotations

from typing import Any

import msgspec

from aof_nb.schema_repair import may_be_null

_FORMATS = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
)
_NOT_WORTH_SAYING = frozenset(
    ["$schema", "$id", "$comment", "$defs", "definitions", "default", "examples", "discriminator"]
)
_OF_TYPE = {
    "object": frozenset(["properties", "required", "additionalProperties"]),
    "array": frozenset(["items", "minItems", "maxItems"]),
    "string": frozenset(["pattern", "format", "minLength", "maxLength"]),
    "number": frozenset(
        ["multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
    ),
}
_DEEPEST = 64


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider takes as a strict schema.

    Args:
        name: Whose it is.
        keywords: Constraints it knows, besides the ones that all know.
        formats: Values of ``format`` it knows.
        all_required: Whether each property must be required; one that is not may be null then.
        recursive: Whether a schema may refer to itself.
        loose: Whether the provider takes a schema that is not strict, too.
        most_optional: Properties that may be left out, in all; None for no limit.
    """

    name: str
    keywords: frozenset[str] = frozenset()
    formats: frozenset[str] = _FORMATS
    all_required: bool = False
    recursive: bool = True
    loose: bool = False
    most_optional: int | None = None

    def strict(self, schema: dict[str, Any]) -> dict[str, Any] | None:
        """The schema in this dialect; None if it cannot be said in it."""
        try:
            return _Writer(self, schema).written()
        except _Inexpressible:
            return None


OPENAI_SCHEMAS = Dialect(
    name="openai",
    keywords=frozenset(
        [
            "pattern",
            "multipleOf",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "minItems",
            "maxItems",
        ]
    ),
    all_required=True,
    loose=True,
)
ANTHROPIC_SCHEMAS = Dialect(
    name="anthropic", formats=_FORMATS | {"uri"}, recursive=False, most_optional=24
)


class _Inexpressible(Exception):
    """The dialect has no words for this."""


class _Writer:
    """Says one schema in a dialect."""

    def __init__(self, dialect: Dialect, root: dict[str, Any]) -> None:
        self._dialect = dialect
        self._root = root
        self._defined: dict[str, dict[str, Any]] = {}
        self._open: list[str] = []
        self._optional = 0

    def written(self) -> dict[str, Any]:
        schema = self._schema(self._root, top=True)
        if schema.get("type") != "object":
            raise _Inexpressible
        most = self._dialect.most_optional
        if most is not None and self._optional > most:
            raise _Inexpressible
        return schema | {"$defs": self._defined} if self._defined else schema

    def _schema(self, schema: Any, *, top: bool = False) -> dict[str, Any]:
        if not isinstance(schema, dict) or len(self._open) > _DEEPEST:
            raise _Inexpressible
        if (ref := schema.get("$ref")) is not None:
            return self._referred(str(ref), schema, inline=top)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches:
            return self._described({"anyOf": [self._schema(each) for each in branches]}, schema)
        if (parts := schema.get("allOf")) is not None:
            if len(parts) != 1 or not isinstance(parts[0], dict):
                raise _Inexpressible
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self._schema(parts[0] | rest)
        kinds = _types(schema)
        if len(kinds) > 1:
            return self._described({"anyOf": self._by_type(kinds, schema)}, schema)
        return self._of_type(kinds[0], schema)

    def _referred(self, ref: str, schema: dict[str, Any], *, inline: bool) -> dict[str, Any]:
        name, target = _resolved(ref, self._root)
        if ref in self._open:
            if not self._dialect.recursive:
                raise _Inexpressible
            return {"$ref": f"#/$defs/{name}"}
        self._open.append(ref)
        try:
            written = self._defined.get(name)
            if written is None:
                written = self._schema(target)
                self._defined[name] = written
        finally:
            self._open.pop()
        description = schema.get("description")
        if inline or (description and description != written.get("description")):
            return written | ({"description": description} if description else {})
        return {"$ref": f"#/$defs/{name}"}

    def _by_type(self, kinds: list[str], schema: dict[str, Any]) -> list[dict[str, Any]]:
        written = []
        for kind in kinds:
            own = {key: value for key, value in schema.items() if _concerns(key, kind)}
            own |= {"type": kind}
            own.pop("description", None)
            if "enum" in own:
                own["enum"] = [each for each in own["enum"] if _type_of(each) == kind]
                if not own["enum"]:
                    continue
            written.append(self._of_type(kind, own))
        return written

    def _of_type(self, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
        written: dict[str, Any] = {"type": kind}
        for key in ("enum", "const"):
            if key in schema:
                written[key] = schema[key]
        taken = {"type", "enum", "const", "title", "description", "anyOf", "oneOf", "nullable"}
        if kind == "object":
            written |= self._object(schema)
            taken |= {"properties", "required", "additionalProperties"}
        elif kind == "array":
            written["items"] = self._schema(schema.get("items"))
            taken |= {"items"}
        for key, value in schema.items():
            known = key in self._dialect.keywords
            known = known or (key == "format" and value in self._dialect.formats)
            if known or (key == "minItems" and value in (0, 1)):
                written[key] = value
                taken.add(key)
        return self._described(written, schema, taken)

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        more = schema.get("additionalProperties", True)
        if (not properties and more is not False) or more not in (True, False, {}):
            raise _Inexpressible
        if "patternProperties" in schema:
            raise _Inexpressible
        required = [name for name in schema.get("required") or () if name in properties]
        written = {}
        for name, each in properties.items():
            written[name] = self._schema(each)
            if name not in required:
                self._optional += 1
                if self._dialect.all_required:
                    written[name] = _nullable(written[name], may_be_null(each, self._root))
        return {
            "properties": written,
            "required": list(properties) if self._dialect.all_required else required,
            "additionalProperties": False,
        }

    def _described(
        self,
        written: dict[str, Any],
        schema: dict[str, Any],
        taken: set[str] | None = None,
    ) -> dict[str, Any]:
        """Adds the description, with what the dialect has no keyword for."""
        words = str(schema.get("description") or "")
        if taken is not None:
            unsaid = {
                key: value
                for key, value in schema.items()
                if key not in taken and key not in _NOT_WORTH_SAYING
            }
            if unsaid:
                said = msgspec.json.encode(unsaid).decode()
                words = f"{words}\n\n{said}" if words else said
        return written | {"description": words} if words else written


def _nullable(written: dict[str, Any], already: bool) -> dict[str, Any]:
    if already:
        return written
    branches = written["anyOf"] if set(written) == {"anyOf"} else [written]
    return {"anyOf": [*branches, {"type": "null"}]}


def _resolved(ref: str, root: dict[str, Any]) -> tuple[str, Any]:
    """What a reference refers to, and its name."""
    for place in ("$defs", "definitions"):
        name = ref.removeprefix(f"#/{place}/")
        defined = root.get(place)
        if name != ref and isinstance(defined, dict) and name in defined:
            return name, defined[name]
    raise _Inexpressible


def _concerns(key: str, kind: str) -> bool:
    own = _OF_TYPE.get("number" if kind == "integer" else kind, frozenset())
    return key in own or not any(key in keys for keys in _OF_TYPE.values())


def _types(schema: dict[str, Any]) -> list[str]:
    """The types a value may have, found by its other keywords where they are not said."""
    given = schema.get("type")
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and given:
        return [str(each) for each in given]
    if "const" in schema:
        return [_type_of(schema["const"])]
    if schema.get("enum"):
        return list(dict.fromkeys(_type_of(each) for each in schema["enum"]))
    for key, kind in (("properties", "object"), ("items", "array")):
        if key in schema:
            return [kind]
    raise _Inexpressible


def _type_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    kinds = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def without_keywords(schema: Any, dropped: frozenset[str]) -> Any:
    """A JSON Schema without some keywords; properties of such a name stay.

    Args:
        schema: The schema.
        dropped: The keywords.

    Example:
        >>> without_keywords({"type": "string", "$id": "x"}, frozenset(["$id"]))
        {'type': 'string'}
    """
    if isinstance(schema, list):
        return [without_keywords(each, dropped) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for word, value in schema.items():
        if word in dropped:
            continue
        if word in _BY_NAME and isinstance(value, dict):
            kept[word] = {name: without_keywords(each, dropped) for name, each in value.items()}
        else:
            kept[word] = value if word in _VALUES else without_keywords(value, dropped)
    return kept


_BY_NAME = ("properties", "$defs", "definitions")
_VALUES = ("const", "default", "enum")
