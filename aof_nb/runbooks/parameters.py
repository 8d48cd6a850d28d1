"""A runbook's parameters: what its parameters cell declares, and values that fit."""

from __future__ import annotations

import ast
import contextlib
import difflib
import io
import tokenize
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import msgspec

from aof_nb.errors import ConfigurationError

_TYPES: dict[str, Any] = {
    "Annotated": Annotated,
    "Any": Any,
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "str": str,
}
_CONSTRAINTS = {
    "description",
    "ge",
    "gt",
    "le",
    "lt",
    "max_length",
    "min_length",
    "multiple_of",
    "pattern",
}
"""What annotations may demand of a value, by the names that pydantic, msgspec and others share."""


class ParameterError(ConfigurationError):
    """A parameter is unknown or its value does not fit."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a runbook.

    Args:
        name: The variable.
        type: What its values are; `Any` if neither annotation nor default says.
        type_name: The type as people read it; empty if it is not known.
        default: The default as it is written.
        help: The comment on its line.
    """

    name: str
    type: Any
    type_name: str
    default: str
    help: str = ""

    @property
    def required(self) -> bool:
        """Whether a value has to be given: the default is None, and no annotation says of what.

        Example:
            >>> Parameter("service", Any, "", "None").required
            True
        """
        return self.default == "None" and not self.type_name


def declared_parameters(cells: Sequence[Mapping[str, Any]]) -> list[Parameter] | None:
    """Reads the cell tagged ``parameters``.

    The type is the annotation's, or else the default's.

    Args:
        cells: The notebook's cells.

    Returns:
        The parameters in order; None if no cell has the tag.

    Example:
        >>> cell = {"source": "replicas = 3  # how many", "metadata": {"tags": ["parameters"]}}
        >>> [(each.name, each.type_name, each.help) for each in declared_parameters([cell])]
        [('replicas', 'int', 'how many')]
    """
    for cell in cells:
        if "parameters" in cell.get("metadata", {}).get("tags", ()):
            return _declared(cell["source"])
    return None


def _declared(source: str) -> list[Parameter]:
    source = "\n".join("" if line.startswith(("%", "!")) else line for line in source.split("\n"))
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ParameterError(
            f"the parameters cell is not Python: line {error.lineno}: {error.msg}",
            remedy="the cell tagged 'parameters' should hold assignments only",
        ) from error
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for statement in tree.body:
        annotation = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value, annotation = statement.target, statement.value, statement.annotation
        else:
            continue
        if isinstance(target, ast.Name):
            kind, kind_name = _type_of(annotation, value)
            found[target.id] = Parameter(
                name=target.id,
                type=kind,
                type_name=kind_name,
                default=ast.unparse(value),
                help=comments.get(statement.end_lineno or 0, ""),
            )
    return list(found.values())


def _comments(source: str) -> dict[int, str]:
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }


def _type_of(annotation: ast.expr | None, value: ast.expr) -> tuple[Any, str]:
    if annotation is not None:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return Any, ""
        try:
            kind = _built(annotation)
            msgspec.json.schema(kind)
        except (LookupError, TypeError, ValueError):
            return Any, ast.unparse(annotation)
        annotated = ast.unparse(annotation).partition("[")[0].endswith("Annotated")
        return kind, ast.unparse(_inner(annotation)[0] if annotated else annotation)
    try:
        default = ast.literal_eval(value)
    except ValueError:
        return Any, ""
    name = type(default).__name__
    return (_TYPES[name], name) if name in _TYPES else (Any, "")


def _built(expression: ast.expr) -> Any:
    """The type an annotation means; raises `LookupError` for one that is not plain data."""
    if isinstance(expression, ast.Constant):
        return expression.value
    if isinstance(expression, ast.Name):
        return _TYPES[expression.id]
    if isinstance(expression, ast.Attribute):
        return _TYPES[expression.attr]
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.BitOr):
        return Union[_built(expression.left), _built(expression.right)]  # noqa: UP007  at run time
    if isinstance(expression, ast.Subscript):
        outer, inner = _built(expression.value), _inner(expression)
        if outer is Annotated:
            kind, demand = _built(inner[0]), _constraints(inner[1:])
            members = get_args(kind) if _is_union(kind) else [kind]
            return Union[  # noqa: UP007  at run time
                tuple(each if each is type(None) else Annotated[each, demand] for each in members)
            ]
        return outer[tuple(_built(one) for one in inner)]
    raise LookupError(ast.unparse(expression))


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in {Union, types.UnionType}


def _constrained(kind: Any) -> bool:
    return any(get_origin(each) is Annotated for each in (kind, *get_args(kind)))


def _inner(expression: ast.expr) -> list[ast.expr]:
    assert isinstance(expression, ast.Subscript)
    inner = expression.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def _constraints(said: Sequence[ast.expr]) -> msgspec.Meta:
    """What an annotation demands: ``Field(ge=1)``, ``Meta(ge=1)``, ``Ge(1)``; the rest is left."""
    found: dict[str, Any] = {}
    for each in said:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            found["description"] = each.value
        elif isinstance(each, ast.Call):
            named = {keyword.arg or "": keyword.value for keyword in each.keywords}
            if len(each.args) == 1:
                named[ast.unparse(each.func).rpartition(".")[2].lower()] = each.args[0]
            for name, value in named.items():
                if name in _CONSTRAINTS:
                    with contextlib.suppress(ValueError):
                        found[name] = ast.literal_eval(value)
    return msgspec.Meta(**found)


def fitted(declared: Sequence[Parameter] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for a runbook's parameters, text turned into what the parameter takes.

    Args:
        declared: The runbook's parameters; None if it has no parameters cell.
        given: Values by name; text is read as a value of the parameter's type.

    Raises:
        ParameterError: If a name is unknown or a value does not fit.

    Example:
        >>> replicas = Parameter("replicas", int, "int", "1")
        >>> fitted([replicas], {"replicas": "3"})
        {'replicas': 3}
    """
    if given and declared is None:
        raise ParameterError(
            "the notebook takes no parameters",
            remedy="give the cell with the defaults the tag 'parameters'",
        )
    known = {each.name: each for each in declared or ()}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(
                f"there is no parameter {name!r}",
                remedy=f"{hint}the notebook's parameters are {', '.join(known) or 'none'}",
            )
    return {name: _fit(known[name], value) for name, value in given.items()}


def _fit(parameter: Parameter, value: Any) -> Any:
    try:
        if not isinstance(value, str):
            return msgspec.convert(value, parameter.type)
        if parameter.type is Any:
            return _guessed(value)
        return _read(parameter.type, value)
    except msgspec.ValidationError as error:
        kind = parameter.type_name
        said = str(error).replace("`", "")
        demand = f"{said[0].lower()}{said[1:]}; " if _constrained(parameter.type) else ""
        raise ParameterError(
            f"parameter {parameter.name!r} takes {_with_article(kind)}: {value!r} is not one",
            remedy=f"{demand}its default is {parameter.default}",
        ) from error


def _read(kind: Any, text: str) -> Any:
    """Text as a value of a type: the text itself, a plain value, or a literal."""
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        return msgspec.convert(_guessed(text), kind)


def _guessed(text: str) -> Any:
    """A Python or JSON literal, or else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _with_article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
