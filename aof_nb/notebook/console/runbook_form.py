"""A runbook's parameters as a form, and what is filled in as values to run it with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console.schedule import looks_like_variable
from aof_nb.runbooks.catalog import input_schema
from aof_nb.runbooks.parameters import Parameter
from aof_nb.runbooks.prepared import looks_secret


def form_schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The JSON schema of a form for a runbook's parameters.

    Parameters without a type are text that is read as ``-p`` reads it. Of those that look secret
    the form asks for the environment variable that holds the value: what is typed into a widget
    may be saved with the notebook.

    Args:
        parameters: What the runbook declares.

    Example:
        >>> form_schema([Parameter("service", Any, "", "None")])["properties"]["service"]
        {'type': 'string', 'description': 'text, or a Python or JSON literal', 'minLength': 1}
    """
    schema = input_schema(parameters)
    schema["properties"] = {
        each.name: _property(each, schema["properties"][each.name]) for each in parameters
    }
    return schema


def _property(parameter: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    told = schema.get("description", "")
    if is_secret(parameter):
        said = f"{told}. " if told else ""
        such = _variable(parameter.name)
        hint = f"{said}The environment variable of this kernel that holds it, such as {such}"
        return {"type": "string", "description": hint} | (
            {"minLength": 1} if parameter.required else {}
        )
    if parameter.type is Any:
        hint = "text, or a Python or JSON literal"
        described = {"type": "string", "description": f"{told} ({hint})" if told else hint}
        if parameter.required:
            return described | {"minLength": 1}
        default = {"default": schema["default"]} if schema.get("default") is not None else {}
        return described | default
    return schema


def is_secret(parameter: Parameter) -> bool:
    """Whether a parameter looks like one whose value should not be written down."""
    return parameter.type not in {int, float, bool} and looks_secret(parameter.name, "")


def split(
    parameters: Sequence[Parameter], filled: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """What is filled in: the values, and the variables of those that look secret.

    Raises:
        ConfigurationError: If something else than a variable's name is given for one.
    """
    secret = {each.name for each in parameters if is_secret(each)}
    values = {name: each for name, each in filled.items() if name not in secret}
    variables = {name: str(each).strip() for name, each in filled.items() if name in secret}
    for name, variable in variables.items():
        if not looks_like_variable(variable):
            raise ConfigurationError(
                f"{name} looks secret: give the name of an environment variable that holds it",
                remedy=f"letters, digits and _, such as {_variable(name)}",
            )
    return values, variables


def resolved(values: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """The values to run with.

    Raises:
        ConfigurationError: If a variable is not set.
    """
    found = dict(values)
    for name, variable in variables.items():
        if variable not in os.environ:
            raise ConfigurationError(
                f"the environment variable {variable} is not set, which is to hold {name}",
                remedy=f"set it where the kernel is started, or: %env {variable}=...",
            )
        found[name] = os.environ[variable]
    return found


def _variable(name: str) -> str:
    return name.upper()
