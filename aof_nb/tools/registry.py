"""The built-in tools by name, and how an agent's declared tools are found."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from aof_nb.errors import ConfigurationError
from aof_nb.ports import Tool

PROGRAMS = (
    "argocd",
    "aws",
    "az",
    "docker",
    "flux",
    "gcloud",
    "gh",
    "git",
    "glab",
    "helm",
    "kubectl",
    "terraform",
)
"""Command-line programs that are tools under their own names: one program, any arguments."""

FILE_TOOLS = ("read_file", "list_directory", "search_files", "write_file")


def builtin_names() -> list[str]:
    """The names of the built-in tools, as an agent's ``tools`` may list them."""
    return sorted(["shell", "http", "files", *FILE_TOOLS, *PROGRAMS])


def resolve_tools(
    declared: Iterable[str | Tool | Callable[..., Any] | Mapping[str, Any]],
) -> list[Tool]:
    """Finds an agent's tools.

    Args:
        declared: Built-in names (``files`` stands for all file tools), tools, functions, or
            AOF's mappings with a ``name`` and a ``config``.

    Raises:
        ConfigurationError: If a name is unknown or a configuration does not fit.

    Example:
        >>> [each.spec.name for each in resolve_tools(["shell", "read_file"])]
        ['shell', 'read_file']
    """
    return [found for each in declared for found in _resolve(each)]


def _resolve(declared: str | Tool | Callable[..., Any] | Mapping[str, Any]) -> Sequence[Tool]:
    if isinstance(declared, str):
        return _builtin(declared, {})
    if isinstance(declared, Mapping):
        config = dict(declared.get("config") or {})
        name = str(declared.get("name") or declared.get("type") or "")
        return _builtin(name, config)
    # isinstance(declared, Tool) inspects the whole protocol each time.
    if hasattr(declared, "spec") and hasattr(declared, "call"):
        return [cast("Tool", declared)]
    if callable(declared):
        from aof_nb.tools.function import FunctionTool

        return [FunctionTool(declared)]
    raise ConfigurationError(
        f"{declared!r} is not a tool",
        remedy="give a built-in name, a function decorated with @tool, or a Tool",
    )


def _builtin(name: str, config: dict[str, Any]) -> Sequence[Tool]:
    try:
        if name == "shell":
            from aof_nb.tools.shell import ShellTool

            return [ShellTool(**config)]
        if name in PROGRAMS:
            from aof_nb.tools.shell import ShellTool

            return [ShellTool(program=name, **config)]
        if name == "http":
            from aof_nb.tools.http import HttpTool

            return [HttpTool(**config)]
        if name == "files" or name in FILE_TOOLS:
            from aof_nb.tools.files import file_tools

            found = file_tools(**config)
            return [each for each in found if name in {"files", each.spec.name}]
    except TypeError as error:
        raise ConfigurationError(
            f"tool {name!r}: its config does not fit: {error}",
            remedy="see the tool's arguments in the documentation",
        ) from error
    near = difflib.get_close_matches(name, builtin_names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigurationError(
        f"there is no built-in tool {name!r}",
        remedy=f"{hint}the built-in ones are {', '.join(builtin_names())}; others come from "
        "functions and MCP servers",
    )
