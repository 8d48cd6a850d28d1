"""Whether a call's arguments fit its tool's schema, in words a model can act on."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.messages import ToolCall
from aof_nb.ports import Tool, ToolSpec
from aof_nb.truncation import truncate

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_MOST_LISTED = 5


class ArgumentChecks:
    """Checks calls against their tools' schemas, with words a model can act on."""

    def __init__(self, tools: dict[str, Tool]) -> None:
        self._tools = tools
        self._validators: dict[str, Validator | None] = {}

    def complaint(self, call: ToolCall) -> str | None:
        """What is wrong with a call; None if it can be made."""
        tool = self._tools.get(call.name)
        if tool is None:
            near = difflib.get_close_matches(call.name, self._tools, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            names = ", ".join(sorted(self._tools)) or "none"
            return f"There is no tool {call.name!r}.{hint} The tools are: {names}."
        if call.arguments is None:
            return (
                f"The arguments of {call.name} are not a JSON object: "
                f"{truncate(call.raw_arguments, 400)!r}. Send one that fits the tool's schema."
            )
        if call.name not in self._validators:
            self._validators[call.name] = _validator_of(tool.spec)
        problem = _problem(self._validators[call.name], call.arguments)
        if not problem:
            return None
        return f"The arguments of {call.name} do not fit its schema: {problem}. Correct the call."


def misfits(spec: ToolSpec, arguments: dict[str, Any]) -> str:
    """Where arguments do not fit a tool's schema, in a line; empty if they do.

    Example:
        >>> schema = {"type": "object", "required": ["host"]}
        >>> misfits(ToolSpec(name="ping", description="", input_schema=schema), {})
        '$: "host" is a required property'
    """
    return _problem(_validator_of(spec), arguments)


def edited_arguments(spec: ToolSpec, text: str) -> dict[str, Any]:
    """Arguments that a person has typed as JSON.

    Raises:
        ValueError: If they are no JSON object, or do not fit the tool's schema.

    Example:
        >>> edited_arguments(ToolSpec(name="ping", description="", input_schema={}), '{"n": 1}')
        {'n': 1}
    """
    try:
        arguments = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"This is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ValueError("Give a JSON object: {...}")  # noqa: TRY004  typed by a person
    if problem := misfits(spec, arguments):
        raise ValueError(f"It does not fit the tool's schema: {problem}")
    return arguments


def _problem(validator: Validator | None, arguments: dict[str, Any]) -> str:
    if validator is None or validator.is_valid(arguments):
        return ""
    errors = validator.iter_errors(arguments)
    return listed((error.instance_path, error.message) for error in errors)


def listed(errors: Iterable[tuple[Sequence[str | int], str]]) -> str:
    """Where data do not fit a schema, the first places of them in a line.

    Args:
        errors: For each misfit the path in the data, and what is wrong there.

    Example:
        >>> listed([(["hosts", 1], "1 is not a string"), ([], "no name")])
        '$: no name; $.hosts[1]: 1 is not a string'
    """
    found = sorted((json_path(path), truncate(message, 400)) for path, message in errors)
    places = "; ".join(f"{path}: {message}" for path, message in found[:_MOST_LISTED])
    more = len(found) - _MOST_LISTED
    return f"{places}; and {more} more" if more > 0 else places


def _validator_of(spec: ToolSpec) -> Validator | None:
    return _validator(msgspec.json.encode(spec.input_schema))


@functools.lru_cache(maxsize=512)
def _validator(schema: bytes) -> Validator | None:
    """What checks against a schema; None if it is none, so that its tool has to check itself."""
    import jsonschema_rs

    try:
        # Schemas come from servers: what they refer to elsewhere is not fetched.
        return jsonschema_rs.validator_for(schema.decode(), offline=True)
    except ValueError:
        return None


def json_path(path: Sequence[str | int]) -> str:
    """Where in the arguments: ``$.hosts[1].name``."""
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
