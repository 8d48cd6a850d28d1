"""What becomes of a call that was begun before a crash, and whose outcome nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aof_nb.events import ApprovalAnswered
from aof_nb.gate import Edited, Gate, told_of_change
from aof_nb.journal.entries import Line, ToolIntended
from aof_nb.policy import TIMED_OUT
from aof_nb.ports import Tool, ToolContext, ToolOutput, ToolSpec, Verifiable

LEFT_ALONE = (
    "Begun before the run was interrupted: whether it took effect is unknown, and it was not "
    "repeated. Find out before doing it again."
)
REASON = (
    "it was begun before the run was interrupted, and nobody knows whether it took effect: "
    "approve to carry it out again, deny to leave it alone"
)


def begun_edited(lines: Iterable[Line]) -> dict[str, Edited]:
    """The calls that were begun with arguments a person had changed, by their ids.

    Args:
        lines: A recording's.
    """
    changed_by: dict[str, str] = {}
    found: dict[str, Edited] = {}
    for line in lines:
        match line.entry:
            case ApprovalAnswered(call_id=call_id, arguments=dict(), approved=True, by=by):
                changed_by[call_id] = by
            case ToolIntended(call_id=call_id, arguments=arguments) if call_id in changed_by:
                found[call_id] = Edited(arguments, changed_by[call_id])
    return found


class BegunTool:
    """A tool in place of one of its calls that was begun and whose outcome is not known.

    The tool's own `verify` decides, if it has one; else a person; else the call is left alone, and
    the model is told that its outcome is unknown.

    Args:
        tool: The tool itself.
        again: The same with its intent written down, for a call that is made again.
        gate: What asks, and denies what the policy has come to deny since.
        edited: The calls that were begun with arguments a person had changed, by their ids.
    """

    def __init__(self, tool: Tool, again: Tool, gate: Gate, edited: Mapping[str, Edited]) -> None:
        self._tool = tool
        self._again = again
        self._gate = gate
        self._edited = edited

    @property
    def spec(self) -> ToolSpec:
        """The tool's own definition."""
        return self._tool.spec

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Finds out what became of the call, or has it made again, or leaves it alone.

        The call is what was begun, which is not what the model asked for where a person has
        changed that.
        """
        edited = self._edited.get(context.call_id)
        if edited is None or edited.arguments == arguments:
            return await self._settle(arguments, context)
        return told_of_change(await self._settle(edited.arguments, context), edited)

    async def _settle(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        denied = self._gate.denial(self._tool, arguments)
        if isinstance(self._tool, Verifiable):
            try:
                outcome = await self._tool.verify(arguments)
            except Exception as error:  # noqa: BLE001  whatever fails, it is not known
                return _left_alone(f"{type(error).__name__}: {error}")
            if outcome is not None:
                return outcome
            if denied is not None:
                return ToolOutput(denied, is_error=True, denied=True)
            return await self._again.call(arguments, context)
        if denied is not None:
            return _left_alone(denied)
        answer = await self._gate.ask(self._tool, arguments, context, REASON)
        if answer is not None and answer.approved:
            if answer.arguments is None:
                return await self._again.call(arguments, context)
            change = await self._gate.edited(self._tool, answer.arguments, answer.by, context)
            if isinstance(change, str):
                return _left_alone(change)
            return told_of_change(await self._again.call(change.arguments, context), change)
        if answer is None:
            return _left_alone("")
        if answer.via == TIMED_OUT:
            return _left_alone(f"A person was asked, but {answer.reason}.")
        said = f"{answer.by or 'A person'} was asked, and said no."
        return _left_alone(f"{said} {answer.reason}" if answer.reason else said)


class GoneTool:
    """What a run that is resumed has in place of a tool that it had before, and has no more.

    Args:
        spec: The tool's definition.
        begun: Whether it stands for calls that were begun, and whose outcome is not known.
    """

    def __init__(self, spec: ToolSpec, *, begun: bool = False) -> None:
        self.spec = spec
        self._begun = begun

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Says so."""
        gone = f"{self.spec.name} is not available any more."
        if self._begun:
            return _left_alone(gone)
        return ToolOutput(f"{gone} It was not carried out.", is_error=True)


def _left_alone(detail: str) -> ToolOutput:
    content = f"{LEFT_ALONE} {detail}".strip()
    return ToolOutput(content, is_error=True, unknown=True)
