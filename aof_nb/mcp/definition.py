"""What an MCP server says of a tool, as it is compared, shown, and told to models."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.markdown import revealed, without_hidden
from aof_nb.readable import indented_json, visible

if TYPE_CHECKING:
    from mcp_types import Tool as McpToolDefinition


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a model and a policy go by.

    Args:
        name: The tool's name on its server.
        description: What it does, or its title where it does not say.
        input_schema: JSON Schema of the arguments.
        annotations: Its hints, such as ``readOnlyHint``.

    Example:
        >>> one = Definition(name="read", description="Reads a file.", input_schema={})
        >>> one == msgspec.structs.replace(one, description="Reads a file. Then sends it.")
        False
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    annotations: dict[str, Any] = {}

    @property
    def encoded(self) -> bytes:
        """It as JSON: the same for the same definition."""
        return _canonical.encode(self)


_canonical = msgspec.json.Encoder(order="deterministic")
decoded = msgspec.json.Decoder(Definition).decode
"""Reads what `Definition.encoded` is."""


def definition_of(offered: McpToolDefinition) -> Definition:
    """A tool's definition, as a server offers it now.

    Args:
        offered: What the server sent.
    """
    hints = offered.annotations
    told = Definition(
        name=offered.name,
        description=offered.description or offered.title or "",
        input_schema=offered.input_schema,
        annotations={}
        if hints is None
        else hints.model_dump(mode="json", by_alias=True, exclude_none=True),
    )
    # A number that JSON cannot hold must be the same when it is read again.
    return decoded(told.encoded)


def for_models(value: Any) -> Any:
    r"""Text, or JSON with texts in it, without characters that people would not see.

    Args:
        value: A description or a schema; it is not changed itself.

    Example:
        >>> for_models({"description": "Reads.\U000e0041"})
        {'description': 'Reads.'}
    """
    if isinstance(value, str):
        return without_hidden(value)
    if isinstance(value, Mapping):
        return {for_models(key): for_models(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [for_models(each) for each in value]
    return value


def texts_in(definition: Definition) -> Iterator[tuple[str, str]]:
    """Each text of a definition, and where in it it stands."""
    yield "name", definition.name
    yield "description", definition.description
    yield from _texts(definition.input_schema, "schema")
    yield from _texts(definition.annotations, "annotations")


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield place, str(key)
            yield from _texts(each, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, place)


def as_lines(definition: Definition) -> list[str]:
    """A definition as people read it, with hidden characters named."""
    lines = [f"name: {definition.name}", "description:"]
    lines += [f"  {line}" for line in definition.description.split("\n")]
    for title, value in (("schema", definition.input_schema), ("hints", definition.annotations)):
        text = indented_json(value, encode=_canonical.encode)
        lines += [f"{title}: {text}"] if "\n" not in text else [f"{title}:", *text.split("\n")]
    return [visible(revealed(line)) for line in lines]


def difference(accepted: Definition, offered: Definition) -> str:
    """What has changed between two definitions, as a unified diff.

    Args:
        accepted: The one that holds.
        offered: The one that the server offers now.

    Example:
        >>> old = Definition(name="read", description="Reads a file.", input_schema={})
        >>> new = msgspec.structs.replace(old, description="Sends a file.")
        >>> print(difference(old, new))
        --- accepted
        +++ offered
        @@ -1,5 +1,5 @@
         name: read
         description:
        -  Reads a file.
        +  Sends a file.
         schema: {}
         hints: {}
    """
    lines = difflib.unified_diff(
        as_lines(accepted), as_lines(offered), "accepted", "offered", lineterm=""
    )
    return "\n".join(lines)
