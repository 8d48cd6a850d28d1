"""Secrets that are known by what they are called: ``password: ...``, ``API_KEY=...``, ``--token ...``.

In configuration files, JSON, YAML, XML, environment variables, command lines, connection strings
and HTTP headers.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from aof_nb.redact.names import Secrecy, is_session, kind_of, secrecy
from aof_nb.redact.spans import Found, Shape, Span, at_boundary
from aof_nb.redact.values import is_code, is_harmless, is_prose, looks_random

_NAME_BEFORE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LONGEST_NAME = 64
_NAME_AFTER = re.compile(r"[A-Za-z0-9_-]{0,64}")
# What stands between a name and its value; quotes may be escaped, once or more.
_SEPARATOR = re.compile(
    r"(?P<closing>\\{0,7}[\"']?\]?)[ \t]{0,20}(?P<sign>:=|=>|={1,2}|:|>|&gt;)[ \t]{0,80}"
    r"(?P<quote>\\{0,7}[\"'`])?"
)
_UNFINISHED = re.compile(r"\\{0,7}[\"']?\]?[ \t]{0,20}(?::|=|:=|=>|==)?[ \t]{0,80}\\{0,7}\Z")
_BARE = re.compile(r"[^\s\"'`]{1,20000}")
_SPACES = re.compile(r"[ \t]*")
_FIELD = re.compile(r"[A-Za-z_][\w.-]*\\*[\"']?[=:]")
_BYTES = re.compile(r"[ \t]+bytes\b")
_LONGEST_QUOTED = 20000
_AFTER_OPTION = frozenset(
    [
        "a",
        "and",
        "are",
        "argument",
        "can",
        "flag",
        "for",
        "from",
        "has",
        "in",
        "instead",
        "is",
        "may",
        "must",
        "of",
        "on",
        "or",
        "option",
        "parameter",
        "should",
        "so",
        "the",
        "to",
        "was",
        "when",
        "which",
        "will",
        "with",
        "you",
    ]
)


def _named(text: str, start: int) -> tuple[int, int]:
    """Where the name around an anchor begins and ends."""
    begin = start
    while begin and start - begin < _LONGEST_NAME and text[begin - 1] in _NAME_BEFORE:
        begin -= 1
    after = _NAME_AFTER.match(text, start)
    return begin, start if after is None else after.end()


def _assigned(text: str, start: int, _end: int, whole: bool) -> Found:
    begin, end = _named(text, start)
    if not whole and end == len(text):
        return end
    name = text[begin:end]
    option = re.match(r"--?[A-Za-z]", name) is not None
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
        return () if spaced is None else _bare(text, spaced, name, secret, whole, sign=" ")
    if separator["sign"] in {">", "&gt;"} and not _in_markup(text, begin):
        return ()
    place = separator.end()
    if quote := separator["quote"]:
        return _quoted(text, place, quote, name, secret, whole)
    if not whole and _UNFINISHED.match(text, end):
        return place
    json = '"' in separator["closing"] and separator["sign"] == ":"
    return _bare(text, place, name, secret, whole, sign=separator["sign"], json=json)


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


def _quoted(text: str, place: int, quote: str, name: str, secret: Secrecy, whole: bool) -> Found:
    end = place
    while True:
        end = text.find(quote, end, place + _LONGEST_QUOTED)
        if end == -1:
            return place if not whole and len(text) - place < _LONGEST_QUOTED else ()
        # One escaped once more belongs to the value.
        before = end - 1
        while before >= place and text[before] == "\\":
            before -= 1
        if (end - 1 - before) % 2 == 0:
            break
        end += len(quote)
    value = text[place:end]
    if not _accepted(value, secret) or is_prose(value) or (is_code(value) and "(" in value):
        return ()
    return (Span(place, end, kind_of(name)),)


def _bare(
    text: str,
    place: int,
    name: str,
    secret: Secrecy,
    whole: bool,
    *,
    sign: str,
    json: bool = False,
) -> Found:
    if not whole and place == len(text):
        return place
    if sign == " " and text[place : place + 1] in {'"', "'"}:
        return _quoted(text, place + 1, text[place], name, secret, whole)
    match = _BARE.match(text, place)
    if match is None:
        return ()
    if not whole and match.end() == len(text):
        return place
    value = _without_what_follows(match[0], sign, in_query=_in_query(text, place, name))
    if not _accepted(value, secret):
        return ()
    if sign in {"=", ":", ":="} and is_code(value) and text[place - 1] in " \t":
        return ()
    rest = place + len(value)
    if sign == " " and value.lower() in _AFTER_OPTION:
        return ()
    if sign == ":" and value.isalpha() and value.islower():
        following = _SPACES.match(text, rest)
        after = rest if following is None else following.end()
        if not whole and after == len(text):
            return place
        if after > rest and text[after : after + 1].isalnum():
            return ()
    if value.isdigit():
        if not whole and len(text) - rest < len(" bytes ") and "\n" not in text[rest:]:
            return place
        if _BYTES.match(text, rest):
            return ()
    return (Span(place, rest, kind_of(name), quoted=json),)


def _in_query(text: str, place: int, name: str) -> bool:
    before = text[max(0, place - len(name) - 2) : place]
    return before[:1] in {"?", "&"}


def _without_what_follows(value: str, sign: str, *, in_query: bool) -> str:
    """A bare value without what belongs to the text around it."""
    if sign in {">", "&gt;"}:
        return value.partition("<")[0].partition("&lt;")[0]
    value = value.partition(";")[0]
    if in_query:
        value = value.partition("&")[0].partition("#")[0]
    else:
        value = _before_field(value, "&")
    value = _before_field(value, ",")
    value = _before_escape(value)
    while value and value[-1] in ")]},.:!\\" and not _opened(value):
        value = value[:-1]
    return value


def _before_field(value: str, separator: str) -> str:
    place = value.find(separator)
    while place != -1:
        if _FIELD.match(value, place + 1):
            return value[:place]
        place = value.find(separator, place + 1)
    return value


def _before_escape(value: str) -> str:
    r"""A value up to a line's end that is written as ``\n``."""
    for escape in ("\\n", "\\r", "\\t"):
        value = value.partition(escape)[0]
    return value


_OPENING = {")": "(", "]": "[", "}": "{"}


def _opened(value: str) -> bool:
    opening = _OPENING.get(value[-1])
    return opening is not None and opening in value


def _accepted(value: str, secret: Secrecy) -> bool:
    if is_harmless(value):
        return False
    if secret is Secrecy.PASSWORD:
        return len(value) >= 3
    if secret is Secrecy.ENCODED:
        return ":" in _decoded(value)
    return looks_random(value) or _is_phrase(value)


def _is_phrase(value: str) -> bool:
    """Whether it has the length of a secret, and characters that no name has."""
    return len(value) >= 12 and any(c in "!@#$%^&*+=~" for c in value) and " " not in value


def accepted(name: str, value: str) -> bool:
    """Whether the value of a field of this name is a secret.

    Example:
        >>> accepted("password", "hunter2"), accepted("token", "invalid")
        (True, False)
    """
    secret = secrecy(name)
    return secret is not None and _accepted(value, secret) and not is_prose(value)


def _decoded(value: str) -> str:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text if text.isprintable() else ""


_PAIR_VALUE = re.compile(r"[ \t]{0,20}(?:\\{0,7}[\"'])?[ \t]{0,20}:[ \t]{0,20}")
_QUOTE = re.compile(r"\\{0,7}[\"']")
_PAIR_NAME = re.compile(
    r"name\\{0,7}[\"']?[ \t]{0,20}:[ \t]{0,20}\\{0,7}[\"']?(?P<name>[A-Za-z0-9_.-]{1,64})\\{0,7}[\"']?"
    r"(?:[ \t]{0,40}(?:\r?\n|\\n)[ \t]{0,80}|[ \t]{0,20},(?:\s|\\n){0,80})(?:\\{0,7}[\"'])?\Z"
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
    quote = _QUOTE.match(text, place)
    if quote is not None:
        return _quoted(text, quote.end(), quote[0], before["name"], secret, whole)
    return _bare(text, place, before["name"], secret, whole, sign=":")


_SCHEME = re.compile(
    r"(?P<closing>\\{0,7}[\"']?)[ \t]{0,20}[:=,][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]{2,20})[ \t]{1,20})?(?P<value>[^\s\"'`,;\\]{1,20000})"
)
_UNFINISHED_SCHEME = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}(?:[:=,][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?P<scheme>[A-Za-z][A-Za-z0-9-]{0,20}[ \t]{0,20})?)?\\{0,7}\Z"
)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/=:%-]{8,}")


def _authorization(text: str, _start: int, end: int, whole: bool) -> Found:
    if not whole and (so_far := _UNFINISHED_SCHEME.match(text, end)):
        return so_far.start("scheme") if so_far["scheme"] else len(text)
    match = _SCHEME.match(text, end)
    if match is None:
        return ()
    if not whole and match.end() == len(text):
        return match.start("value")
    value, scheme = match["value"], (match["scheme"] or "").lower()
    if is_harmless(value) or "=" in value[:-2] or not _TOKEN68.fullmatch(value):
        return ()
    if scheme in {
        "bearer",
        "basic",
        "token",
        "apikey",
        "bot",
        "ssws",
        "geniekey",
        "splunk",
        "api-key",
    }:
        if scheme != "basic" and value.isalpha() and value.islower():
            return ()
        kind = "basic-auth" if scheme == "basic" else "authorization"
        return (Span(*match.span("value"), kind, rank=1),)
    if scheme or not looks_random(value):
        return ()
    return (Span(*match.span("value"), "authorization", rank=1),)


_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{20,20000}={0,2}")


def _bearer(text: str, _start: int, end: int, whole: bool) -> Found:
    match = _BEARER.match(text, end)
    if match is None:
        return end if not whole and _TOKEN68_SO_FAR.match(text, end) else ()
    if not whole and match.end() == len(text):
        return end
    if not looks_random(match[0]) or is_harmless(match[0]):
        return ()
    return (Span(*match.span(), "authorization", rank=1),)


_TOKEN68_SO_FAR = re.compile(r"[A-Za-z0-9._~+/-]{0,20000}={0,2}\Z")
_COOKIES = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}[:= ][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?P<pairs>[A-Za-z0-9_.$-]{1,80}=[^;\s\"'\\]{0,8000}(?:;[ \t]{0,3}[^;\r\n\"'\\]{0,8000}){0,100})"
)
_UNFINISHED_COOKIES = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}(?:[:= ][ \t]{0,20}(?:\\{0,7}[\"'])?[A-Za-z0-9_.$-]{0,80})?\\{0,7}\Z"
)
_COOKIE = re.compile(r"(?P<name>[A-Za-z0-9_.$-]{1,80})=(?P<value>[^;\s,\\\"']{1,8000})")


def _cookies(text: str, _start: int, end: int, whole: bool) -> Found:
    match = _COOKIES.match(text, end)
    if match is None:
        return len(text) if not whole and _UNFINISHED_COOKIES.match(text, end) else ()
    if not whole and match.end() == len(text):
        return match.start("pairs")
    return list(_sessions(text, *match.span("pairs")))


def _sessions(text: str, start: int, end: int) -> Iterator[Span]:
    for cookie in _COOKIE.finditer(text, start, end):
        value = cookie["value"]
        if len(value) >= 8 and is_session(cookie["name"]) and not is_harmless(value):
            yield Span(*cookie.span("value"), "session-cookie", rank=1)


_CURL_USER = re.compile(
    r"[^\n]{0,600}?(?:\s-u\s{0,5}|\s--user[\s=]\s{0,5}|\s-x\s{0,5})[\"']?[^\s:\"']{1,100}:(?P<value>[^\s\"']{3,400})"
)
_PROGRAMS = {
    "curl": _CURL_USER,
    "mysql": re.compile(r"[^\n]{0,300}?\s-p(?P<value>[^\s\"'-][^\s\"']{2,200})"),
    "mariadb": re.compile(r"[^\n]{0,300}?\s-p(?P<value>[^\s\"'-][^\s\"']{2,200})"),
    "sshpass": re.compile(r"\s{1,5}-p\s{0,5}[\"']?(?P<value>[^\s\"']{3,200})"),
    "redis-cli": re.compile(r"[^\n]{0,300}?\s-a\s{1,5}[\"']?(?P<value>[^\s\"']{3,200})"),
}


def _on_command_line(text: str, start: int, end: int, whole: bool) -> Found:
    """The passwords of options that only their program knows as such."""
    following = text[end : end + 1]
    if not at_boundary(text, start) or (following and not following.isspace()):
        return ()
    match = _PROGRAMS[text[start:end]].match(text, end)
    if match is None:
        return len(text) if not whole and "\n" not in text[end:] and len(text) - end < 600 else ()
    if not whole and match.end() == len(text):
        return match.start("value")
    value = match["value"]
    if is_harmless(value) or (value.isdigit() and len(value) < 8):
        return ()
    return (Span(*match.span("value"), "password", rank=1),)


def _variants(*stems: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(form for stem in stems for form in (stem, stem.upper())))


_ENDS = ("=", ":", '"', "'", "\\", " =", " :", ">")
ASSIGNMENTS: tuple[Shape, ...] = (
    Shape(
        "assignment",
        (
            *_variants("assword", "asswd", "assphrase", "asscode", "ecret", "oken", "redential"),
            *("pwd", "PWD", "Pwd", "creds", "CREDS"),
            *(f"{word}{end}" for word in ("key", "Key", "KEY") for end in _ENDS),
            *(f"{word}{end}" for word in ("ass", "ASS") for end in _ENDS),
            *(
                "-key ",
                "key-data",
                "_pw",
                "_PW",
                'auth"',
                "auth:",
                "auth\\",
                "_auth=",
                "jwt",
                "JWT",
            ),
            *("dsn", "DSN"),
        ),
        _assigned,
        begins=False,
    ),
    Shape("assignment", ("value:", 'value"', "value'", "value\\"), _paired, begins=False),
    Shape("authorization", ("uthorization", "UTHORIZATION"), _authorization, begins=False),
    Shape("authorization", ("earer ", "EARER "), _bearer, begins=False),
    Shape("session-cookie", ("ookie", "OOKIE"), _cookies, begins=False),
    Shape("password", tuple(_PROGRAMS), _on_command_line, begins=False),
)
"""What is known by its name or place."""
