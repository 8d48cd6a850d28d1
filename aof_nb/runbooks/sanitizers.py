"""What changes from run to run in a notebook's outputs, taken out before they are compared."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from aof_nb.errors import ConfigurationError

FILE = Path(__file__).with_name("sanitize.cfg")
"""The sanitizers that always hold, as a file that nbval reads too (``--nbval-sanitize-with``)."""

_PAIR = re.compile(r"^regex: (.*)\nreplace: (.*)$", re.MULTILINE)
_HALF = re.compile(r"^(regex|replace)\b.*$", re.MULTILINE)


class Sanitizer(msgspec.Struct, frozen=True):
    r"""A pattern and what stands in its place.

    Args:
        pattern: What changes.
        replacement: What is compared instead; ``\1`` is the first group.
    """

    pattern: re.Pattern[str]
    replacement: str


class Sanitizers:
    """Sanitizers, applied one after the other.

    Args:
        sanitizers: In the order in which they are applied.

    Example:
        >>> sanitizers().applied("✓ tail (3 ms), run 20261126-005403-633e7d")
        '✓ tail (DURATION), run RUN-ID'
    """

    def __init__(self, sanitizers: Iterable[Sanitizer]) -> None:
        self._sanitizers = tuple(sanitizers)

    def applied(self, text: str) -> str:
        """The text without what changes."""
        for each in self._sanitizers:
            text = each.pattern.sub(each.replacement, text)
        return text


def sanitizers(own: Iterable[Sanitizer] = (), *, file: Path | None = None) -> Sanitizers:
    """A notebook's own sanitizers, those of a file, and those that always hold.

    Args:
        own: The notebook's own, from its metadata.
        file: A sanitize file, in nbval's form.

    Raises:
        ConfigurationError: If the file is wrong.

    Example:
        >>> own = [sanitizer("ticket [0-9]+", "ticket N")]
        >>> sanitizers(own).applied("ticket 4711 took 3 min 20 s")
        'ticket N took DURATION'
    """
    return Sanitizers([*own, *(read_sanitizers(file) if file is not None else ()), *_always()])


def read_sanitizers(file: Path) -> list[Sanitizer]:
    """Reads a sanitize file in nbval's form: pairs of lines ``regex:`` and ``replace:``.

    Raises:
        ConfigurationError: If it cannot be read, or a line of it would be overlooked.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"the sanitize file {file} cannot be read: {why}", remedy="check the path"
        ) from error
    if (half := _HALF.search(_PAIR.sub("", text))) is not None:
        raise ConfigurationError(
            f"{file}: this line would have no effect: {half[0]}",
            remedy="write pairs of lines, 'regex: PATTERN' and at once below it 'replace: TEXT'",
        )
    try:
        return [sanitizer(regex, replace) for regex, replace in _PAIR.findall(text)]
    except ValueError as error:
        raise ConfigurationError(
            f"{file}: {error}",
            remedy="write a regular expression of Python's re, and a replacement for re.sub",
        ) from error


@functools.cache
def _always() -> Sequence[Sanitizer]:
    directory = re.compile(rf"(?<![\w/.-]){re.escape(tempfile.gettempdir())}(?:/[\w.@%+=-]+)*/?")
    return (*read_sanitizers(FILE), Sanitizer(directory, "TEMPORARY"))


def sanitizer(regex: str, replace: str) -> Sanitizer:
    """A sanitizer of a regular expression and its replacement, as they are written.

    Raises:
        ValueError: If they are none.
    """
    try:
        pattern = re.compile(regex)
        # A group that is not there would be noticed only where it matches, which this always does.
        re.sub(f"{regex}|", replace, "")
    except (re.error, IndexError) as error:
        raise ValueError(f"{regex!r} cannot be replaced by {replace!r}: {error}") from error
    return Sanitizer(pattern, replace)
