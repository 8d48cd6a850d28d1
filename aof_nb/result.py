"""What came of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aof_nb.errors import AofError
from aof_nb.events import RunStatus
from aof_nb.messages import Message, StopReason, Usage
from aof_nb.readable import indented_json


class RunFailed(AofError):
    """A run that was asked for its answer has none.

    Args:
        result: What came of the run.
    """

    def __init__(self, result: RunResult) -> None:
        cause = result.error
        message = cause.message if cause else f"the run was {result.status}"
        super().__init__(f"{result.agent}: {message}", remedy=cause.remedy if cause else "")
        self.result = result


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Args:
        run_id: The run's id.
        agent: The agent's name.
        status: How it ended.
        text: The answer, or what there was of it.
        messages: The whole conversation, with what memory held before.
        usage: Tokens used.
        usage_by_model: The same for each model that answered.
        turns: Model responses.
        tool_calls: Tool calls made.
        duration: Seconds.
        stop_reason: Why the last response ended.
        limit: The limit that was hit, if one was.
        error: What went wrong, if the run failed.
        output: The answer: of the type that `output_schema` says, None if there is no valid one;
            without a schema the text.
        data: The typed answer as JSON data; None if there is none.
    """

    run_id: str
    agent: str
    status: RunStatus
    text: str
    messages: tuple[Message, ...]
    usage: Usage
    usage_by_model: Mapping[str, Usage]
    turns: int
    tool_calls: int
    duration: float
    stop_reason: StopReason | None = None
    limit: str | None = None
    error: AofError | None = None
    output: Any = None
    data: Any = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answered."""
        return tuple(self.usage_by_model)

    @cached_property
    def cost(self) -> float | None:
        """US dollars; None if a model's price is unknown."""
        from aof_nb.models.prices import cost

        return cost(self.usage_by_model)

    def raise_for_status(self) -> RunResult:
        """Returns the result of a run that has an answer.

        Raises:
            RunFailed: If the run failed, was cancelled, or waits for an approval.
        """
        if self.status in {RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.WAITING}:
            raise RunFailed(self) from self.error
        return self

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        text = self.text
        if self.data is not None:
            laid_out = indented_json(self.data)
            text = f"```json\n{laid_out}\n```"
        if self.error is not None:
            text = f"{text}\n\n**{self.error.message}**\n\n{self.error.remedy}".strip()
        volatile = {"run_id": self.run_id, "duration": self.duration}
        return {"text/markdown": text, "text/plain": text}, {"aof": volatile}
