"""Runs an agent from its file, and prints its events."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from pathlib import Path

import msgspec

from aof_nb.agent import Agent
from aof_nb.cli.ending import ExitCode, complain, nobody_asked
from aof_nb.cli.writers import OutputFormat, writer_for
from aof_nb.errors import ConfigurationError
from aof_nb.events import RunStatus
from aof_nb.policy import ApproveMode
from aof_nb.terminal import TerminalApprover


def load_agent(file: Path, *, model: str | None = None, max_turns: int | None = None) -> Agent:
    """Loads an agent from its file.

    Args:
        file: The YAML file.
        model: Instead of the agent's own.
        max_turns: Model responses at most, instead of the agent's own limit.

    Raises:
        ConfigurationError: If the file holds no agent.
    """
    from aof_nb.resources import load

    found = load(file)
    if not isinstance(found, Agent):
        raise ConfigurationError(
            f"{file} holds {type(found).__name__} {found.name!r}, not an agent",
            remedy="give a file with kind: Agent",
        )
    if max_turns is not None:
        limits = msgspec.structs.replace(found.limits, max_turns=max_turns)
        found = dataclasses.replace(found, limits=limits)
    return dataclasses.replace(found, model=model) if model else found


async def run_agent(
    agent: Agent,
    prompt: str,
    *,
    session: str | None,
    approve: ApproveMode,
    output: OutputFormat,
    debug: bool,
) -> ExitCode:
    """Runs an agent once, and prints its events as they come.

    Args:
        agent: The agent.
        prompt: What is asked.
        session: The conversation to go on with.
        approve: What happens where its policy asks.
        output: How the events are printed.
        debug: Whether a failure raises, with its traceback.
    """
    approver = TerminalApprover()
    run = agent.stream(prompt, session=session, approve=approve, approver=approver)
    writer = writer_for(output)
    try:
        async for event in run:
            writer.event(event)
    finally:
        await run.aclose()
        await _close_servers()
    result = run.result
    await asyncio.to_thread(lambda: result.cost)
    writer.end(result)
    if result.error is not None:
        if debug:
            raise result.error
        complain(result.error.message, result.error.remedy)
    if approver.unanswered:
        return nobody_asked()
    return ExitCode.DONE if result.status is RunStatus.COMPLETED else ExitCode.FAILED


async def _close_servers() -> None:
    """Ends the MCP servers that the run has started, if it has started any."""
    module = sys.modules.get("aof_nb.mcp.pool")
    if module is not None:
        with contextlib.suppress(asyncio.CancelledError):
            await module.pool().close()
