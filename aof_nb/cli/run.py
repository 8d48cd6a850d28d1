"""``aofctl run``: an agent's file, or a notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aof_nb.cli.ending import refuse, reported, run_to_end, usage_error
from aof_nb.cli.options import ApprovalTimeoutOption, DebugOption, OutputOption
from aof_nb.errors import AofError

if TYPE_CHECKING:
    from aof_nb.cli.tape import Tape

_AGENT = "Agents"
_NOTEBOOK = "Notebooks"
_RECORDINGS = "Recordings"


def run(
    file: Annotated[
        Path,
        typer.Argument(
            help="An agent in YAML, or a notebook.", exists=True, dir_okay=False, metavar="FILE"
        ),
    ],
    *,
    approve: Annotated[
        Literal["ask", "never", "all"],
        typer.Option(help="What happens where a policy asks for approval."),
    ] = "ask",
    approval_timeout: ApprovalTimeoutOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what would be done: reads are made, and nothing is changed or sent.",
            rich_help_panel=_AGENT,
        ),
    ] = False,
    output: OutputOption = "text",
    debug: DebugOption = False,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Repeat what was recorded, without network and side effects; 'beside' is the "
            "cassette beside FILE.",
            metavar="JOURNAL",
            rich_help_panel=_RECORDINGS,
        ),
    ] = None,
    otherwise: Annotated[
        str | None,
        typer.Option(
            help="Who is asked from the first request on that was not recorded.",
            metavar="PROVIDER:MODEL",
            rich_help_panel=_RECORDINGS,
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            help="The cassette to make, in place of an old one; 'beside' is the one beside FILE.",
            metavar="CASSETTE",
            rich_help_panel=_RECORDINGS,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help="What to ask; '-' reads it from standard input.",
            metavar="TEXT",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(help="The conversation to go on with.", rich_help_panel=_AGENT),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Instead of the agent's own.",
            metavar="PROVIDER:MODEL",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    max_turns: Annotated[
        int | None,
        typer.Option(min=1, help="Model responses at most.", rich_help_panel=_AGENT),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            help="A parameter of the notebook; may be given again.",
            metavar="KEY=VALUE",
            rich_help_panel=_NOTEBOOK,
        ),
    ] = None,
    output_notebook: Annotated[
        Path | None,
        typer.Option(
            "--output-notebook",
            "-o",
            help="The executed notebook.",
            show_default="runs/NAME-YYYYmmdd-HHMMSS.ipynb",
            rich_help_panel=_NOTEBOOK,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="The HTML report.",
            show_default="beside the executed notebook",
            rich_help_panel=_NOTEBOOK,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds for the whole notebook; 'inf' for no limit.",
            show_default="the notebook's time_limit",
            rich_help_panel=_NOTEBOOK,
        ),
    ] = None,
) -> None:
    """Runs an agent on a prompt, or a notebook from its first cell to its last.

    Exit code: 0 done; 1 failed, refused or stopped at a limit; 2 wrong usage; 3 it waits for an
    approval, and goes on with aofctl resume; 130 interrupted.
    """
    tape = _tape(file, replay, otherwise, record)
    if file.suffix == ".ipynb":
        if dry_run:
            usage_error(
                "--dry-run is for agents: a notebook's own code would be executed all the same",
                "use %%aof NAME --dry-run in its cells",
            )
        refuse(
            "is for agents, not for notebooks",
            {"--input": prompt, "--session": session, "--model": model, "--max-turns": max_turns},
        )
        if output_notebook is not None and output_notebook.suffix != ".ipynb":
            usage_error(
                f"--output-notebook {str(output_notebook)!r} does not end in .ipynb",
                "for the format of what is printed, use --output text|json|jsonl",
            )
        from aof_nb.cli.notebook_run import run_notebook_file

        run_to_end(
            lambda: run_notebook_file(
                file,
                given=parameter or [],
                executed=output_notebook,
                report=report,
                approve=approve,
                approval_timeout=approval_timeout,
                output=output,
                timeout=timeout,
                tape=tape,
                debug=debug,
            ),
        )
    refuse(
        "is for notebooks, not for agents",
        {
            "--parameter": parameter,
            "--output-notebook": output_notebook,
            "--report": report,
            "--timeout": timeout,
        },
    )
    if prompt is None:
        usage_error(
            f"{file} is an agent: it needs something to do",
            'use -i "..." or pipe it in with -i -',
        )
    from aof_nb.cli.agent_run import load_agent, print_run
    from aof_nb.terminal import TerminalApprover

    with reported(debug=debug):
        agent = load_agent(file, model=model, max_turns=max_turns)
        text = sys.stdin.read() if prompt == "-" else prompt
        if not text.strip():
            usage_error("the input is empty")
        tape.begin()
        approver = TerminalApprover()
        begun = agent.stream(
            text,
            session=session,
            approve="dry-run" if dry_run else approve,
            approver=approver,
            approval_timeout=approval_timeout,
            model=model,
            replay=tape.replay,
            record=tape.record,
            source=str(file.resolve()),
        )
    run_to_end(lambda: print_run(begun, output, approver=approver, debug=debug))


def _tape(file: Path, replay: str | None, otherwise: str | None, record: str | None) -> Tape:
    from aof_nb.cli.tape import tape_of

    if otherwise is not None and replay is None:
        usage_error("--otherwise is for what --replay has not recorded")
    if replay is not None and record is not None:
        usage_error("--replay and --record exclude each other", "a replay makes no new recording")
    try:
        return tape_of(file, replay, otherwise, record)
    except AofError as error:
        usage_error(error.message, error.remedy)
