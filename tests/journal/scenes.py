"""Runs of an agent that looks into a checkout that is slow: what the readers of journals read."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from aof_nb import Agent, RunResult, tool
from aof_nb.errors import ToolError
from aof_nb.events import (
    ContextCompacted,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    TextDelta,
)
from aof_nb.messages import Message, Part, StopReason, Text, Thinking, ToolCall, Usage
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import Effect, ModelRequest

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ANSWER = (
    "The payments database is **locked** by a migration.\n\n"
    "- `pg_stat_activity` shows pid `4711`\n- the lock was released at 03:16\n\n"
    "```sql\nselect pg_terminate_backend(4711) where a < b;\n```\n"
)


class Says:
    """A model that says one thing after the other: what it says depends on the turn alone."""

    name = "anthropic:claude-sonnet-5"

    def __init__(self, *turns: Sequence[Part | ModelEvent]) -> None:
        self._turns = turns

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        turn = sum(1 for message in request.messages if message.role == "assistant")
        parts: list[Part] = []
        for each in self._turns[min(turn, len(self._turns) - 1)]:
            if isinstance(each, Text | Thinking | ToolCall):
                parts.append(each)
                if isinstance(each, Text):
                    yield TextDelta(each.text)
            else:
                yield each  # type: ignore[misc]
        calls = any(isinstance(part, ToolCall) for part in parts)
        yield ModelResponse(
            message=Message("assistant", tuple(parts), model=self.name),
            stop_reason=StopReason.TOOL_USE if calls else StopReason.END_TURN,
            usage=Usage(input_tokens=1200 + 400 * turn, output_tokens=80, cache_read_tokens=1000),
            model=self.name,
        )


@tool(effect=Effect.READ)
async def logs(service: str, lines: int = 50) -> str:
    """The last lines of a service's log."""
    if service == "gone":
        raise ToolError("no service 'gone'; there are: checkout, payments")
    return "\n".join(f"03:14:{n % 60:02} {service} timeout after 5000 ms" for n in range(lines))


@tool(effect=Effect.WRITE)
async def restart(service: str, note: str = "") -> str:
    """Restarts a service."""
    if service == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{service} restarted {note}".strip()


@tool(effect=Effect.DESTRUCTIVE)
async def run_command(argv: list[str]) -> str:
    """Runs a command."""
    return "pg_terminate_backend\n----------------------\n t"


def call(name: str, **arguments: Any) -> ToolCall:
    """A tool call; the loop gives it an id of its own."""
    return ToolCall(name, name, arguments)


INCIDENT: tuple[Sequence[Any], ...] = (
    (
        RetryScheduled(Says.name, "overloaded", 0.4, 1, 5),
        Thinking("Latency first, then the database.", "anthropic", {}),
        Text(f"I look at the logs of both services. {ATTACK}"),
        call("logs", service="checkout", lines=300),
        call("logs", service="gone"),
    ),
    (
        TextDelta("It seems that"),
        ResponseSuperseded(Says.name),
        ModelFellBack(Says.name, "openai:gpt-5", "overloaded"),
        Notice("the model's window is 80 % full"),
        ContextCompacted(Says.name, 9000, 4000, dropped=("logs",)),
        Text("A migration holds a lock. I end it, then restart checkout."),
        call("run_command", argv=["psql", "-c", "select pg_terminate_backend(4711)"]),
        call("restart", service="checkout", note=ATTACK),
        call("restart", service="payments"),
        call("nonsense", a=1),
    ),
    (Text(ANSWER),),
)


def incident_agent(*turns: Sequence[Any], name: str = "sre") -> Agent:
    """An agent that goes through turns; through the whole incident if none are given."""
    return Agent(
        name=name,
        model=Says(*(turns or INCIDENT)),
        instructions="You are on call.",
        tools=[logs, restart, run_command],
    )


class Clicks:
    """A person who approves everything but restarts of payments."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        yes = request.arguments.get("service") != "payments"
        return Answer(
            approved=yes,
            digest=request.digest,
            by="ines",
            via="notebook",
            reason="" if yes else "payments <b>is fine</b>",
        )


async def incident(prompt: str = f"Why is checkout slow? {ATTACK}") -> RunResult:
    """The whole incident, to its end."""
    return await incident_agent().run(prompt, approver=Clicks(), session="inc-42")


def killed_agent() -> Agent:
    """An agent that is killed in the middle of a restart."""
    return incident_agent(
        (Text("Restarting."), call("logs", service="web"), call("restart", service="die")),
        (Text("Done, as far as I can tell."),),
    )


if __name__ == "__main__":
    import asyncio

    os.environ["AOF_STATE_DIR"] = sys.argv[1]
    asyncio.run(killed_agent().run("restart it", approve="all", run_id="killed"))
    Path(sys.argv[1], "survived").touch()
