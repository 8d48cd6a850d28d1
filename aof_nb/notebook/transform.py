"""Puts ``await`` before the calls that IPython makes of our asynchronous magics.

A magic that returns a coroutine is awaited by nobody. IPython turns ``%%aof sre`` into
``get_ipython().run_cell_magic('aof', 'sre', ...)`` before this transformer sees the cell; the
call is found in the syntax tree, so that strings, comments and other magics stay as they are.
"""

from __future__ import annotations

import ast
import re

ASYNC_MAGICS = frozenset({"aof", "aof_mcp"})

_RUNNERS = frozenset({"run_cell_magic", "run_line_magic"})
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


def await_magics(lines: list[str]) -> list[str]:
    r"""Makes a cell await our magics where Python allows it.

    A call that stands as a statement or is assigned gets ``await``; one that stands as a
    statement is followed by ``None``, so that its result, which the cell has shown already, is
    not displayed again. Bodies of plain functions and classes are left alone, as are cells that
    are not valid Python. Everything else in the cell stays byte for byte what it was.

    Args:
        lines: The cell after IPython's own transformations, line ends included.

    Example:
        >>> await_magics(["r = get_ipython().run_line_magic('aof', 'ask sre hello')\n"])
        ["r = await get_ipython().run_line_magic('aof', 'ask sre hello')\n"]
    """
    cell = "".join(lines)
    if "_magic(" not in cell or "aof" not in cell:
        return lines
    try:
        tree = ast.parse(cell)
    except (SyntaxError, ValueError):
        return lines
    calls = list(_calls(tree))
    if not calls:
        return lines
    rows = [row.encode() for row in _LINE.findall(cell)]
    for call, bare in reversed(calls):
        if bare and call.end_lineno is not None and call.end_col_offset is not None:
            _insert(rows, call.end_lineno, call.end_col_offset, b"; None")
        _insert(rows, call.lineno, call.col_offset, b"await ")
    return b"".join(rows).decode().splitlines(keepends=True)


def _insert(rows: list[bytes], line: int, column: int, text: bytes) -> None:
    row = rows[line - 1]
    rows[line - 1] = row[:column] + text + row[column:]


def _calls(node: ast.AST) -> list[tuple[ast.Call, bool]]:
    """The calls to await, in order, and whether each is a statement of its own."""
    found: list[tuple[ast.Call, bool]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr | ast.Assign | ast.AnnAssign):
            if isinstance(child.value, ast.Call) and _runs_our_magic(child.value):
                found.append((child.value, isinstance(child, ast.Expr)))
        elif isinstance(child, ast.FunctionDef | ast.ClassDef):
            continue
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            found += _calls(child)
    return found


def _runs_our_magic(call: ast.Call) -> bool:
    match call:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="get_ipython"), args=[]), attr=runner
            ),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return runner in _RUNNERS and name in ASYNC_MAGICS
    return False
