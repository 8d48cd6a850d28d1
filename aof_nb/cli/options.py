"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

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
DebugOption: TypeAlias = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
