"""YAML as plain values, and plain values as YAML."""

from __future__ import annotations

import functools
import json
from typing import Any

from aof_nb.errors import ResourceError


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


def scalar_text(value: Any, *, flow: bool) -> str:
    """A value on one line.

    Args:
        value: Text, a number or a boolean.
        flow: Whether it stands in brackets or braces.

    Example:
        >>> scalar_text("a, b", flow=False), scalar_text("a, b", flow=True)
        ('a, b', '"a, b"')
    """
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


def block_text(value: Any, indent: int) -> tuple[str, str] | None:
    r"""Text of several lines as a literal block: its header and its lines; None if it is none.

    Args:
        value: The text.
        indent: How far its lines are indented.

    Example:
        >>> block_text("a\nb\n", 2)
        ('|', '  a\n  b')
    """
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
