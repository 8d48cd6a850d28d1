"""What was asked in this kernel: what ``%aof history`` says."""

from __future__ import annotations

import time

from IPython.core.error import UsageError

from aof_nb.journal.wording import shortened
from aof_nb.notebook import registry
from aof_nb.notebook.listing import dollars, table
from aof_nb.readable import printable, seconds

_WIDEST = 60


def history(agent: str | None, limit: int) -> str:
    """A line for each prompt, the last one at the end.

    Args:
        agent: Whose prompts; all if None.
        limit: How many at most.

    Raises:
        UsageError: If nobody of that name was asked.
    """
    from aof_nb.models.prices import cost

    asked = list(registry.asked.items())
    if agent is not None:
        known = sorted({each.agent for _, each in asked})
        if agent not in known:
            hint = registry.near(agent, known)
            raise UsageError(f"%aof history {agent}: this kernel has not asked {agent!r}{hint}")
        asked = [(run, each) for run, each in asked if each.agent == agent]
    rows = [
        (
            time.strftime("%H:%M:%S", time.localtime(each.at)),
            printable(each.agent),
            each.status,
            seconds(each.duration),
            dollars(cost(registry.spent.get(run, {}))),
            run,
            printable(shortened(" ".join(each.prompt.split()), _WIDEST)),
        )
        for run, each in asked[-max(limit, 1) :]
    ]
    if not rows:
        return "Nothing was asked in this kernel yet."
    return table(("asked", "agent", "status", "took", "cost", "run", "prompt"), rows)
