"""Tells the page that its message was taken, also while a cell runs.

ipywidgets' controls send the next change of a control only after the kernel has said that it is
idle again after the one before (`status` in the Jupyter messaging protocol). ipykernel 7.4 takes
comm messages while an asynchronous cell runs, and says nothing of the kind for those: a control
would change once and never again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MARK = "_aof_says_idle"


def say_idle_after_messages(kernel: Any) -> None:
    """Has a kernel say that it is idle after each message that it takes while a cell runs.

    Args:
        kernel: ipykernel's kernel; one that is changed already, or None, stays as it is.

    Example:
        >>> say_idle_after_messages(None)
    """
    if kernel is None or getattr(kernel, _MARK, False):
        return
    dispatch = kernel.dispatch_shell

    async def dispatch_shell(*message: Any, **how: Any) -> None:
        running = kernel.get_parent("shell")
        await dispatch(*message, **how)
        if how.get("concurrent"):
            _say(kernel, "idle", kernel.get_parent("shell"))
            # The page shows what was said last: the cell still runs.
            _say(kernel, "busy", running)

    kernel.dispatch_shell = dispatch_shell
    setattr(kernel, _MARK, True)


def _say(kernel: Any, state: str, parent: Mapping[str, Any]) -> None:
    content = {"execution_state": state}
    kernel.session.send(kernel.iopub_socket, "status", content, parent=parent, ident=b"status")
