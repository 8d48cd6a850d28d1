"""``aofctl approve`` and ``aofctl deny``: answers to calls that wait, in whatever process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aof_nb.cli.ending import ExitCode, complain, reported, usage_error
from aof_nb.cli.options import RunArgument

if TYPE_CHECKING:
    from aof_nb.journal.approvals import PendingApproval

_CALL = typer.Option("--call", help="The call, or the beginning of its id.", metavar="ID")
_ALL = typer.Option("--all", help="All calls that wait.")
_BY = typer.Option(help="Who answers; the user's name if not given.", metavar="NAME")
_REASON = typer.Option(help="Why; the model is told it with a no.", metavar="TEXT")
_YES = typer.Option("--yes", "-y", help="Does not ask again on the terminal.")
_RESUME = typer.Option("--resume", help="Goes on with the run afterwards.")


def approve(
    context: typer.Context,
    run: RunArgument,
    *,
    call: Annotated[str | None, _CALL] = None,
    every: Annotated[bool, _ALL] = False,
    similar: Annotated[
        bool, typer.Option("--similar", help="Similar calls of this run too, until it ends.")
    ] = False,
    arguments: Annotated[
        str | None,
        typer.Option(help="What the call is to be made with instead.", metavar="JSON"),
    ] = None,
    by: Annotated[str | None, _BY] = None,
    reason: Annotated[str, _REASON] = "",
    yes: Annotated[bool, _YES] = False,
    resume: Annotated[bool, _RESUME] = False,
) -> None:
    """Approves a call that waits: this tool, as it is defined now, with exactly these arguments."""
    if similar and arguments is not None:
        usage_error(
            "--similar and --arguments cannot be given together",
            "a call that you change is approved once",
        )
    answer = _Answering(run, call=call, every=every, by=by, reason=reason, yes=yes)
    answer.give(approved=True, similar=similar, arguments=arguments)
    answer.go_on(context, resume=resume)


def deny(
    context: typer.Context,
    run: RunArgument,
    *,
    call: Annotated[str | None, _CALL] = None,
    every: Annotated[bool, _ALL] = False,
    reason: Annotated[str, _REASON] = "",
    by: Annotated[str | None, _BY] = None,
    resume: Annotated[bool, _RESUME] = False,
) -> None:
    """Refuses a call that waits; the model is told so, and goes on without it."""
    answer = _Answering(run, call=call, every=every, by=by, reason=reason, yes=True)
    answer.give(approved=False, similar=False)
    answer.go_on(context, resume=resume)


class _Answering:
    """An answer to some of the calls that wait in a run."""

    def __init__(
        self, run: str, *, call: str | None, every: bool, by: str | None, reason: str, yes: bool
    ) -> None:
        from aof_nb.errors import ConfigurationError
        from aof_nb.journal.approvals import Approvals
        from aof_nb.journal.journal import FILE_NAME
        from aof_nb.journal.runs import find_run
        from aof_nb.journal.summary import summarise

        if call is not None and every:
            usage_error("--call and --all cannot be given together")
        try:
            directory = find_run(run)
        except ConfigurationError as error:
            usage_error(error.message, error.remedy)
        self._approvals = Approvals(directory)
        self._run = summarise(directory / FILE_NAME)
        self._by = by
        self._reason = reason
        self._yes = yes
        self._pending = self._waiting()
        self._chosen = self._choose(call, every=every)

    def _waiting(self) -> list[PendingApproval]:
        from aof_nb.journal.recording import FINAL, State

        run = self._run
        pending = [] if run.status in FINAL else self._approvals.pending()
        if not pending:
            remedy = "see aofctl list approvals"
            if run.status == State.WAITING:
                remedy = f"it has been answered; go on with it: aofctl resume {run.run_id}"
            complain(f"nothing waits for approval in run {run.run_id} ({run.status})", remedy)
            raise typer.Exit(ExitCode.FAILED)
        return pending

    def _choose(self, call: str | None, *, every: bool) -> list[PendingApproval]:
        pending = self._pending
        if call is not None:
            exact = [each for each in pending if each.request.call_id == call]
            found = exact or [each for each in pending if each.request.call_id.startswith(call)]
            if len(found) == 1:
                return found
            many = "is the beginning of several calls" if found else "is none that waits"
            self._list()
            usage_error(f"--call {call!r} {many}", "name one of those above")
        elif len(pending) > 1 and not every:
            self._list()
            usage_error(
                f"{len(pending)} calls wait in run {self._run.run_id}",
                "name one of those above with --call ID, or take --all",
            )
        return pending

    def _list(self) -> None:
        for each in self._pending:
            sys.stderr.write(f"{each.request.call_id}:\n{_told(each)}\n")

    def give(self, *, approved: bool, similar: bool, arguments: str | None = None) -> None:
        """Writes the answer to each of the chosen calls."""
        from aof_nb.policy import Answer
        from aof_nb.terminal import user_name

        changed = None if arguments is None else self._changed(arguments)
        for each in self._chosen:
            typer.echo(_told(each))
        if approved and not self._yes and sys.stdin.isatty() and not typer.confirm("Approve?"):
            complain("nothing is approved")
            raise typer.Exit(ExitCode.FAILED)
        by = self._by or user_name()
        for each in self._chosen:
            request = each.request
            answer = Answer(
                approved=approved,
                digest=request.digest,
                similar=similar,
                by=by,
                via="aofctl",
                reason=self._reason,
                arguments=changed,
            )
            with reported():
                self._approvals.answer(request, answer)
            also = ", and similar calls of this run" if similar else ""
            typer.echo(f"{'approved' if approved else 'denied'} by {by}{also}")

    def _changed(self, text: str) -> dict[str, Any]:
        """The arguments that a person has given for the one call that is chosen."""
        from aof_nb.argument_checks import edited_arguments

        if len(self._chosen) > 1:
            usage_error("--arguments are those of one call", "name it with --call ID")
        try:
            return edited_arguments(self._chosen[0].request.tool, text)
        except ValueError as error:
            usage_error(f"--arguments: {error}", "give a JSON object that fits the tool's schema")

    def go_on(self, context: typer.Context, *, resume: bool) -> None:
        """Says what comes next, or does it."""
        from aof_nb.journal.recording import State

        left = len(self._pending) - len(self._chosen)
        run_id = self._run.run_id
        if left:
            still = "1 call still waits" if left == 1 else f"{left} calls still wait"
            typer.echo(f"{still}: aofctl approve {run_id}")
        if self._run.status == State.RUNNING:
            typer.echo("the run goes on")
        elif resume:
            root = context.find_root()
            root.command.main(["resume", run_id], prog_name=root.info_name, standalone_mode=False)
        elif not left:
            typer.echo(f"go on with it: aofctl resume {run_id}")


def _told(pending: PendingApproval) -> str:
    """What is asked, as a person is to read it before he answers."""
    from aof_nb.call_description import described
    from aof_nb.readable import readable, visible

    request = pending.request
    lines = [f"  {visible(request.tool.name)} ({request.tool.effect.value})"]
    lines += [f"  {visible(each)}" for each in described(request.tool, request.arguments)]
    lines += [f"    {visible(each)}" for each in request.preview.splitlines()]
    for name, value in request.arguments.items():
        shown = readable(value)
        joint = "\n      " if "\n" in shown else " "
        indented = shown.replace("\n", "\n      ")
        lines.append(f"    {readable(name)}:{joint}{indented}")
    if request.reason:
        lines.append(f"  {visible(request.reason)}")
    if request.hurry:
        lines.append(f"  {request.hurry}")
    return "\n".join(lines)
