"""How long a provider asks to wait, as its response headers, or its message, say.

Sources: RFC 9110 section 10.2.3 (``retry-after``); Anthropic's and OpenAI's pages on rate
limits (``anthropic-ratelimit-*-reset``, ``x-ratelimit-reset-*``); Azure's ``retry-after-ms``;
OpenRouter's ``x-ratelimit-reset``, which is a moment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
_LIMITS = (
    *((f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}") for kind in _KINDS),
    *((f"anthropic-ratelimit-{k}-remaining", f"anthropic-ratelimit-{k}-reset") for k in _KINDS),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
)
# From here on a number is a moment: seconds since the epoch, or milliseconds.
_LONG_AGO, _LONG_AGO_MS = 10.0**9, 10.0**11
_SAID = re.compile(
    r"(?:try again in|retry after|retry in) "
    r"(?:(?P<seconds>\d+(?:\.\d+)?) ?seconds?\b|(?P<duration>(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+)\b)",
    re.IGNORECASE,
)


def asked_wait(headers: Mapping[str, str], *, moment: datetime | None = None) -> float | None:
    """Seconds to wait before the next request; None if the headers do not say.

    ``retry-after`` counts before the reset times, and of those only the ones whose limit is
    used up.

    Args:
        headers: The response's; names in lower case, or a mapping that ignores case.
        moment: The time that dates are compared with; now if None.

    Example:
        >>> asked_wait({"retry-after": "12"})
        12.0
        >>> asked_wait(
        ...     {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}
        ... )
        360.0
    """
    now = moment or datetime.now(UTC)
    milliseconds = headers.get("retry-after-ms", "")
    if re.fullmatch(r"\d+(\.\d+)?", milliseconds):
        return float(milliseconds) / 1000
    if (given := headers.get("retry-after")) and (seconds := _seconds(given, now)) is not None:
        return seconds
    waits = []
    for remaining, reset in _LIMITS:
        if headers.get(remaining) == "0":
            waits.append(_seconds(headers.get(reset, ""), now))
    return max((wait for wait in waits if wait is not None), default=None)


def said_wait(message: str) -> float | None:
    """Seconds to wait as an error's message says it, as OpenAI, Groq and Azure do; None if not.

    Example:
        >>> said_wait("Rate limit reached for gpt-5. Please try again in 1m2.5s. Visit ...")
        62.5
        >>> said_wait("Requests have exceeded the call rate limit. Please retry after 26 seconds.")
        26.0
    """
    found = _SAID.search(message)
    if found is None:
        return None
    return float(found["seconds"]) if found["seconds"] else _duration(found["duration"].lower())


def _duration(text: str) -> float:
    return sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))


def _seconds(text: str, now: datetime) -> float | None:
    """A number of seconds, a duration such as ``6m0s``, or a date, as seconds from now."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        number = float(text)
        if number < _LONG_AGO:
            return number
        return max(0.0, (number / 1000 if number > _LONG_AGO_MS else number) - now.timestamp())
    if _DURATION.fullmatch(text):
        return _duration(text)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text)
        except ValueError:
            continue
        aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    return None
