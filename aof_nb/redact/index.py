"""All that is looked for, as one automaton: the shapes' anchors, and the heads of known secrets.

Aho and Corasick, *Efficient string matching: an aid to bibliographic search*, CACM 18 (1975), as
the Rust crate behind `ahocorasick_rs` has it: a text without any of hundreds of strings is passed
at a nanosecond or three a character.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from aof_nb.redact.assignments import ASSIGNMENTS
from aof_nb.redact.encodings import Form, around, encoded, forms
from aof_nb.redact.headers import HEADERS
from aof_nb.redact.kubernetes import KUBERNETES
from aof_nb.redact.shapes import SHAPES
from aof_nb.redact.spans import Found, Matcher, Span, at_boundary

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

# Long enough that words hardly ever begin so.
_HEAD = 8
# Of a secret within a word so many characters have to be there before a stream is held back:
# with fewer, nearly any letter would do.
_GLUED = 3
_HEX_TAIL = re.compile(
    r"(?<![A-Za-z0-9])[0-9a-f]+(?:(?<=[0-9a-f]{32})(?:-(?:us?\d{0,2})?|F{1,4}(?:N(?:RA?)?)?)"
    r"|(?<=[0-9a-f]{36})N(?:RA?)?)?\Z"
)
_NO_HEX = re.compile(r"[^0-9a-f]")
_LONGEST_HEX = 64
_BASE64 = ("base64", "base64url")


class Known(NamedTuple):
    """A known secret in one of its forms."""

    form: Form
    secret: str


class Index:
    """What is looked for. It only grows: an anchor keeps its number.

    Args:
        known: Secrets that are looked for wherever they may stand.
        shapes: Whether all shapes are looked for as well.
    """

    def __init__(self, known: Iterable[str] = (), *, shapes: bool = True) -> None:
        matchers = _matchers() if shapes else {}
        self.known: set[str] = set()
        self.longest = max(map(len, matchers), default=1)
        self._anchors = list(matchers)
        self._matchers = list(matchers.values())
        self._known: list[tuple[Known, ...]] = [()] * len(matchers)
        self._places = {anchor: place for place, anchor in enumerate(matchers)}
        self._beginnings = set(_beginnings()) if shapes else set()
        self._sizes: dict[str, list[int]] = {}
        for each in self._beginnings:
            self._note_size(each)
        self._automaton: AhoCorasick
        self.grow(known)

    def grow(self, known: Iterable[str]) -> None:
        """Looks for further secrets.

        Args:
            known: The secrets.
        """
        from ahocorasick_rs import AhoCorasick

        for secret in sorted(set(known) - self.known):
            self.known.add(secret)
            for form in forms(secret):
                self._add(Known(form, secret))
        self._automaton = AhoCorasick(self._anchors)

    def _add(self, known: Known) -> None:
        head = known.form.text[:_HEAD]
        place = self._places.get(head)
        if place is not None:
            self._known[place] += (known,)
            return
        self._places[head] = len(self._anchors)
        self._matchers.append(())
        self._known.append((known,))
        for size in range(1, len(head)):
            if head[:size] not in self._beginnings:
                self._beginnings.add(head[:size])
                self._note_size(head[:size])
        # Last, as another thread may be reading.
        self._anchors.append(head)

    def _note_size(self, beginning: str) -> None:
        sizes = self._sizes.get(beginning[-1], [])
        if len(beginning) not in sizes:
            self._sizes[beginning[-1]] = sorted([*sizes, len(beginning)], reverse=True)

    def hits(self, text: str) -> list[tuple[int, int, int]]:
        """The anchors in a text, those within others included: number, start and end of each."""
        return self._automaton.find_matches_as_indexes(text, overlapping=True)

    def found(self, text: str, hit: tuple[int, int, int], whole: bool) -> Iterable[Found]:
        """What an anchor gives away.

        Args:
            text: The text.
            hit: The anchor in it.
            whole: Whether the text ends where it ends.
        """
        anchor, start, end = hit
        for matcher in self._matchers[anchor]:
            yield matcher(text, start, end, whole)
        for known in self._known[anchor]:
            yield _at(text, start, known, whole=whole)

    def known_at(self, text: str, hit: tuple[int, int, int]) -> Iterator[Span]:
        """The known secrets at an anchor of a whole text."""
        for known in self._known[hit[0]]:
            found = _at(text, hit[1], known, whole=True)
            if not isinstance(found, int):
                yield from found

    def beginning(self, text: str) -> int:
        """How many of a text's last characters may be the beginning of an anchor or a secret.

        Args:
            text: The text, as far as it has come.
        """
        last = text[-1:]
        if not self._sizes or (last in _SPACES and last not in self._sizes):
            return 0
        word = text[max(text.rfind(" "), text.rfind("\n")) + 1 :]
        if word.isalpha():
            if word in self._beginnings or not _NO_HEX.search(word):
                return len(word)
            kept = 0
        elif last in _IN_HEX_TAIL:
            tail = _HEX_TAIL.search(text, max(0, len(text) - _LONGEST_HEX))
            kept = 0 if tail is None else len(text) - tail.start()
        else:
            kept = 0
        for size in self._sizes.get(last, ()):
            if size <= kept:
                break
            if text[-size:] in self._beginnings and (
                size >= _GLUED or at_boundary(text, len(text) - size)
            ):
                return size
        return kept


_SPACES = frozenset(" \n\t\r")
_IN_HEX_TAIL = frozenset("0123456789abcdef-usFNRA")


def _at(text: str, start: int, known: Known, *, whole: bool) -> Found:
    form, secret = known
    shown = form.text
    if not text.startswith(shown, start):
        return start if not whole and shown.startswith(text[start:]) else ()
    end = start + len(shown)
    if form.inner or form.encoding in _BASE64:
        start, end = around(text, start, end)
        if not whole and end == len(text):
            return start
        for encoding in _BASE64:
            if text[start:end] == encoded(secret, encoding):
                return (Span(start, end, "", secret, encoding, rank=4),)
        return (Span(start, end, "base64", rank=4),)
    return (Span(start, end, "", secret, form.encoding, rank=5),)


@functools.cache
def _matchers() -> dict[str, tuple[Matcher, ...]]:
    found: dict[str, tuple[Matcher, ...]] = {}
    for shape in (*SHAPES, *ASSIGNMENTS, *HEADERS, *KUBERNETES):
        for anchor in shape.anchors:
            found[anchor] = (*found.get(anchor, ()), shape.matcher)
    return found


@functools.cache
def _beginnings() -> frozenset[str]:
    """What may become an anchor with which a secret begins."""
    return frozenset(
        anchor[:size]
        for shape in SHAPES
        if shape.begins
        for anchor in shape.anchors
        for size in range(1, len(anchor))
    )


@functools.lru_cache(maxsize=64)
def index_of(known: frozenset[str]) -> Index:
    """The index of a set of known secrets; kept, as runs of one process know the same ones."""
    return Index(known)
