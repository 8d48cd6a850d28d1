"""A turn and its calls, while their entries are gathered from a journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.events import ApprovalAnswered, ApprovalRequested
from aof_nb.journal.artifacts import Artifacts
from aof_nb.journal.entries import (
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ToolRefused,
    ToolReturned,
)
from aof_nb.journal.recording import State
from aof_nb.journal.timeline import Approval, Call, CallOutcome, Remark, Turn
from aof_nb.messages import Thinking, ToolCall
from aof_nb.policy import Answer
from aof_nb.ports import Effect, ToolSpec

ANSWERABLE = frozenset({State.WAITING, State.RUNNING, State.INTERRUPTED})
"""The states in which a question that has no answer may still get one."""


def moment(time: float) -> datetime:
    """A time in seconds of the Unix epoch; that of a damaged journal may be none."""
    try:
        return datetime.fromtimestamp(time, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


class OpenCall:
    """A tool call, while its entries are read."""

    def __init__(self, call: ToolCall, asked: float, spec: ToolSpec | None) -> None:
        self.call = call
        self.asked = asked
        self.effect = spec.effect.value if spec is not None else ""
        self.source = spec.source if spec is not None else ""
        self.begun: list[float] = []
        self.withdrawn = False
        self.ended: float | None = None
        self.returned: ToolReturned | None = None
        self.refused: ToolRefused | None = None
        self.approvals: list[Approval] = []
        self.digest = ""
        self.progress = ""

    def ask(self, at: float, entry: ApprovalRequested) -> None:
        """Notes that a person is asked."""
        self.effect = entry.effect or self.effect
        asked = Approval(asked=moment(at), reason=entry.reason)
        if self.unanswered and self.approvals[-1].reason == entry.reason:
            # The same question, put again when the run was resumed.
            asked = self.approvals.pop()
        self.approvals.append(asked)
        self.digest = entry.digest

    def answer(self, at: float, entry: ApprovalAnswered) -> None:
        """Notes what a person has answered."""
        if not self.unanswered:
            self.approvals.append(Approval(asked=moment(at), reason=""))
        self._answered(
            answered=moment(at),
            approved=entry.approved,
            similar=entry.similar,
            by=entry.by,
            via=entry.via,
            note=entry.reason,
        )

    def answered_elsewhere(self, answer: Answer) -> None:
        """Notes an answer that the run has not taken yet."""
        self._answered(
            approved=answer.approved,
            similar=answer.similar,
            by=answer.by,
            via=answer.via,
            note=answer.reason,
            taken=False,
        )

    def _answered(self, **answer: Any) -> None:
        self.approvals[-1] = msgspec.structs.replace(self.approvals[-1], **answer)

    @property
    def unanswered(self) -> bool:
        """Whether a question was put that has no answer."""
        return bool(self.approvals) and self.approvals[-1].approved is None

    def closed(self, state: State, artifacts: Path) -> Call:
        """The call, as far as it went in a run of this state."""
        returned, refused = self.returned, self.refused
        output = ""
        if returned is not None:
            output = returned.output.content
        elif refused is not None:
            output = refused.content
        artifact = artifacts / Artifacts.name(self.call.id)
        return Call(
            id=self.call.id,
            tool=self.call.name,
            outcome=self._outcome(state),
            asked=moment(self.asked),
            effect=self.effect,
            source=self.source,
            arguments=self.call.arguments,
            raw_arguments=self.call.raw_arguments if self.call.arguments is None else "",
            output=output,
            data=returned.output.data if returned is not None else None,
            begun=tuple(map(moment, self.begun)),
            ended=None if self.ended is None else moment(self.ended),
            duration=returned.duration if returned is not None else None,
            approvals=tuple(self.approvals),
            progress=self.progress,
            artifact=str(artifact) if artifact.exists() else None,
        )

    def _outcome(self, state: State) -> CallOutcome:
        if self.returned is not None:
            output = self.returned.output
            if output.unknown:
                return CallOutcome.UNKNOWN
            if output.dry_run:
                return CallOutcome.DRY_RUN
            if output.denied:
                return CallOutcome.DENIED
            return CallOutcome.ERROR if output.is_error else CallOutcome.OK
        if self.refused is not None:
            return CallOutcome.REFUSED
        unsettled = self.unanswered or (self.approvals and not self.approvals[-1].taken)
        if unsettled and state in ANSWERABLE:
            return CallOutcome.WAITING
        if state is State.RUNNING:
            return CallOutcome.RUNNING
        if not self.begun or self.withdrawn:
            return CallOutcome.NOT_BEGUN
        if self.effect == Effect.READ.value:
            return CallOutcome.INTERRUPTED
        return CallOutcome.UNKNOWN


class OpenTurn:
    """A turn, while its entries are read."""

    def __init__(self, asked: float, request: ModelRequested, *, inherited: bool = False) -> None:
        self.asked = asked
        self.inherited = inherited
        self.request = request
        self.remarks: list[Remark] = []
        self.chunks: list[str] = []
        self.answered: float | None = None
        self.response: ModelResponded | None = None
        self.failed: ModelFailed | None = None
        self.calls: list[OpenCall] = []

    def closed(self, state: State, artifacts: Path) -> Turn:
        """The turn, as far as it went in a run of this state."""
        response, failed = self.response, self.failed
        answer: dict[str, Any] = {"text": "".join(self.chunks)}
        if response is not None:
            parts = response.message.parts
            thoughts = [each.text for each in parts if isinstance(each, Thinking) and each.text]
            answer = {
                "model": response.model,
                "text": response.message.text,
                "thinking": "\n\n".join(thoughts),
                "stop_reason": response.stop_reason.value,
                "usage": response.usage,
            }
        return Turn(
            number=self.request.turn,
            asked=moment(self.asked),
            answered=None if self.answered is None else moment(self.answered),
            tools_withheld=self.request.tool_choice == "none",
            inherited=self.inherited,
            error=failed.message if failed is not None else "",
            remedy=failed.remedy if failed is not None else "",
            remarks=tuple(self.remarks),
            calls=tuple(call.closed(state, artifacts) for call in self.calls),
            **answer,
        )
