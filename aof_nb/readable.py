"""Values as people read them in a line or on a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec


def printable(text: str) -> str:
    r"""Text whose control characters are shown, not obeyed: a model wrote it.

    Example:
        >>> print(printable("tab\there"))
        tab\there
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text
    )


_UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Text whose control characters, and those that reorder it, are shown; its lines are kept.

    Unlike `printable` it leaves what joins the letters of some scripts and the parts of emojis.

    Example:
        >>> print(visible("a\x1b[31mb"))
        a\x1b[31mb
    """
    return _UNSEEN.sub(lambda found: repr(found[0])[1:-1], text)


_STYLED = re.compile(r"\x1b\[[\d;:]*[mK]")


def unstyled(text: str) -> str:
    r"""A program's output without its colours, each of its lines ended by one ``\n``.

    A progress bar, which returns to the beginning of its line, is a line for each of its states.

    Example:
        >>> unstyled("\x1b[31mERROR\x1b[0m disk full\r\n")
        'ERROR disk full\n'
    """
    text = _STYLED.sub("", text) if "\x1b" in text else text
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def readable(value: Any) -> str:
    """An argument as a person reads it: a command line as such, other structures as JSON.

    Example:
        >>> readable(["kubectl", "get", "pods"])
        'kubectl get pods'
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        import shlex

        return printable(shlex.join(value))
    return printable(indented_json(value))


def indented_json(value: Any, *, encode: Callable[[Any], bytes] = msgspec.json.encode) -> str:
    """A value as JSON, over several lines.

    Args:
        value: The value.
        encode: What encodes values that JSON has no form for.

    Raises:
        TypeError: If it cannot be encoded.

    Example:
        >>> print(indented_json({"service": "checkout"}))
        {
          "service": "checkout"
        }
    """
    return msgspec.json.format(encode(value)).decode()


def seconds(duration: float) -> str:
    """A duration in seconds, as people read it.

    Example:
        >>> seconds(0.25), seconds(3.14), seconds(75), seconds(7260)
        ('250 ms', '3.1 s', '1 min 15 s', '2 h 1 min')
    """
    if duration < 0.9995:
        return f"{duration * 1000:.0f} ms"
    if duration < 59.95:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def counted(number: int, noun: str) -> str:
    """``1 turn``, ``2 turns``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def local_time(time: float, *, seconds: bool = True) -> str:
    """A moment as people here read it; that of a damaged file may be none.

    Args:
        time: Seconds of the Unix epoch.
        seconds: Whether it is told to the second, not to the minute.

    Example:
        >>> len(local_time(1_800_000_000)), local_time(1e300)
        (19, 'unknown')
    """
    try:
        local = datetime.fromtimestamp(time).astimezone()
    except (OverflowError, OSError, ValueError):
        return "unknown"
    return local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
