"""The options of ``%%aof`` and ``%aof ask``, and of what is done with a run later."""

from __future__ import annotations

import argparse
import os
from typing import Any, cast

from IPython.core.error import UsageError

from aof_nb.durations import time_limit
from aof_nb.notebook.arguments import LineParser
from aof_nb.notebook.cell_run import RunOptions
from aof_nb.notebook.settings import AOF, MODES
from aof_nb.policy import DRY_RUN, ApproveMode, approval_timeout_from_environment

_ARGUMENTS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (
        ("--session", "-s"),
        {
            "completes": "session",
            "help": "the conversation to go on with, which memory keeps; AOF.session",
        },
    ),
    (
        ("--out", "-o"),
        {
            "completes": "variable",
            "metavar": "VAR",
            "help": "the variable that gets the RunResult",
        },
    ),
    (
        ("--approve", "-a"),
        {
            "choices": MODES,
            "help": "where the policy asks: ask a person, never approve, approve all, or make a "
            "dry run; "
            "AOF_APPROVE, AOF.approve or ask if not given",
        },
    ),
    (
        ("--approval-timeout",),
        {
            "metavar": "DURATION",
            "help": "how long a question waits for you, such as 5m; no answer is a no then; "
            "AOF.approval_timeout, or what the policy says",
        },
    ),
    (
        ("--model", "-m"),
        {
            "completes": "model",
            "help": "instead of the agent's own, such as openai:gpt-5; AOF.model",
        },
    ),
    (
        ("--max-turns",),
        {"type": int, "metavar": "N", "help": "model responses at most; AOF.max_turns"},
    ),
    (
        ("--dry-run",),
        {
            "action": "store_true",
            "help": "show what would be done: reads are made, and nothing is changed or sent",
        },
    ),
    (("--debug",), {"action": "store_true", "help": "show tracebacks of failures"}),
]


def add_run_options(parser: LineParser, *only: str) -> None:
    """Adds the options of a run to a parser.

    Args:
        parser: The parser.
        *only: The long names of those that are added; all if none is given.
    """
    for flags, settings in _ARGUMENTS:
        if not only or flags[0] in only:
            parser.add(*flags, **settings)


def cell_parser() -> LineParser:
    """The parser of the line of ``%%aof``."""
    parser = LineParser(
        "%%aof",
        "Asks an agent: the cell's body is the prompt, in which {name} reads a variable.",
        "%%aof sre --session inc-42 --out r\nWhy is {service} slow since {since}?",
    )
    parser.add("agent", completes="agent", help="the agent's name")
    add_run_options(parser)
    return parser


def run_options(read: argparse.Namespace, settings: AOF) -> RunOptions:
    """What a line says of a run; what it does not say is as the settings have it.

    Args:
        read: The line, read.
        settings: The defaults of the notebook.

    Raises:
        UsageError: If a value is wrong.
    """
    check_variable(read.out)
    max_turns = read.max_turns if read.max_turns is not None else settings.max_turns
    if max_turns is not None and max_turns < 1:
        raise UsageError(f"--max-turns {max_turns}: give 1 or more")
    return RunOptions(
        session=read.session or settings.session,
        out=read.out,
        approve=DRY_RUN if read.dry_run else _approve(read) or settings.approve,
        approval_timeout=_approval_timeout(read) or settings.approval_timeout,
        model=read.model or settings.model,
        max_turns=max_turns,
        debug=read.debug,
    )


def resume_options(read: argparse.Namespace) -> tuple[RunOptions, ApproveMode | None]:
    """How a run that is gone on with is shown, and what happens where a policy asks.

    What the run began with holds on, whatever the settings of this notebook are.

    Raises:
        UsageError: If a value is wrong.
    """
    check_variable(read.out)
    approve = _approve(read)
    options = RunOptions(out=read.out, approve=approve or "ask", model=read.model, debug=read.debug)
    return options, approve


def _approval_timeout(read: argparse.Namespace) -> float | None:
    """The seconds that the line says, or whoever started the kernel; None if nobody does."""
    if read.approval_timeout is None:
        return approval_timeout_from_environment()
    try:
        return time_limit(read.approval_timeout)
    except ValueError as error:
        raise UsageError(f"--approval-timeout: {error}; write 30s, 5m or 1h") from None


def check_variable(name: str | None) -> None:
    """Checks the name of a variable that gets a result.

    Raises:
        UsageError: If it is none.
    """
    if name is not None and not name.isidentifier():
        raise UsageError(f"--out {name}: give the name of a variable")


def _approve(read: argparse.Namespace) -> ApproveMode | None:
    """What the line says, or whoever started the kernel; None if nobody says anything."""
    approve = read.approve or os.environ.get("AOF_APPROVE") or None
    if approve is not None and approve not in MODES:
        raise UsageError(f"AOF_APPROVE={approve}: give one of {', '.join(MODES)}")
    return cast("ApproveMode | None", approve)
