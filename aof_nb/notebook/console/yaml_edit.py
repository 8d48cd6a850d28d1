"""Changes values in YAML text, and leaves everything else as it was written.

Only the lines of the value itself are touched, so that comments, order, quotes and blank lines
elsewhere stay. What comes of a change is read again: if it is not the document with that one value
changed, the change is refused.
"""

from __future__ import annotations

import difflib
import functools
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aof_nb.errors import ConfigurationError, ResourceError
from aof_nb.yaml_text import field_path

Path: TypeAlias = tuple[str, ...]

_STEP = 2
_STAY = ("metadata", "spec")
_HEADER = re.compile(r"(?:[&!]\S*[ ]+)*[|>][-+0-9]*")


class _Unfit(Exception):
    """The text is written in a way that cannot be changed here."""


def values_of(text: str) -> list[Any]:
    r"""The documents of a text, as plain values.

    Args:
        text: The YAML.

    Raises:
        ResourceError: If it cannot be read.

    Example:
        >>> values_of("a: 1\n---\n- b\n")
        [{'a': 1}, ['b']]
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return list(YAML(typ="safe", pure=True).load_all(text))
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ResourceError(f"not valid YAML: {error}", file="<text>") from None


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
    plan: list[_Item] = []
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
                for node, each in zip(_nodes(text), everything, strict=True)
                if each is not None
            ]
            new = plan if isinstance(value, list) else value
            changed = _changed(_Editor(text, quoted), nodes[document], path, new)
            if _same([each for each in values_of(changed) if each is not None], wanted):
                return changed
        except (_Unfit, ResourceError, LookupError, ValueError):
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


@dataclass(frozen=True)
class _Item:
    """An item of a list as it should be.

    Args:
        old: The item before that it is, whose place it takes, or after which it stands.
        text: What it says, if it is a new one.
        replaces: Whether it takes the place of the old one.
    """

    old: int
    text: str | None = None
    replaces: bool = False


def _plan(old: Sequence[Any], names: Sequence[str]) -> list[_Item]:
    """A list whose texts are these; its other items keep their places."""
    places = [place for place, each in enumerate(old) if isinstance(each, str)]
    matcher = difflib.SequenceMatcher(None, [old[each] for each in places], names, autojunk=False)
    plan: list[tuple[float, _Item]] = [
        (place, _Item(place)) for place in range(len(old)) if place not in places
    ]
    for step, a, b, c, d in matcher.get_opcodes():
        if step == "equal":
            plan += [(places[each], _Item(places[each])) for each in range(a, b)]
        elif step == "replace":
            plan += [(places[a], _Item(places[a], each, replaces=True)) for each in names[c:d]]
        elif step == "insert":
            after = places[a - 1] if a else (places[0] - 1 if places else len(old) - 1)
            plan += [(after + 0.5, _Item(after, each)) for each in names[c:d]]
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


def _nodes(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    constructor, parser = YAML(typ="rt").get_constructor_parser(io.StringIO(text))
    try:
        while constructor.composer.check_node():
            yield constructor.composer.get_node()
    finally:
        parser.dispose()


def _changed(editor: _Editor, node: Any, path: Path, value: Any) -> str:
    parents: list[Any] = []
    key_node: Any = None
    for depth, key in enumerate(path):
        if not _is_mapping(node):
            if value is None:
                return editor.text
            return editor.begin(node, key_node, parents, path[depth:], value)
        if _is_named(node):
            raise _Unfit
        parents.append(node)
        found = next((pair for pair in node.value if pair[0].value == key), None)
        if found is None:
            return editor.text if value is None else editor.insert(node, path[depth:], value)
        key_node, node = found
    if _is_named(node):
        raise _Unfit
    if value is None:
        place = len(parents) - 1
        while place and len(parents[place].value) == 1 and path[place - 1] not in _STAY:
            place -= 1
        return editor.remove(parents[place], path[place])
    if isinstance(value, list):
        return editor.replace_list(key_node, node, value)
    return editor.replace(parents[-1], key_node, node, value)


@dataclass(frozen=True)
class _Editor:
    """Cuts and fills one text.

    Args:
        text: The text.
        quoted: Whether text of several lines is put in quotes.
    """

    text: str
    quoted: bool

    def begin(
        self, node: Any, key_node: Any, parents: Sequence[Any], path: Path, value: Any
    ) -> str:
        """Puts a mapping where nothing is after a colon."""
        if not _is_empty(node) or not parents or _is_flow(parents[-1]):
            raise _Unfit
        at = self._line_end(key_node.end_mark.index)
        indent = key_node.start_mark.column + _STEP
        return self._with(at, at, "\n" + self._entry(path, value, indent))

    def insert(self, mapping: Any, path: Path, value: Any) -> str:
        """Adds a field at the end of a mapping."""
        if _is_flow(mapping):
            at = mapping.end_mark.index - 1
            if "#" in self.text[mapping.start_mark.index : at]:
                raise _Unfit
            written = self._flow_entry(path, value)
            before = ", " if mapping.value else ""
            kept = len(self.text[:at].rstrip()) if mapping.value else at
            return self._with(kept, kept, before + written)
        if not mapping.value:
            raise _Unfit
        indent = mapping.value[0][0].start_mark.column
        at = self._line_end(self._end(mapping))
        return self._with(at, at, "\n" + self._entry(path, value, indent))

    def remove(self, mapping: Any, key: str) -> str:
        """Takes a field out."""
        place = next(at for at, (each, _) in enumerate(mapping.value) if each.value == key)
        key_node, node = mapping.value[place]
        if _is_flow(mapping):
            return self._remove_flow(mapping, place)
        start = self.text.rfind("\n", 0, key_node.start_mark.index) + 1
        if self.text[start : key_node.start_mark.index].strip():
            raise _Unfit
        return self._with(start, self._line_end(self._end(node)) + 1, "")

    def _remove_flow(self, mapping: Any, place: int) -> str:
        pairs = mapping.value
        if place + 1 < len(pairs):
            return self._with(
                pairs[place][0].start_mark.index, pairs[place + 1][0].start_mark.index, ""
            )
        end = pairs[place][1].end_mark.index
        start = pairs[place - 1][1].end_mark.index if place else pairs[0][0].start_mark.index
        return self._with(start, end, "")

    def replace(self, mapping: Any, key_node: Any, node: Any, value: Any) -> str:
        """Puts a scalar in the place of another."""
        if not _is_scalar(node):
            raise _Unfit
        indent = key_node.start_mark.column + _STEP
        block = not _is_flow(mapping) and not self.quoted and _block(value, indent)
        start, end = node.start_mark.index, node.end_mark.index
        header = _scalar(value, flow=_is_flow(mapping)) if not block else block[0]
        if _is_empty(node):
            return self._filled(key_node, header, block[1] if block else "")
        if node.style in {"|", ">"}:
            head = _HEADER.match(self.text, start)
            if head is None:
                raise _Unfit
            line_end = self._line_end(start)
            body = "\n" + block[1] if block else ""
            rest = self.text[head.end() : line_end]
            return self._with(start, self._end(node), header + rest + body)
        if not block:
            return self._with(start, end, header)
        line_end = self._line_end(end)
        return self._with(start, line_end, header + self.text[end:line_end] + "\n" + block[1])

    def _filled(self, key_node: Any, header: str, body: str) -> str:
        colon = self.text.index(":", key_node.end_mark.index) + 1
        line_end = self._line_end(colon)
        rest = self.text[colon:line_end]
        return self._with(colon, line_end, f" {header}{rest}" + (f"\n{body}" if body else ""))

    def replace_list(self, key_node: Any, node: Any, plan: Sequence[_Item]) -> str:
        """Brings a list to what it should be; items that stay are not touched."""
        if _is_scalar(node):
            written = f"[{', '.join(_scalar(each.text, flow=True) for each in plan)}]"
            if _is_empty(node):
                return self._filled(key_node, written, "")
            if node.style in {"|", ">"}:
                raise _Unfit
            return self._with(node.start_mark.index, node.end_mark.index, written)
        if not _is_sequence(node):
            raise _Unfit
        if _is_flow(node):
            return self._replace_flow(node, plan)
        if not plan:
            colon = self.text.index(":", key_node.end_mark.index) + 1
            rest = self.text[colon : self._line_end(colon)]
            return self._with(colon, self._end(node), f" []{rest}")
        return self._replace_block(node, plan)

    def _replace_block(self, node: Any, plan: Sequence[_Item]) -> str:
        starts = [self.text.rfind("\n", 0, each.start_mark.index) + 1 for each in node.value]
        first = self.text[starts[0] : node.value[0].start_mark.index]
        if first.strip() != "-":
            raise _Unfit
        lead = first[: first.index("-")]
        kept = {each.old for each in plan if each.text is None}
        cuts = [
            (starts[place], self._item_end(each), "")
            for place, each in enumerate(node.value)
            if place not in kept
        ]
        for (old, replaces), items in _grouped(plan):
            lines = "".join(f"{lead}- {_scalar(each.text, flow=False)}\n" for each in items)
            if replaces:
                place = next(at for at, cut in enumerate(cuts) if cut[0] == starts[old])
                cuts[place] = (*cuts[place][:2], lines)
                continue
            at = self._item_end(node.value[old]) if old >= 0 else starts[0]
            if at and self.text[at - 1] != "\n":
                lines = "\n" + lines.removesuffix("\n")
            cuts.append((at, at, lines))
        changed = self.text
        for start, end, lines in sorted(cuts, reverse=True):
            changed = changed[:start] + lines + changed[end:]
        return changed

    def _item_end(self, node: Any) -> int:
        return min(len(self.text), self._line_end(self._end(node)) + 1)

    def _replace_flow(self, node: Any, plan: Sequence[_Item]) -> str:
        start, end = node.start_mark.index, node.end_mark.index
        if "#" in self.text[start:end]:
            raise _Unfit
        items = [
            self._written(node.value[each.old])
            if each.text is None
            else _scalar(each.text, flow=True)
            for each in plan
        ]
        return self._with(start, end, f"[{', '.join(items)}]")

    def _written(self, node: Any) -> str:
        return self.text[node.start_mark.index : node.end_mark.index]

    def _entry(self, path: Path, value: Any, indent: int) -> str:
        """The lines of a new field, without the last one's end."""
        lead = " " * indent
        key = f"{lead}{_scalar(path[0], flow=False)}:"
        if len(path) > 1:
            return f"{key}\n{self._entry(path[1:], value, indent + _STEP)}"
        if isinstance(value, list):
            items = "".join(f"\n{lead}  - {_scalar(each.text, flow=False)}" for each in value)
            return key + (items or " []")
        block = None if self.quoted else _block(value, indent + _STEP)
        if block:
            return f"{key} {block[0]}\n{block[1]}"
        return f"{key} {_scalar(value, flow=False)}"

    def _flow_entry(self, path: Path, value: Any) -> str:
        key = _scalar(path[0], flow=True)
        if len(path) > 1:
            return f"{key}: {{{self._flow_entry(path[1:], value)}}}"
        if isinstance(value, list):
            return f"{key}: [{', '.join(_scalar(each.text, flow=True) for each in value)}]"
        return f"{key}: {_scalar(value, flow=True)}"

    def _end(self, node: Any) -> int:
        """Where a value ends, before the comments and blank lines that follow it."""
        if _is_named(node) or _is_flow(node):
            return int(node.end_mark.index)
        if _is_mapping(node) and node.value:
            key, below = node.value[-1]
            return max(self._end(below), int(key.end_mark.index))
        if _is_sequence(node) and node.value:
            return self._end(node.value[-1])
        if _is_scalar(node) and node.style in {"|", ">"}:
            return self._block_end(node)
        return int(node.end_mark.index)

    def _block_end(self, node: Any) -> int:
        """Where text of several lines ends; its indentation is that of its first line."""
        head = _HEADER.match(self.text, node.start_mark.index)
        if head is None:
            raise _Unfit
        begun = self.text.rfind("\n", 0, node.start_mark.index) + 1
        least = 1 + _indent(self.text[begun : node.start_mark.index])
        fixed = any(each.isdigit() for each in head[0])
        at = end = self._line_end(node.start_mark.index)
        while at < len(self.text):
            following = self._line_end(at + 1)
            line = self.text[at + 1 : following]
            if line.strip():
                if _indent(line) < least:
                    break
                least, fixed = (least if fixed else _indent(line)), True
                end = following
            elif "+" in head[0]:
                end = following
            at = following
        return end

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def _with(self, start: int, end: int, written: str) -> str:
        return self.text[:start] + written + self.text[end:]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _grouped(plan: Sequence[_Item]) -> list[tuple[tuple[int, bool], list[_Item]]]:
    """The new items, by their place."""
    groups: dict[tuple[int, bool], list[_Item]] = {}
    for each in plan:
        if each.text is not None:
            groups.setdefault((each.old, each.replaces), []).append(each)
    return list(groups.items())


def _block(value: Any, indent: int) -> tuple[str, str] | None:
    """Text of several lines as a literal block: its header and its lines."""
    if not isinstance(value, str) or "\n" not in value:
        return None
    if value[0] in " \n" or value.endswith("\n\n") or any(_is_control(each) for each in value):
        return None
    lines = value.removesuffix("\n").split("\n")
    lead = " " * indent
    header = "|" if value.endswith("\n") else "|-"
    return header, "\n".join(lead + each if each else "" for each in lines)


def _is_control(character: str) -> bool:
    return character not in {"\n", "\t"} and not character.isprintable()


def _scalar(value: Any, *, flow: bool) -> str:
    """A value on one line."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if flow and set(plain) & set(",[]{}") else plain


@functools.lru_cache(maxsize=512)
def _is_plain(value: str) -> bool:
    if not value or value != value.strip() or not value.isprintable():
        return False
    if value[0] in "&*!|>%@`#'\"-?:,[]{}" or ": " in value or " #" in value or value[-1] == ":":
        return False
    try:
        return values_of(f"k: {value}\n") == [{"k": value}]
    except ResourceError:
        return False


def _kind(name: str) -> Callable[[Any], bool]:
    def holds(node: Any) -> bool:
        return node is not None and node.id == name

    return holds


_is_scalar = _kind("scalar")
_is_mapping = _kind("mapping")
_is_sequence = _kind("sequence")


def _is_flow(node: Any) -> bool:
    return not _is_scalar(node) and bool(node.flow_style)


def _is_named(node: Any) -> bool:
    return getattr(node, "anchor", None) is not None


def _is_empty(node: Any) -> bool:
    return _is_scalar(node) and node.start_mark.index == node.end_mark.index
