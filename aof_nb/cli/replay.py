"""``aofctl replay``: a recorded run once more, without a model, a network or side effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aof_nb.cli.ending import ExitCode, complain, reported, run_to_end, usage_error
from aof_nb.cli.options import DebugOption, OutputOption

if TYPE_CHECKING:
    from aof_nb.journal.recording import Recording


def replay(
    recording: Annotated[
        str,
        typer.Argument(
            help="A run's id, its beginning, or 'last'; or a journal or cassette.",
            metavar="RUN|JOURNAL",
        ),
    ],
    *,
    pace: Annotated[
        float,
        typer.Option(min=0, help="How much of the recorded waits is kept: 1 as it was, 0 none."),
    ] = 0.0,
    output: OutputOption = "text",
    debug: DebugOption = False,
) -> None:
    """Shows a recorded run once more: the same events in the same order, from its journal alone.

    A cassette's runs are shown one after the other.

    Exit code: as the run had; 1 if it was interrupted.
    """
    from aof_nb.errors import ConfigurationError
    from aof_nb.journal.recording import read_recordings
    from aof_nb.journal.replay import journal_path

    with reported(debug=debug):
        try:
            path = journal_path(recording)
        except ConfigurationError as error:
            usage_error(error.message, error.remedy)
        recordings = read_recordings(path)

    async def show_all() -> ExitCode:
        return max([await _show(each, pace, output) for each in recordings])

    run_to_end(show_all)


async def _show(recording: Recording, pace: float, output: OutputOption) -> ExitCode:
    from aof_nb.cli.agent_run import print_events
    from aof_nb.events import RunStatus
    from aof_nb.journal.recording import State
    from aof_nb.recorded_agent import replayed

    for damage in recording.damage:
        complain(f"{recording.path} is damaged: {damage}")
    result = await print_events(replayed(recording, pace=pace), output)
    state, run_id = recording.state, recording.run_id
    if state in {State.INTERRUPTED, State.RUNNING, State.CANCELLED}:
        where = "goes on" if state is State.RUNNING else f"was {state}"
        complain(f"the record ends here: the run {run_id} {where}", "aofctl resume goes on with it")
        return ExitCode.FAILED
    if result.status is RunStatus.WAITING:
        complain(f"the run {run_id} ended here, to wait for a person's approval")
        return ExitCode.WAITING
    if result.error is not None:
        complain(result.error.message, result.error.remedy)
    return ExitCode.DONE if result.status is RunStatus.COMPLETED else ExitCode.FAILED
