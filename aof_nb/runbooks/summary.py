"""What a report says of a notebook's run before its cells: outcome, timeline, costs, approvals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aof_nb.events import ApprovalAnswered, ApprovalRequested
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import RunBegun, RunResumed, ToolIntended, ToolReturned, ToolWithdrawn
from aof_nb.journal.playbook_recording import CellRecord, PlaybookRecording
from aof_nb.journal.recording import Recording, State
from aof_nb.messages import Usage
from aof_nb.ports import Effect
from aof_nb.runbooks.prepared import MASK


@dataclass(frozen=True)
class Approval:
    """A call that a person was asked about; times in seconds of the Unix epoch.

    Args:
        agent: Whose run asked.
        run_id: The run.
        tool: What is called.
        effect: What the tool does.
        arguments: What with.
        asked: When it was asked.
        answered: When it was answered; None if it was not.
        approved: The answer.
        similar: Whether it holds for similar calls of the run.
        by: Who answered.
        via: Through which face.
    """

    agent: str
    run_id: str
    tool: str
    effect: str
    arguments: Mapping[str, Any]
    asked: float
    answered: float | None = None
    approved: bool = False
    similar: bool = False
    by: str = ""
    via: str = ""


@dataclass(frozen=True)
class UnknownCall:
    """A call of which nobody knows whether it took effect, and which was left alone."""

    agent: str
    run_id: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ModelCost:
    """What a model was used for, and what it cost in US dollars, if that is known."""

    model: str
    usage: Usage
    dollars: float | None


@dataclass(frozen=True)
class AgentAnswer:
    """What came of an agent's run in a cell."""

    agent: str
    run_id: str
    cell: int
    status: str
    text: str


@dataclass(frozen=True)
class Summary:
    """A notebook's run in short.

    Args:
        recording: Its journal.
        answers: What its agents came to.
        costs: By model.
        approvals: In the order in which they were asked.
        unknown: The calls whose outcome is unknown.
    """

    recording: PlaybookRecording
    answers: Sequence[AgentAnswer] = ()
    costs: Sequence[ModelCost] = ()
    approvals: Sequence[Approval] = ()
    unknown: Sequence[UnknownCall] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cells(self) -> list[CellRecord]:
        """What was done of cells, attempt by attempt."""
        return self.recording.cells

    @property
    def dollars(self) -> float | None:
        """What the models cost; None if a price is unknown."""
        known = [each.dollars for each in self.costs if each.dollars is not None]
        return sum(known, 0.0) if len(known) == len(self.costs) else None

    @property
    def ended(self) -> float:
        """When the last entry was written, in seconds of the Unix epoch."""
        recording = self.recording
        base, at = recording.begun.time, 0.0
        for line in recording.lines:
            if (time := getattr(line.entry, "time", None)) is not None:
                base, at = time, line.at
        return base + recording.lines[-1].at - at


def summarised(recording: PlaybookRecording) -> Summary:
    """Reads what the agents of a notebook's run did.

    Args:
        recording: The journal of the notebook's run.

    Raises:
        JournalError: If it cannot be read which they are.
    """
    from aof_nb.models.prices import price

    places = {record.entry.cell: record.entry.place for record in recording.cells}
    runs = list(recording.agent_runs())
    usage: dict[str, Usage] = {}
    for run in runs:
        for model, used in run.usage_by_model.items():
            usage[model] = usage.get(model, Usage()) + used
    return Summary(
        recording=recording,
        answers=[
            AgentAnswer(
                agent=run.begun.agent,
                run_id=run.run_id,
                cell=places.get(run.begun.cell, 0),
                status=str(run.state),
                text=run.ended.text if run.ended is not None else "",
            )
            for run in runs
        ],
        costs=[ModelCost(model, used, price(model, used)) for model, used in usage.items()],
        approvals=sorted(
            (each for run in runs for each in _approvals(run)), key=lambda each: each.asked
        ),
        unknown=[each for run in runs for each in _unknown(run)],
        parameters={
            **recording.begun.parameters,
            **dict.fromkeys(recording.begun.secrets, MASK),
        },
    )


def _approvals(run: Recording) -> Iterator[Approval]:
    asked: dict[str, Approval] = {}
    base = 0.0
    for line in run.lines:
        match line.entry:
            case RunBegun(time=time) | RunResumed(time=time):
                base = time - line.at
            case ApprovalRequested() as entry:
                # Asked again after a resumption, it is the same question.
                asked.setdefault(
                    entry.call_id,
                    Approval(
                        agent=run.begun.agent,
                        run_id=run.run_id,
                        tool=entry.tool,
                        effect=entry.effect,
                        arguments=entry.arguments,
                        asked=base + line.at,
                    ),
                )
            case ApprovalAnswered() as entry if entry.call_id in asked:
                question = asked.pop(entry.call_id)
                yield Approval(
                    agent=question.agent,
                    run_id=question.run_id,
                    tool=question.tool,
                    effect=question.effect,
                    arguments=question.arguments,
                    asked=question.asked,
                    answered=base + line.at,
                    approved=entry.approved,
                    similar=entry.similar,
                    by=entry.by,
                    via=entry.via,
                )
            case _:
                pass
    pending = {each.request.call_id for each in Approvals(run.path.parent).pending()}
    yield from (each for call, each in asked.items() if call in pending or not run.ended)


def _unknown(run: Recording) -> Iterator[UnknownCall]:
    begun: dict[str, ToolIntended] = {}
    for line in run.lines:
        match line.entry:
            case ToolIntended() as entry:
                begun[entry.call_id] = entry
            case ToolWithdrawn(call_id=call_id):
                begun.pop(call_id, None)
            case ToolReturned(call_id=call_id, output=output) if not output.unknown:
                begun.pop(call_id, None)
            case _:
                pass
    if run.state is State.RUNNING:
        return
    for entry in begun.values():
        if entry.effect != Effect.READ:
            yield UnknownCall(run.begun.agent, run.run_id, entry.tool, entry.arguments)
