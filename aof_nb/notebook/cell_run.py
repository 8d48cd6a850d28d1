"""Carries a run through in a cell: shows it, ends it on interrupt, fails the cell with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.agent import Agent
from aof_nb.events import Notice, RunStatus
from aof_nb.journal.runs import run_dir
from aof_nb.journal.stop_request import stoppable
from aof_nb.notebook import registry
from aof_nb.notebook.failures import CellWaiting, Interrupted, failed
from aof_nb.notebook.interrupt import interruptible
from aof_nb.notebook.plain import console_renderer
from aof_nb.notebook.renderer import CellRenderer, LiveRenderer, Renderer, live_renderer
from aof_nb.notebook.rows import in_short
from aof_nb.notebook.screen import CellScreen, Frontend, cell_id, frontend
from aof_nb.notebook.settings import settings_of
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
        approval_timeout: Seconds that a question waits; None for what the policy says.
        model: Instead of the agent's own.
        max_turns: Instead of the agent's own limit.
        debug: Whether a failure shows its traceback.
    """

    session: str | None = None
    out: str | None = None
    approve: ApproveMode = "ask"
    approval_timeout: float | None = None
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
        CellWaiting: If it waits for an approval, and nobody looks at the notebook.
        Interrupted: If the user interrupted it.
    """
    limits = agent.limits
    if options.max_turns is not None:
        limits = msgspec.structs.replace(limits, max_turns=options.max_turns)
    run = agent.stream(
        prompt,
        session=options.session,
        approve=options.approve,
        approval_timeout=options.approval_timeout,
        model=options.model,
        limits=limits,
        cell=cell_id(shell),
    )
    result = await show_in_cell(
        shell,
        run,
        agent=agent.name,
        prompt=prompt,
        session=options.session,
        out=options.out,
        debug=options.debug,
    )
    if result.status is RunStatus.FAILED and result.error is not None:
        raise result.error if options.debug else failed(result.error)
    return result


async def show_in_cell(
    shell: InteractiveShell,
    run: Run,
    *,
    agent: str,
    prompt: str = "",
    session: str | None = None,
    out: str | None = None,
    debug: bool = False,
    replayed: bool = False,
) -> RunResult:
    """Shows a run in the cell that is being executed, to its end; one that fails does not raise.

    Args:
        shell: IPython's shell.
        run: The run.
        agent: Who is asked.
        prompt: What is asked.
        session: The conversation that it goes on with.
        out: The variable that gets the result.
        debug: Whether an interrupt shows its traceback.
        replayed: Whether it is a recorded run that is only looked at.

    Raises:
        CellWaiting: If it waits for an approval, and nobody looks at the notebook.
        Interrupted: If the user interrupted it.
    """
    place, settings, began = frontend(shell), settings_of(shell), time.time()
    renderer: Renderer
    if place is Frontend.HEADLESS:
        renderer = CellRenderer(CellScreen(shell), agent=agent, session=session)
    elif place is Frontend.LIVE:
        live = LiveRenderer(
            CellScreen(shell),
            agent=agent,
            session=session,
            interval=settings.interval,
            autosave=settings.autosave,
            run_id=run.run_id,
        )
        renderer = _live(live, run)
    else:
        renderer = console_renderer(agent, place, settings)
    waiting: CellWaiting | None = None
    with interruptible(kernel=place is not Frontend.TERMINAL), _shown_by(renderer):
        try:
            async with stoppable(lambda: run_dir(run.run_id)):
                await _show(run, renderer)
        except asyncio.CancelledError as cancelled:
            _end(renderer, run, interrupted=True)
            if debug:
                raise
            raise Interrupted("interrupted: the run was ended") from cancelled
        finally:
            if out is not None:
                shell.user_ns[out] = run.result
            if not replayed:
                _remember(run, agent, prompt, began)
        if run.result.status is RunStatus.WAITING and not replayed:
            waiting = _waiting(run)
            renderer.event(Notice(f"{waiting.message}: {waiting.remedy}", "waiting"))
        cost: float | None = None
        try:
            cost = await asyncio.to_thread(lambda: run.result.cost)
        except asyncio.CancelledError as cancelled:
            if debug:
                raise
            raise Interrupted("interrupted: the run had ended already") from cancelled
        finally:
            _end(renderer, run, cost=cost)
    if waiting is not None and place is Frontend.HEADLESS:
        raise waiting
    return run.result


def _end(
    renderer: Renderer, run: Run, *, interrupted: bool = False, cost: float | None = None
) -> None:
    """Shows that a run is over, and what was said to it too late."""
    for notice in run.not_taken():
        renderer.event(notice)
    renderer.end(run.result, interrupted=interrupted, cost=cost)


def _remember(run: Run, agent: str, prompt: str, began: float) -> None:
    """Keeps in mind what this kernel has asked, and what it has used."""
    result = run.result
    registry.spent[run.run_id] = result.usage_by_model
    registry.asked.pop(run.run_id, None)
    registry.asked[run.run_id] = registry.Asked(
        agent=agent,
        prompt=prompt,
        at=began,
        status=result.status.value,
        duration=result.duration,
    )


def _waiting(run: Run) -> CellWaiting:
    """What a run waits for, and how it goes on."""
    from aof_nb.journal.approvals import Approvals

    run_id = run.run_id
    go_on = f"aofctl resume {run.notebook_run}" if run.notebook_run else f"%aof resume {run_id}"
    calls = [
        f"{each.request.tool.name} {in_short(each.request.arguments)}".rstrip()
        for each in Approvals(run_dir(run_id)).pending()
    ]
    return CellWaiting(
        f"{'; '.join(calls) or 'the run'} waits for a person's approval",
        remedy=f"aofctl approve {run_id}, then {go_on}",
    )


def _live(renderer: LiveRenderer, run: Run) -> LiveRenderer:
    """Has a view's clicks do what they say."""
    task = asyncio.current_task()
    assert task is not None

    def stop(_: Mapping[str, Any]) -> None:
        task.cancel()

    def steer(told: Mapping[str, Any]) -> None:
        run.steer(str(told.get("text", "")))

    renderer.on("stop", stop)
    renderer.on("steer", steer)
    return renderer


@contextlib.contextmanager
def _shown_by(renderer: Renderer) -> Generator[None, None, None]:
    """Lets whoever asks a person meanwhile know what shows the run."""
    token = live_renderer.set(renderer if isinstance(renderer, LiveRenderer) else None)
    try:
        yield
    finally:
        live_renderer.reset(token)


async def _show(run: Run, renderer: Renderer) -> None:
    try:
        async for event in run:
            await renderer.prepare(event)
            renderer.event(event)
    finally:
        await run.aclose()
