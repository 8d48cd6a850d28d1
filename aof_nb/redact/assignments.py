"""Secrets that are known by what they are called: ``password: ...``, ``API_KEY=...``.

In configuration files, JSON, YAML, XML, environment variables, options of command lines and
connection strings.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from aof_nb.redact.encodings import unescaped
from aof_nb.redact.names import KEYS, Secrecy, kind_of, secrecy
from aof_nb.redact.spans import Found, Shape, Span
from aof_nb.redact.values import is_code, is_harmless, is_prose, looks_random

_NAME_BEFORE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_AFTER = re.compile(r"[A-Za-z0-9_-]{0,64}")
_LONGEST_NAME = 64
_OPTION = re.compile(r"--?[A-Za-z]")
# What stands between a name and its value; quotes may be escaped, once or more.
_SEPARATOR = re.compile(
    r"(?P<closing>\\{0,7}[\"']?\]?)[ \t]{0,20}(?P<sign>:=|=>|={1,2}|:|>|&gt;)[ \t]{0,80}"
    r"(?P<quote>\\{0,7}[\"'`])?"
)
_UNFINISHED = re.compile(r"\\{0,7}[\"']?\]?[ \t]{0,20}(?::|=|:=|=>|==)?[ \t]{0,80}\\{0,7}\Z")
_BARE = re.compile(r"[^\s\"'`]{1,4096}")
_WHOLE_BARE = re.compile(r"[^\s\"'`]+")
_LONGEST_BARE = 4096
_SPACES = re.compile(r"[ \t]*")
_FOLLOWING = re.compile(r"[ \t]*(?P<word>(?<=[ \t])[A-Za-z0-9]*)")
_NEXT_FIELD = re.compile(r"[&,](?=[A-Za-z_][A-Za-z0-9_.-]{0,64}\\{0,7}[\"']?[=:])")
_JUDGED = 512
_BYTES = re.compile(r"[ \t]+bytes\b")
_LONGEST_QUOTED = 65536
_NO_VALUE_OF_OPTION = re.compile(
    r"a|and|are|argument|can|flag|for|from|has|in|instead|is|may|must|of|on|option|or|parameter|"
    r"should|so|the|to|was|when|which|will|with|you"
)


class _Lead(NamedTuple):
    """What stands before a value, and what it says of it."""

    name: str
    secrecy: Secrecy
    sign: str
    in_json: bool = False


def _assigned(text: str, start: int, _end: int, whole: bool) -> Found:
    begin, end = _named(text, start)
    if not whole and end == len(text):
        return end
    name = text[begin:end]
    option = _OPTION.match(name) is not None
    if _escaped(text, begin):
        name = name[1:]
    secret = secrecy(name.strip("-."))
    if secret is None:
        return ()
    separator = _SEPARATOR.match(text, end)
    if separator is None:
        if not whole and _UNFINISHED.match(text, end):
            return len(text)
        spaced = _spaced(text, begin, end, option=option)
        return () if spaced is None else _bare(text, spaced, _Lead(name, secret, " "), whole)
    sign, place = separator["sign"], separator.end()
    if sign in {">", "&gt;"} and not _in_markup(text, begin):
        return ()
    if quote := separator["quote"]:
        return _quoted(text, place, quote, _Lead(name, secret, sign), whole)
    if not whole and _UNFINISHED.match(text, end):
        return place
    in_json = '"' in separator["closing"] and sign == ":"
    return _bare(text, place, _Lead(name, secret, sign, in_json), whole)


def _named(text: str, start: int) -> tuple[int, int]:
    """Where the name around an anchor begins and ends."""
    begin = start
    while begin and start - begin < _LONGEST_NAME and text[begin - 1] in _NAME_BEFORE:
        begin -= 1
    after = _NAME_AFTER.match(text, start)
    return begin, start if after is None else after.end()


def _escaped(text: str, begin: int) -> bool:
    r"""Whether the first letter belongs to an escape, as in ``\nPASSWORD``."""
    return begin > 0 and text[begin - 1] == "\\" and text[begin : begin + 1] in {"n", "r", "t"}


def _spaced(text: str, begin: int, end: int, *, option: bool) -> int | None:
    """Where the value of an option, or of a .netrc's word, begins."""
    spaces = _SPACES.match(text, end)
    if spaces is None or spaces.end() == end:
        return None
    if option:
        return spaces.end()
    line = text[text.rfind("\n", max(0, begin - 300), begin) + 1 : begin]
    return spaces.end() if text[begin:end] == "password" and " login " in f" {line}" else None


def _in_markup(text: str, begin: int) -> bool:
    return text[max(0, begin - 4) : begin].endswith(("<", "&lt;"))


def _quoted(text: str, place: int, quote: str, lead: _Lead, whole: bool) -> Found:
    end = _closing(text, place, quote)
    if end is None:
        return place if not whole and len(text) - place < _LONGEST_QUOTED else ()
    value = text[place:end]
    if not _accepted(value, lead.secrecy) or is_prose(value) or _is_after_quote(value):
        return ()
    if is_code(value) and "(" in value:
        return ()
    encoding = {'"': "json", '\\"': "json-json"}.get(quote, "")
    secret = unescaped(value, encoding) if "\\" in value and encoding else None
    if secret is not None:
        return (Span(place, end, kind_of(lead.name), secret, encoding),)
    return (Span(place, end, kind_of(lead.name)),)


def _is_after_quote(value: str) -> bool:
    """Whether the quote before it has ended a text rather than begun a value."""
    return value[0] in ")],;" or ("\n" in value and "-----" not in value)


def _closing(text: str, place: int, quote: str) -> int | None:
    """Where a quoted value ends; one that is escaped once more belongs to it."""
    end = text.find(quote, place, place + _LONGEST_QUOTED)
    while end != -1:
        before = end
        while before > place and text[before - 1] == "\\":
            before -= 1
        if (end - before) % (2 * len(quote)) == 0:
            return end
        end = text.find(quote, end + len(quote), place + _LONGEST_QUOTED)
    return None


def _bare(text: str, place: int, lead: _Lead, whole: bool) -> Found:
    if not whole and place == len(text):
        return place
    if lead.sign == " " and text[place : place + 1] in {'"', "'"}:
        return _quoted(text, place + 1, text[place], lead, whole)
    match = _BARE.match(text, place)
    if match is None:
        return ()
    if not whole and match.end() == len(text):
        return place
    value = _alone(match[0], lead.sign, in_query=_in_query(text, place, lead.name))
    if not _accepted(value, lead.secrecy) or _is_name_of_secret(value, lead.name):
        return ()
    if lead.sign in {"=", ":", ":="} and is_code(value) and text[place - 1] in " \t":
        return ()
    end = place + len(value)
    if len(value) == _LONGEST_BARE and (run := _WHOLE_BARE.match(text, place)) is not None:
        end = run.end()
        if not whole and end == len(text):
            return place
    if lead.sign == " " and _NO_VALUE_OF_OPTION.fullmatch(value.lower()):
        return ()
    if lead.sign == ":" and value.isalpha():
        following = _FOLLOWING.match(text, end)
        if not whole and following is not None and following.end() == len(text):
            return place
        if (
            following is not None
            and following["word"]
            and text[following.end() : following.end() + 1] not in {":", "="}
        ):
            return ()
    if value.isdigit():
        if not whole and len(text) - end < len(" bytes ") and "\n" not in text[end:]:
            return place
        if _BYTES.match(text, end):
            return ()
    return (Span(place, end, kind_of(lead.name), quoted=lead.in_json),)


def _is_name_of_secret(value: str, name: str) -> bool:
    """Whether it is a variable's name, which the program or template puts the value in for."""
    if value == name:
        return True
    return _VARIABLE.fullmatch(value) is not None and secrecy(value) is not None


_VARIABLE = re.compile(r"[A-Za-z]+(?:[_.][A-Za-z]+)+")


def _in_query(text: str, place: int, name: str) -> bool:
    before = text[max(0, place - len(name) - 2) : place]
    return before[:1] in {"?", "&"}


def _alone(value: str, sign: str, *, in_query: bool) -> str:
    """A bare value without what belongs to the text around it."""
    if sign in {">", "&gt;"}:
        return value.partition("<")[0].partition("&lt;")[0]
    value = value.partition(";")[0]
    if in_query:
        value = value.partition("&")[0].partition("#")[0]
    if (field := _NEXT_FIELD.search(value)) is not None:
        value = value[: field.start()]
    for escape in ("\\n", "\\r", "\\t"):
        value = value.partition(escape)[0]
    while value and value[-1] in ")]},.:!\\" and not _opened(value):
        value = value[:-1]
    return value


_OPENING = {")": "(", "]": "[", "}": "{"}


def _opened(value: str) -> bool:
    opening = _OPENING.get(value[-1])
    return opening is not None and opening in value


def accepted(name: str, value: str) -> bool:
    """Whether the value of a field of this name is a secret.

    Example:
        >>> accepted("password", "hunter2"), accepted("token", "invalid")
        (True, False)
    """
    secret = secrecy(name)
    return secret is not None and _accepted(value, secret) and not is_prose(value)


def _accepted(value: str, secret: Secrecy) -> bool:
    value = value[:_JUDGED]
    if is_harmless(value):
        return False
    if secret is Secrecy.PASSWORD:
        return len(value) >= 3
    if secret is Secrecy.UNLIKE_A_WORD:
        return len(value) >= 4 and not value.isalpha() and not value.isdigit()
    if secret is Secrecy.ENCODED:
        return ":" in _decoded(value)
    return looks_random(value) or _is_phrase(value)


def _is_phrase(value: str) -> bool:
    """Whether it has the length of a secret, and characters that no name has."""
    special = any(c in "!@#$%^&*+=~" for c in value)
    return len(value) >= 12 and special and " " not in value and "://" not in value


def _decoded(value: str) -> str:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() else ""


_QUOTE = re.compile(r"\\{0,7}[\"']")
_PAIR_VALUE = re.compile(r"[ \t]{0,20}(?:\\{0,7}[\"'])?[ \t]{0,20}:[ \t]{0,20}")
_PAIR_NAME = re.compile(
    r"name\\{0,7}[\"']?[ \t]{0,20}:[ \t]{0,20}\\{0,7}[\"']?(?P<name>[A-Za-z0-9_.-]{1,64})"
    r"\\{0,7}[\"']?(?:[ \t]{0,40}(?:\r?\n|\\n)[ \t]{0,80}|[ \t]{0,20},(?:\s|\\n){0,80})"
    r"(?:\\{0,7}[\"'])?\Z"
)


def _paired(text: str, start: int, _end: int, whole: bool) -> Found:
    """The value of an object that has a name too, such as one of a container's variables."""
    before = _PAIR_NAME.search(text, max(0, start - 200), start)
    if before is None:
        return ()
    end = start + len("value")
    separator = _PAIR_VALUE.match(text, end)
    if separator is None:
        return len(text) if not whole and len(text) - end < 40 else ()
    secret, place = secrecy(before["name"]), separator.end()
    if secret is None:
        return ()
    lead = _Lead(before["name"], secret, ":")
    quote = _QUOTE.match(text, place)
    if quote is not None:
        return _quoted(text, quote.end(), quote[0], lead, whole)
    return _bare(text, place, lead, whole)


def _cases(*stems: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for stem in stems for form in (stem, stem.upper())))


_ENDS = ("=", ":", '"', "'", "\\", " =", " :", ">")
_WITH_ENDS = (
    *("_key", "-key", ".key", "Key", "-Key", "_KEY", "-KEY", "pass", "Pass", "PASS"),
    *_cases(*KEYS),
)

ASSIGNMENTS: tuple[Shape, ...] = (
    Shape(
        "assignment",
        (
            *_cases("assword", "asswd", "assphrase", "asscode", "ecret", "oken", "redential"),
            *_cases("pwd", "creds", "_pw", "jwt", "dsn"),
            *("Pwd", "-key ", "key-data", 'auth"', "auth:", "auth\\", "_auth="),
            *(f"{word}{end}" for word in _WITH_ENDS for end in _ENDS),
        ),
        _assigned,
        begins=False,
    ),
    Shape("assignment", ("value:", 'value"', "value'", "value\\"), _paired, begins=False),
)
"""What is known by its name."""
