"""Fork: a new run that has the first turns of another one, and goes its own way from there."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from aof_nb._version import __version__
from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.events import (
    ContextCompacted,
    LimitReached,
    ModelFellBack,
    RetryScheduled,
    Steered,
)
from aof_nb.journal.entries import (
    FORMAT,
    Line,
    ModelRequested,
    ModelResponded,
    Parent,
    RunBegun,
    RunContext,
)
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.playback import history_of, steps_of
from aof_nb.journal.recording import Recording, encoded, read_recording
from aof_nb.journal.runs import run_dir
from aof_nb.messages import Usage
from aof_nb.paths import make_private, write_private

_PAID = (ModelResponded, RetryScheduled, ModelFellBack, ContextCompacted)


def begin_fork(parent: Recording, turn: int, begun: RunBegun) -> Recording:
    """Begins a run with the turns of another one before a turn; the parent is left as it is.

    Tokens that the parent has paid for are not counted again.

    Args:
        parent: The other run, wherever it is: it may wait, have failed, or have ended.
        turn: The first turn that is the new run's own, from 1.
        begun: The new run's first entry. Its prompt is what the model is asked at that turn; an
            empty one leaves the conversation as it was there.

    Raises:
        ConfigurationError: If the parent never came to that turn.
        JournalError: If the new run's journal cannot be written.
    """
    steps = steps_of(parent.lines, whole=True)
    requests = [place for place, line in enumerate(steps) if isinstance(line.entry, ModelRequested)]
    if not 1 <= turn <= len(requests):
        raise _no_such_turn(parent, turn, len(requests))
    kept = _without_last_limits(steps[: requests[turn - 1]])
    asked = begun.prompt
    begun = msgspec.structs.replace(
        begun,
        format=FORMAT,
        prompt=asked if asked and turn == 1 else parent.begun.prompt,
        history=tuple(history_of(parent.lines, parent.begun.prompt)),
        parent=Parent(parent.run_id, turn),
        time=time.time(),
        versions={"aof_nb": __version__, "python": platform.python_version()},
    )
    lines = [Line(0.0, begun), *_with_contexts(kept, parent.lines)]
    if asked and turn > 1:
        lines.append(Line(lines[-1].at, Steered(asked)))
    path = run_dir(begun.run_id) / FILE_NAME
    _write(path, encoded(lines))
    return read_recording(path)


def _no_such_turn(parent: Recording, turn: int, turns: int) -> ConfigurationError:
    if not turns:
        return ConfigurationError(
            f"the run {parent.run_id} has no turn to fork from: no model was asked in it",
            remedy="begin a new run",
        )
    return ConfigurationError(
        f"the run {parent.run_id} has no turn {turn} to fork from",
        remedy="it has turn 1" if turns == 1 else f"it has turns 1 to {turns}",
    )


def _without_last_limits(steps: list[Line]) -> list[Line]:
    """The steps without the limits that are told before the next turn: the fork has its own."""
    end = len(steps)
    while end and isinstance(steps[end - 1].entry, LimitReached | Steered):
        end -= 1
    rest = [line for line in steps[end:] if isinstance(line.entry, Steered)]
    return [*steps[:end], *rest]


def _with_contexts(steps: list[Line], recorded: list[Line]) -> Iterator[Line]:
    contexts = {
        line.entry.digest: line.entry for line in recorded if isinstance(line.entry, RunContext)
    }
    for at, entry in steps:
        if isinstance(entry, ModelRequested) and entry.context in contexts:
            yield Line(at, contexts.pop(entry.context))
        free = isinstance(entry, _PAID) and entry.usage != Usage()
        yield Line(at, msgspec.structs.replace(entry, usage=Usage()) if free else entry)


def _write(path: Path, data: bytes) -> None:
    """Writes the new journal whole or not at all, for its owner only."""
    try:
        make_private(path.parent.parent)
        path.parent.mkdir(mode=0o700)
        write_private(path, data, sync=True)
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be written: {error.strerror or error}",
            remedy="make room or mend its permissions",
        ) from error
