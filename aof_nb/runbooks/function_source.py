"""Function tools as the code that defines them again in another notebook."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import symtable
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from aof_nb.ports import Effect
from aof_nb.tools.function import FunctionTool, tool


class FunctionCell(msgspec.Struct, frozen=True):
    """A cell that defines a tool.

    Args:
        name: The tool's name.
        variable: What it is called in the code.
        code: The cell.
        notes: What has to be completed by hand.
    """

    name: str
    variable: str
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
            cell = _cell(each)
        elif inspect.isroutine(each):
            cell = _cell(FunctionTool(each))
        else:
            continue
        if cell.name in used:
            cells.append(cell)
    return cells


def _cell(made: FunctionTool[Any, Any]) -> FunctionCell:
    name, function = made.spec.name, made.function
    found = _definition(function)
    if found is None:
        variable = re.sub(r"\W", "_", name)
        return FunctionCell(
            name,
            variable,
            f"# Define the tool {name} here, as {variable}: its source was not found.",
            (f"the source of the tool {name} was not found: define it before the steps",),
        )
    source, tree = found
    scope = function.__globals__
    imports, notes = set(), []
    names = {each for each in names_in(source) - {tree.name} if not hasattr(builtins, each)}
    if not any(_is_tool(each, scope) for each in tree.decorator_list):
        source += f"\n\n\n{tree.name} = tool({', '.join([tree.name, *_settings(made, tree.name)])})"
        imports.add("from aof_nb import tool")
    for used in sorted(names):
        if used in function.__code__.co_freevars:
            line = ""
        elif used in scope:
            line = _import(used, scope[used])
        else:
            continue
        if line:
            imports.add(line)
        else:
            notes.append(f"the tool {name} uses {used}, which the runbook does not define")
    code = "\n".join([*sorted(imports), "", "", source]).strip()
    return FunctionCell(name, tree.name, code, tuple(notes))


def _definition(function: Any) -> tuple[str, ast.FunctionDef | ast.AsyncFunctionDef] | None:
    """A function's source, and the same parsed; None if it has none that stands by itself."""
    if not inspect.isfunction(function):
        return None
    try:
        source = textwrap.dedent(inspect.getsource(function)).strip()
        body = ast.parse(source).body
    except (OSError, TypeError, SyntaxError):
        return None
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return source, body[0]
    return None


def _is_tool(decorator: ast.expr, scope: Mapping[str, Any]) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    first, *rest = ast.unparse(called).split(".")
    value = scope.get(first)
    for each in rest:
        value = getattr(value, each, None)
    return value is tool


def _settings(made: FunctionTool[Any, Any], variable: str) -> Iterator[str]:
    """What `tool` is to be given besides, to make the same of the function."""
    spec = made.spec
    if spec.name != variable:
        yield f'name="{spec.name}"'
    if spec.effect is not Effect.WRITE:
        yield f'effect="{spec.effect.value}"'
    if spec.exclusive:
        yield "exclusive=True"


def names_in(code: str) -> set[str]:
    """The global names that code sets, imports or reads.

    Example:
        >>> sorted(names_in("import json as js; f = lambda x: js.dumps(x, default=str)"))
        ['f', 'js', 'str']
    """
    found: set[str] = set()
    tables = [symtable.symtable(code, "<cell>", "exec")]
    while tables:
        table = tables.pop()
        in_module = table.get_type() == "module"
        found |= {each.get_name() for each in table.get_symbols() if in_module or each.is_global()}
        tables += table.get_children()
    return found


def _import(name: str, value: Any) -> str:
    """The line that imports a value under a name; empty if none does."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        return f"import {module}" if module == name else f"import {module} as {name}"
    module, own = getattr(value, "__module__", None) or "", getattr(value, "__name__", name)
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
