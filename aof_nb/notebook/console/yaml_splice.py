"""Cuts pieces out of YAML text and puts others in, by where its nodes stand."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aof_nb.notebook.console.yaml_values import block_text, scalar_text

Path: TypeAlias = tuple[str, ...]

_STEP = 2
_HEADER = re.compile(r"(?:[&!]\S*[ ]+)*[|>][-+0-9]*")


class Unfit(Exception):
    """The text is written in a way that cannot be changed here."""


@dataclass(frozen=True)
class Item:
    """An item of a list as it should be.

    Args:
        old: The item before that it is, whose place it takes, or after which it stands.
        text: What it says, if it is a new one.
        replaces: Whether it takes the place of the old one.
    """

    old: int
    text: str | None = None
    replaces: bool = False


def nodes_of(text: str) -> Iterator[Any]:
    """The documents of a text as nodes, which know where they stand.

    Args:
        text: The YAML.
    """
    from ruamel.yaml import YAML

    constructor, parser = YAML(typ="rt").get_constructor_parser(io.StringIO(text))
    try:
        while constructor.composer.check_node():
            yield constructor.composer.get_node()
    finally:
        parser.dispose()


@dataclass(frozen=True)
class Splicer:
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
            raise Unfit
        at = self._line_end(key_node.end_mark.index)
        indent = key_node.start_mark.column + _STEP
        return self._with(at, at, "\n" + self._entry(path, value, indent))

    def insert(self, mapping: Any, path: Path, value: Any) -> str:
        """Adds a field at the end of a mapping."""
        if _is_flow(mapping):
            at = mapping.end_mark.index - 1
            if "#" in self.text[mapping.start_mark.index : at]:
                raise Unfit
            written = self._flow_entry(path, value)
            before = ", " if mapping.value else ""
            kept = len(self.text[:at].rstrip()) if mapping.value else at
            return self._with(kept, kept, before + written)
        if not mapping.value:
            raise Unfit
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
            raise Unfit
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
            raise Unfit
        indent = key_node.start_mark.column + _STEP
        block = not _is_flow(mapping) and not self.quoted and block_text(value, indent)
        start, end = node.start_mark.index, node.end_mark.index
        header = scalar_text(value, flow=_is_flow(mapping)) if not block else block[0]
        if _is_empty(node):
            return self._filled(key_node, header, block[1] if block else "")
        if node.style in {"|", ">"}:
            head = _HEADER.match(self.text, start)
            if head is None:
                raise Unfit
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

    def replace_list(self, key_node: Any, node: Any, plan: Sequence[Item]) -> str:
        """Brings a list to what it should be; items that stay are not touched."""
        if _is_scalar(node):
            written = f"[{', '.join(scalar_text(each.text, flow=True) for each in plan)}]"
            if _is_empty(node):
                return self._filled(key_node, written, "")
            if node.style in {"|", ">"}:
                raise Unfit
            return self._with(node.start_mark.index, node.end_mark.index, written)
        if not _is_sequence(node):
            raise Unfit
        if _is_flow(node):
            return self._replace_flow(node, plan)
        if not plan:
            colon = self.text.index(":", key_node.end_mark.index) + 1
            rest = self.text[colon : self._line_end(colon)]
            return self._with(colon, self._end(node), f" []{rest}")
        return self._replace_block(node, plan)

    def _replace_block(self, node: Any, plan: Sequence[Item]) -> str:
        starts = [self.text.rfind("\n", 0, each.start_mark.index) + 1 for each in node.value]
        first = self.text[starts[0] : node.value[0].start_mark.index]
        if first.strip() != "-":
            raise Unfit
        lead = first[: first.index("-")]
        kept = {each.old for each in plan if each.text is None}
        cuts = [
            (starts[place], self._item_end(each), "")
            for place, each in enumerate(node.value)
            if place not in kept
        ]
        for (old, replaces), items in _grouped(plan):
            lines = "".join(f"{lead}- {scalar_text(each.text, flow=False)}\n" for each in items)
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

    def _replace_flow(self, node: Any, plan: Sequence[Item]) -> str:
        start, end = node.start_mark.index, node.end_mark.index
        if "#" in self.text[start:end]:
            raise Unfit
        items = [
            self._written(node.value[each.old])
            if each.text is None
            else scalar_text(each.text, flow=True)
            for each in plan
        ]
        return self._with(start, end, f"[{', '.join(items)}]")

    def _written(self, node: Any) -> str:
        return self.text[node.start_mark.index : node.end_mark.index]

    def _entry(self, path: Path, value: Any, indent: int) -> str:
        """The lines of a new field, without the last one's end."""
        lead = " " * indent
        key = f"{lead}{scalar_text(path[0], flow=False)}:"
        if len(path) > 1:
            return f"{key}\n{self._entry(path[1:], value, indent + _STEP)}"
        if isinstance(value, list):
            items = "".join(f"\n{lead}  - {scalar_text(each.text, flow=False)}" for each in value)
            return key + (items or " []")
        block = None if self.quoted else block_text(value, indent + _STEP)
        if block:
            return f"{key} {block[0]}\n{block[1]}"
        return f"{key} {scalar_text(value, flow=False)}"

    def _flow_entry(self, path: Path, value: Any) -> str:
        key = scalar_text(path[0], flow=True)
        if len(path) > 1:
            return f"{key}: {{{self._flow_entry(path[1:], value)}}}"
        if isinstance(value, list):
            return f"{key}: [{', '.join(scalar_text(each.text, flow=True) for each in value)}]"
        return f"{key}: {scalar_text(value, flow=True)}"

    def _end(self, node: Any) -> int:
        """Where a value ends, before the comments and blank lines that follow it."""
        if is_named(node) or _is_flow(node):
            return int(node.end_mark.index)
        if is_mapping(node) and node.value:
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
            raise Unfit
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


def _grouped(plan: Sequence[Item]) -> list[tuple[tuple[int, bool], list[Item]]]:
    """The new items, by their place."""
    groups: dict[tuple[int, bool], list[Item]] = {}
    for each in plan:
        if each.text is not None:
            groups.setdefault((each.old, each.replaces), []).append(each)
    return list(groups.items())


def _kind(name: str) -> Callable[[Any], bool]:
    def holds(node: Any) -> bool:
        return node is not None and node.id == name

    return holds


_is_scalar = _kind("scalar")
is_mapping = _kind("mapping")
_is_sequence = _kind("sequence")


def _is_flow(node: Any) -> bool:
    return not _is_scalar(node) and bool(node.flow_style)


def is_named(node: Any) -> bool:
    """Whether other places of the text may share a value."""
    return getattr(node, "anchor", None) is not None


def _is_empty(node: Any) -> bool:
    return _is_scalar(node) and node.start_mark.index == node.end_mark.index
