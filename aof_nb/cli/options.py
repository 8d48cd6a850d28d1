"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from aof_nb.durations import time_limit

RunArgument: TypeAlias = Annotated[
    str, typer.Argument(help="A run's id, its beginning, or 'last'.", metavar="RUN")
]
AgentOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--agent",
        help="The agent's YAML file.",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        show_default="the one the run was begun with",
    ),
]
OutputOption: TypeAlias = Annotated[
    Literal["text", "json", "jsonl"], typer.Option("--output", help="How to print it.")
]


def _time_limit(text: str) -> float:
    try:
        return time_limit(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write 30s, 5m or 1h, or inf for no limit") from None


ApprovalTimeoutOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--approval-timeout",
        parser=_time_limit,
        metavar="DURATION",
        help="How long a question waits for you; no answer is a no then. 'inf' for no limit.",
        show_default="what the policy says",
    ),
]
DebugOption: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
