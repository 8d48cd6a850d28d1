"""What a notebook says of itself as a runbook: its ``aof`` metadata.

People write it in JupyterLab's property inspector (*Advanced Tools*), so that it is read with the
care of the YAML: what is wrong is named by file, cell and field.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from aof_nb.policy import Action
from aof_nb.ports import Effect
from aof_nb.resources.problems import Findings, Problem
from aof_nb.resources.schema import PolicySpec, Seconds, Spec, Text
from aof_nb.runbooks.parameters import ParameterError, declared_parameters
from aof_nb.runbooks.sanitizers import Sanitizer, sanitizer

KEY = "aof"
"""Where it stands in a notebook's metadata, and in a cell's."""


class BoundSpec(PolicySpec):
    """A policy that only takes away: what it does not name is as the agent's policy says."""

    write: Action = Action.ALLOW
    destructive: Action = Action.ALLOW


class SanitizeSpec(Spec):
    """What is taken out of a notebook's outputs before tests compare them.

    Args:
        regex: What changes.
        replace: What is compared instead.

    Example:
        >>> SanitizeSpec(regex="ticket [0-9]+", replace="ticket N").made().replacement
        'ticket N'
    """

    regex: str
    replace: str

    @model_validator(mode="after")
    def _fit(self) -> Self:
        self.made()
        return self

    def made(self) -> Sanitizer:
        """The sanitizer."""
        return sanitizer(self.regex, self.replace)


class RunbookMetadata(Spec):
    """A runbook's metadata; each field may be left out.

    Args:
        title: What it is called; else its first heading.
        description: What it does, for people and for models that choose a tool; else its first
            paragraph.
        owner: Whom to ask about it.
        severity: Of the incidents it is for, in the owner's own words.
        time_limit: Seconds for a whole run; written as ``30s``, ``10m`` or ``1h``.
        effect: What running it does to the world: ``read``, ``write`` or ``destructive``.
        policy: What its agents may do at most, whatever their own policies say.
        made_of_run: The run that it was saved from, if it was.
        sanitize: What is taken out of its outputs before tests compare them.

    Example:
        >>> RunbookMetadata.model_validate({"severity": 2, "time_limit": "10m"}).time_limit
        600.0
    """

    title: Text = ""
    description: Text = ""
    owner: Text = ""
    severity: Text = ""
    time_limit: Seconds | None = None
    effect: Effect | None = None
    policy: BoundSpec | None = None
    made_of_run: Text = ""
    sanitize: tuple[SanitizeSpec, ...] = ()


class CellMetadata(Spec):
    """What a code cell says of itself, in ``metadata.aof`` or by tags of the same names.

    Args:
        once: It is not executed a second time without a word from the user.
        safe_to_repeat: It may be executed again, even where it asks an agent.
        result: Its outputs are what the runbook comes to.
        live: It looks at the world or changes it: tests do not execute it, and keep its outputs.

    Example:
        >>> cell_metadata({"metadata": {"tags": ["once"]}}).once
        True
    """

    once: bool = False
    safe_to_repeat: bool = False
    result: bool = False
    live: bool = False


def runbook_metadata(notebook: Mapping[str, Any], file: str) -> RunbookMetadata:
    """A notebook's metadata.

    Args:
        notebook: The notebook, as nbformat's node or parsed JSON.
        file: Its name, for errors.

    Raises:
        ResourceError: If the notebook's metadata or a cell's is wrong, naming the first place.
    """
    metadata, findings = _read(notebook, file)
    for each in findings:
        if each.errors:
            raise each.error()
    return metadata or RunbookMetadata()


def is_runbook(notebook: Mapping[str, Any]) -> bool:
    """Whether a notebook is meant as one: it has the metadata or a parameters cell."""
    return KEY in notebook.get("metadata", {}) or any(
        "parameters" in cell.get("metadata", {}).get("tags", ()) for cell in notebook["cells"]
    )


def cell_metadata(cell: Mapping[str, Any]) -> CellMetadata:
    """What a cell says of itself. The cell has been checked by `runbook_metadata`."""
    metadata = cell.get("metadata", {})
    tagged = dict.fromkeys(CellMetadata.model_fields.keys() & set(metadata.get("tags", ())), True)
    return CellMetadata.model_validate(metadata.get(KEY, {}) | tagged)


def check_runbook(path: str | Path) -> list[Problem]:
    """Finds what is wrong with a notebook as a runbook: its metadata and its parameters cell.

    What its cells declare is checked by `aof_nb.resources.check`, which also tells of files that
    are no notebooks.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = "".join(cell["source"])
        problems = [each for found in _read(notebook, str(path))[1] for each in found.problems]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    try:
        declared_parameters(notebook["cells"])
    except ParameterError as error:
        problems.append(Problem(str(path), None, "", error.message, error.remedy))
    return problems


def _read(
    notebook: Mapping[str, Any], file: str
) -> tuple[RunbookMetadata | None, Sequence[Findings]]:
    findings = Findings(notebook, file)
    written = notebook.get("metadata", {}).get(KEY, {})
    metadata = findings.validated(RunbookMetadata, written, ("metadata", KEY))
    return metadata, [findings, *_cells(notebook["cells"], file)]


def _cells(cells: Sequence[Mapping[str, Any]], file: str) -> Iterator[Findings]:
    for number, cell in enumerate(cells, start=1):
        findings = Findings(cell, f"{file}#cell-{number}")
        written = cell.get("metadata", {}).get(KEY, {})
        if findings.validated(CellMetadata, written, ("metadata", KEY)) is not None:
            marks = cell_metadata(cell)
            if marks.once and marks.safe_to_repeat:
                findings.add(
                    ("metadata",),
                    "the cell is marked once, and as safe_to_repeat",
                    "keep one of them",
                )
        yield findings
