"""Parameters of a runbook: the literals that recur in an investigation's tool calls."""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

_SHORTEST = 2
_FLAG = re.compile(r"--?([A-Za-z][\w-]*)$")
_SHORT_FLAGS = {"n": "namespace", "h": "host", "p": "port", "l": "selector", "c": "container"}


class Parameter(msgspec.Struct, frozen=True):
    """A literal that becomes a variable.

    Args:
        name: The variable.
        value: The literal.
    """

    name: str
    value: str | int


def lifted(
    calls: Sequence[Mapping[str, Any]], prompt: str, *, reserved: Iterable[str] = ()
) -> list[Parameter]:
    """The literals worth a parameter, in order of appearance.

    A whole argument, or the value of a command line's flag, counts if it stands in at least two
    calls, or in one and in the prompt. Numbers that mean one thing here and another there do not.

    Args:
        calls: The arguments of each call.
        prompt: What was asked.
        reserved: Names that no parameter may have.

    Example:
        >>> calls = [{"service": "checkout"}, {"service": "checkout", "lines": 50}]
        >>> lifted(calls, "why is checkout slow?")
        [Parameter(name='service', value='checkout')]
    """
    seen: Counter[str | int] = Counter()
    names: dict[str | int, Counter[str]] = {}
    for arguments in calls:
        for value, name in dict(_literals(arguments)).items():
            seen[value] += 1
            names.setdefault(value, Counter())[name] += 1
    taken = set(reserved)
    found = []
    for value, times in seen.items():
        if isinstance(value, int) and len(names[value]) > 1:
            continue
        if times > 1 or _stands_in(value, prompt):
            wanted = names[value].most_common(1)[0][0]
            name = next(each for each in _numbered(_identifier(wanted)) if each not in taken)
            taken.add(name)
            found.append(Parameter(name, value))
    return found


def _stands_in(value: str | int, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(str(value))}(?![\w-])", text) is not None


def _literals(arguments: Mapping[str, Any]) -> Iterator[tuple[str | int, str]]:
    """The literals of a call that may be parameters, with what they are called there."""
    for key, value in arguments.items():
        if isinstance(value, str) and len(value) >= _SHORTEST and "\n" not in value:
            words = value.split()
            if len(words) == 1:
                yield value, key
            else:
                yield from _flags(words)
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1:
            yield value, key
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            yield from _flags(value)
        elif isinstance(value, dict):
            yield from _literals(value)


def _flags(words: Sequence[str]) -> Iterator[tuple[str | int, str]]:
    for word, following in itertools.pairwise(words):
        flag = _FLAG.match(word)
        if flag and not following.startswith("-") and len(following) >= _SHORTEST:
            yield following, _SHORT_FLAGS.get(flag[1], flag[1])
    for word in words:
        name, equals, value = word.partition("=")
        flag = _FLAG.match(name)
        if flag and equals and len(value) >= _SHORTEST:
            yield value, flag[1]


def _identifier(name: str) -> str:
    plain = re.sub(r"\W+", "_", name).strip("_").lower() or "value"
    if keyword.iskeyword(plain) or hasattr(builtins, plain):
        return f"{plain}_"
    return f"_{plain}" if plain[0].isdigit() else plain


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def as_code(value: Any, parameters: Sequence[Parameter]) -> str:
    """A value as Python, with parameters in place of their literals.

    Example:
        >>> as_code(["logs", "--service=web"], [Parameter("service", "web")])
        '["logs", f"--service={service}"]'
    """
    match value:
        case bool() | None | float():
            return repr(value)
        case int():
            named = next((each.name for each in parameters if each.value == value), None)
            return named or repr(value)
        case str():
            return _text_as_code(value, parameters)
        case list():
            return "[" + ", ".join(as_code(each, parameters) for each in value) + "]"
        case dict():
            pairs = (f"{_quoted(key)}: {as_code(each, parameters)}" for key, each in value.items())
            return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _text_as_code(text: str, parameters: Sequence[Parameter]) -> str:
    strings = [each for each in parameters if isinstance(each.value, str)]
    for each in strings:
        if each.value == text:
            return each.name
    longest_first = sorted(strings, key=lambda each: len(str(each.value)), reverse=True)
    if not longest_first:
        return _quoted(text)
    either = "|".join(re.escape(str(each.value)) for each in longest_first)
    names = {str(each.value): each.name for each in strings}
    pieces = re.split(rf"(?<![\w-])({either})(?![\w-])", text)
    if len(pieces) == 1:
        return _quoted(text)
    inside = "".join(
        f"{{{names[piece]}}}" if place % 2 else piece.replace("{", "{{").replace("}", "}}")
        for place, piece in enumerate(pieces)
    )
    return f"f{_quoted(inside)}"


def _quoted(text: str) -> str:
    """A Python literal in double quotes."""
    plain = repr(text)
    if plain.startswith("'") and '"' not in text:
        return '"' + plain[1:-1].replace("\\'", "'") + '"'
    return plain
