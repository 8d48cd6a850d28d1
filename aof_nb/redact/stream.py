"""Redacting text that comes in pieces: nothing of a secret leaves before it is known as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aof_nb.redact.spans import RUN, Span

if TYPE_CHECKING:
    from aof_nb.redact.redactor import Redactor

_CONTEXT = 512
_MOST_HELD = 100_000
_LONG = 1024


class StreamRedactor:
    """Redacts one text that comes in pieces.

    What may be the beginning of a secret is held back until it is known whether it is one; what
    may not, which is nearly all of any prose, passes at once and unchanged.

    Args:
        redactor: The run's.

    Example:
        >>> from aof_nb.redact import Redactor
        >>> stream = Redactor({"KEY": "c0rrect-h0rse"}).stream()
        >>> stream.feed("the key is c0rrect") + stream.feed("-h0rse.") + stream.flush()
        'the key is [secret:KEY].'
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._before = ""
        self._held = ""
        self._looking = redactor.watches_all
        self._passed = 0
        self._undecided = 0
        self._enough = 0

    def feed(self, chunk: str) -> str:
        """Takes the next piece and returns what can leave; the same object if all of it can."""
        if not chunk:
            return chunk
        fresh = self._held + chunk if self._held else chunk
        if len(fresh) < self._enough:
            self._held = fresh
            return ""
        index = self._redactor.index
        if self._looking:
            return self._settled(fresh, chunk)
        window = self._before[-index.longest :] + fresh
        try:
            hits = index.hits(window)
        except UnicodeEncodeError:
            return self._settled(fresh, chunk)
        if hits:
            return self._settled(fresh, chunk)
        kept = min(index.beginning(window), len(fresh))
        leaving = fresh[: len(fresh) - kept] if kept else fresh
        self._held = fresh[len(fresh) - kept :] if kept else ""
        self._remember(leaving)
        return leaving

    def flush(self) -> str:
        """Ends the text: returns what was held back of it."""
        held, self._held = self._held, ""
        if not held:
            self._looking = self._redactor.watches_all
            return ""
        return self._leave(held, whole=True)

    def reset(self) -> None:
        """Forgets the text: what was shown of it is void."""
        self._before = self._held = ""
        self._passed = self._undecided = self._enough = 0
        self._looking = self._redactor.watches_all

    def _settled(self, fresh: str, chunk: str) -> str:
        leaving = self._leave(fresh, whole=len(fresh) > _MOST_HELD)
        return chunk if leaving == chunk else leaving

    def _leave(self, fresh: str, *, whole: bool) -> str:
        """What can leave of what was held back and has come; keeps the rest."""
        redactor, base = self._redactor, len(self._before)
        text = self._before + fresh
        index = redactor.index
        try:
            hits = index.hits(text)
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            hits = index.hits(text)
        # An anchor that has passed is not judged again unless its judgement was left open; what is
        # before the first character is not known, so that it may be the middle of a word.
        least = 1 if self._passed else 0
        first = max(self._undecided - self._passed, least)
        hits = [hit for hit in hits if hit[1] >= first or (hit[2] > base and hit[1] >= least)]
        spans, opened, undecided = redactor.scan(text, hits, whole=whole)
        end = len(text)
        if not whole:
            end -= index.beginning(text)
            if opened is not None:
                end = min(end, opened)
            if redactor.watches_all:
                end = min(end, _last_run(text))
        end = max(end, base)
        for span in spans:
            if span.start < end < span.end:
                end = max(span.start, base)
        leaving = [_from(base, span, text) for span in spans if span.end > base and span.end <= end]
        redactor.learn(leaving, text)
        shown = redactor.replaced(text[:end], leaving)[base:] if leaving else text[base:end]
        self._held = text[end:]
        # What is long is not judged again for each piece, or its cost would grow with its square.
        size = len(self._held)
        self._enough = size + size // 8 if size > _LONG and not whole else 0
        if any(span.end > end for span in spans):
            undecided = 0
        self._undecided = self._passed + (end if undecided is None else undecided)
        self._looking = redactor.watches_all or (opened is not None and not whole)
        self._before = text[:base]
        self._remember(text[base:end])
        return shown

    def _remember(self, text: str) -> None:
        before = self._before + text
        if len(before) > 2 * _CONTEXT:
            self._passed += len(before) - _CONTEXT
            before = before[-_CONTEXT:]
        self._before = before


def _from(place: int, span: Span, text: str) -> Span:
    """A span as far as it has not left yet."""
    if span.start >= place:
        return span
    return span._replace(start=place, secret=span.secret or text[span.start : span.end])


def _last_run(text: str) -> int:
    """Where the last characters without a space among them begin."""
    start = max(text.rfind(" "), text.rfind("\n"), text.rfind("\t")) + 1
    match = RUN.match(text, start)
    return start if match is None or match.end() == len(text) else match.end()
