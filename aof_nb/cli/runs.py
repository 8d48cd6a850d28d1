"""``aofctl list runs`` and ``list approvals``, and ``aofctl runs``: the runs that are kept."""

from __future__ import annotations

import enum
import itertools
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aof_nb.cli.ending import complain, reported, usage_error
from aof_nb.cli.options import OutputOption

if TYPE_CHECKING:
    from rich.text import Text

    from aof_nb.journal.summary import RunSummary

app = typer.Typer(name="runs", help="Deletes old runs.", no_args_is_help=True)

_PROMPT_CHARS = 80
_LIMIT = 50


class Status(enum.StrEnum):
    """The statuses by which runs can be listed."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    COMPLETED = "completed"
    LIMIT = "limit"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    DAMAGED = "damaged"


def list_runs(
    *,
    agent: Annotated[
        str | None, typer.Option(help="Only those of agents like this.", metavar="PATTERN")
    ] = None,
    status: Annotated[
        list[Status] | None, typer.Option(help="Only these; may be given again.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only those that began since: 2h, 3d, 2026-11-26, 2026-11-26T03:00.",
            metavar="WHEN",
        ),
    ] = None,
    session: Annotated[str | None, typer.Option(help="Only those of a conversation.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")] = _LIMIT,
    output: OutputOption = "text",
) -> None:
    """Shows the runs, the newest first: going on, waiting, interrupted, ended."""
    from aof_nb.journal.summary import summaries

    found = summaries(
        agent=agent,
        session=session,
        since=None if since is None else _since(since),
        statuses=[each.value for each in status or ()],
    )
    runs = list(itertools.islice(found, limit or None))
    if output == "text":
        _print_runs(runs)
    else:
        _print_json([_fields(run) for run in runs], lines=output == "jsonl")
    if limit and next(found, None) is not None:
        complain(f"there are more than these {limit} runs", "--limit 0 shows all")


def list_approvals(
    *,
    output: OutputOption = "text",
) -> None:
    """Shows the calls that wait for a person's approval, in all runs."""
    from aof_nb.cli.listing import print_table
    from aof_nb.journal.summary import waiting_calls
    from aof_nb.journal.wording import call_line
    from aof_nb.readable import visible

    waiting = list(waiting_calls())
    if output != "text":
        content = [
            {
                "run_id": run.run_id,
                "agent": run.agent,
                "status": run.status,
                "call_id": pending.request.call_id,
                "tool": pending.request.tool.name,
                "effect": pending.request.tool.effect.value,
                "source": pending.request.tool.source,
                "arguments": pending.request.arguments,
                "reason": pending.request.reason,
                "asked": _iso(pending.time),
                "digest": pending.request.digest,
            }
            for run, pending in waiting
        ]
        _print_json(content, lines=output == "jsonl")
        return
    rows = [
        (
            run.run_id,
            run.agent,
            pending.request.call_id,
            pending.request.tool.effect.value,
            _when(pending.time),
            visible(call_line(pending.request.tool.name, pending.request.arguments)),
        )
        for run, pending in waiting
    ]
    print_table(("run", "agent", "call", "effect", "asked", "what"), rows, "text")


@app.command()
def prune(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(help="Those that wrote nothing for so long: 12h, 30d, 8w.", metavar="AGE"),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            help="The oldest, until all together take no more than this: 500MB, 2GB.",
            metavar="SIZE",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only says which.")] = False,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", help="How to print it.")
    ] = "text",
) -> None:
    """Deletes runs by age and by size, with their journals and artifacts.

    Without options it goes by AOF_RUNS_MAX_AGE and AOF_RUNS_MAX_SIZE. Runs that go on, or wait for
    an approval, stay.
    """
    from rich.filesize import decimal

    from aof_nb.journal.retention import Retention, parse_age, parse_size
    from aof_nb.journal.retention import prune as prune_runs

    with reported():
        retention = Retention(
            max_age=parse_age(older_than, "--older-than") if older_than else None,
            max_size=parse_size(max_size, "--max-size") if max_size else None,
        )
        if retention == Retention():
            retention = Retention.from_environment()
        if retention == Retention():
            usage_error(
                "it is not said which runs are to be deleted",
                "give --older-than 30d or --max-size 2GB, or set AOF_RUNS_MAX_AGE",
            )
        pruned = prune_runs(retention, dry_run=dry_run)
    if output == "json":
        _print_json(
            [
                {"run_id": each.run_id, "size": each.size, "last": _iso(each.last)}
                for each in pruned
            ],
            lines=False,
        )
        return
    done = "would be deleted" if dry_run else "deleted"
    for each in pruned:
        typer.echo(f"{each.run_id} {done}: {decimal(each.size)}, last used {_when(each.last)}")
    total = decimal(sum(each.size for each in pruned))
    typer.echo(f"{len(pruned)} run{'' if len(pruned) == 1 else 's'} {done}, {total}")


def _since(text: str) -> float:
    from aof_nb.durations import duration

    try:
        return time.time() - duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        usage_error(
            f"--since {text!r} is neither a duration nor a date",
            "write 2h, 3d, 2026-11-26 or 2026-11-26T03:00",
        )


def _print_runs(runs: list[RunSummary]) -> None:
    from aof_nb.cli.listing import print_table
    from aof_nb.journal.wording import dollars, shortened
    from aof_nb.readable import seconds, visible

    rows = []
    for run in runs:
        told = f"{run.error} " if run.status == Status.DAMAGED else ""
        rows.append(
            (
                run.run_id,
                _when(run.began),
                visible(run.agent),
                _styled(run.status),
                str(run.turns),
                str(run.tool_calls),
                f"{run.usage.total_tokens:,}",
                dollars(run.cost),
                seconds(run.duration),
                visible(shortened(told + " ".join(run.prompt.split()), _PROMPT_CHARS)),
            )
        )
    numbers = ("turns", "calls", "tokens", "cost", "took")
    columns = ("run", "began", "agent", "status", *numbers, "prompt")
    print_table(columns, rows, "text", numbers=numbers, cut="prompt")


def _styled(status: str) -> Text:
    from rich.text import Text

    colours = {"completed": "green", "failed": "red", "damaged": "red", "running": "cyan"}
    return Text(status, colours.get(status, "yellow"))


def _fields(run: RunSummary) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "agent": run.agent,
        "status": run.status,
        "began": _iso(run.began),
        "prompt": run.prompt,
        "model": run.model,
        "session": run.session,
        "turns": run.turns,
        "tool_calls": run.tool_calls,
        "usage": run.usage,
        "cost": run.cost,
        "duration": round(run.duration, 3),
        "limit": run.limit,
        "error": run.error,
        "forked_from": run.forked_from,
        "notebook_run": run.notebook_run,
        "journal": str(run.path),
    }


def _print_json(content: list[dict[str, Any]], *, lines: bool) -> None:
    import msgspec

    from aof_nb.readable import indented_json

    if lines:
        for each in content:
            typer.echo(msgspec.json.encode(each).decode())
    else:
        typer.echo(indented_json(content))


def _when(time_: float) -> str:
    from aof_nb.journal.gathering import moment

    return f"{moment(time_).astimezone():%Y-%m-%d %H:%M}"


def _iso(time_: float) -> str:
    from aof_nb.journal.gathering import moment

    return moment(time_).astimezone().isoformat(timespec="milliseconds")
