"""``aofctl resume``: goes on with a run that was interrupted, failed or waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from aof_nb.cli.ending import reported, run_to_end
from aof_nb.cli.options import AgentOption, DebugOption, OutputOption, RunArgument

if TYPE_CHECKING:
    from aof_nb.cli.writers import OutputFormat
    from aof_nb.policy import ApproveMode


def resume(
    run: RunArgument,
    *,
    agent: AgentOption = None,
    approve: Annotated[
        Literal["ask", "never", "all"] | None,
        typer.Option(
            help="What happens where a policy asks for approval.", show_default="as it was begun"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Who is asked from here on.",
            metavar="PROVIDER:MODEL",
            show_default="as it was begun",
        ),
    ] = None,
    output: OutputOption = "text",
    debug: DebugOption = False,
) -> None:
    """Goes on with a run that was interrupted, has failed, or waits for an approval.

    What the model has answered and what tools have done is taken from the run's journal; nothing
    is paid for or carried out twice. A call that was begun and whose outcome nobody knows is made
    again if it only reads; else its tool is asked whether it took effect, or you are.

    Exit code: as for aofctl run.
    """
    from aof_nb.cli.recorded import named_directory

    directory = named_directory(run)
    _resume_agent_run(
        directory, file=agent, approve=approve, model=model, output=output, debug=debug
    )


def _resume_agent_run(
    directory: Path,
    *,
    file: Path | None,
    approve: ApproveMode | None,
    model: str | None,
    output: OutputFormat,
    debug: bool,
) -> NoReturn:
    from aof_nb.cli.agent_run import load_agent, print_run
    from aof_nb.cli.recorded import agent_file
    from aof_nb.journal.journal import FILE_NAME
    from aof_nb.journal.recording import check_resumable, read_recording
    from aof_nb.terminal import TerminalApprover

    with reported(debug=debug):
        recording = read_recording(directory / FILE_NAME)
        check_resumable(recording)
        model = model or recording.begun.asked_model or None
        declared = load_agent(agent_file(recording, file, "resume"), model=model)
        approver = TerminalApprover()
        resumed = declared.resumed(recording, approve=approve, approver=approver, model=model)
    run_to_end(lambda: print_run(resumed, output, approver=approver, debug=debug))
