"""``aofctl resume``: goes on with a run that was interrupted, failed or waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from aof_nb.cli.ending import refuse, reported, run_to_end
from aof_nb.cli.options import AgentOption, DebugOption, OutputOption, RunArgument

_NOTEBOOKS = "Runs of notebooks"


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
    repeat: Annotated[
        list[str] | None,
        typer.Option(
            help="Execute a cell again that is marked once, or have its agents begin anew; its "
            "place, title or id. May be given again.",
            metavar="CELL",
            rich_help_panel=_NOTEBOOKS,
        ),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave a cell out. May be given again.",
            metavar="CELL",
            rich_help_panel=_NOTEBOOKS,
        ),
    ] = None,
    notebook: Annotated[
        Path | None,
        typer.Option(
            help="Take the cells from this file, such as the notebook, mended.",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            show_default="a copy of what it began with",
            rich_help_panel=_NOTEBOOKS,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            help="A parameter whose value was not kept; may be given again.",
            metavar="KEY=VALUE",
            rich_help_panel=_NOTEBOOKS,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds for the rest; 'inf' for no limit.",
            show_default="as it was begun",
            rich_help_panel=_NOTEBOOKS,
        ),
    ] = None,
) -> None:
    """Goes on with a run that was interrupted, has failed, or waits for an approval.

    What the model has answered and what tools have done is taken from the run's journal; nothing
    is paid for or carried out twice. A call that was begun and whose outcome nobody knows is made
    again if it only reads; else its tool is asked whether it took effect, or you are.

    In the run of a notebook plain cells are executed again, agents' work is taken from their
    journals, and cells that are marked once are not executed a second time.

    Exit code: as for aofctl run.
    """
    from aof_nb.cli.recorded import named_directory
    from aof_nb.journal.playbook_recording import is_playbook

    directory = named_directory(run)
    if is_playbook(directory):
        refuse("is for runs of agents, not of notebooks", {"--agent": agent, "--model": model})
        from aof_nb.cli.notebook_resume import resume_notebook_run

        run_to_end(
            lambda: resume_notebook_run(
                directory,
                given=parameter or [],
                repeat=repeat or [],
                skip=skip or [],
                notebook=notebook,
                approve=approve,
                output=output,
                timeout=timeout,
                debug=debug,
            )
        )
    refuse(
        "is for runs of notebooks, not of agents",
        {
            "--repeat": repeat,
            "--skip": skip,
            "--notebook": notebook,
            "--parameter": parameter,
            "--timeout": timeout,
        },
    )
    from aof_nb.cli.agent_run import load_agent, print_run
    from aof_nb.cli.recorded import agent_file, named_run
    from aof_nb.journal.recording import check_resumable
    from aof_nb.terminal import TerminalApprover

    with reported(debug=debug):
        recording = named_run(directory.name)
        check_resumable(recording)
        model = model or recording.begun.asked_model or None
        declared = load_agent(agent_file(recording, agent, "resume"), model=model)
        approver = TerminalApprover()
        resumed = declared.resumed(recording, approve=approve, approver=approver, model=model)
    run_to_end(lambda: print_run(resumed, output, approver=approver, debug=debug))
