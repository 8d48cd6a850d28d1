"""How far a run may go before it must end."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of a run. None means unbounded.

    Args:
        max_turns: Model responses. In the last one the tools are withheld.
        max_tool_calls: Tool calls in all.
        max_tokens: Input and output tokens in all.
        max_seconds: Wall time.
        max_cost: US dollars. A request is not sent if its worst case would exceed it.
        max_corrections: Turns in a row in which every tool call failed; and times an answer that
            does not fit its output schema goes back to the model.
        max_repeats: Times the same call, with the same arguments, may fail.
        max_output_chars: Characters of one tool result that the model is shown.
    """

    max_turns: int = 25
    max_tool_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_cost: float | None = None
    max_corrections: int = 4
    max_repeats: int = 2
    max_output_chars: int = 20_000
