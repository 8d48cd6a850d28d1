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
from aof_nb.journal.runs import run_dir
from aof_nb.readable import printable
from aof_nb.result import RunResult
from aof_nb.run import Run
from aof_nb.stoppable_run import carry_through
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


async def print_run(
    run: Run, output: OutputFormat, *, approver: TerminalApprover | None = None, debug: bool = False
) -> ExitCode:
    """Carries a run through, and prints its events as they come.

    Args:
        run: The run.
        output: How the events are printed.
        approver: Who is asked in it.
        debug: Whether a failure raises, with its traceback.
    """
    result = await print_events(run, output)
    if result.error is not None:
        if debug:
            raise result.error
        complain(result.error.message, result.error.remedy)
    if result.status is RunStatus.WAITING:
        return waits(result)
    if approver is not None and approver.unanswered:
        return nobody_asked()
    return ExitCode.DONE if result.status is RunStatus.COMPLETED else ExitCode.FAILED


async def print_events(run: Run, output: OutputFormat) -> RunResult:
    """Prints a run's events as they come, and what came of it."""
    writer = writer_for(output)
    try:
        if await carry_through(run, writer.event):
            complain(f"the run {run.run_id} was stopped: somebody asked for it")
    finally:
        await _close_servers()
    result = run.result
    await asyncio.to_thread(lambda: result.cost)
    writer.end(result)
    return result


def waits(result: RunResult) -> ExitCode:
    """Says what a run waits for, and how it goes on."""
    from aof_nb.journal.approvals import Approvals

    run_id = result.run_id
    pending = Approvals(run_dir(run_id)).pending()
    tools = ", ".join(dict.fromkeys(printable(each.request.tool.name) for each in pending))
    complain(
        f"the run {run_id} waits for a person's approval{f' of {tools}' if tools else ''}",
        f"aofctl approve {run_id}, then aofctl resume {run_id}",
    )
    return ExitCode.WAITING


async def _close_servers() -> None:
    """Ends the MCP servers that the run has started, if it has started any."""
    module = sys.modules.get("aof_nb.mcp.pool")
    if module is not None:
        with contextlib.suppress(asyncio.CancelledError):
            await module.pool().close()
