"""Completes keys and values of the YAML in ``%%aof_agent`` and ``%%aof_mcp`` cells.

What is typed is seldom whole YAML, so that it is not parsed: where the cursor stands is told by the
lines above it and how far they are indented.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from aof_nb.notebook import registry
from aof_nb.notebook.lookups import model_names, tool_names
from aof_nb.resources.problems import spellings_of
from aof_nb.resources.schema import NOT_CARRIED_OUT, AgentSpec, ServerSpec
from aof_nb.resources.tool_schema import ToolEntry

_ROW = re.compile(r"^(?P<dashes>[ ]*(?:-[ ]+)*)(?P<key>[\w-]+)[ ]*:(?P<value>[ ].*)?$")
_MEMORIES = ("in_memory", "disk", "file:", "disk:", "redis://")
_EFFORTS = ("low", "medium", "high")
_ITEMS: dict[tuple[type[BaseModel], str], type[BaseModel]] = {
    (AgentSpec, "mcp_servers"): ServerSpec,
    (AgentSpec, "tools"): ToolEntry,
}
"""What the items of lists are that the schema takes as anything."""


@dataclass
class _Place:
    """Where the cursor stands.

    Args:
        path: The keys above it.
        begun: What has been typed of the key or the value.
        key: The key whose value is typed; empty where a key is.
        siblings: The keys beside it.
        item: Whether it is an item of a list.
    """

    path: list[str]
    begun: str
    key: str = ""
    siblings: set[str] = field(default_factory=set)
    item: bool = False


def yaml_candidates(
    kind: str, above: Sequence[str], below: Sequence[str], variables: Mapping[str, Any]
) -> tuple[str, dict[str, str]]:
    """What has been typed of a word, and the words that may stand there, each with what it is.

    Args:
        kind: ``agent`` or ``mcp``.
        above: The lines of the YAML down to the cursor; the last one ends there.
        below: The lines after that of the cursor.
        variables: The user's variables.

    Example:
        >>> yaml_candidates("mcp", ["transport: s"], [], {})
        ('s', {'stdio': 'transport', 'http': 'transport', 'streamable-http': 'transport', \
'sse': 'transport'})
    """
    place = _place(above, below)
    if place is None:
        return "", {}
    path = place.path[1:] if place.path[:1] == ["spec"] else place.path
    model = _model_at(AgentSpec if kind == "agent" else ServerSpec, path)
    if place.key:
        if model is None or place.key not in (fields := _fields(model)):
            return place.begun, {}
        values = _values(model, fields[place.key], variables)
        return place.begun, dict.fromkeys(values, place.key)
    found: dict[str, str] = {}
    if place.item and path:
        holder = _model_at(AgentSpec if kind == "agent" else ServerSpec, path[:-1])
        if holder is not None and path[-1] in (fields := _fields(holder)):
            values = _values(holder, fields[path[-1]], variables)
            found = dict.fromkeys(values, path[-1])
    if model is not None:
        found |= _keys(model, place.siblings)
    return place.begun, found


def _place(above: Sequence[str], below: Sequence[str]) -> _Place | None:
    """Where the cursor stands; None where text may be anything."""
    row = above[-1]
    lead = re.match(r"[ ]*(?:-[ ]+|-$)*", row)[0]  # type: ignore[index]
    rest = row[len(lead) :]
    if rest.startswith("#") or "\t" in lead:
        return None
    siblings, path, inside = _levels(above[:-1], lead)
    if inside:
        return None
    siblings |= _after(below, len(lead))
    item = "-" in lead
    key, colon, value = rest.partition(":")
    if not colon or (value and not value.startswith(" ")):
        flow = rest.startswith(("[", "{"))
        return None if flow or " " in rest else _Place(path, rest, "", siblings, item)
    value = value.lstrip()
    if value.startswith(("{", "[")):
        return _flow([*path, key], value)
    if not row.endswith((" ", value)) or (not value and not row.endswith(" ")):
        return None
    return None if value.startswith(("|", ">", '"', "'", "#")) else _Place(path, value, key)


def _flow(path: list[str], text: str) -> _Place | None:
    """Where the cursor stands in ``{a: b, c`` or ``[a, b``."""
    opened: list[str] = []
    start = 0
    begun_at: list[int] = []
    for place, each in enumerate(text):
        if each in "{[":
            opened.append(each)
            begun_at.append(place + 1)
            start = place + 1
        elif each in "}]":
            if not opened:
                return None
            opened.pop()
            start = place + 1
            begun_at.pop()
        elif each == ",":
            start = place + 1
    if len(opened) != 1:
        return None
    word = text[start:].lstrip()
    if opened[0] == "[":
        return _Place(path, word, item=True)
    key, colon, value = word.partition(":")
    if colon:
        return _Place(path, value.lstrip(), key) if value.startswith(" ") else None
    before = text[begun_at[0] : start].split(",")
    return _Place(path, word, "", {each.partition(":")[0].strip() for each in before})


def _levels(above: Sequence[str], lead: str) -> tuple[set[str], list[str], bool]:
    """The keys beside the cursor's line, those above it, and whether it is in a block of text."""
    siblings: set[str] = set()
    path: list[str] = []
    item = "-" in lead
    limit = lead.index("-") if item else len(lead)
    beside = not item
    for row in reversed(above):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        found = _ROW.match(row)
        if found is None:
            continue
        column, dashed = len(found["dashes"]), "-" in found["dashes"]
        dash = found["dashes"].index("-") if dashed else column
        value = (found["value"] or "").strip()
        if column == limit and not item:
            if beside:
                siblings.add(found["key"])
            if dashed:
                limit, item, beside = dash, True, False
        elif column < limit or (item and column == limit and not dashed):
            if value.startswith(("|", ">")):
                return siblings, path, True
            if value and not value.startswith("#"):
                continue
            path.insert(0, found["key"])
            limit, item, beside = dash, dashed, False
    return siblings, path, False


def _after(below: Sequence[str], column: int) -> set[str]:
    """The keys further down that stand beside the cursor's line."""
    siblings = set()
    for row in below:
        if not row.strip():
            continue
        found = _ROW.match(row)
        at = len(row) - len(row.lstrip(" "))
        if at < column or (at == column and row.lstrip().startswith("-")):
            break
        if found is not None and at == column:
            siblings.add(found["key"])
    return siblings


def _model_at(model: type[BaseModel] | None, path: Sequence[str]) -> type[BaseModel] | None:
    for key in path:
        if model is None:
            return None
        name = _fields(model).get(key)
        if name is None:
            return None
        annotation = model.model_fields[name].annotation
        models = (each for each in _parts(annotation) if _is_model(each))
        model = _ITEMS.get((model, name)) or next(models, None)
    return model


@functools.cache
def _fields(model: type[BaseModel]) -> dict[str, str]:
    """The fields of a model, by each of their spellings."""
    return {each: name for name in model.model_fields for each in spellings_of(model, name)}


def _keys(model: type[BaseModel], siblings: set[str]) -> dict[str, str]:
    found = {}
    for name, described in model.model_fields.items():
        spellings = spellings_of(model, name)
        if siblings & set(spellings) or name in NOT_CARRIED_OUT:
            continue
        nested = any(map(_is_model, _parts(described.annotation))) or name in {"tools", "rules"}
        found[spellings[0] + (":" if nested else ": ")] = "mapping" if nested else "field"
    return found


def _values(model: type[BaseModel], name: str, variables: Mapping[str, Any]) -> list[str]:
    """The values that a field may have, or its items."""
    if model is AgentSpec:
        match name:
            case "model" | "fallback":
                return model_names()
            case "tools":
                return tool_names(list(variables.items()))
            case "mcp_servers":
                return list(registry.servers)
            case "memory":
                return list(_MEMORIES)
            case "reasoning_effort":
                return list(_EFFORTS)
    found: list[str] = []
    for each in _parts(model.model_fields[name].annotation):
        if each is bool:
            found += ["true", "false"]
        elif isinstance(each, type) and issubclass(each, enum.Enum):
            found += [str(member.value) for member in each]
        elif get_origin(each) is Literal:
            found += [str(choice).lower() for choice in get_args(each)]
    return found


def _parts(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of: the members of unions, the items of lists."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for each in get_args(annotation):
            yield from _parts(each)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
