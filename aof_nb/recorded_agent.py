"""The agent of a recorded run, as far as its journal tells: enough to show the run again."""

from __future__ import annotations

from typing import Any

from aof_nb.agent import Agent
from aof_nb.journal.entries import Line, ModelRequested, RunContext, RunEnded, WholeMessage
from aof_nb.journal.playback import steps_of
from aof_nb.journal.recording import Recording
from aof_nb.journal.replay import Replay
from aof_nb.limits import Limits
from aof_nb.run import Run
from aof_nb.structured_output import Answer, Expected, Invalid, violation_in


def replayed(recording: Recording, *, pace: float = 0.0) -> Run:
    """A recorded run once more, to be iterated for its events; nothing but its journal is needed.

    Args:
        recording: The run.
        pace: What becomes of the recorded waits: 1 keeps them, 0 leaves them out.

    Example:
        >>> async def show(named):
        ...     from aof_nb.journal.runs import read_run
        ...     async for event in replayed(read_run(named)):
        ...         print(event)
    """
    begun = recording.begun
    replay = Replay(recording, pace=pace, compares=False)
    return _agent(recording).stream(begun.prompt, session=begun.session, replay=replay)


def _agent(recording: Recording) -> Agent:
    begun = recording.begun
    context = next(recording.of(RunContext), None)
    return Agent(
        name=begun.agent,
        model=begun.model,
        instructions=context.system if context is not None else "",
        limits=begun.limits or Limits(),
        output_schema=_judgements(recording, context),
    )


class _Judgements(Expected, frozen=True, kw_only=True):
    """What was said of a run's answers: the type that judged them is not in the journal."""

    violations: list[str]
    data: Any = None

    def read(self, text: str) -> Answer:
        """What was said of the next answer."""
        if self.violations:
            raise Invalid(self.violations.pop(0))
        return Answer(self.data, self.data)


def _judgements(recording: Recording, context: RunContext | None) -> Expected | None:
    if context is None or context.output_schema is None:
        return None
    violations = _corrected(steps_of(recording.lines, whole=True))
    corrections, ended = len(violations), recording.ended
    if ended is not None and (last := _last_violation(ended)):
        violations.append(last)
    schema = context.output_schema
    return _Judgements(
        schema=schema,
        own=schema.schema,
        check=lambda data: data,
        corrections=corrections,
        violations=violations,
        data=ended.output if ended is not None else None,
    )


def _corrected(steps: list[Line]) -> list[str]:
    """The violations that the model was told of, in order."""
    requests = [line.entry for line in steps if isinstance(line.entry, ModelRequested)]
    told = (
        violation_in(each.message.text)
        for request in requests[1:]
        for each in request.messages
        if isinstance(each, WholeMessage) and each.message.role == "user"
    )
    return [violation for violation in told if violation is not None]


def _last_violation(ended: RunEnded) -> str:
    """The violation that a run has failed with; empty if it did not."""
    message = ended.error or ""
    if message.startswith("the answer does not fit the output schema "):
        return message.partition(": ")[2]
    return ""
