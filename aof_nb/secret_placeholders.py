"""What stands in a secret's place wherever a model, a journal or a person sees it."""

from __future__ import annotations

import re
from typing import Any

PLACEHOLDER = re.compile(
    r"\[secret:(?P<name>[A-Za-z0-9_.-]{1,120})(?::(?P<encoding>[A-Za-z0-9-]{1,20}))?\]"
)
"""A placeholder: the secret's name, and how it was encoded there."""


def mentions_secret(value: Any) -> bool:
    """Whether there is a placeholder anywhere in JSON data.

    Example:
        >>> mentions_secret({"argv": ["curl", "-H", "X-Key: [secret:API_KEY]"]})
        True
    """
    if isinstance(value, str):
        return "[secret:" in value and PLACEHOLDER.search(value) is not None
    if isinstance(value, dict):
        return any(mentions_secret(each) for item in value.items() for each in item)
    if isinstance(value, list | tuple):
        return any(mentions_secret(each) for each in value)
    return False
