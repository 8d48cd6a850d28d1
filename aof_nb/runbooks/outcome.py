"""What a runbook's run came to, as the result of a tool.

Importing this imports the types of MCP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from mcp_types import (
    CallToolResult,
    ContentBlock,
    ImageContent,
    ResourceLink,
    TextContent,
)

from aof_nb.policy import ApprovalRequest
from aof_nb.readable import readable
from aof_nb.runbooks.catalog import Runbook
from aof_nb.runbooks.kept_runs import MIME_TYPES, URI
from aof_nb.runbooks.metadata import cell_metadata
from aof_nb.runbooks.notebook_result import NotebookResult, NotebookStatus
from aof_nb.truncation import truncate

LONGEST_TEXT = 20_000
"""Characters of what a runbook came to; the whole of it is in the report."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_IMAGES = ("image/png", "image/jpeg")


@dataclass
class _Shown:
    """What cells have shown: text, images by type, and the last JSON."""

    texts: list[str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)
    data: Any = None

    @property
    def anything(self) -> bool:
        return bool(self.texts or self.images) or self.data is not None


def tool_result(
    runbook: Runbook,
    run_id: str,
    result: NotebookResult,
    notebook: Mapping[str, Any],
    refused: Sequence[ApprovalRequest],
) -> CallToolResult:
    """A finished run as the result of the call that asked for it.

    Args:
        runbook: What was run.
        run_id: The run.
        result: How it ended.
        notebook: The executed notebook.
        refused: What needed an approval and was not approved.
    """
    shown = _shown(notebook["cells"])
    run_uri = f"{URI}{run_id}"
    text = truncate("\n\n".join(shown.texts), LONGEST_TEXT, kept_as=f"{run_uri}.md")
    sentences = [_ending(runbook, result), *(_refusal(each) for each in refused)]
    content: list[ContentBlock] = [
        TextContent(
            type="text", text="\n\n".join(each for each in ("\n".join(sentences), text) if each)
        )
    ]
    content += [
        ImageContent(type="image", data=data, mime_type=kind) for kind, data in shown.images
    ]
    content += [
        ResourceLink(
            type="resource_link",
            uri=f"{run_uri}{ending}",
            name=f"{run_id}{ending}",
            title=f"The report of this run, as {name}",
            mime_type=MIME_TYPES[ending],
        )
        for ending, name in ((".md", "Markdown"), (".html", "HTML"))
    ]
    structured: dict[str, Any] = {
        "status": result.status.value,
        "run_id": run_id,
        "duration": round(result.duration, 3),
        "text": text,
        "refused": [{"tool": each.tool.name, "arguments": each.arguments} for each in refused],
        "notebook": str(result.output_path),
        "report": f"{run_uri}.html",
    }
    if shown.data is not None:
        structured["data"] = shown.data
    if result.error is not None:
        structured["error"] = {
            name: value
            for name, value in msgspec.structs.asdict(result.error).items()
            if name != "traceback"
        }
    return CallToolResult(
        content=content,
        structured_content=structured,
        is_error=result.status is not NotebookStatus.COMPLETED,
    )


def _ending(runbook: Runbook, result: NotebookResult) -> str:
    title = runbook.info.title or runbook.name
    if result.status is NotebookStatus.COMPLETED:
        return f"{title}: completed in {result.duration:.1f} s."
    where = ""
    if result.error is not None:
        why = f"{result.error.error}: {_COLOURS.sub('', result.error.message)}".rstrip(": ")
        where = f"cell {result.error.cell} ({result.error.title})"
        where = f"{where} failed: {why}"
    if result.status is NotebookStatus.TIMEOUT:
        interrupted = f" It was interrupted in cell {result.error.cell}." if result.error else ""
        return f"{title}: not done after its time limit of {result.time_limit:g} s.{interrupted}"
    return f"{title}: {where}"


def _refusal(request: ApprovalRequest) -> str:
    arguments = ", ".join(f"{name}={readable(each)}" for name, each in request.arguments.items())
    call = f"{request.tool.name}({arguments})"
    return f"Not carried out, because it needed an approval: {truncate(call, 500)}"


def _shown(cells: Sequence[Mapping[str, Any]]) -> _Shown:
    """What the cells marked ``result`` show; without any, what the last cell shows that does."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    marked = [cell for cell in code if cell_metadata(cell).result]
    if marked:
        return _of(each for cell in marked for each in cell.get("outputs", ()))
    for cell in reversed(code):
        shown = _of(cell.get("outputs", ()))
        if shown.anything:
            # Pictures are large: they are sent where the runbook says that they are the result.
            return _Shown(shown.texts, [], shown.data)
    return _Shown()


def _of(outputs: Iterator[Mapping[str, Any]] | Sequence[Mapping[str, Any]]) -> _Shown:
    shown = _Shown()
    for output in outputs:
        if output["output_type"] == "stream":
            if output["name"] == "stdout":
                _add(shown, output["text"])
        elif output["output_type"] in {"display_data", "execute_result"}:
            bundle = output["data"]
            if "application/json" in bundle:
                shown.data = bundle["application/json"]
            image = next((each for each in _IMAGES if each in bundle), None)
            if image is not None:
                shown.images.append((image, "".join(bundle[image]).replace("\n", "")))
            elif "application/json" not in bundle:
                _add(shown, bundle.get("text/markdown") or bundle.get("text/plain") or "")
    return shown


def _add(shown: _Shown, text: str | Sequence[str]) -> None:
    words = _COLOURS.sub("", "".join(text)).strip()
    if words:
        shown.texts.append(words)
