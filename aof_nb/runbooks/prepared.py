"""A notebook as it is executed: each cell with an id that lasts, the parameters put in."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.redact.names import secrecy
from aof_nb.runbooks.saving import write_whole

MASK = "***"
"""What stands in the place of a value that is not kept."""

_INJECTED = "injected-parameters"


def looks_secret(name: str, value: Any) -> bool:
    """Whether a parameter looks like one whose value should not be written down.

    Example:
        >>> looks_secret("github_token", "abc"), looks_secret("max_tokens", 100)
        (True, False)
    """
    is_text = not (value is None or isinstance(value, bool | int | float))
    return is_text and secrecy(name) is not None


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they may be kept."""
    return {
        name: MASK if looks_secret(name, value) else value for name, value in parameters.items()
    }


@dataclass(frozen=True)
class Prepared:
    """A notebook that is ready to be executed.

    Args:
        notebook: The notebook, as nbformat's node; secrets are masked in it.
        digest: A hash of the file it comes from.
        sources: What is executed in place of a cell's source, by the cell's id.
    """

    notebook: Any
    digest: str
    sources: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Keeps it.

        Raises:
            OSError: If the file cannot be written.
        """
        import nbformat

        write_whole(path, nbformat.writes(self.notebook, version=4))  # type: ignore[no-untyped-call]


def file_digest(path: Path) -> str:
    """A hash of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def read_notebook(path: Path) -> Any:
    """Reads a notebook, as nbformat's node.

    A cell that has no id of its own is given one by its place, the same each time.

    Raises:
        ConfigurationError: If it cannot be read, or is no notebook.
    """
    import nbformat

    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
            notebook = nbformat.v4.upgrade(notebook)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", remedy="check the path"
        ) from error
    except Exception as error:  # nbformat trusts the form of what it reads
        raise ConfigurationError(
            f"{path} is no notebook: {str(error).partition(chr(10))[0]}",
            remedy="it should be the JSON that Jupyter saves as .ipynb",
        ) from error
    own = [cell.get("id") for cell in json.loads(text).get("cells", ())]
    known: set[str] = set()
    for place, cell in enumerate(notebook.cells):
        if place >= len(own) or cell.id != own[place]:
            cell.id = f"cell-{place + 1}"
        if cell.id in known:
            numbered = (f"{cell.id[:50]}-{number}" for number in itertools.count(2))
            cell.id = next(each for each in numbered if each not in known)
        known.add(cell.id)
    return notebook


def prepared(path: Path, parameters: Mapping[str, Any]) -> Prepared:
    """Prepares a notebook for its execution. Imports papermill, which takes seconds.

    Args:
        path: The notebook.
        parameters: Values for its parameters.

    Raises:
        ConfigurationError: If it cannot be read, or is no notebook.
    """
    from papermill.execute import remove_error_markers
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    digest = file_digest(path)
    notebook = remove_error_markers(load_notebook_node(read_notebook(path)))
    if parameters:
        notebook = parameterize_notebook(
            notebook, masked(parameters), kernel_name="python3", language="python"
        )
        _injected(notebook).id = _INJECTED
    return Prepared(notebook, digest, _sources(notebook, parameters))


def prepared_again(path: Path, parameters: Mapping[str, Any]) -> Prepared:
    """What `Prepared.write` has kept, to be executed again.

    Args:
        path: Where it was kept.
        parameters: Values for its parameters, those that were masked among them.

    Raises:
        ConfigurationError: If it cannot be read, or is no notebook.
    """
    notebook = read_notebook(path)
    return Prepared(notebook, file_digest(path), _sources(notebook, parameters))


def _injected(notebook: Any) -> Any:
    return next(
        cell for cell in notebook.cells if _INJECTED in cell.get("metadata", {}).get("tags", ())
    )


def _sources(notebook: Any, parameters: Mapping[str, Any]) -> dict[str, str]:
    if masked(parameters) == dict(parameters):
        return {}
    from papermill.translators import translate_parameters

    source = translate_parameters("python3", "python", dict(parameters), "Parameters")
    return {_injected(notebook).id: source}
