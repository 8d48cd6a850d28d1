"""Function tools as the code that defines them again in another notebook."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import textwrap
import types
from collections.abc import Sequence
from typing import Any

import msgspec

from aof_nb.tools.function import FunctionTool


class FunctionCell(msgspec.Struct, frozen=True):
    """A cell that defines a tool.

    Args:
        name: The tool's name.
        code: The cell.
        notes: What has to be completed by hand.
    """

    name: str
    code: str
    notes: tuple[str, ...] = ()


def function_cells(tools: Sequence[Any], used: set[str]) -> list[FunctionCell]:
    """Cells that define the function tools that were used.

    Args:
        tools: An agent's tools; others than functions are left out.
        used: The names of the tools that were called.
    """
    cells = []
    for each in tools:
        if isinstance(each, FunctionTool):
            name, function = each.spec.name, each.function
        elif inspect.isfunction(each):
            name, function = each.__name__, each
        else:
            continue
        if name in used:
            cells.append(_cell(name, function))
    return cells


def _cell(name: str, function: Any) -> FunctionCell:
    try:
        source = textwrap.dedent(inspect.getsource(function)).strip()
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return FunctionCell(
            name,
            f"# Define the tool {name} here: its source was not found.",
            (f"the source of the tool {name} was not found: define it before the steps",),
        )
    imports, notes = set(), []
    for used in sorted(_names(tree)):
        if used not in function.__globals__:
            continue
        line = _import(used, function.__globals__[used])
        if line:
            imports.add(line)
        else:
            notes.append(f"the tool {name} uses {used}, which the runbook does not define")
    return FunctionCell(name, "\n".join([*sorted(imports), "", "", source]).strip(), tuple(notes))


def _names(tree: ast.AST) -> set[str]:
    """The names that code reads, without the built-in ones."""
    read = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
    return {name for name in read if not hasattr(builtins, name)}


def _import(name: str, value: Any) -> str:
    """The line that imports a value under a name; empty if none does."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        return f"import {module}" if module == name else f"import {module} as {name}"
    module, own = getattr(value, "__module__", ""), getattr(value, "__name__", name)
    public = "aof_nb" if module.startswith("aof_nb.") else module
    for place in (public, module):
        if place and place != "__main__" and _holds(place, own, value):
            return f"from {place} import {own}" + (f" as {name}" if own != name else "")
    return ""


def _holds(module: str, name: str, value: Any) -> bool:
    try:
        return getattr(importlib.import_module(module), name, None) is value
    except ImportError:
        return False
