"""The user's own editor, opened on a text."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import tempfile
from collections.abc import Generator
from pathlib import Path

_PATIENCE_SECONDS = 2.0


def editor_command() -> list[str]:
    """The command in ``VISUAL`` or ``EDITOR``; empty if neither is set.

    Example:
        >>> isinstance(editor_command(), list)
        True
    """
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        return shlex.split(named)
    except ValueError:
        return []


async def edited(text: str, command: list[str], terminal: int, *, suffix: str = ".json") -> str:
    """What the user makes of a text in an editor. Cancelling ends the editor.

    Args:
        text: The text.
        command: The editor's command, which is given the file.
        terminal: The descriptor of the terminal that it is shown on.
        suffix: The file's, by which editors know the language.

    Raises:
        OSError: If the editor cannot be started, or ends with a failure.

    Example:
        >>> async def changed():
        ...     return await edited("{}", editor_command(), 0)
    """
    with _kept(terminal), _file_of(text, suffix) as path:
        process = await asyncio.create_subprocess_exec(
            *command, str(path), stdin=terminal, stdout=terminal, stderr=terminal
        )
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                await _ended(process)
        if code != 0:
            raise OSError(f"{command[0]} ended with code {code}")
        return await asyncio.to_thread(path.read_text, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def _file_of(text: str, suffix: str) -> Generator[Path, None, None]:
    """A file of this user with a text, as long as it is needed."""
    descriptor, name = tempfile.mkstemp(prefix="aof-", suffix=suffix)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _kept(terminal: int) -> Generator[None, None, None]:
    """Leaves a terminal as it was: an editor that is ended does not."""
    import termios

    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _ended(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
