"""A line typed where a kernel's frontend asks for it, while the kernel's loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Generator
from typing import Any

_POLL_SECONDS = 0.02
_END_OF_FILE = "\x04"


async def input_line(kernel: Any, prompt: str) -> str:
    """Asks for a line as `input` does, and can be cancelled.

    `input` holds the loop up: no timeout, no answer from elsewhere and no other call would come
    through, and an interrupt of an asynchronous cell, which ipykernel brings as a cancellation,
    would never end it.

    Args:
        kernel: ipykernel's kernel.
        prompt: What is shown before the line.

    Raises:
        EOFError: If nobody can type there, or input is closed.

    Example:
        >>> async def name(kernel):
        ...     return await input_line(kernel, "Your name: ")
    """
    from IPython.core.error import StdinNotImplementedError

    with _request_held(kernel) as held:
        try:
            kernel.raw_input(prompt)
        except StdinNotImplementedError as error:
            raise EOFError(str(error)) from error
    identity, parent = held
    session, socket = kernel.session, kernel.stdin_socket
    sys.stdout.flush()
    sys.stderr.flush()
    while session.recv(socket)[1] is not None:
        # A late answer to a question that was withdrawn is none to this one.
        continue
    content = {"prompt": prompt, "password": False}
    session.send(socket, "input_request", content, parent, ident=identity)
    while (reply := session.recv(socket)[1]) is None:  # noqa: ASYNC110  sockets have no event
        await asyncio.sleep(_POLL_SECONDS)
    typed = str(reply["content"].get("value", ""))
    if typed == _END_OF_FILE:
        raise EOFError("input is closed")
    return typed


@contextlib.contextmanager
def _request_held(kernel: Any) -> Generator[list[Any], None, None]:
    """Has `raw_input` tell whom it would ask, for which cell, and ask nobody.

    Where ipykernel keeps the two differs between its versions; what it passes on does not.
    """
    held: list[Any] = []

    def hold(_: str, identity: Any, parent: Any, password: bool = False) -> str:
        held.extend((identity, parent))
        return ""

    kernel._input_request = hold  # noqa: SLF001
    try:
        yield held
    finally:
        del kernel._input_request  # noqa: SLF001
