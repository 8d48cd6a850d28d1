"""Where in a text a secret is, and what finds it there.

Everything that recognises secrets is a `Matcher`, woken by an *anchor*: a short string that has to
be there for it to have anything to do. All anchors of a process are looked for at once, so that
text without one costs no more than being read.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_ESCAPES = frozenset("nrtbf")
_HEX = frozenset("0123456789abcdefABCDEF")
_RUN = r"[^\s\"'`<>,;(){}\[\]|\\]"
RUN = re.compile(rf"{_RUN}{{0,4096}}")
"""What a token may consist of, and more: it ends where this does, if it is no longer."""
_WHOLE_RUN = re.compile(rf"{_RUN}*")
_LONGEST = 4096


class Span(NamedTuple):
    """A secret in a text.

    Args:
        start: Where it begins.
        end: Where it ends.
        kind: What it is, for its placeholder: lower case, with dashes.
        secret: The secret; the text from `start` to `end` if empty.
        encoding: How the text encodes the secret; empty for not at all.
        rank: Which of two that cover the same text tells more.
        quoted: Whether the placeholder is to be put into quotes, as it replaces a JSON number.
    """

    start: int
    end: int
    kind: str
    secret: str = ""
    encoding: str = ""
    rank: int = 0
    quoted: bool = False


Found: TypeAlias = Sequence[Span] | int
"""Spans; or, in a text that may go on, from where on it may become a secret."""

Matcher: TypeAlias = Callable[[str, int, int, bool], Found]
"""Called with a text, an anchor's start and end in it, and whether the text ends where it ends."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of secret.

    Args:
        kind: What it is called.
        anchors: Strings one of which wakes the matcher.
        matcher: What finds it.
        begins: Whether the secret begins with the anchor, rather than somewhere after it.
    """

    kind: str
    anchors: tuple[str, ...]
    matcher: Matcher
    begins: bool


def at_boundary(text: str, start: int) -> bool:
    r"""Whether a token may begin here: not within a word.

    Letters that belong to an escape, as in ``\nghp_`` or ``%22ghp_``, are no word.

    Example:
        >>> at_boundary("x=ghp_", 2), at_boundary("xghp_", 1), at_boundary(r"\nghp_", 2)
        (True, False, True)
    """
    if start == 0:
        return True
    before = text[start - 1]
    if before not in _ALPHANUMERIC:
        return True
    if before in _ESCAPES and start > 1 and text[start - 2] == "\\":
        return True
    if before not in _HEX:
        return False
    if start > 2 and text[start - 3] == "%" and text[start - 2] in _HEX:
        return True
    return start > 5 and text[start - 6 : start - 4] == "\\u"


def is_word(character: str) -> bool:
    """Whether it is an ASCII letter or digit."""
    return character in _ALPHANUMERIC


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # When it is needed first: compiling a hundred takes longer than most runs need any of them.
    return re.compile(pattern)


def token(
    kind: str,
    anchors: Sequence[str],
    pattern: str,
    check: Callable[[str], bool] | None = None,
) -> Shape:
    """A kind of token that begins with one of its anchors.

    Args:
        kind: What it is called.
        anchors: How it begins.
        pattern: All of it, anchor included.
        check: What else has to hold for the secret.
    """

    def matcher(text: str, start: int, _end: int, whole: bool) -> Found:
        if not at_boundary(text, start):
            return ()
        if not whole and _run_end(text, start) == len(text):
            return start
        match = _compiled(pattern).match(text, start)
        if match is None or (check is not None and not check(match[0])):
            return ()
        begin, end = match.span()
        if end - begin >= _LONGEST:
            # Judged by its beginning, as a text may hold many that are no secret after all.
            end = _whole_run_end(text, end)
            if not whole and end == len(text):
                return start
        return (Span(begin, end, kind, rank=2),)

    return Shape(kind, tuple(anchors), matcher, begins=True)


def after(
    kind: str,
    anchors: Sequence[str],
    pattern: str,
    check: Callable[[str], bool] | None = None,
) -> Shape:
    """A kind of secret that is known by what stands right before it.

    Args:
        kind: What it is called.
        anchors: What stands before.
        pattern: The secret.
        check: What else has to hold for it.
    """

    def matcher(text: str, _start: int, end: int, whole: bool) -> Found:
        if not whole and _run_end(text, end) == len(text):
            return end
        match = _compiled(pattern).match(text, end)
        if match is None or (check is not None and not check(match[0])):
            return ()
        return (Span(*match.span(), kind, rank=2),)

    return Shape(kind, tuple(anchors), matcher, begins=False)


def ended_by(kind: str, anchor: str, pattern: str) -> Shape:
    """A kind of token that is lower-case hexadecimal up to its anchor.

    Args:
        kind: What it is called.
        anchor: What it is known by.
        pattern: All of it.
    """

    def matcher(text: str, start: int, _end: int, whole: bool) -> Found:
        begin = start
        while begin and start - begin < _LONGEST_HEX and text[begin - 1] in _HEX:
            begin -= 1
        if not at_boundary(text, begin):
            return ()
        if not whole and _run_end(text, start) == len(text):
            return begin
        match = _compiled(pattern).match(text, begin)
        return () if match is None else (Span(*match.span(), kind, rank=2),)

    return Shape(kind, (anchor,), matcher, begins=False)


_LONGEST_HEX = 64


def _whole_run_end(text: str, start: int) -> int:
    match = _WHOLE_RUN.match(text, start)
    return start if match is None else match.end()


def _run_end(text: str, start: int) -> int:
    match = RUN.match(text, start)
    return start if match is None else match.end()
