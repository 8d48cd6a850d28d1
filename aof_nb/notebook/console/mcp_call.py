"""One call of a server's tool by a person: a run of its own, with all that holds for runs.

The policy decides, the journal and the audit have it, secrets are kept out, and it may be approved
wherever calls are approved. Only the model is none: it asks for the one call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.limits import Limits
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.policy import Approver
from aof_nb.ports import ModelRequest
from aof_nb.run import Run

NAME = "console"
"""The name of the agent that such runs are of."""


class OneCall:
    """A model that asks for one call, and for nothing after it.

    Args:
        tool: The tool's name, as models know it.
        arguments: What it is called with.
    """

    name = "script:one call (scripted)"

    def __init__(self, tool: str, arguments: dict[str, Any]) -> None:
        self._call = ToolCall("call-1", tool, arguments, msgspec.json.encode(arguments).decode())

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Asks for the call, or says that it was made."""
        made = any(message.tool_results for message in request.messages)
        yield ModelResponse(
            message=Message("assistant", (Text("It was called."),) if made else (self._call,)),
            stop_reason=StopReason.END_TURN if made else StopReason.TOOL_USE,
            usage=Usage(),
            model=self.name,
        )


def call_run(
    server: McpServer,
    tool: str,
    arguments: dict[str, Any],
    *,
    agent: Agent | None = None,
    approver: Approver | None = None,
) -> Run:
    """A run that makes one call.

    Args:
        server: Whose tool it is.
        tool: Its name, as models know it.
        arguments: What it is called with.
        agent: Whose policy, and whose choice of the server's tools, hold; the defaults' if None.
        approver: Who is asked where the policy asks.
    """
    model = OneCall(tool, arguments)
    limits = Limits(max_turns=3, max_tool_calls=1)
    if agent is None:
        caller = Agent(name=NAME, model=model, mcp_servers=[server], limits=limits)
    else:
        own = [each for each in agent.mcp_servers if _whole(each) == _whole(server)]
        caller = dataclasses.replace(
            Agent(name=NAME, model=model, mcp_servers=own, limits=limits),
            policy=agent.policy,
            redaction=agent.redaction,
            declared=agent.declared,
        )
    prompt = f"Call {tool}, for a person at the console."
    return caller.stream(prompt, approver=approver)


def _whole(server: McpServer) -> McpServer:
    return msgspec.structs.replace(server, tools=())
