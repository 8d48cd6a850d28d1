"""What is wrong with a file: where, what, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from aof_nb.errors import ResourceError
from aof_nb.yaml_text import field_path, line_of

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound="BaseModel")
Path: TypeAlias = tuple[str | int, ...]

_WANTED = {
    "bool_parsing": ("true or false", ""),
    "dict_type": ("a mapping", "write its fields below it, indented, as key: value"),
    "float_parsing": ("a number", ""),
    "int_from_float": ("a whole number", ""),
    "int_parsing": ("a whole number", ""),
    "list_type": ("a list", "write one item a line, each after '- '"),
    "model_type": ("a mapping", "write its fields below it, indented, as key: value"),
    "string_type": ("text", "put it in quotes"),
}
"""What pydantic's errors of type say to people."""


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or that a user should know of.

    Args:
        file: The file's path, or a name for text that has none.
        line: The line, counted from 1; None if it is unknown.
        field: The field's path, such as ``spec.tools[2].name``.
        message: What is wrong.
        remedy: What would be right.
        severity: Whether the resource can be loaded all the same.

    Example:
        >>> str(Problem("a.yaml", 3, "spec.model", "the model is missing", "model: openai:gpt-5"))
        'a.yaml:3: spec.model: the model is missing (model: openai:gpt-5)'
    """

    file: str
    line: int | None
    field: str
    message: str
    remedy: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        what = ": ".join(each for each in (place, self.field, self.message) if each)
        return f"{what} ({self.remedy})" if self.remedy else what


class Findings:
    """Collects the problems of one document.

    Args:
        document: The document, with its lines.
        file: The file's name.
    """

    def __init__(self, document: Any, file: str) -> None:
        self._document = document
        self._file = file
        self._problems: list[Problem] = []
        self._unset: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        """All of them, in the order of their lines."""
        return sorted(self._problems, key=lambda each: each.line or 0)

    @property
    def errors(self) -> list[Problem]:
        """Those with which the resource cannot be loaded here."""
        return [each for each in self.problems if each.severity == "error"] + self._unset

    def error(self) -> ResourceError:
        """The first of the errors, to be raised, with the others."""
        first, *others = self.errors
        return _raised(first, [_raised(each) for each in others])

    def add(
        self,
        path: Sequence[str | int],
        message: str,
        remedy: str = "",
        *,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Notes a problem of the value at a path."""
        line = line_of(self._document, path)
        found = Problem(self._file, line, field_path(path), message, remedy, severity)
        self._problems.append(found)

    def warn(self, path: Sequence[str | int], message: str, remedy: str = "") -> None:
        """Notes what a user should know of."""
        self.add(path, message, remedy, severity="warning")

    def unset(self, path: Sequence[str | int], variable: str) -> None:
        """Notes an environment variable without which the resource cannot be loaded.

        The file itself is right, so that this is a warning where files are checked.
        """
        self.warn(
            path,
            f"the environment variable {variable} is not set",
            f"export {variable}=..., or write ${{{variable}:-default}}",
        )
        self._unset.append(self._problems[-1])

    def validated(self, model: type[_Model], written: Any, path: Path) -> _Model | None:
        """What was written at a path, read by a model; None if it does not fit, which is noted."""
        from pydantic import ValidationError

        try:
            return model.model_validate(written)
        except ValidationError as error:
            self.add_validation(error, model, path)
            return None

    def add_validation(
        self, error: ValidationError, model: type[BaseModel], prefix: Path = ()
    ) -> None:
        """Notes what pydantic has found."""
        for each in error.errors(include_url=False):
            path: Path = (*prefix, *each["loc"])
            if each["type"] == "extra_forbidden":
                name = str(each["loc"][-1])
                self.add(path, f"unknown field {name!r}", near(name, known_fields(model, path)))
            elif each["type"] == "missing":
                self.add(path, f"{path[-1]} is missing", f"add {path[-1]}: ...")
            elif each["type"] in _WANTED:
                wanted, remedy = _WANTED[each["type"]]
                subject = path[-1] if path and isinstance(path[-1], str) else "this"
                self.add(path, _with_value(f"{subject} is {wanted}", each["input"]), remedy)
            else:
                said = each["msg"].removeprefix("Value error, ")
                message, _, remedy = said.partition(" | ")
                message = message[:1].lower() + message[1:]
                self.add(path, _with_value(message, each["input"]), remedy)


def near(name: str, known: Iterable[str]) -> str:
    """Which known name may have been meant, or which there are."""
    names = sorted(known)
    matches = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {matches[0]!r}?" if matches else f"known: {', '.join(names)}"


def known_fields(model: type[BaseModel], path: Path) -> list[str]:
    """The fields that may stand where a path ends, in all spellings."""
    from pydantic import BaseModel

    for key in path[:-1]:
        found = model.model_fields.get(str(key))
        for nested in getattr(found, "metadata", ()) or ():
            if isinstance(nested, type) and issubclass(nested, BaseModel):
                model = nested
        annotation = getattr(found, "annotation", None)
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return [each for name in model.model_fields for each in spellings_of(model, name)]


def spellings_of(model: type[BaseModel], field: str) -> list[str]:
    """The names under which a field may be written, the preferred one first."""
    from pydantic import AliasChoices

    alias = model.model_fields[field].validation_alias
    return [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else [field]


def _raised(problem: Problem, others: Sequence[ResourceError] = ()) -> ResourceError:
    return ResourceError(
        problem.message,
        file=problem.file,
        line=problem.line,
        field=problem.field,
        remedy=problem.remedy,
        others=others,
    )


def _with_value(message: str, value: Any) -> str:
    if isinstance(value, str | int | float | bool) and repr(value) not in message:
        return f"{message}, not {value!r}"
    return message
