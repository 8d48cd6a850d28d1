"""What a user may say of redaction."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

import msgspec

from aof_nb.errors import ConfigurationError


class RedactionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as secret in a run besides what is known to, and who is told secrets.

    Args:
        enabled: Whether anything is redacted.
        patterns: Regular expressions of further secrets by what they are called. A group named
            ``secret`` is the secret part, if not all is. A secret in a stream has to be
            without spaces.
        allow: Regular expressions; what one of them matches wholly is no secret.
        variables: Shell-style patterns of environment variables that are secret although their
            names do not say so.
        tools: Shell-style patterns of the tools that are given the true values.

    Raises:
        ConfigurationError: If an expression is none.

    Example:
        >>> RedactionPolicy(patterns={"ticket": r"TCK-[0-9a-f]{12}"}).tools
        ('*',)
    """

    enabled: bool = True
    patterns: Mapping[str, str] = {}
    allow: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    tools: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for field in ("allow", "variables", "tools"):
            msgspec.structs.force_setattr(self, field, tuple(getattr(self, field)))
        named = [(f"patterns.{kind}", each) for kind, each in self.patterns.items()]
        for place, pattern in (*named, *(("allow", each) for each in self.allow)):
            try:
                matches_nothing = re.compile(pattern).fullmatch("") is not None
            except re.error as error:
                raise ConfigurationError(
                    f"redaction: {place}: {pattern!r} is no regular expression: {error}",
                    remedy="write it as Python's re module reads it",
                ) from error
            if matches_nothing:
                raise ConfigurationError(
                    f"redaction: {place}: {pattern!r} matches the empty text",
                    remedy="let it match at least one character",
                )

    def tells(self, tool: str) -> bool:
        """Whether a tool is given the true values that placeholders stand for."""
        return any(fnmatch.fnmatchcase(tool, pattern) for pattern in self.tools)
