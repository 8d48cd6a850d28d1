"""Tool calls as plain code: the same tools and the same policy, without a model."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aof_nb.agent import Agent
from aof_nb.errors import AofError
from aof_nb.events import ModelEvent, ModelResponse, RunStatus, ToolFinished
from aof_nb.journal.encoding import encode, encode_in_order
from aof_nb.limits import Limits
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import Message, Outcome, StopReason, Text, ToolCall, Usage
from aof_nb.policy import ApproveMode, Approver, Policy, approve_from_environment
from aof_nb.ports import ModelRequest, Tool
from aof_nb.readable import indented_json
from aof_nb.result import RunFailed, RunResult
from aof_nb.truncation import truncate

_SHOWN_CHARACTERS = 20_000


class StepFailed(AofError):
    """A step's tool call has not succeeded.

    Args:
        message: What happened.
        result: The step's run.
        remedy: What to do about it.
    """

    def __init__(self, message: str, result: RunResult, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.result = result


@dataclass(frozen=True)
class StepResult:
    """What a tool call came to.

    Args:
        tool: The tool's name.
        text: Its output as text.
        data: Its output as JSON data, if it has any.
        run_id: The run that has it in its journal.
    """

    tool: str
    text: str
    data: Any
    run_id: str

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        text, language = self.text, "text"
        if isinstance(self.data, dict | list):
            text, language = indented_json(self.data, encode=encode), "json"
        text = truncate(text, _SHOWN_CHARACTERS)
        fence = "```"
        while fence in text:
            fence += "`"
        shown = {"text/markdown": f"{fence}{language}\n{text}\n{fence}", "text/plain": text}
        return shown, {"aof": {"run_id": self.run_id}}


class _OneCall:
    """A model that asks for one tool call, and is done."""

    name = "step"

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        self._call = ToolCall("step", tool, arguments)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        asks = request.messages[-1].role == "user"
        yield ModelResponse(
            message=Message("assistant", (self._call,) if asks else (Text("done"),)),
            stop_reason=StopReason.TOOL_USE if asks else StopReason.END_TURN,
            usage=Usage(),
            model=self.name,
        )


class Steps:
    """Tools to be called one by one from a notebook's cells, behind a policy.

    Each call is a run of its own: it is journaled, asks for approval where the policy says so, and
    in a notebook that is resumed or replayed it is not made twice.

    Args:
        tools: As for `Agent`.
        mcp_servers: As for `Agent`.
        policy: What may be done without asking.
        name: What the calls' runs are called.
        approve: What happens where the policy asks; what ``AOF_APPROVE`` says if not given.
        approver: Who asks; the notebook's or the terminal's own if not given.

    Example:
        >>> async def triage():
        ...     steps = Steps(tools=["shell"])
        ...     disks = await steps.call("shell", argv=["df", "-h"])
        ...     assert "100%" not in disks.text
    """

    def __init__(
        self,
        *,
        tools: Sequence[str | Tool | Callable[..., Any] | Mapping[str, Any]] = (),
        mcp_servers: Sequence[McpServer] = (),
        policy: Policy | None = None,
        name: str = "steps",
        approve: ApproveMode | None = None,
        approver: Approver | None = None,
    ) -> None:
        self._agent = Agent(
            name=name,
            model=_OneCall("", {}),
            tools=tools,
            mcp_servers=mcp_servers,
            policy=policy or Policy(),
            # There is no model whose window it would fill.
            limits=Limits(max_turns=3, max_output_chars=sys.maxsize),
        )
        self._approve = approve
        self._approver = approver

    @classmethod
    def from_yaml(cls, text: str, *, functions: Sequence[Any] = (), name: str = "steps") -> Steps:
        r"""Steps with the ``tools``, ``mcp_servers``, ``policy`` and ``env`` of an agent's YAML.

        Args:
            text: The YAML.
            functions: Functions, decorated with `tool` or not, that ``tools`` names.
            name: What the calls' runs are called.

        Raises:
            ResourceError: If it is wrong.

        Example:
            >>> steps = Steps.from_yaml("tools: [shell]\npolicy: {write: allow}\n")
        """
        from aof_nb.resources import agent_from_yaml
        from aof_nb.tools import resolve_tools

        named = {each.spec.name: each for each in resolve_tools(functions)}
        agent = agent_from_yaml(f"model: script:none\n{text}", name=name, functions=named)
        return cls(tools=agent.tools, mcp_servers=agent.mcp_servers, policy=agent.policy, name=name)

    async def call(self, tool: str, /, **arguments: Any) -> StepResult:
        """Calls a tool.

        Args:
            tool: Its name, as the model knows it, such as ``lab__restart``.
            **arguments: What with.

        Raises:
            StepFailed: If it failed, was denied, or waits for an approval.
            ApprovalPending: If it waits in a notebook that is run unattended: resuming that goes
                on with it.
        """
        said = encode_in_order(arguments).decode()
        approve = self._approve or approve_from_environment()
        run = self._agent.stream(
            f"{tool} {said}",
            model=_OneCall(tool, arguments),
            approve=approve,
            approver=self._approver,
        )
        finished: ToolFinished | None = None
        try:
            async for event in run:
                if isinstance(event, ToolFinished):
                    finished = event
        finally:
            await run.aclose()
        run.raise_if_waiting()
        result = run.result
        if finished is None or result.error is not None:
            error = result.error or RunFailed(result)
            raise StepFailed(f"{tool}: {error.message}", result, remedy=error.remedy) from error
        if result.status is RunStatus.WAITING:
            remedy = f"aofctl approve {result.run_id}, then aofctl resume {result.run_id}"
            raise StepFailed(f"{tool}: {finished.content}", result, remedy=remedy)
        if finished.outcome is not Outcome.OK:
            raise StepFailed(f"{tool}: {finished.content}", result)
        return StepResult(tool, finished.content, finished.data, result.run_id)
