"""What is done with runs that were recorded: ``%aof runs``, ``show``, ``resume``, ``replay``..."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aof_nb.agent import Agent
from aof_nb.errors import AofError, ConfigurationError
from aof_nb.events import RunStatus
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.reading import read_timeline
from aof_nb.journal.recording import Recording, State, read_recordings
from aof_nb.journal.replay import journal_path
from aof_nb.journal.runs import find_run, read_run
from aof_nb.journal.summary import summaries
from aof_nb.journal.timeline_text import as_text
from aof_nb.journal.wording import shortened
from aof_nb.messages import Usage
from aof_nb.notebook import registry
from aof_nb.notebook.cell_run import RunOptions, show_in_cell
from aof_nb.notebook.failures import failed
from aof_nb.notebook.listing import dollars, table
from aof_nb.policy import ApproveMode
from aof_nb.readable import counted, local_time, printable, seconds
from aof_nb.result import RunResult

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_SHOWN = 20
_WIDEST = 60


def runs() -> str:
    """The newest runs, whoever began them."""
    rows = [
        (
            each.run_id,
            printable(each.agent),
            each.status,
            local_time(each.began, seconds=False),
            seconds(each.duration),
            printable(shortened(" ".join(each.prompt.split()), _WIDEST)),
        )
        for each in itertools.islice(summaries(), _SHOWN)
    ]
    if not rows:
        return "No runs yet."
    return table(("run", "agent", "status", "began", "took", "prompt"), rows)


def show(named: str) -> str:
    """What happened in a run, from its first entry to its last.

    Raises:
        ConfigurationError: If there is no such run.
        JournalError: If its journal cannot be read.
    """
    return str(as_text(read_timeline(find_run(named) / FILE_NAME))).rstrip()


async def cost() -> str:
    """What the runs of this kernel have cost, by model."""
    if not registry.spent:
        return "No runs in this kernel yet."
    used: dict[str, Usage] = {}
    for usage_by_model in registry.spent.values():
        for model, usage in usage_by_model.items():
            used[model] = used.get(model, Usage()) + usage

    def priced() -> list[float | None]:
        from aof_nb.models.prices import price

        return [price(model, usage) for model, usage in used.items()]

    prices = await asyncio.to_thread(priced)
    rows = [
        (model, f"{usage.input_tokens:,}", f"{usage.output_tokens:,}", dollars(each))
        for (model, usage), each in zip(used.items(), prices, strict=True)
    ]
    known = sum(each for each in prices if each is not None)
    unknown = ", and what has no known price" if None in prices else ""
    total = f"{counted(len(registry.spent), 'run')}: {dollars(known)}{unknown}"
    return f"{table(('model', 'input tokens', 'output tokens', 'cost'), rows)}\n{total}"


def save_runbook(file: str, named: str | None, user_ns: dict[str, Any], *, overwrite: bool) -> str:
    """Writes a run as a notebook that needs no model; returns what is to be said of it.

    Args:
        file: The notebook to write.
        named: The run; the last one of this kernel that has ended if None.
        user_ns: The notebook's variables.
        overwrite: Whether a file that is there is replaced.

    Raises:
        ConfigurationError: If there is no such run or agent, or the file is there.
        JournalError: If the run's journal cannot be read.
    """
    from aof_nb.runbooks.save_as import save_runbook as save

    if named is None:
        if not registry.spent:
            raise ConfigurationError(
                "no run of this kernel has ended yet", remedy="name one with --run; see %aof runs"
            )
        named = list(registry.spent)[-1]
    recording = read_run(named)
    saved = save(file, recording, agent_of(recording, user_ns), overwrite=overwrite)
    parameters = ", ".join(each.name for each in saved.parameters) or "none"
    steps = f"{counted(saved.steps, 'step')} of run {recording.run_id}"
    notes = "".join(f"\nto be completed: {each}" for each in saved.notes)
    return f"{saved.path}: {steps}; parameters: {parameters}{notes}"


async def resume(
    shell: InteractiveShell, named: str, options: RunOptions, approve: ApproveMode | None
) -> RunResult:
    """Goes on with a run in the cell that is being executed.

    Args:
        shell: IPython's shell.
        named: The run.
        options: How it is shown, and who is asked from here on.
        approve: What happens where the policy asks; as before if not given.

    Raises:
        CellFailed: If it cannot be gone on with, or failed.
        CellWaiting: If it waits for an approval, and nobody looks at the notebook.
        Interrupted: If the user interrupted it.
    """
    try:
        recording = read_run(named)
        agent = agent_of(recording, shell.user_ns)
        run = agent.resumed(recording, approve=approve, model=options.model)
    except AofError as error:
        raise failed(error) from error
    session = recording.begun.session
    result = await show_in_cell(
        shell,
        run,
        agent=agent.name,
        prompt=recording.begun.prompt,
        session=session,
        out=options.out,
        debug=options.debug,
    )
    if result.status is RunStatus.FAILED and result.error is not None:
        raise result.error if options.debug else failed(result.error)
    return result


def agent_of(recording: Recording, variables: Mapping[str, Any]) -> Agent:
    """The agent of a run: one of this notebook, or the one in the file it was begun from.

    Args:
        recording: The run.
        variables: The notebook's variables.

    Raises:
        ConfigurationError: If there is none.
    """
    begun = recording.begun
    held = [each for name, each in list(variables.items()) if not name.startswith("_")]
    named = [
        each
        for each in [*registry.agents.values(), *reversed(held)]
        if isinstance(each, Agent) and each.name == begun.agent
    ]
    if named:
        return named[0]
    if begun.source:
        from aof_nb.resources import load

        found = load(begun.source)
        if isinstance(found, Agent):
            return found
    raise ConfigurationError(
        f"the run {recording.run_id} is one of agent {begun.agent!r}, which this notebook has not",
        remedy="run the cell that defines it first",
    )


async def replay(
    shell: InteractiveShell, named: str, *, pace: float, out: str | None
) -> RunResult | None:
    """Shows a recorded run once more, or each one of a cassette; returns the last one's result.

    Args:
        shell: IPython's shell.
        named: A run, a journal or a cassette.
        pace: How much of the recorded waits is kept.
        out: The variable that gets the result.

    Raises:
        CellFailed: If there is no such recording.
        Interrupted: If the user interrupted it.
    """
    from aof_nb.recorded_agent import replayed

    try:
        found = read_recordings(journal_path(named))
    except AofError as error:
        raise failed(error) from error
    result: RunResult | None = None
    for each in found:
        run, begun = replayed(each, pace=pace), each.begun
        result = await show_in_cell(
            shell, run, agent=begun.agent, session=begun.session, out=out, replayed=True
        )
        if result.error is not None:
            state = each.state
            over = state in {State.INTERRUPTED, State.RUNNING, State.CANCELLED}
            said = f"the record ends here: the run is {state}" if over else result.error.message
            sys.stdout.write(f"{printable(said)}\n")
    return result
