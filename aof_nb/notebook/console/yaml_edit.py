"""Changes values in YAML text, and leaves everything else as it was written.

Only the lines of the value itself are touched, so that comments, order, quotes and blank lines
elsewhere stay. What comes of a change is read again: if it is not the document with that one value
changed, the change is refused.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

from aof_nb.errors import ConfigurationError, ResourceError
from aof_nb.notebook.console.yaml_splice import (
    Item,
    Path,
    Splicer,
    Unfit,
    is_mapping,
    is_named,
    nodes_of,
)
from aof_nb.notebook.console.yaml_values import values_of
from aof_nb.yaml_text import field_path

_STAY = ("metadata", "spec")


def with_value(text: str, document: int, path: Path, value: Any) -> str:
    r"""The text with a value at a path; without the field if the value is None.

    Args:
        text: YAML of one or several documents.
        document: Which of them, from 0; empty ones do not count.
        path: The keys down to the field. Mappings that are missing on the way are made.
        value: Text, a number or a boolean; or a list of texts, which takes the place of those
            items of a list that are text.

    Raises:
        ConfigurationError: If it cannot be done without touching anything else.
        ResourceError: If the text cannot be read.

    Example:
        >>> with_value("a: 1  # one\nb:\n  c: x\n", 0, ("a",), 2)
        'a: 2  # one\nb:\n  c: x\n'
        >>> with_value("b:\n  c: x\n", 0, ("b", "d"), ["y"])
        'b:\n  c: x\n  d:\n    - y\n'
    """
    everything = values_of(text)
    wanted = [each for each in everything if each is not None]
    plan: list[Item] = []
    if isinstance(value, list):
        old = value_at(wanted[document], path)
        old = old if isinstance(old, list) else []
        plan = _plan(old, value)
        kept = [old[each.old] if each.text is None else each.text for each in plan]
        _put(wanted[document], path, kept)
    else:
        _put(wanted[document], path, value)
    for quoted in (False, True):
        try:
            nodes = [
                node
                for node, each in zip(nodes_of(text), everything, strict=True)
                if each is not None
            ]
            new = plan if isinstance(value, list) else value
            changed = _changed(Splicer(text, quoted), nodes[document], path, new)
            if _same([each for each in values_of(changed) if each is not None], wanted):
                return changed
        except (Unfit, ResourceError, LookupError, ValueError):
            continue
    raise ConfigurationError(
        f"{field_path(path)} is written in a way that the form cannot change",
        remedy="change it in the YAML",
    )


def value_at(document: Any, path: Path) -> Any:
    """The value at a path; None if there is none.

    Args:
        document: Nested mappings.
        path: The keys.

    Example:
        >>> value_at({"a": {"b": 1}}, ("a", "b")), value_at({"a": 1}, ("a", "b"))
        (1, None)
    """
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _plan(old: Sequence[Any], names: Sequence[str]) -> list[Item]:
    """A list whose texts are these; its other items keep their places."""
    places = [place for place, each in enumerate(old) if isinstance(each, str)]
    matcher = difflib.SequenceMatcher(None, [old[each] for each in places], names, autojunk=False)
    plan: list[tuple[float, Item]] = [
        (place, Item(place)) for place in range(len(old)) if place not in places
    ]
    for step, a, b, c, d in matcher.get_opcodes():
        if step == "equal":
            plan += [(places[each], Item(places[each])) for each in range(a, b)]
        elif step == "replace":
            plan += [(places[a], Item(places[a], each, replaces=True)) for each in names[c:d]]
        elif step == "insert":
            after = places[a - 1] if a else (places[0] - 1 if places else len(old) - 1)
            plan += [(after + 0.5, Item(after, each)) for each in names[c:d]]
    return [item for _, item in sorted(plan, key=lambda each: each[0])]


def _put(document: Any, path: Path, value: Any) -> None:
    """Puts a value at a path of a document; takes it out, with what it leaves empty, if None."""
    if not isinstance(document, dict):
        return
    key, *rest = path
    if not rest:
        if value is None:
            document.pop(key, None)
        else:
            document[key] = value
        return
    below = document.get(key)
    if below is None and value is None:
        return
    # What an alias shares with another place is not to change there.
    document[key] = below = dict(below) if isinstance(below, dict) else {}
    _put(below, tuple(rest), value)
    if value is None and not below and key not in _STAY:
        del document[key]


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) or (isinstance(one, float) and math.isnan(one))


def _changed(splicer: Splicer, node: Any, path: Path, value: Any) -> str:
    parents: list[Any] = []
    key_node: Any = None
    for depth, key in enumerate(path):
        if not is_mapping(node):
            if value is None:
                return splicer.text
            return splicer.begin(node, key_node, parents, path[depth:], value)
        if is_named(node):
            raise Unfit
        parents.append(node)
        found = next((pair for pair in node.value if pair[0].value == key), None)
        if found is None:
            return splicer.text if value is None else splicer.insert(node, path[depth:], value)
        key_node, node = found
    if is_named(node):
        raise Unfit
    if value is None:
        place = len(parents) - 1
        while place and len(parents[place].value) == 1 and path[place - 1] not in _STAY:
            place -= 1
        return splicer.remove(parents[place], path[place])
    if isinstance(value, list):
        return splicer.replace_list(key_node, node, value)
    return splicer.replace(parents[-1], key_node, node, value)
