"""How a command ends: exit codes, one line for what went wrong, and clean interruption."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NoReturn

import typer

from aof_nb.errors import AofError


class ExitCode(enum.IntEnum):
    """What the exit codes mean. A signal gives 128 and its number, such as 130 for Ctrl-C."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3


@contextlib.contextmanager
def reported(*, debug: bool = False) -> Generator[None, None, None]:
    """Turns an `AofError` into a line on standard error and exit code 1.

    Args:
        debug: Lets the traceback be seen instead.
    """
    try:
        yield
    except AofError as error:
        if debug:
            raise
        complain(error.message, error.remedy)
        raise typer.Exit(ExitCode.FAILED) from None


def complain(message: str, remedy: str = "") -> None:
    """Prints what went wrong, and what to do about it, on standard error."""
    sys.stderr.write(f"aofctl: {message}\n")
    if remedy:
        sys.stderr.write(f"  {remedy}\n")


def usage_error(message: str, remedy: str = "") -> NoReturn:
    """Ends the command: it was asked for in a way that cannot be."""
    complain(message, remedy)
    raise typer.Exit(ExitCode.USAGE)


def refuse(why: str, options: dict[str, object]) -> None:
    """Ends the command if an option was given that does not belong to what it is about.

    Args:
        why: Such as ``is for agents, not for notebooks``.
        options: Their values by name.
    """
    for name, value in options.items():
        if value:
            usage_error(f"{name} {why}")


def nobody_asked() -> ExitCode:
    """Says that an approval was needed that nobody could be asked for."""
    complain(
        "an approval was needed and there was no terminal to ask on",
        "run it on a terminal, or decide beforehand with --approve never|all or the policy",
    )
    return ExitCode.WAITING


def run_to_end(work: Callable[[], Coroutine[Any, Any, ExitCode]]) -> NoReturn:
    """Runs a command's coroutine and exits with its code.

    Ctrl-C, SIGTERM and SIGHUP cancel it, so that it ends what it has started. A
    signal that is ignored, as after nohup, stays so.
    """
    received: list[signal.Signals] = []

    async def interruptible() -> ExitCode:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def stop(number: signal.Signals) -> None:
            received.append(number)
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, stop, number)
        return await work()

    try:
        code = int(asyncio.run(interruptible()))
    except asyncio.CancelledError:
        if not received:
            raise
        code = 128 + received[0]
    raise typer.Exit(code)
