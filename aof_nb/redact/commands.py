"""Calls whose output is secret because of what they ask for: `kubectl get secret -o jsonpath=...`.

What they print has no name and often no shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_REVEALING = re.compile(
    r"\bget\s+(?:[\w/.=-]+\s+)*?secrets?[\s/].*(?:jsonpath|go-template|custom-columns|\bjq\b|\byq\b)"
    r"|\bcreate\s+token\b"
    r"|\bvault\s+(?:kv\s+get|read|unwrap|token\s+create)\b.*-field"
    r"|\bsecretsmanager\s+get-secret-value\b.*(?:--query|--output)"
    r"|\bssm\s+get-parameters?\b.*--with-decryption.*(?:--query|--output)"
    r"|\bsecrets\s+versions\s+access\b"
    r"|\bkeyvault\s+secret\s+show\b.*(?:--query|-o\s+tsv|--output)"
    r"|\bauth\s+print-(?:access|identity)-token\b|\bget-access-token\b|\bget-login-password\b"
    r"|\bgh\s+auth\s+token\b|\bop\s+read\b|\bpass\s+show\b|\bdoppler\s+secrets\s+get\b.*--plain"
    r"|/var/run/secrets/\S*token|/run/secrets/\S+",
    re.DOTALL,
)
_LONGEST = 10_000


def reveals(tool: str, arguments: Any) -> bool:
    """Whether all that a call prints is secret.

    Args:
        tool: The tool's name, which may be the program's.
        arguments: What it is called with.

    Example:
        >>> reveals("kubectl", {"args": ["get", "secret", "db", "-o", "jsonpath={.data.password}"]})
        True
        >>> reveals("shell", {"argv": "kubectl get secrets"})
        False
    """
    line = " ".join((tool, *words_of(arguments)))[:_LONGEST]
    return _REVEALING.search(line) is not None


def words_of(value: Any) -> Iterator[str]:
    """The texts in JSON data, without the names of its fields.

    Args:
        value: Anything.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from words_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from words_of(each)
