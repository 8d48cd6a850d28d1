"""From YAML text to documents: kind, name, spec, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aof_nb.resources.problems import Findings, Path, near
from aof_nb.resources.schema import Metadata

KINDS = ("Agent", "McpServer")
VERSIONS = ("aof.dev/v1", "aof.dev/v1alpha1", "aof.sh/v1", "aof.sh/v1alpha1")
LATER = (
    "AgentFleet",
    "AgentFlow",
    "Context",
    "DaemonConfig",
    "Fleet",
    "Flow",
    "Memory",
    "ToolClassification",
    "Trigger",
    "TriggerConfig",
    "Workflow",
)
"""Kinds of AOF that cannot be carried out yet."""

_SHAPE = ("apiVersion", "kind", "metadata", "spec")


@dataclass(frozen=True)
class Document:
    """A resource as it was written, its shape checked.

    Args:
        kind: ``Agent`` or ``McpServer``.
        name: From the metadata or the flat form; empty if it has none.
        labels: From the metadata.
        description: From the metadata.
        spec: What it declares.
        prefix: Where the spec stands in the document.
        findings: Its problems.
    """

    kind: str
    name: str
    labels: Mapping[str, str]
    description: str
    spec: dict[str, Any]
    prefix: Path
    findings: Findings


def read_document(value: Any, file: str, *, flat_kind: str | None = None) -> Document | Findings:
    """Finds a document's kind and spec; its findings if it has none.

    Args:
        value: The parsed document.
        file: The file's name, for problems.
        flat_kind: What a document without ``kind`` is; found out from its fields if None.
    """
    findings = Findings(value, file)
    if not isinstance(value, dict):
        findings.add((), "a resource is a mapping", "write key: value, one a line")
        return findings
    if "kind" not in value and "apiVersion" not in value:
        kind = flat_kind or ("McpServer" if {"command", "url"} & set(value) else "Agent")
        name = str(value.get("name") or "")
        return Document(kind, name, {}, "", dict(value), (), findings)
    return _wrapped(value, findings)


def is_playbook(value: Any) -> bool:
    """Whether a parsed document is a `script:` model's playbook, which is no resource."""
    return isinstance(value, dict) and (
        value.get("kind") == "Playbook" or ("kind" not in value and "steps" in value)
    )


def _wrapped(value: dict[str, Any], findings: Findings) -> Document | Findings:
    kind = value.get("kind")
    if kind in LATER:
        findings.add(("kind",), f"kind {kind} is not supported yet", "kinds: Agent, McpServer")
        return findings
    if kind == "Playbook":
        remedy = "name its file as an agent's model, model: script:FILE"
        findings.add(("kind",), "a playbook is a model, not an agent", remedy)
        return findings
    if kind not in KINDS:
        said = "kind is missing" if kind is None else f"unknown kind {kind!r}"
        findings.add(("kind",), said, near("" if kind is None else str(kind), KINDS))
        return findings
    version = value.get("apiVersion")
    if version not in VERSIONS:
        said = "apiVersion is missing" if version is None else f"unknown apiVersion {version!r}"
        findings.add(("apiVersion",), said, "apiVersion: aof.dev/v1")
    for key in value:
        if key not in _SHAPE:
            findings.add((key,), f"unknown field {key!r}", near(str(key), _SHAPE))
    metadata = _metadata(value, findings)
    spec = value.get("spec")
    if not isinstance(spec, dict):
        findings.add(("spec",), "spec is missing" if spec is None else "spec is a mapping")
        return findings
    return Document(
        kind=str(kind),
        name=metadata.name if metadata else "",
        labels=metadata.labels if metadata else {},
        description=_description(metadata) if metadata else "",
        spec=dict(spec),
        prefix=("spec",),
        findings=findings,
    )


def _description(metadata: Metadata) -> str:
    return metadata.description or metadata.annotations.get("description", "")


def _metadata(value: dict[str, Any], findings: Findings) -> Metadata | None:
    from pydantic import ValidationError

    given = value.get("metadata")
    if not isinstance(given, dict):
        findings.add(("metadata",), "metadata is missing", "metadata: with name: below it")
        return None
    try:
        return Metadata.model_validate(given)
    except ValidationError as error:
        findings.add_validation(error, Metadata, ("metadata",))
        return None
