"""``aofctl fork``: another way from one of a run's turns on."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from aof_nb.cli.ending import reported, run_to_end, usage_error
from aof_nb.cli.options import AgentOption, DebugOption, OutputOption, RunArgument


def fork(
    run: RunArgument,
    *,
    from_turn: Annotated[
        int, typer.Option("--from-turn", min=1, help="The first turn that is asked anew, from 1.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Who is asked from there on.",
            metavar="PROVIDER:MODEL",
            show_default="the agent's own",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="What the model is told at that turn; at turn 1 instead of the first prompt.",
            metavar="TEXT",
        ),
    ] = None,
    agent: AgentOption = None,
    approve: Annotated[
        Literal["ask", "never", "all"] | None,
        typer.Option(
            help="What happens where a policy asks for approval.",
            show_default="as the run was begun",
        ),
    ] = None,
    max_turns: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Model responses at most, those before included.",
            show_default="as the run was begun",
        ),
    ] = None,
    output: OutputOption = "text",
    debug: DebugOption = False,
) -> None:
    """Begins a run that has the turns of another one before a turn, and is live from there on.

    The other run is left as it is. Its answers are not paid for again and what its tools did is
    not done again; what tools are called from that turn on is really done, as the policy allows.

    Exit code: as for aofctl run.
    """
    import msgspec

    from aof_nb.cli.agent_run import load_agent, print_run
    from aof_nb.cli.recorded import agent_file, named_run
    from aof_nb.errors import ConfigurationError
    from aof_nb.limits import Limits
    from aof_nb.terminal import TerminalApprover

    with reported(debug=debug):
        parent = named_run(run)
        file = agent_file(parent, agent, "fork")
        declared = load_agent(file, model=model)
        approver = TerminalApprover()
        limits = parent.begun.limits or Limits()
        if max_turns is not None:
            limits = msgspec.structs.replace(limits, max_turns=max_turns)
        try:
            forked = declared.fork(
                parent,
                from_turn,
                prompt=prompt,
                model=model,
                approve=approve,
                approver=approver,
                limits=limits,
                source=str(file.resolve()),
            )
        except ConfigurationError as error:
            usage_error(error.message, error.remedy)
    run_to_end(lambda: print_run(forked, output, approver=approver, debug=debug))
