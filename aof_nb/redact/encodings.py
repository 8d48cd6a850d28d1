"""The forms in which a known secret may appear: encoded, escaped, or within something encoded."""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus

_SHORTEST = 8
_SHORTEST_LINE = 16
_DEEPEST = 200


class Form(NamedTuple):
    """How a known secret looks in a text.

    Args:
        text: What to look for.
        encoding: How the secret is encoded in it; empty for not at all.
        inner: Whether it is the part of a Base64 text that is the same whatever is around it.
    """

    text: str
    encoding: str = ""
    inner: bool = False


def _bytes(secret: str) -> bytes:
    return secret.encode(errors="surrogatepass")


def _base64(secret: str) -> str:
    return base64.b64encode(_bytes(secret)).decode()


def _json(secret: str) -> str:
    return json.dumps(secret, ensure_ascii=False)[1:-1]


ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "base64": _base64,
    "base64url": lambda secret: base64.urlsafe_b64encode(_bytes(secret)).decode(),
    "url": lambda secret: quote(_bytes(secret), safe=""),
    "form": lambda secret: quote_plus(_bytes(secret)),
    "json": _json,
    "json-ascii": lambda secret: json.dumps(secret)[1:-1],
    "json-json": lambda secret: _json(_json(secret)),
    "python": lambda secret: secret.replace("\\", "\\\\").replace("'", "\\'"),
    "hex": lambda secret: _bytes(secret).hex(),
    "HEX": lambda secret: _bytes(secret).hex().upper(),
}
"""How a secret is encoded, by the name that its placeholder bears."""


def encoded(secret: str, encoding: str) -> str | None:
    """A secret in an encoding; None if there is no such encoding.

    Example:
        >>> encoded("hunter2!", "base64"), encoded("a b", "url")
        ('aHVudGVyMiE=', 'a%20b')
    """
    if not encoding:
        return secret
    if encoding.startswith("line-"):
        number, lines = encoding.removeprefix("line-"), secret.splitlines()
        if number.isdigit() and 0 < int(number) <= len(lines):
            return lines[int(number) - 1].strip()
        return None
    if encoding.startswith("indent-") and (size := encoding.removeprefix("indent-")).isdigit():
        return secret.replace("\n", "\n" + " " * min(int(size), _DEEPEST))
    encode = ENCODINGS.get(encoding)
    return None if encode is None else encode(secret)


def unescaped(text: str, encoding: str) -> str | None:
    r"""What a text is that stands in a JSON string; None if it cannot be escaped to it again.

    Args:
        text: The inside of a JSON string.
        encoding: ``json``, or ``json-json`` for one within another.

    Example:
        >>> unescaped(r"a\"b", "json")
        'a"b'
    """
    secret = text
    try:
        for _ in range(encoding.count("json")):
            secret = json.loads(f'"{secret}"')
    except ValueError:
        return None
    return secret if encoded(secret, encoding) == text else None


@functools.lru_cache(maxsize=4096)
def forms(secret: str) -> tuple[Form, ...]:
    """The forms to look for, the secret itself first.

    Args:
        secret: A secret that is distinct enough to be looked for.
    """
    found = {secret: Form(secret)}
    for encoding, encode in ENCODINGS.items():
        text = encode(secret)
        if len(text) >= _SHORTEST:
            found.setdefault(text, Form(text, encoding))
    for text in _within_base64(_bytes(secret)):
        found.setdefault(text, Form(text, "", inner=True))
    lines = secret.splitlines()
    for number, line in enumerate(lines if len(lines) > 1 else (), 1):
        text = line.strip()
        if len(text) >= _SHORTEST_LINE and not any(c.isspace() for c in text):
            found.setdefault(text, Form(text, f"line-{number}"))
    return tuple(found.values())


def _within_base64(secret: bytes) -> list[str]:
    """What Base64 makes of the secret's middle, wherever in the encoded text it begins."""
    texts = []
    for skipped in range(3):
        # Of the first and last bytes, bits are mixed with those of the neighbours.
        middle = secret[(3 - skipped) % 3 :]
        middle = middle[: len(middle) // 3 * 3]
        text = base64.b64encode(middle).decode()
        for each in (text, text.replace("+", "-").replace("/", "_")):
            if len(each) >= _SHORTEST and each not in texts:
                texts.append(each)
    return texts


_BASE64_AFTER = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_WIDEST = 4096


def around(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole Base64 text that holds a part of one.

    Args:
        text: The text.
        start: Where the part begins.
        end: Where it ends.
    """
    while start and text[start - 1] in _BASE64 and end - start < _WIDEST:
        start -= 1
    after = _BASE64_AFTER.match(text, end)
    return start, end if after is None else after.end()


_BASE64 = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/_-")
