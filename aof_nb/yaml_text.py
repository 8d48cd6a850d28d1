"""YAML as people write it: values with the lines they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aof_nb.errors import ResourceError


def parse_documents(text: str, *, file: str) -> list[Any]:
    r"""Parses YAML 1.2 into values that know their lines (see `line_of`).

    Args:
        text: The YAML, of one or several documents; empty documents are left out.
        file: The file's name, for errors.

    Raises:
        ResourceError: If it is not YAML; with the line.

    Example:
        >>> [document] = parse_documents("a:\n  - b\n", file="x.yaml")
        >>> line_of(document, ("a", 0))
        2
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return [each for each in YAML(typ="rt").load_all(text) if each is not None]
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = (error.problem or "duplicate key").split(" with value")[0].replace("found ", "")
        raise ResourceError(problem, file=file, line=line, remedy="remove one of the two") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tab = "\\t" in (error.problem or "")
        raise ResourceError(
            f"not valid YAML: {error.problem or error.context}",
            file=file,
            line=mark.line + 1 if mark else None,
            remedy="indent with spaces, not tabs" if tab else "check indentation, colons, quotes",
        ) from None
    except YAMLError as error:
        raise ResourceError(f"not valid YAML: {error}", file=file) from None
    except ValueError as error:
        raise ResourceError(
            f"not a value: {error}", file=file, remedy="put text that is no date in quotes"
        ) from None
    except RecursionError:
        raise ResourceError("nested too deep", file=file, remedy="nest less") from None


def line_of(document: Any, path: Sequence[str | int]) -> int | None:
    """The line, counted from 1, of the value at a path; of its nearest parent if it is missing."""
    line = getattr(getattr(document, "lc", None), "line", None)
    line = None if line is None else line + 1
    for key in path:
        positions = getattr(document, "lc", None)
        try:
            where = positions.key(key) if isinstance(document, dict) else positions.item(key)  # type: ignore[union-attr]
            document = document[key]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line = where[0] + 1
    return line


def field_path(path: Iterable[str | int]) -> str:
    """A path as people write it.

    Example:
        >>> field_path(("spec", "tools", 2, "name"))
        'spec.tools[2].name'
    """
    written = ""
    for key in path:
        written += f"[{key}]" if isinstance(key, int) else f".{key}" if written else str(key)
    return written
