"""Redacting text: where its secrets are, and what stands in their place."""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from aof_nb.messages import sendable
from aof_nb.redact.declared import looked_for
from aof_nb.redact.index import Index, index_of
from aof_nb.redact.kubernetes import holds_secret, secret_spans
from aof_nb.redact.placeholders import Placeholders, RedactionState
from aof_nb.redact.settings import RedactionPolicy
from aof_nb.redact.spans import Span
from aof_nb.redact.values import is_distinct
from aof_nb.secret_placeholders import PLACEHOLDER

_MOST_KNOWN = 1000
_DEFAULT = RedactionPolicy()


class Scan(NamedTuple):
    """What a text holds.

    Args:
        spans: The secrets, in order, none within another.
        open: From where on a secret may be that has not come wholly; None if there is none.
        undecided: The first anchor that may still give something away; None if there is none.
    """

    spans: list[Span]
    open: int | None
    undecided: int | None


class TextRedactor:
    """What a `Redactor` does to text.

    Args:
        secrets: What is known to be secret, by name.
        policy: What else counts as secret.
        state: Of the run that this one goes on with.

    Attributes:
        policy: What else counts as secret.
        index: What is looked for now.
        watches_all: Whether there are patterns that may begin with anything.
    """

    def __init__(
        self,
        secrets: Mapping[str, str] | None = None,
        *,
        policy: RedactionPolicy | None = None,
        state: RedactionState | None = None,
    ) -> None:
        declared = dict(secrets or {})
        self.policy = policy or _DEFAULT
        self._placeholders = Placeholders(declared, state)
        enabled = self.policy.enabled
        self.index = index_of(looked_for(declared)) if enabled else Index(shapes=False)
        self._own_index = False
        patterns = self.policy.patterns if enabled else {}
        self._patterns = [(kind, re.compile(each)) for kind, each in patterns.items()]
        self._allow = [re.compile(each) for each in self.policy.allow]
        self.watches_all = bool(self._patterns)
        self._lock = threading.RLock()

    def text(self, text: str, *, origin: str = "") -> str:
        """The text without its secrets; the same object if it has none.

        Args:
            text: Any text.
            origin: What shows it, in words for a model, such as *the call of shell*.
        """
        try:
            hits = self.index.hits(text)
        except UnicodeEncodeError:
            text = sendable(text)
            hits = self.index.hits(text)
        if not hits and not self._patterns:
            return text
        with self._lock:
            spans = self.scan(text, hits).spans
            if not spans:
                return text
            if self._learn(spans, text, origin):
                # What the text has given away may stand in it elsewhere, too.
                index = self.index
                again = (each for hit in index.hits(text) for each in index.known_at(text, hit))
                spans = self._merged([*spans, *again])
            return self.replaced(text, spans, origin=origin)

    def scan(self, text: str, hits: Sequence[tuple[int, int, int]], *, whole: bool = True) -> Scan:
        """The secrets in a text.

        Args:
            text: The text.
            hits: The index's hits in it.
            whole: Whether the text ends where it ends, or goes on.
        """
        taken = [match.span() for match in PLACEHOLDER.finditer(text)] if "[secret:" in text else []
        spans: list[Span] = []
        opened: int | None = None
        undecided: int | None = None
        # What is after the place where a secret may have begun is held back with it anyway.
        covered = covered_from = -1
        for hit in sorted(hits, key=_start):
            if opened is not None and hit[1] >= opened:
                break
            if covered_from < hit[1] and hit[2] <= covered:
                continue
            if taken and _overlap(hit[1], hit[1] + 1, taken):
                continue
            for found in self.index.found(text, hit, whole):
                if isinstance(found, int):
                    opened = found if opened is None else min(opened, found)
                    undecided = hit[1] if undecided is None else min(undecided, hit[1])
                else:
                    for span in found:
                        if taken and _overlap(span.start, span.end, taken):
                            continue
                        spans.append(span)
                        if span.end > covered:
                            covered_from, covered = span.start, span.end
        if hits and "Secret" in text and holds_secret(text):
            spans += secret_spans(text)
        for kind, pattern in self._patterns:
            spans += _matches(kind, pattern, text)
        if taken:
            spans = [span for span in spans if not _overlap(span.start, span.end, taken)]
        if self._allow:
            spans = [span for span in spans if not self._allowed(text, span)]
        return Scan(self._merged(spans), opened, undecided)

    def _allowed(self, text: str, span: Span) -> bool:
        shown = text[span.start : span.end]
        return any(
            pattern.fullmatch(shown) or (span.secret and pattern.fullmatch(span.secret))
            for pattern in self._allow
        )

    @staticmethod
    def _merged(spans: Iterable[Span]) -> list[Span]:
        """In order, the wider one where one is in another, one where they overlap."""
        merged: list[Span] = []
        for span in sorted(spans, key=lambda each: (each.start, -each.end, -each.rank)):
            last = merged[-1] if merged else None
            if last is None or span.start >= last.end:
                if span.end > span.start:
                    merged.append(span)
            elif span.end > last.end:
                merged[-1] = Span(last.start, span.end, last.kind or "secret")
        return merged

    def replaced(self, text: str, spans: Sequence[Span], *, origin: str = "") -> str:
        """A text with placeholders in the place of secrets.

        Args:
            text: The text.
            spans: The secrets in it, in order, none within another.
            origin: What shows it.
        """
        pieces: list[str] = []
        place = 0
        for span in spans:
            pieces.append(text[place : span.start])
            pieces.append(self._placeholder(text, span, origin))
            place = span.end
        pieces.append(text[place:])
        return "".join(pieces)

    def _placeholder(self, text: str, span: Span, origin: str) -> str:
        secret = span.secret or text[span.start : span.end]
        found = self._placeholders.of(secret, span.kind, span.encoding, origin=origin)
        return f'"{found}"' if span.quoted else found

    def learn(self, spans: Sequence[Span], text: str) -> None:
        """Looks for the secrets in spans everywhere from now on, if they are unlike other text.

        Args:
            spans: Secrets in a text.
            text: The text.
        """
        with self._lock:
            self._learn(spans, text, "")

    def _learn(self, spans: Sequence[Span], text: str, origin: str) -> bool:
        known = self.index.known
        new = set()
        for span in spans:
            secret = span.secret or text[span.start : span.end]
            self._placeholders.of(secret, span.kind, origin=origin)
            if secret not in known and is_distinct(secret):
                new.add(secret)
        if not new or len(known) >= _MOST_KNOWN:
            return False
        if self._own_index:
            self.index.grow(new)
        else:
            self.index, self._own_index = Index(known | new), True
        return True


def _start(hit: tuple[int, int, int]) -> int:
    return hit[1]


def _matches(kind: str, pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    group: str | int = "secret" if "secret" in pattern.groupindex else 0
    for match in pattern.finditer(text):
        start, end = match.span(group)
        if end > start:
            yield Span(start, end, kind, rank=1)


def _overlap(start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a part of a text meets one of several, which are in order."""
    place = bisect.bisect_right(spans, (start, len(spans) and spans[-1][1]))
    before = place > 0 and spans[place - 1][1] > start
    return before or (place < len(spans) and spans[place][0] < end)
