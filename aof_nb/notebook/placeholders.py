"""``{name}`` in a prompt reads the user's variables."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Mapping
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.values import told

_FIELD = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[[^\[\]{}\n]+\])*(?:![rsa])?(?::[^{}\s:][^{}\n]*)?"
_PLACEHOLDER = re.compile(rf"\{{\{{(?P<escaped>{_FIELD})\}}\}}|\{{(?P<field>{_FIELD})\}}")
_NAME = re.compile(r"\w+")
_LONE_NAME = re.compile(r"(?<![{$])\{([A-Za-z_]\w*)\}(?!\})")


def expand(text: str, variables: Mapping[str, Any]) -> str:
    """Replaces ``{name}`` by the value of a variable.

    What stands between the braces is read as `str.format` reads it: ``{pod.name}``,
    ``{hosts[0]}``, ``{load:.2f}``; it is looked up, never evaluated. ``{{name}}`` gives
    ``{name}``. A data frame becomes a Markdown table, a mapping or a list JSON, both bounded.
    Braces around anything else, such as JSON or a PromQL selector, are left alone.

    Args:
        text: The prompt.
        variables: The names that can be read.

    Raises:
        ConfigurationError: If there is no such variable, or it has no such attribute or item.

    Example:
        >>> expand('{n} pods match {job="web"}', {"n": 3})
        '3 pods match {job="web"}'
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "{" + match["escaped"] + "}"
        field = match["field"]
        name = _NAME.match(field)[0]  # type: ignore[index]
        if name not in variables:
            raise ConfigurationError(
                f"{{{field}}} in the prompt: there is no variable {name!r}{_near(name, variables)}",
                remedy=f"define {name}, or write {{{{{field}}}}} for braces that are meant as such",
            )
        try:
            return _Formatter().vformat("{" + field + "}", (), {name: variables[name]})
        except Exception as error:
            raise ConfigurationError(
                f"{{{field}}} in the prompt cannot be read: {type(error).__name__}: {error}",
                remedy=f"write {{{{{field}}}}} for braces that are meant as such",
            ) from error

    return _PLACEHOLDER.sub(value, text)


class _Formatter(string.Formatter):
    """Formats what has a format of its own as a model reads it best."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        """A value's text."""
        text = told(value) if not format_spec else None
        return super().format_field(value, format_spec) if text is None else text


def expand_known(text: str, variables: Mapping[str, Any]) -> str:
    """Replaces ``{name}`` where there is such a variable, and leaves all else as it is.

    For YAML, where braces have a meaning of their own: an unknown name, ``${NAME}`` of the
    environment and a playbook's ``{{ expression }}`` stay.

    Args:
        text: The YAML.
        variables: The names that can be read.

    Example:
        >>> expand_known("model: {model}, when: {{model}}, at: {here}", {"model": "script:x"})
        'model: script:x, when: {{model}}, at: {here}'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return str(variables[name]) if name in variables else match[0]

    return _LONE_NAME.sub(value, text)


def _near(name: str, variables: Mapping[str, Any]) -> str:
    known = [each for each in variables if not each.startswith("_")]
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
