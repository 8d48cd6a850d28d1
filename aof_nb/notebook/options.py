"""The options of ``%%aof`` and ``%aof ask``."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import Any, cast, get_args

from IPython.core import magic_arguments as arguments
from IPython.core.error import UsageError

from aof_nb.notebook.cell_run import RunOptions
from aof_nb.policy import ApproveMode

MODES = get_args(ApproveMode)
"""What ``--approve`` takes."""

_ARGUMENTS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--session", "-s"), {"help": "the conversation to go on with; memory keeps it"}),
    (("--out", "-o"), {"metavar": "VAR", "help": "the variable that gets the RunResult"}),
    (
        ("--approve", "-a"),
        {
            "choices": MODES,
            "help": "where the policy asks: ask a person, never approve, approve all; "
            "AOF_APPROVE or ask if not given",
        },
    ),
    (("--model", "-m"), {"help": "instead of the agent's own, such as openai:gpt-5"}),
    (("--max-turns",), {"type": int, "metavar": "N", "help": "model responses at most"}),
    (("--debug",), {"action": "store_true", "help": "show tracebacks of failures"}),
]

FLAGS = [flags[0] for flags, _ in _ARGUMENTS]
"""The options' long names."""


def documented(magic: Any) -> Any:
    """Gives a magic its help text, for ``%%aof?``, and its parser."""
    for flags, settings in _ARGUMENTS:
        magic = arguments.argument(*flags, **settings)(magic)  # type: ignore[no-untyped-call]
    agent = arguments.argument("agent", help="the agent's name")  # type: ignore[no-untyped-call]
    return arguments.magic_arguments()(agent(magic))  # type: ignore[no-untyped-call]


def cell_options(magic: Any, line: str) -> tuple[str, RunOptions]:
    """Reads ``NAME [options]``: the agent's name, and the options.

    Raises:
        UsageError: If they are wrong.
    """
    read = magic.parser.parse_args(words(line))
    return read.agent, _options(read)


def ask_options(given: list[str]) -> tuple[str, str, RunOptions]:
    """Reads ``NAME "prompt" [options]``: the agent's name, the prompt and the options.

    Raises:
        UsageError: If they are wrong.
    """
    parser = arguments.MagicArgumentParser("aof ask")  # type: ignore[no-untyped-call]
    parser.add_argument("agent")
    parser.add_argument("prompt", nargs="+")
    for flags, settings in _ARGUMENTS:
        parser.add_argument(*flags, **settings)
    read = parser.parse_intermixed_args(given)
    return read.agent, " ".join(read.prompt), _options(read)


def resume_options(given: list[str]) -> tuple[str, RunOptions, ApproveMode | None]:
    """Reads ``RUN [options]``: the run, how it is shown, and what happens where a policy asks.

    Raises:
        UsageError: If they are wrong.
    """
    parser = arguments.MagicArgumentParser("aof resume")  # type: ignore[no-untyped-call]
    parser.add_argument("run")
    for flags, settings in _ARGUMENTS:
        if flags[0] in {"--out", "--approve", "--model", "--debug"}:
            parser.add_argument(*flags, **settings)
    read = parser.parse_args(given)
    read.session = read.max_turns = None
    options = _options(read)
    chosen = read.approve or os.environ.get("AOF_APPROVE")
    return read.run, options, options.approve if chosen else None


def replay_options(given: list[str]) -> tuple[str, float, str | None]:
    """Reads ``RUN [--pace N] [--out VAR]``.

    Raises:
        UsageError: If they are wrong.
    """
    parser = arguments.MagicArgumentParser("aof replay")  # type: ignore[no-untyped-call]
    parser.add_argument("run")
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--out", "-o")
    read = parser.parse_args(given)
    if read.pace < 0:
        raise UsageError(f"--pace {read.pace:g}: give 1 for the recorded waits, 0 for none")
    _check_variable(read.out)
    return read.run, read.pace, read.out


def save_options(given: list[str]) -> tuple[str, str | None, bool]:
    """Reads ``FILE.ipynb [--run RUN] [--overwrite]``.

    Raises:
        UsageError: If they are wrong.
    """
    parser = arguments.MagicArgumentParser("aof save-runbook")  # type: ignore[no-untyped-call]
    parser.add_argument("file")
    parser.add_argument("--run")
    parser.add_argument("--overwrite", action="store_true")
    read = parser.parse_args(given)
    return read.file, read.run, read.overwrite


def words(line: str) -> list[str]:
    """The words of a magic's line; quotes hold words together.

    Raises:
        UsageError: If a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error}: put text with spaces or apostrophes in double quotes") from None


def _check_variable(name: str | None) -> None:
    if name is not None and not name.isidentifier():
        raise UsageError(f"--out {name}: give the name of a variable")


def _options(read: argparse.Namespace) -> RunOptions:
    _check_variable(read.out)
    if read.max_turns is not None and read.max_turns < 1:
        raise UsageError(f"--max-turns {read.max_turns}: give 1 or more")
    approve = read.approve or os.environ.get("AOF_APPROVE") or "ask"
    if approve not in MODES:
        raise UsageError(f"AOF_APPROVE={approve}: give one of {', '.join(MODES)}")
    return RunOptions(
        session=read.session,
        out=read.out,
        approve=cast("ApproveMode", approve),
        model=read.model,
        max_turns=read.max_turns,
        debug=read.debug,
    )
