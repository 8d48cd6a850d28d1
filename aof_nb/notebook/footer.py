"""The line below a run: how it ended, and what it took."""

from __future__ import annotations

from aof_nb.events import RunStatus
from aof_nb.readable import counted, seconds
from aof_nb.result import RunResult


def footer_line(
    result: RunResult, *, interrupted: bool = False, cost: float | None = None
) -> tuple[str, str]:
    """How the run ended, if it did not just end, and what it took.

    Args:
        result: What came of the run.
        interrupted: Whether the user ended it.
        cost: US dollars, where they are known and there are any.
    """
    usage = result.usage
    parts = [
        ", ".join(result.models) or "no model answered",
        counted(result.turns, "turn"),
        counted(result.tool_calls, "tool call"),
        f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens"
        if usage.total_tokens
        else "0 tokens",
        *([f"${cost:.4f}" if cost < 1 else f"${cost:.2f}"] if cost else []),
        seconds(result.duration),
    ]
    line = " · ".join(parts)
    return _how_it_ended(result, interrupted=interrupted), line


def _how_it_ended(result: RunResult, *, interrupted: bool) -> str:
    if result.status is RunStatus.LIMIT:
        limit = (result.limit or "").replace("_", " ")
        return f"stopped by a limit ({limit})" if limit else "stopped by a limit"
    if result.status is RunStatus.CANCELLED:
        return "interrupted" if interrupted else "cancelled"
    return {
        RunStatus.FAILED: "failed",
        RunStatus.REFUSED: "refused by the model",
        RunStatus.WAITING: "waiting for an approval",
    }.get(result.status, "")
