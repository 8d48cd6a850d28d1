"""The values of Kubernetes Secrets, in manifests and in what kubectl prints: YAML and JSON.

All that stands under ``data`` and ``stringData`` of an object of kind Secret counts, whatever it
looks like; nothing of a ConfigMap does.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from aof_nb.json_text import json_values
from aof_nb.redact.encodings import encoded
from aof_nb.redact.spans import Found, Shape, Span, at_boundary
from aof_nb.redact.values import is_harmless

_KIND = re.compile(r"kind\\{0,7}[\"']?\s{0,5}:\s{0,5}\\{0,7}[\"']?Secret(?:List)?(?![A-Za-z0-9])")
_LINE = re.compile(
    r"(?P<indent>[ ]*(?:-[ ]+)*)(?P<key>[A-Za-z0-9_./-]+|\"[^\"\n]*\"|'[^'\n]*')[ ]*:"
    r"(?:[ ]+(?P<value>\S.*?))?[ ]*\r?$"
)
_BLOCK = re.compile(r"[|>][-+0-9]*")
_BLANK = re.compile(r"\s*")
_DEEPEST = 4
_MOST_ODD = 500
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Entry(NamedTuple):
    """One value of a Secret.

    Args:
        key: Its key.
        shown: The text that shows it.
        secret: The value.
        encoding: How `shown` encodes it.
    """

    key: str
    shown: str
    secret: str
    encoding: str


def holds_secret(text: str) -> bool:
    """Whether a text may hold an object of kind Secret."""
    return _KIND.search(text) is not None


def secret_spans(text: str) -> list[Span]:
    r"""The values of the Secrets in a text, in YAML and in JSON.

    Example:
        >>> secret_spans("kind: Secret\ndata:\n  password: aHVudGVyMg==")[0][2:5]
        ('password', 'hunter2', 'base64')
    """
    spans = list(_in_yaml(text))
    if "\\n" in text:
        spans += _in_yaml(_LITERAL.sub(_unescaped, text))
    if '"' in text:
        spans += _placed(text, _entries(json_values(text)))
    return spans


def _unescaped(match: re.Match[str]) -> str:
    """An escape of a JSON string as what it stands for, in as many characters."""
    return {"\\n": " \n", '\\"': ' "', '"': "\n"}.get(match[0], match[0])


_LITERAL = re.compile(r"\\.|\"")


def entries_of(manifest: dict[str, Any]) -> Iterator[tuple[str, str, Entry]]:
    """The field, key and value of each entry of an object that is a Secret.

    Args:
        manifest: The object, decoded from JSON.
    """
    if manifest.get("kind") != "Secret":
        return
    for field in ("data", "stringData"):
        values = manifest.get(field)
        if isinstance(values, dict):
            for key, value in values.items():
                if isinstance(key, str) and isinstance(value, str) and value:
                    yield field, key, _entry(key, value, in_base64=field == "data")


def decoded_entry(key: str, shown: str) -> Entry:
    """An entry whose value is shown in Base64; or as it is, where that is no text.

    Args:
        key: Its key.
        shown: The text that shows it.
    """
    try:
        secret = base64.b64decode(shown, validate=True).decode()
    except (binascii.Error, ValueError):
        return Entry(key, shown, shown, "")
    readable = secret and _CONTROL.search(secret) is None
    if readable and encoded(secret, "base64") == shown:
        return Entry(key, shown, secret, "base64")
    return Entry(key, shown, shown, "")


def _entry(key: str, shown: str, *, in_base64: bool) -> Entry:
    return decoded_entry(key, shown) if in_base64 else Entry(key, shown, shown, "")


def _entries(values: Any, depth: int = 0) -> Iterator[Entry]:
    for value in values:
        if isinstance(value, dict):
            for _, _, entry in entries_of(value):
                yield entry
            yield from _entries(value.values(), depth)
        elif isinstance(value, list):
            yield from _entries(value, depth)
        elif isinstance(value, str) and depth < _DEEPEST and holds_secret(value):
            yield from _entries(json_values(value), depth + 1)
            for span in _in_yaml(value):
                shown = value[span.start : span.end]
                yield Entry(span.kind, shown, span.secret or shown, span.encoding)


_FIELD = re.compile(
    r"(?P<key>[A-Za-z0-9_.-]{1,253})[\\\"']{0,9}\s{0,9}:\s{0,9}[\\\"']{0,9}"
    r"(?P<value>[^\s\\\"',}]{1,2000000})"
)


def _placed(text: str, entries: Iterable[Entry]) -> Iterator[Span]:
    """Where a text shows the entries of Secrets in it, which may be in JSON within JSON."""
    plain: dict[tuple[str, str], Entry] = {}
    odd: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        fields = plain if _FIELD.fullmatch(f"{entry.key}:{entry.shown}") else odd
        fields[entry.key, entry.shown] = entry
    for match in _FIELD.finditer(text) if plain else ():
        if (found := plain.get((match["key"], match["value"]))) is not None:
            yield _span(match.span("value"), found)
    for entry in list(odd.values())[:_MOST_ODD]:
        key, shown = entry.key, entry.shown
        for _ in range(_DEEPEST):
            pattern = (
                rf"{re.escape(key)}[\\\"']*\s*:\s*[\\\"']*({re.escape(shown)})(?![A-Za-z0-9+/=])"
            )
            for match in re.finditer(pattern, text):
                yield _span(match.span(1), entry)
            again = json.dumps(key)[1:-1], json.dumps(shown)[1:-1]
            if again == (key, shown):
                break
            key, shown = again


def _span(place: tuple[int, int], entry: Entry) -> Span:
    return Span(*place, _kind(entry.key), entry.secret, entry.encoding, rank=3)


def _kind(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:60] or "secret"


class _Line(NamedTuple):
    start: int
    end: int
    column: int
    dash: bool
    key: str
    value: str
    value_start: int


def _lines(text: str) -> Iterator[_Line | None]:
    """The lines that have a key, and None for those that separate documents."""
    start = 0
    for raw in text.splitlines(keepends=True):
        match = _LINE.match(raw.rstrip("\n"))
        if match is not None:
            value = match["value"] or ""
            yield _Line(
                start,
                start + len(raw),
                len(match["indent"]),
                "-" in match["indent"],
                match["key"].strip("\"'"),
                value,
                start + match.start("value") if value else -1,
            )
        elif raw.startswith(("---", "...", "```")):
            yield None
        start += len(raw)


def _in_yaml(text: str) -> Iterator[Span]:
    lines = list(_lines(text))
    kinds = _kinds(lines)
    for place, line in enumerate(lines):
        if (
            line is not None
            and line.key in {"data", "stringData"}
            and (not line.value or line.value.startswith(("#", "&")))
            and kinds[place] == "Secret"
        ):
            yield from _values(text, lines, place)


def _kinds(lines: list[_Line | None]) -> list[str]:
    """For each line the kind of the object that its field belongs to."""
    objects: list[int] = []
    kinds: dict[int, str] = {}
    opened: list[tuple[int, int]] = []
    for place, line in enumerate(lines):
        if line is None:
            opened.clear()
            objects.append(-1)
            continue
        while opened and opened[-1][0] > line.column:
            opened.pop()
        if opened and opened[-1][0] == line.column and line.dash:
            opened.pop()
        if not opened or opened[-1][0] < line.column:
            opened.append((line.column, place))
        objects.append(opened[-1][1])
        if line.key == "kind":
            kinds[objects[-1]] = line.value.strip("\"'")
    return [kinds.get(each, "") for each in objects]


def _values(text: str, lines: list[_Line | None], place: int) -> Iterator[Span]:
    field = lines[place]
    assert field is not None
    in_base64 = field.key == "data"
    column = -1
    following = place + 1
    while following < len(lines):
        line = lines[following]
        following += 1
        if line is None or line.column <= field.column:
            return
        column = line.column if column == -1 else column
        if line.column != column or not line.value:
            continue
        if _BLOCK.fullmatch(line.value):
            end = _block_end(text, line.end, column)
            blank = _BLANK.match(text, line.end)
            start = line.end if blank is None else blank.end()
            block = text[start:end].rstrip()
            if block:
                yield _block_span(text, line, start, start + len(block))
            continue
        shown = line.value.partition(" #")[0].rstrip()
        start = line.value_start
        if shown[:1] in {'"', "'"} and shown[-1:] == shown[:1] and len(shown) > 2:
            shown, start = shown[1:-1], start + 1
        if shown in {'""', "''", "null", "~", "{}"} or "[secret:" in shown:
            continue
        if is_harmless(shown) and not shown.isalnum():
            continue
        entry = _entry(line.key, shown, in_base64=in_base64)
        yield Span(start, start + len(shown), _kind(line.key), entry.secret, entry.encoding, rank=3)


def _block_span(text: str, line: _Line, start: int, end: int) -> Span:
    """A value of several lines, which are indented where it is shown."""
    secret, shown = textwrap.dedent(text[line.end : end]).strip("\n"), text[start:end]
    encoding = f"indent-{start - 1 - text.rfind(chr(10), 0, start)}"
    if "\n" not in shown or encoded(secret, encoding) != shown:
        secret, encoding = "", ""
    return Span(start, end, _kind(line.key), secret, encoding, rank=3)


def _block_end(text: str, start: int, column: int) -> int:
    """Where the lines end that are deeper than a column."""
    end = start
    while end < len(text):
        stop = text.find("\n", end) + 1 or len(text)
        line = text[end:stop]
        if line.strip() and len(line) - len(line.lstrip()) <= column:
            break
        end = stop
    return end


_ANY_KIND = re.compile(r"kind\\{0,7}[\"']?\s{0,5}:\s{0,5}\\{0,7}[\"']?([A-Za-z]+)(?=[^A-Za-z])")
_COLON = re.compile(r"\\{0,7}[\"']?\s{0,5}(?::|\Z)")
# A separator, the end of a fence, or a line that belongs to no manifest.
_ENDING = re.compile(r"\n(?:---|```|\.\.\.|[A-Za-z*>][^:\n]{0,2000}\n)")
_LONGEST = 100_000


def _unfinished(text: str, start: int, end: int, whole: bool) -> Found:
    """Where a manifest begins of which it is not known yet whether it is a Secret's, or ends."""
    if whole or len(text) - start > _LONGEST or _ENDING.search(text, start):
        return ()
    if not at_boundary(text, start) or _COLON.match(text, end) is None:
        return ()
    kind = _ANY_KIND.search(text, start)
    return start if kind is None or kind[1] in {"Secret", "SecretList"} else ()


def _unfinished_secret(text: str, start: int, _end: int, whole: bool) -> Found:
    if whole or len(text) - start > _LONGEST or _ENDING.search(text, start):
        return ()
    return start if _KIND.match(text, start) else ()


KUBERNETES: tuple[Shape, ...] = (
    Shape("kubernetes-secret", ("apiVersion",), _unfinished, begins=False),
    Shape("kubernetes-secret", ("kind: Secret", 'kind":'), _unfinished_secret, begins=False),
)
"""What holds a stream back while a manifest is written; `secret_spans` finds the values."""
