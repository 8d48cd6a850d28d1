"""The terminal's face of *ask*: a question on the terminal, answered by a key and Enter."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.argument_checks import edited_arguments
from aof_nb.call_description import described
from aof_nb.editor import edited, editor_command
from aof_nb.errors import ApprovalPending
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.ports import Effect
from aof_nb.readable import indented_json, printable, readable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PROMPT = "Allow? [y] once  [a] similar for this run  [e] edit the arguments  [n] no: "
_PROMPT_EDITED = "Allow with these arguments? [y] once  [e] edit again  [n] no: "
_PROMPT_LINE = "The arguments as JSON in one line, or nothing to leave them: "
_MOST_LINES = 60
_BETWEEN_SECONDS = 0.1
_YES = {"y", "yes"}
_SIMILAR = {"a", "all", "always", "similar"}
_EDIT = {"e", "edit"}
_NO = {"n", "no", "d", "deny"}
_COLOURS = {Effect.READ: "green", Effect.WRITE: "yellow", Effect.DESTRUCTIVE: "red"}


class TerminalApprover:
    """Asks the person at the terminal, one question after the other.

    Arguments are edited in the editor that ``VISUAL`` or ``EDITOR`` names; else in a line of JSON.
    Standard input is read where it is a terminal; else, if standard error is one, that
    terminal. Where there is none, or it is closed, the question stays open and the run waits.

    Args:
        read: Shows a prompt and returns the line that is typed; raises `EOFError` where
            nobody can answer. The terminal if not given.

    Attributes:
        unanswered: Questions that could not be put to anybody.

    Example:
        >>> async def typed(prompt):
        ...     return "y"
        >>> approver = TerminalApprover(typed)
    """

    def __init__(self, read: Callable[[str], Awaitable[str]] | None = None) -> None:
        self._read = read or read_terminal
        self._has_terminal = read is None
        self._turn = asyncio.Lock()
        self.unanswered = 0

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Asks, and waits for the answer. Cancelling withdraws the question.

        Raises:
            ApprovalPending: If nobody can be asked.
        """
        queued = self._turn.locked()
        async with self._turn:
            if queued:
                # What came of the question before is shown above this one, not over its prompt.
                await asyncio.sleep(_BETWEEN_SECONDS)
            try:
                said, arguments = await self._said(request)
            except EOFError:
                self.unanswered += 1
                raise ApprovalPending(
                    "there is no terminal to ask on", remedy="run it on a terminal"
                ) from None
        return self._answer(
            request,
            approved=said not in _NO,
            similar=said in _SIMILAR and arguments is None,
            arguments=None if said in _NO else arguments,
        )

    async def _said(self, request: ApprovalRequest) -> tuple[str, dict[str, Any] | None]:
        """What is typed, and the arguments if they are changed."""
        console = _console()
        console.print(_question(request))
        draft = indented_json(request.arguments)
        arguments: dict[str, Any] | None = None
        while True:
            try:
                prompt = _PROMPT if arguments is None else _PROMPT_EDITED
                said = (await self._read(prompt)).strip().lower()
                if said in _EDIT:
                    draft, arguments = await self._edited(request, draft, arguments)
                    continue
            except asyncio.CancelledError:
                over = request.left == 0
                console.print("\n(denied: nobody answered in time)" if over else "\n(withdrawn)")
                raise
            except EOFError:
                console.print("Not answered: there is no terminal to ask on.")
                raise
            if said in _YES | _NO or (said in _SIMILAR and arguments is None):
                return said, arguments
            known = "y, a, e or n" if arguments is None else "y, e or n"
            console.print(f"Please type {known}.", style="dim")

    async def _edited(
        self, request: ApprovalRequest, draft: str, arguments: dict[str, Any] | None
    ) -> tuple[str, dict[str, Any] | None]:
        """The text as it is edited, and the arguments that it is; as before if it is none."""
        console = _console()
        try:
            text = await self._typed(draft)
        except OSError as error:
            console.print(f"The editor failed: {printable(str(error))}", markup=False)
            return draft, arguments
        if not text.strip():
            console.print("Nothing is changed.")
            return draft, arguments
        try:
            changed = edited_arguments(request.tool, text)
        except ValueError as error:
            console.print(f"{printable(str(error))} Nothing is changed.", markup=False)
            return text, arguments
        if changed == request.arguments:
            console.print("These are the arguments as they were.")
            return text, None
        console.print(_question(msgspec.structs.replace(request, arguments=changed)))
        return text, changed

    async def _typed(self, draft: str) -> str:
        if self._has_terminal and (command := editor_command()):
            with _terminal() as descriptor:
                return await edited(draft, command, descriptor)
        return await self._read(_PROMPT_LINE)

    def _answer(
        self,
        request: ApprovalRequest,
        *,
        approved: bool,
        similar: bool,
        arguments: dict[str, Any] | None,
    ) -> Answer:
        return Answer(
            approved=approved,
            digest=request.digest,
            similar=similar,
            by=user_name(),
            via="terminal",
            arguments=arguments,
        )


async def read_terminal(prompt: str) -> str:
    """Shows a prompt on the terminal and returns the line typed there, without its end.

    Waiting blocks neither the loop nor a thread, and can be cancelled. What was typed before
    the prompt was shown does not count.

    Raises:
        EOFError: If there is no terminal, or it is closed.
    """
    with _terminal() as descriptor:
        if sys.stdin is not None and descriptor == _descriptor(sys.stdin):
            sys.stderr.write(prompt)
            sys.stderr.flush()
        else:
            os.write(descriptor, prompt.encode())
        return await _line(descriptor)


async def _line(descriptor: int) -> str:
    loop = asyncio.get_running_loop()
    typed = b""
    while not typed.endswith(b"\n"):
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
        try:
            more = os.read(descriptor, 4096)
        except OSError as error:
            raise EOFError(str(error)) from error
        if not more:
            raise EOFError("the terminal is closed")
        typed += more
    return typed.decode(errors="replace").rstrip("\r\n")


@contextlib.contextmanager
def _terminal() -> Generator[int, None, None]:
    """The terminal's descriptor, in the foreground and with nothing typed ahead.

    Raises:
        EOFError: If there is none.
    """
    import termios

    opened: int | None = None
    try:
        descriptor = _descriptor(sys.stdin)
        if descriptor is None or not os.isatty(descriptor):
            errors = _descriptor(sys.stderr)
            if errors is None or not os.isatty(errors):
                raise EOFError("there is no terminal")
            opened = descriptor = os.open(os.ttyname(errors), os.O_RDWR | os.O_NOCTTY)
        if _in_background(descriptor):
            raise EOFError("this is a background job of the terminal")
        termios.tcflush(descriptor, termios.TCIFLUSH)
        yield descriptor
    except (OSError, termios.error) as error:
        raise EOFError(str(error)) from error
    finally:
        if opened is not None:
            os.close(opened)


def _in_background(descriptor: int) -> bool:
    """Whether reading would stop this process: the terminal belongs to another job."""
    try:
        return os.tcgetpgrp(descriptor) != os.getpgrp()
    except OSError:
        return False


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def user_name() -> str:
    """Who runs this process, as an approval names him."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _preview(text: str) -> RenderableType:
    """The first lines of what would change; the signs tell what is added and removed."""
    from rich.text import Text

    styles = {"+": "green", "-": "red", "@": "dim"}
    lines = text.splitlines()
    shown = [Text(printable(each), style=styles.get(each[:1], "")) for each in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        shown.append(Text(f"[... {len(lines) - _MOST_LINES} more lines ...]", style="dim"))
    return Text("\n").join(shown)


def _question(request: ApprovalRequest) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    effect = request.tool.effect
    head = Text.assemble(
        "\n",
        ("Approval needed: ", "bold"),
        (printable(request.tool.name), "bold"),
        "  ",
        (effect.value, f"bold {_COLOURS[effect]}"),
    )
    arguments = Table.grid(padding=(0, 2, 0, 0))
    arguments.add_column(style="dim", no_wrap=True)
    arguments.add_column(overflow="fold")
    for name, value in request.arguments.items():
        arguments.add_row(Text(printable(name)), Text(readable(value)))
    lines: list[RenderableType] = [head]
    said = described(request.tool, request.arguments)
    lines += [Padding(Text(printable(line)), (0, 0, 0, 2)) for line in said]
    if request.preview:
        lines.append(Padding(_preview(request.preview), (0, 0, 0, 2)))
    if request.arguments:
        lines.append(Padding(arguments, (0, 0, 0, 2)))
    if request.reason:
        lines.append(Text(f"  {printable(request.reason)}", style="dim"))
    if request.hurry:
        lines.append(Text(f"  {request.hurry}", style="bold"))
    return Group(*lines)
