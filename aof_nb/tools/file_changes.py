"""What writing a file would change of it, as a unified diff."""

from __future__ import annotations

import difflib
from pathlib import Path

_MOST_LINES = 3_000
_MOST_BYTES = 400_000
_SHOWN_CHARS = 12_000


def change_of(path: Path, shown: str, content: str) -> str:
    r"""What a file's new content changes of it, bounded; empty if there is nothing to be shown.

    Args:
        path: The file, which may be missing.
        shown: What it is called.
        content: What is to be written.

    Raises:
        OSError: If it cannot be read.

    Example:
        >>> print(change_of(Path("/no/such/file"), "note.txt", "seen\n"))
        --- /dev/null
        +++ note.txt
        @@ -0,0 +1 @@
        +seen
    """
    before = None
    if path.exists():
        if not path.is_file():
            return ""
        if path.stat().st_size > _MOST_BYTES:
            return f"{shown} is too long now for its changes to be shown."
        data = path.read_bytes()
        if b"\0" in data:
            return f"{shown} is a binary file now."
        before = data.decode(errors="replace")
    if before == content:
        return f"{shown} has this content already."
    old = [] if before is None else _lines(before)
    new = _lines(content)
    if max(len(old), len(new)) > _MOST_LINES or len(content) > _MOST_BYTES:
        return f"{len(old):,} lines become {len(new):,}: too many for the changes to be shown."
    source = "/dev/null" if before is None else shown
    diff = difflib.unified_diff(old, new, source, shown, lineterm="")
    return _bounded(list(diff))


def _lines(text: str) -> list[str]:
    r"""The lines; a last one that does not end is told from one that does, as ``diff`` does."""
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]}\n\\ No newline at end of file"]


def _bounded(lines: list[str]) -> str:
    """The first lines, and how many are left out: a change cut in its middle would mislead."""
    size = 0
    for place, line in enumerate(lines):
        size += len(line) + 1
        if size > _SHOWN_CHARS:
            kept = [*lines[:place], f"[... {len(lines) - place:,} more lines of changes ...]"]
            return "\n".join(kept)
    return "\n".join(lines)
