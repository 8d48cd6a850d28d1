"""A directory's runbooks as the tools of an MCP server.

Importing this imports the types of MCP.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from mcp_types import Tool, ToolAnnotations

from aof_nb.errors import AofError
from aof_nb.ports import Effect
from aof_nb.resources.found import notebooks_in
from aof_nb.runbooks.metadata import RunbookMetadata
from aof_nb.runbooks.parameters import Parameter
from aof_nb.runbooks.run import NotebookInfo, inspect_notebook
from aof_nb.tool_names import safe_name

_logger = logging.getLogger("aof_nb.runbooks")

_LONGEST_DESCRIPTION = 1000
"""Characters; OpenAI's API refuses tools with descriptions of more than 1024."""

OUTPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["completed", "failed", "timeout"]},
        "run_id": {"type": "string"},
        "duration": {"type": "number", "description": "Seconds."},
        "text": {"type": "string", "description": "What the runbook came to, as text."},
        "data": {"description": "What it came to, as JSON, if it shows any."},
        "error": {
            "type": "object",
            "description": "The cell that failed.",
            "properties": {
                "cell": {"type": "integer"},
                "title": {"type": "string"},
                "error": {"type": "string"},
                "message": {"type": "string"},
            },
        },
        "refused": {
            "type": "array",
            "description": "Calls of its agents that needed an approval and were not approved.",
            "items": {
                "type": "object",
                "properties": {"tool": {"type": "string"}, "arguments": {"type": "object"}},
            },
        },
        "notebook": {"type": "string", "description": "The executed notebook on the server."},
        "report": {"type": "string", "description": "The report's URI on this server."},
    },
    "required": ["status", "run_id", "duration", "text", "refused", "notebook"],
}
"""What every runbook returns as structured content."""


@dataclass(frozen=True)
class Runbook:
    """A notebook as a tool.

    Args:
        info: What it says of itself.
        tool: The tool's definition.
    """

    info: NotebookInfo
    tool: Tool

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool.name


class Catalog:
    """The runbooks of a directory. Its methods block: they read files.

    Args:
        place: The directory, or one notebook.

    Example:
        >>> list(Catalog(Path("no/such/directory")).runbooks())
        []
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._read: dict[Path, tuple[tuple[int, int], Runbook | None]] = {}
        self._problems: dict[Path, str] = {}

    @property
    def problems(self) -> Mapping[Path, str]:
        """Why notebooks were left out that are wrong, as of the last reading."""
        return {path: each for path, each in self._problems.items() if path in self._read}

    def runbooks(self) -> Mapping[str, Runbook]:
        """The runbooks by their tools' names, as the files are now.

        A notebook that is wrong, or is no runbook, is left out, and logged once for each state
        of its file.
        """
        found: dict[str, Runbook] = {}
        known, self._read = self._read, {}
        for path, state in self._states().items():
            before = known.get(path)
            if before is not None and before[0] == state:
                runbook = before[1]
            else:
                self._problems.pop(path, None)
                runbook = self._runbook(path)
                if runbook is not None and runbook.name in found:
                    other = found[runbook.name].info.path
                    self._leave_out(path, f"it has the name of {other}")
                    runbook = None
            self._read[path] = (state, runbook)
            if runbook is not None:
                found.setdefault(runbook.name, runbook)
        return found

    def _states(self) -> dict[Path, tuple[int, int]]:
        paths = [self._place] if self._place.is_file() else notebooks_in(self._place)
        found = {}
        for path in paths:
            try:
                state = path.stat()
            except OSError:
                continue
            found[path] = (state.st_mtime_ns, state.st_size)
        return found

    def _runbook(self, path: Path) -> Runbook | None:
        try:
            info = inspect_notebook(path)
            if not info.is_runbook:
                _logger.info("%s is left out: it has neither parameters nor aof metadata", path)
            elif info.language.lower() not in {"python", "ipython"}:
                self._leave_out(path, f"it is a notebook in {info.language}")
            else:
                inside = Path(path.name) if path == self._place else path.relative_to(self._place)
                return Runbook(info, _tool("__".join(inside.with_suffix("").parts), info))
        except AofError as error:
            self._problems[path] = f"{error.message} ({error.remedy})"
            _logger.warning("left out: %s (%s)", error.message, error.remedy)
        except Exception as error:  # noqa: BLE001  one odd notebook must not hide the others
            self._leave_out(path, f"it cannot be read: {error!r}")
        return None

    def _leave_out(self, path: Path, why: str) -> None:
        self._problems[path] = why
        _logger.warning("%s is left out: %s", path, why)


def _tool(name: str, info: NotebookInfo) -> Tool:
    metadata = info.metadata
    about = {"owner": metadata.owner, "severity": metadata.severity, "limit": metadata.time_limit}
    return Tool(
        name=safe_name(name),
        title=info.title or None,
        description=textwrap.shorten(
            info.description or info.title or f"Runs the notebook {info.path.name}.",
            _LONGEST_DESCRIPTION,
            placeholder=" ...",
        ),
        input_schema=input_schema(info.parameters or ()),
        output_schema=OUTPUT_SCHEMA,
        annotations=_annotations(metadata),
        _meta={f"aof.dev/{key}": value for key, value in about.items() if value} or None,
    )


def _annotations(metadata: RunbookMetadata) -> ToolAnnotations | None:
    if metadata.effect is None:
        return None
    return ToolAnnotations(
        read_only_hint=metadata.effect is Effect.READ,
        destructive_hint=metadata.effect is Effect.DESTRUCTIVE,
    )


def input_schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """JSON Schema of a runbook's parameters.

    Example:
        >>> input_schema([Parameter("replicas", int, "int", "3", "how many")])["properties"]
        {'replicas': {'type': 'integer', 'description': 'how many', 'default': 3}}
    """
    return {
        "type": "object",
        "properties": {each.name: _property(each) for each in parameters},
        "required": [each.name for each in parameters if each.required],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    schema = msgspec.json.schema(parameter.type)
    if all(isinstance(each, str) for each in schema.get("enum", [0])):
        schema = {"type": "string", **schema}
    if parameter.help:
        schema.setdefault("description", parameter.help)
    if not parameter.required:
        # A default that JSON cannot say, such as a call, is left to the notebook.
        with contextlib.suppress(ValueError, TypeError):
            default = ast.literal_eval(parameter.default)
            if default is None or isinstance(default, str | int | float | list | dict):
                schema["default"] = msgspec.to_builtins(default)
    return schema
