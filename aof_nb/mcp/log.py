"""A server's log: its standard error, its log messages, and what the SDK complains about."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import time
from pathlib import Path
from typing import TextIO

from aof_nb.paths import state_dir
from aof_nb.tool_names import safe_name

_MOST_BYTES = 1_000_000
_MOST_WORDS = 300
_OURS = "[aof] "
_START = f"{_OURS}connecting"
_CANNOT_START = f"{_OURS}cannot start"
_SDK_LOGGER = "mcp"


def log_path(server: str) -> Path:
    """Where a server's log is.

    Args:
        server: The server's name.
    """
    return state_dir() / "mcp" / f"{safe_name(server)}.log"


def open_log(path: Path) -> TextIO:
    """Opens a log to add to it; what is longer than 1 MB is put aside, in place of what was.

    Args:
        path: From `log_path`.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MOST_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    file = path.open("a", encoding="utf-8", errors="replace", buffering=1)
    file.write(f"{_START} {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
    return file


def last_words(path: Path) -> str:
    """What the server said last before it ended, which tells more than that it did.

    Args:
        path: From `log_path`.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        text = file.read().decode(errors="replace")
        for line in reversed(text.rpartition(_START)[2].splitlines()[1:]):
            said = "".join(c for c in line if c.isprintable()).strip()
            if said.startswith(_CANNOT_START):
                return said.removeprefix(_OURS)[:_MOST_WORDS]
            if said and not said.startswith(_OURS):
                return said[:_MOST_WORDS]
    return ""


current_log: contextvars.ContextVar[TextIO | None] = contextvars.ContextVar(
    "aof_mcp_log", default=None
)
"""The log of the session that the running task belongs to."""


class _ToServerLog(logging.Handler):
    """Keeps what the SDK logs of a session with that session, and out of the user's output."""

    def emit(self, record: logging.LogRecord) -> None:
        file = current_log.get()
        if file is not None and not file.closed:
            with contextlib.suppress(OSError, ValueError):
                file.write(f"[sdk] {record.levelname.lower()}: {record.getMessage()}\n")


def divert_sdk_log() -> None:
    """Has the SDK's warnings written to the log of the session they belong to."""
    logger = logging.getLogger(_SDK_LOGGER)
    if not any(isinstance(handler, _ToServerLog) for handler in logger.handlers):
        logger.addHandler(_ToServerLog(logging.WARNING))
