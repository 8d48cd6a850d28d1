"""Cutting long text in the same way every time."""

from __future__ import annotations


def truncate(text: str, limit: int, *, kept_as: str | None = None) -> str:
    r"""Shortens text to its head and its tail, saying what was left out.

    The same text and limit always give the same result, so that a replayed run sends the
    model the same bytes. Two thirds of the limit go to the head; cuts fall on line ends where
    one is near.

    Args:
        text: The text.
        limit: Characters to keep, the remark about the cut not counted.
        kept_as: Name under which the whole text is kept, for the remark.

    Example:
        >>> print(truncate("a\nb\nc\nd\ne\nf\n", 6))
        a
        b
        [... 6 of 12 characters left out (3 lines) ...]
        f
        <BLANKLINE>
    """
    if len(text) <= limit:
        return text
    head_end = limit * 2 // 3
    tail_start = len(text) - (limit - head_end)
    line_end = text.rfind("\n", head_end // 2, head_end)
    if line_end != -1:
        head_end = line_end + 1
    line_start = text.find("\n", tail_start, tail_start + (len(text) - tail_start) // 2)
    if line_start != -1:
        tail_start = line_start + 1
    left_out = text[head_end:tail_start]
    kept = f"; whole output kept as {kept_as}" if kept_as else ""
    remark = (
        f"[... {len(left_out):,} of {len(text):,} characters left out "
        f"({left_out.count(chr(10)):,} lines){kept} ...]"
    )
    head = text[:head_end]
    joint = "" if not head or head.endswith("\n") else "\n"
    return f"{head}{joint}{remark}\n{text[tail_start:]}"
