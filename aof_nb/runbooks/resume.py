"""Goes on with a notebook's run that a crash, a failed cell or a waiting approval has ended."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import math
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.playbook_recording import PlaybookRecording, read_playbook
from aof_nb.journal.recording import State
from aof_nb.journal.runs import find_run
from aof_nb.policy import DRY_RUN
from aof_nb.runbooks.carry_out import carry_out
from aof_nb.runbooks.notebook_result import NotebookResult, NotebookStatus
from aof_nb.runbooks.orphans import kernel_has_ended
from aof_nb.runbooks.parameters import ParameterError, fitted
from aof_nb.runbooks.playbook import NOTEBOOK_NAME, Playbook, opened_journal
from aof_nb.runbooks.prepared import Prepared, file_digest, prepared, prepared_again
from aof_nb.runbooks.progress import Progress, titles
from aof_nb.runbooks.run import (
    NotebookInfo,
    bound_of,
    check_language,
    inspect_notebook,
    places,
)

if TYPE_CHECKING:
    from aof_nb.policy import ApproveMode, Approver

PATIENCE = 10.0
"""Seconds that the kernel of a process that was killed is given to end by itself."""


class ResumeError(ConfigurationError):
    """The run has completed, or cannot be resumed in the way that is asked for."""


async def resume_playbook(
    run: PlaybookRecording | Path | str,
    *,
    approve: ApproveMode | None = None,
    approver: Approver | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    repeat: Sequence[str] = (),
    skip: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    notebook: str | Path | None = None,
    timeout: float | None = None,  # noqa: ASYNC109  ends the kernel and keeps the notebook
) -> NotebookResult:
    """Goes on with a notebook's run, in a fresh kernel.

    Plain cells are executed again, since they rebuild the state. What the agents of its cells did
    is taken from their journals: a run that has ended is repeated as it was recorded, one that
    broke off, failed or waits goes on. A cell that is marked ``once`` is not executed again if it
    came to its end; if it was begun and did not, the run is not resumed before the user has said
    what becomes of it.

    Args:
        run: The run's id or its beginning, its directory, or what was read of its journal.
        approve: As for `run_notebook`; as before if not given.
        approver: Who is asked, with ``ask``; if nobody is, the run waits.
        on_progress: Called on this loop as cells start and finish.
        on_notice: Told what there is to know at the beginning.
        repeat: Cells that are executed again although they are marked ``once``, and whose agents
            may do again what the journal has no record of; each a place, an id or a title.
        skip: Cells that are left out.
        parameters: Values of the parameters that the journal does not keep.
        notebook: Another file to take the cells from, such as the notebook, mended; a copy of what
            the run began with if not given.
        timeout: Seconds for the rest, `math.inf` for as long as it takes; as many as the whole run
            had if not given.

    Returns:
        What came of it; ``undecided`` if the user is to say first what becomes of a cell.

    Raises:
        ResumeError: If it has completed, or has no such cell.
        ConfigurationError: If there is no such run, or the notebook cannot be run.
        JournalError: If the run goes on in another process, or its journal is damaged or cannot
            be written.
        ParameterError: If a parameter is missing that the journal does not keep.

    Example:
        >>> async def go_on():
        ...     return await resume_playbook("20261126-031500-a1b2c3", skip=["5"])
    """
    directory = await asyncio.to_thread(_directory, run)
    recording = await asyncio.to_thread(_resumable, directory)
    if recording.kernel is not None and not await kernel_has_ended(
        recording.kernel, patience=PATIENCE
    ):
        raise JournalError(
            f"the kernel of the run {recording.run_id} still goes on, as process "
            f"{recording.kernel.pid}",
            remedy=f"wait for its end, or kill {recording.kernel.pid}",
        )
    journal = await asyncio.to_thread(opened_journal, directory, before=recording.duration)
    with contextlib.ExitStack() as held:
        held.callback(journal.close)
        # Until it was held, another process may have gone on with it.
        recording = await asyncio.to_thread(_resumable, directory, held=True)
        begun = recording.begun
        file = Path(notebook) if notebook is not None else None
        values = _values(recording, parameters or {})
        ready, info = await asyncio.to_thread(_ready, recording, file, values, on_notice)
        dry = _mode(recording) == DRY_RUN
        mode: ApproveMode = DRY_RUN if dry else approve or _mode(recording)
        playbook = _playbook(recording, ready, journal, repeat, skip)
        executed, report = Path(begun.output), Path(begun.report)
        if (undecided := playbook.undecided()) is not None:
            return NotebookResult(
                status=NotebookStatus.UNDECIDED,
                output_path=executed,
                report_path=report,
                duration=0.0,
                run_id=recording.run_id,
                undecided=undecided,
            )
        places(Path(begun.notebook), executed, report)
        await asyncio.to_thread(_keep_attempt, recording, executed)
        if file is not None:
            await asyncio.to_thread(_replace_notebook, recording, ready)
        playbook.resume(
            notebook=str(file.resolve()) if file else "",
            digest=ready.digest if file else "",
            approve=mode,
        )
        held.pop_all()
    return await carry_out(
        playbook,
        Path(begun.notebook),
        executed=executed,
        report=report,
        approve=mode,
        approver=approver,
        on_progress=on_progress,
        timeout=begun.timeout if timeout is None else None if timeout == math.inf else timeout,
        bound=bound_of(info),
    )


def _directory(run: PlaybookRecording | Path | str) -> Path:
    if isinstance(run, PlaybookRecording):
        return run.directory
    return run if isinstance(run, Path) else find_run(run)


def _resumable(directory: Path, *, held: bool = False) -> PlaybookRecording:
    """The journal of a run that can be resumed.

    Args:
        directory: The run's directory.
        held: Whether it is this process that holds the journal.
    """
    recording = read_playbook(directory / FILE_NAME)
    state = recording.state
    if state is State.COMPLETED:
        raise ResumeError(
            f"the run {recording.run_id} has completed: there is nothing to go on with",
            remedy=f"to run it again: aofctl run {recording.begun.notebook}",
        )
    if state is State.RUNNING and not held:
        raise JournalError(
            f"the run {recording.run_id} goes on in another process",
            remedy="wait for its end, or end that process",
        )
    if recording.damage:
        raise JournalError(
            f"{recording.path} is damaged, {recording.damage[0]}: what was done is not known",
            remedy="find out, and begin anew with aofctl run",
        )
    return recording


def _mode(recording: PlaybookRecording) -> ApproveMode:
    named = [recording.begun.approve, *(each.approve for each in recording.resumptions)][-1]
    if recording.begun.approve == DRY_RUN:
        return DRY_RUN
    return "never" if named == "never" else "all" if named == "all" else "ask"


def _values(recording: PlaybookRecording, given: Mapping[str, Any]) -> dict[str, Any]:
    begun = recording.begun
    for name in given:
        if name not in begun.secrets:
            raise ParameterError(
                f"parameter {name!r} is kept: a run is resumed with the values it began with",
                remedy=f"to run it with others: aofctl run {begun.notebook}",
            )
    missing = [name for name in begun.secrets if name not in given]
    if missing:
        raise ParameterError(
            f"the value of parameter {missing[0]!r} looks secret and was not kept",
            remedy=f"give it again: -p {missing[0]}=...",
        )
    return {**begun.parameters, **given}


def _ready(
    recording: PlaybookRecording,
    file: Path | None,
    values: Mapping[str, Any],
    on_notice: Callable[[str], None] | None,
) -> tuple[Prepared, NotebookInfo]:
    """The notebook to go on with, and what it says of itself."""
    begun = recording.begun
    if file is not None:
        info = inspect_notebook(file)
        check_language(info)
        return prepared(file, fitted(info.parameters, values)), info
    others = [each for each in recording.resumptions if each.notebook]
    source, digest = begun.notebook, begun.digest
    if others:
        # The user has named another file before, and it is that one which goes on.
        source, digest = others[-1].notebook, others[-1].digest
    now = file_digest(Path(source))
    if now != digest and on_notice is not None:
        what = "has changed" if now else "is gone"
        use = f"; to use it as it is now: --notebook {source}" if now else ""
        on_notice(f"{source} {what} since: the run goes on with a copy of what it was{use}")
    info = inspect_notebook(recording.directory / NOTEBOOK_NAME)
    return prepared_again(info.path, fitted(info.parameters, values)), info


def _playbook(
    recording: PlaybookRecording,
    ready: Prepared,
    journal: Journal,
    repeat: Sequence[str],
    skip: Sequence[str],
) -> Playbook:
    repeated, skipped = _named(ready, repeat), _named(ready, skip)
    for each in repeated:
        if each in skipped:
            raise ResumeError(
                f"cell {each} cannot be both repeated and skipped", remedy="say one of the two"
            )
    return Playbook(
        ready,
        recording.begun.parameters,
        journal=journal,
        recording=recording,
        repeat=repeated,
        skip=skipped,
    )


def _named(ready: Prepared, named: Sequence[str]) -> list[str]:
    """The ids of the cells that people name by place, id or title."""
    cells = ready.notebook.cells
    found = {}
    for place, (index, title) in enumerate(titles(cells).items(), start=1):
        found[title] = cells[index].id
        found[str(place)] = cells[index].id
    found |= {cells[index].id: cells[index].id for index in titles(cells)}
    for each in named:
        if each not in found:
            near = difflib.get_close_matches(each, found, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ResumeError(
                f"there is no code cell {each!r}",
                remedy=f"{hint}name it by its place, 1 to {len(titles(cells))}, its id or title",
            )
    return [found[each] for each in named]


def _keep_attempt(recording: PlaybookRecording, executed: Path) -> None:
    """Keeps the executed notebook as it was left, since it is written anew."""
    if executed.stat().st_size:
        with _unwritable(recording):
            _copy(executed, recording.directory / f"attempt-{recording.attempts}.ipynb")


def _replace_notebook(recording: PlaybookRecording, ready: Prepared) -> None:
    """Takes another notebook to go on with from here on, and keeps the one before."""
    notebook = recording.directory / NOTEBOOK_NAME
    with _unwritable(recording):
        _copy(notebook, notebook.with_stem(f"{notebook.stem}-{recording.attempts}"))
        ready.write(notebook)


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    partial = target.with_suffix(".partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _unwritable(recording: PlaybookRecording) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"{recording.directory} cannot be written: {error.strerror or error}",
            remedy=f"make room, then: aofctl resume {recording.run_id}",
        ) from error
