"""The layer around a tool, beneath the policy: true values in, placeholders out.

Whoever decides over a call, and whoever is asked, sees placeholders; the tool sees the values,
if the call is let through and the tool is one that may be told them.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from aof_nb.errors import AofError, ToolError
from aof_nb.events import Event
from aof_nb.ports import Tool, ToolContext, ToolOutput, ToolSpec, Verifiable
from aof_nb.redact.commands import reveals
from aof_nb.redact.redactor import Redactor
from aof_nb.secret_placeholders import mentions_secret


def redacted_tools(tools: Iterable[Tool], redactor: Redactor) -> list[Tool]:
    """The tools, each in a layer that keeps secrets from what it gives back.

    Args:
        tools: The tools, without the policy around them.
        redactor: The run's.
    """
    return [RedactedTool(tool, redactor) for tool in tools]


class RedactedTool:
    """A tool whose outputs, errors and events hold no secrets.

    Args:
        tool: The tool.
        redactor: The run's.
    """

    similar: Callable[[Mapping[str, Any]], str]
    verify: Callable[[dict[str, Any]], Awaitable[ToolOutput | None]]
    plain: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def __init__(self, tool: Tool, redactor: Redactor) -> None:
        self._tool = tool
        self._redactor = redactor
        self._spec = tool.spec
        self._shown = self._redacted(tool.spec)
        # What a policy asks of some tools only is asked of this one if its tool answers.
        for optional in ("similar", "plain"):
            if (method := getattr(tool, optional, None)) is not None:
                setattr(self, optional, method)
        if isinstance(tool, Verifiable):
            self.verify = functools.partial(self._verified, tool)

    @property
    def spec(self) -> ToolSpec:
        """The tool's definition; a secret in its description is not told."""
        spec = self._tool.spec
        if spec is not self._spec:
            self._spec, self._shown = spec, self._redacted(spec)
        return self._shown

    def _redacted(self, spec: ToolSpec) -> ToolSpec:
        description = self._redactor.text(spec.description)
        if description is spec.description:
            return spec
        return msgspec.structs.replace(spec, description=description)

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool with the true values.

        Raises:
            ToolError: If it fails; or if a placeholder's value is not known, or not for it.
        """
        redactor, name = self._redactor, self.spec.name
        given = self._restored(arguments) if mentions_secret(arguments) else arguments
        origin = f"the call of {name} ({context.call_id})"

        def emit(event: Event) -> None:
            context.emit(redactor.event(event))

        try:
            output: Any = await self._tool.call(given, msgspec.structs.replace(context, emit=emit))
        except AofError as error:
            redact_error(error, redactor, origin=origin)
            raise
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            shown = redactor.text(said, origin=origin)
            if shown is said:
                raise
            raise ToolError(shown) from None
        if not isinstance(output, ToolOutput) or not isinstance(output.content, str):
            output = ToolOutput(str(output))
        if not output.is_error and reveals(name, arguments):
            redactor.revealed(output.content, origin=origin)
        return redactor.output(output, origin=origin)

    async def _verified(self, tool: Verifiable, arguments: dict[str, Any]) -> ToolOutput | None:
        given = self._restored(arguments) if mentions_secret(arguments) else arguments
        outcome = await tool.verify(given)
        return None if outcome is None else self._redactor.output(outcome)

    def _restored(self, arguments: dict[str, Any]) -> dict[str, Any]:
        redactor, name = self._redactor, self._tool.spec.name
        if not redactor.policy.tells(name):
            raise ToolError(
                f"{name} is not given the values that placeholders stand for.",
                remedy="Find a way without the secret, or with another tool; a person can allow "
                "it under redaction.tools.",
            )
        if hasattr(self, "plain"):
            # A value must stay within the word its placeholder stands in.
            return redactor.restore(dict(self.plain(arguments)))
        return redactor.restore(arguments)


def redact_error(error: BaseException, redactor: Redactor, *, origin: str = "") -> None:
    """Takes the secrets out of what an error says, and of what it holds.

    Args:
        error: One that is about to be told.
        redactor: The run's.
        origin: What failed.
    """
    if isinstance(error, AofError):
        error.message = redactor.text(error.message, origin=origin)
        error.remedy = redactor.text(error.remedy, origin=origin)
    if any(isinstance(each, str) for each in error.args):
        error.args = tuple(
            redactor.text(each, origin=origin) if isinstance(each, str) else each
            for each in error.args
        )
