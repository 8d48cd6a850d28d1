"""Carries a run through in a cell: shows it, ends it on interrupt, fails the cell with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from aof_nb.agent import Agent
from aof_nb.errors import ApprovalPending
from aof_nb.events import RunStatus
from aof_nb.notebook.console import ConsoleRenderer
from aof_nb.notebook.failures import Interrupted, failed
from aof_nb.notebook.interrupt import interruptible
from aof_nb.notebook.renderer import CellRenderer, Renderer
from aof_nb.notebook.screen import CellScreen, Frontend, frontend
from aof_nb.policy import ApproveMode
from aof_nb.result import RunResult
from aof_nb.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a magic's options say of a run.

    Args:
        session: The conversation to go on with.
        out: The variable that gets the result.
        approve: What happens where the policy asks.
        model: Instead of the agent's own.
        max_turns: Instead of the agent's own limit.
        debug: Whether a failure shows its traceback.
    """

    session: str | None = None
    out: str | None = None
    approve: ApproveMode = "ask"
    model: str | None = None
    max_turns: int | None = None
    debug: bool = False


async def run_in_cell(
    shell: InteractiveShell, agent: Agent, prompt: str, options: RunOptions
) -> RunResult:
    """Runs an agent and shows it in the cell that is being executed.

    Args:
        shell: IPython's shell.
        agent: Who is asked.
        prompt: What is asked, expanded.
        options: How.

    Raises:
        CellFailed: If the run failed; the result is in the user's variable all the same.
        Interrupted: If the user interrupted it.
    """
    limits = agent.limits
    if options.max_turns is not None:
        limits = msgspec.structs.replace(limits, max_turns=options.max_turns)
    run = agent.stream(
        prompt,
        session=options.session,
        approve=options.approve,
        model=options.model,
        limits=limits,
    )
    place = frontend(shell)
    renderer: Renderer = ConsoleRenderer()
    if place in {Frontend.LIVE, Frontend.HEADLESS}:
        renderer = CellRenderer(
            CellScreen(shell),
            live=place is Frontend.LIVE,
            agent=agent.name,
            session=options.session,
        )
    with interruptible(kernel=place is not Frontend.TERMINAL):
        try:
            await _show(run, renderer)
        except asyncio.CancelledError as cancelled:
            renderer.end(run.result, interrupted=True)
            if options.debug:
                raise
            raise Interrupted("interrupted: the run was ended") from cancelled
        finally:
            if options.out is not None:
                shell.user_ns[options.out] = run.result
        await _end(run.result, renderer, live=place is Frontend.LIVE)
    try:
        run.raise_if_waiting()
    except ApprovalPending as pending:
        raise failed(pending) from None
    result = run.result
    if result.status is RunStatus.FAILED and result.error is not None:
        raise result.error if options.debug else failed(result.error)
    return result


async def _show(run: Run, renderer: Renderer) -> None:
    try:
        async for event in run:
            renderer.event(event)
    finally:
        await run.aclose()


async def _end(result: RunResult, renderer: Renderer, *, live: bool) -> None:
    if live:
        renderer.end(result)
    cost = await asyncio.to_thread(lambda: result.cost)
    if cost or not live:
        renderer.end(result, cost=cost)
