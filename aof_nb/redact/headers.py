"""Secrets that are known by their place: HTTP's credentials and cookies, programs' options."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aof_nb.redact.names import is_session
from aof_nb.redact.spans import Found, Shape, Span, at_boundary
from aof_nb.redact.values import is_harmless, looks_random

_CREDENTIALS = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}[:=,][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]{2,20})[ \t]{1,20})?(?P<value>[^\s\"'`,;\\]{1,8192})"
)
_UNFINISHED_CREDENTIALS = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}(?:[:=,][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?P<scheme>[A-Za-z][A-Za-z0-9-]{0,20}[ \t]{0,20})?)?\\{0,7}\Z"
)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/=:%-]{8,}")
_SCHEMES = frozenset(
    {"api-key", "apikey", "bearer", "bot", "geniekey", "splunk", "ssws", "token", "basic"}
)


def _authorization(text: str, _start: int, end: int, whole: bool) -> Found:
    if not whole and (so_far := _UNFINISHED_CREDENTIALS.match(text, end)):
        return so_far.start("scheme") if so_far["scheme"] else len(text)
    match = _CREDENTIALS.match(text, end)
    if match is None:
        return ()
    if not whole and match.end() == len(text):
        return match.start("value")
    value, scheme = match["value"], (match["scheme"] or "").lower()
    if is_harmless(value) or "=" in value[:-2] or not _TOKEN68.fullmatch(value):
        return ()
    if scheme == "basic":
        return (Span(*match.span("value"), "basic-auth", rank=1),)
    if scheme in _SCHEMES:
        words = value.isalpha() and value.islower()
        return () if words else (Span(*match.span("value"), "authorization", rank=1),)
    if scheme or not looks_random(value):
        return ()
    return (Span(*match.span("value"), "authorization", rank=1),)


_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{20,8192}={0,2}")
_BEARER_SO_FAR = re.compile(r"[A-Za-z0-9._~+/-]{0,8192}={0,2}\Z")


def _bearer(text: str, _start: int, end: int, whole: bool) -> Found:
    if not whole and _BEARER_SO_FAR.match(text, end):
        return end
    match = _BEARER.match(text, end)
    if match is None or not looks_random(match[0]) or is_harmless(match[0]):
        return ()
    return (Span(*match.span(), "authorization", rank=1),)


_COOKIES = re.compile(
    r"\\{0,7}[\"']?[ \t]{0,20}[:= ][ \t]{0,20}(?:\\{0,7}[\"'])?"
    r"(?P<pairs>[A-Za-z0-9_.$-]{1,80}=[^;\s\"'\\]{0,8000}"
    r"(?:;[ \t]{0,3}[^;\r\n\"'\\]{0,8000}){0,100})"
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


_WORD = r"(?P<value>[^\s\"']{1,400})"
_PROGRAMS = {
    "curl": re.compile(
        r"[^\n]{0,600}?\s(?:-u\s{0,5}|--user[\s=]\s{0,5}|-x\s{0,5}|--proxy-user[\s=]\s{0,5})[\"']?"
        rf"[^\s:\"']{{1,100}}:{_WORD}"
    ),
    "mysql": re.compile(rf"[^\n]{{0,300}}?\s-p(?!-){_WORD}"),
    "mariadb": re.compile(rf"[^\n]{{0,300}}?\s-p(?!-){_WORD}"),
    "redis-cli": re.compile(rf"[^\n]{{0,300}}?\s-a\s{{1,5}}[\"']?{_WORD}"),
    "sshpass": re.compile(rf"\s{{1,5}}-p\s{{0,5}}[\"']?{_WORD}"),
}
_LONGEST_LINE = 600


def _of_program(text: str, start: int, end: int, whole: bool) -> Found:
    """The passwords of options that only their program knows as such."""
    following = text[end : end + 1]
    if not at_boundary(text, start) or (following and not following.isspace()):
        return ()
    match = _PROGRAMS[text[start:end]].match(text, end)
    if match is None:
        goes_on = not whole and len(text) - end < _LONGEST_LINE and "\n" not in text[end:]
        return len(text) if goes_on else ()
    if not whole and match.end() == len(text):
        return match.start("value")
    value = match["value"]
    if len(value) < 3 or is_harmless(value) or (value.isdigit() and len(value) < 8):
        return ()
    return (Span(*match.span("value"), "password", rank=1),)


HEADERS: tuple[Shape, ...] = (
    Shape("authorization", ("uthorization", "UTHORIZATION"), _authorization, begins=False),
    Shape("authorization", ("earer ", "EARER "), _bearer, begins=False),
    Shape("session-cookie", ("ookie", "OOKIE"), _cookies, begins=False),
    Shape("password", tuple(_PROGRAMS), _of_program, begins=False),
)
"""What is known by its place."""
