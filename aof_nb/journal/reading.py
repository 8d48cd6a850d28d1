"""Reads a recording as a timeline, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aof_nb.call_ids import CallIds
from aof_nb.errors import JournalError
from aof_nb.events import (
    ApprovalAnswered,
    ApprovalRequested,
    ContextCompacted,
    LimitReached,
    ModelFellBack,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    RunStatus,
    Steered,
    ToolProgress,
    in_a_line,
)
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.entries import (
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ModelStreamed,
    OtherLine,
    RunBegun,
    RunContext,
    RunEnded,
    RunResumed,
    ToolIntended,
    ToolRefused,
    ToolReturned,
    ToolSettled,
    ToolWithdrawn,
    WholeMessage,
)
from aof_nb.journal.gathering import ANSWERABLE, OpenCall, OpenTurn, moment
from aof_nb.journal.other_runs import recording_of_other, time_of
from aof_nb.journal.playback import history_of, specs_of
from aof_nb.journal.recording import Recording, State, read_recording
from aof_nb.journal.summary import summaries
from aof_nb.journal.timeline import Item, Remark, Timeline, Turn
from aof_nb.journal.wording import in_short
from aof_nb.messages import ToolCall, Usage
from aof_nb.readable import counted


def timeline(recording: Recording) -> Timeline:
    """A recorded run as a timeline.

    Example:
        >>> from pathlib import Path
        >>> from aof_nb.journal.entries import Line
        >>> begun = RunBegun(run_id="r", agent="sre", model="m", prompt="why?", time=0.0)
        >>> timeline(Recording(Path("r/journal.jsonl"), [Line(0.0, begun)])).state
        <State.INTERRUPTED: 'interrupted'>
    """
    from aof_nb.models.prices import price

    begun, ended, state = recording.begun, recording.ended, recording.state
    reading = _Reading(recording, state)
    reading.read()
    usage = recording.usage_by_model
    contexts = list(recording.of(RunContext))
    return Timeline(
        run_id=begun.run_id,
        path=str(recording.path),
        state=state,
        agent=begun.agent,
        prompt=begun.prompt,
        model=begun.model,
        began=moment(begun.time),
        last=moment(reading.last),
        duration=recording.duration - reading.inherited,
        items=tuple(reading.items()),
        fallbacks=begun.fallbacks,
        session=begun.session,
        history=reading.history,
        instructions=contexts[0].system if contexts else "",
        source=begun.source,
        cell=begun.cell,
        notebook_run=begun.notebook_run,
        parent=begun.parent,
        approve=begun.approve,
        limits=begun.limits,
        versions=begun.versions,
        resumed=tuple(map(moment, reading.resumed)),
        text=ended.text if ended is not None else reading.text,
        output=ended.output if ended is not None else None,
        limit=ended.limit if ended is not None else None,
        error=ended.error if ended is not None else None,
        remedy=ended.remedy if ended is not None else None,
        usage_by_model=usage,
        cost_by_model={model: price(model, used) for model, used in usage.items()},
        damage=tuple(recording.damage),
        torn=recording.torn,
    )


def read_timeline(path: Path) -> Timeline:
    """Reads a journal as a timeline; one that begins with an entry of an unknown kind, too.

    Raises:
        JournalError: If there is no journal, or it begins with nothing that can be read.
    """
    try:
        return timeline(read_recording(path))
    except JournalError:
        recording = recording_of_other(path)
        if recording is None:
            raise
    return _with_runs_within(timeline(recording))


def _with_runs_within(outer: Timeline) -> Timeline:
    """A notebook's run with the runs of its agents, and what they have cost."""
    from aof_nb.models.prices import price

    within = [each for each in summaries() if each.notebook_run == outer.run_id]
    usage: dict[str, Usage] = {}
    items = list(outer.items)
    for run in within:
        text = f"{run.run_id} of {run.agent}: {run.status}, {counted(run.turns, 'turn')}"
        items.append(Remark(at=moment(run.began), kind="agent_run", text=text))
        for model, used in run.usage_by_model.items():
            usage[model] = usage.get(model, Usage()) + used
    items.sort(key=lambda each: each.asked if isinstance(each, Turn) else each.at)
    return msgspec.structs.replace(
        outer,
        items=tuple(items),
        usage_by_model=usage,
        cost_by_model={model: price(model, used) for model, used in usage.items()},
    )


class _Reading:
    """A journal, as far as it has been read."""

    def __init__(self, recording: Recording, state: State) -> None:
        self._recording = recording
        self._state = state
        self._specs = specs_of(recording.lines)
        history = history_of(recording.lines, recording.begun.prompt)
        self._ids = CallIds(history)
        self._items: list[OpenTurn | Remark] = []
        self._turn: OpenTurn | None = None
        self._calls: dict[str, OpenCall] = {}
        self._asked: set[int] = set()
        self._steered: list[str] = []
        self._place = 0
        self._fork_begins = _beginning_of_fork(recording)
        self.inherited = recording.lines[self._fork_begins].at if self._fork_begins else 0.0
        self._base = recording.begun.time - (self.inherited or recording.lines[0].at)
        self.last = recording.begun.time
        self.resumed: list[float] = []
        self.history = len(history)
        self.text = ""

    def items(self) -> Iterator[Item]:
        artifacts = self._recording.path.parent / "artifacts"
        for each in self._items:
            yield each if isinstance(each, Remark) else each.closed(self._state, artifacts)

    def read(self) -> None:
        others = list(self._recording.others)
        for place, line in enumerate(self._recording.lines):
            self._place = place
            while others and others[0][0] <= place:
                self._other(others.pop(0)[1])
            self._entry(line.at, line.entry)
        for _, other in others:
            self._other(other)
        if self._state in ANSWERABLE:
            self._look_for_answers()

    def _time(self, at: float) -> float:
        self.last = max(self.last, self._base + at)
        return self._base + at

    def _entry(self, at: float, entry: Any) -> None:
        if isinstance(entry, RunResumed):
            self._base = entry.time - at
        time = self._time(at)
        match entry:
            case RunBegun() | RunContext() | ToolSettled():
                pass
            case ModelRequested():
                self._request(time, entry)
            case ModelStreamed(chunks=chunks):
                if self._turn is not None:
                    self._turn.chunks += [each for _, each in chunks if isinstance(each, str)]
            case ModelResponded():
                self._respond(time, entry)
            case ModelFailed():
                if self._turn is not None:
                    self._turn.failed, self._turn.answered = entry, time
            case ResponseSuperseded(model=model):
                if self._turn is not None:
                    self._turn.chunks.clear()
                text = f"{model}: the response broke off, and was asked for again"
                self._remark(time, _kind(entry), text, "warning", of_turn=True)
            case RetryScheduled() | ModelFellBack() | ContextCompacted():
                level = "info" if isinstance(entry, ContextCompacted) else "warning"
                self._remark(time, _kind(entry), in_a_line(entry), level, of_turn=True)
            case Notice(text=text, level=level):
                self._remark(time, "notice", text, level, of_turn=True)
            case LimitReached(limit=limit, detail=detail):
                self._remark(time, "limit_reached", f"limit {limit}: {detail}", "warning")
            case Steered(text=text):
                self._steered.append(text)
                self._remark(time, "steered", f"the user said: {text}")
            case RunResumed():
                self._resume(time, entry)
            case RunEnded():
                self._end(time, entry)
            case _ if (call_id := getattr(entry, "call_id", None)) is not None:
                self._call_entry(time, call_id, entry)
            case _:
                self._remark(time, _kind(entry), _fields(entry))

    def _resume(self, time: float, entry: RunResumed) -> None:
        self._turn = None
        parent = self._recording.begun.parent
        if parent is not None and self._place == self._fork_begins:
            text = f"forked from {parent.run_id} before its turn {parent.turn}"
            self._remark(time, "run_forked", text)
            return
        self.resumed.append(entry.time)
        text = f"resumed with {entry.model}" if entry.model else "resumed"
        self._remark(time, "run_resumed", text)

    def _end(self, time: float, ended: RunEnded) -> None:
        self._turn = None
        waits = ended.status is RunStatus.WAITING
        text = "waits for approval" if waits else f"ended: {ended.status.value}"
        if ended.limit:
            text += f" ({ended.limit})"
        if ended.error:
            text += f": {ended.error}"
        self._remark(time, "run_ended", text, "error" if ended.error else "info")

    def _other(self, other: OtherLine) -> None:
        if (told := time_of(other)) is not None:
            self._base = told - other.at
        self._remark(self._time(other.at), other.type, in_short(other.fields))

    def _remark(
        self, time: float, kind: str, text: str, level: str = "info", *, of_turn: bool = False
    ) -> None:
        remark = Remark(at=moment(time), kind=kind, text=text, level=level)
        if of_turn and self._turn is not None and self._turn.answered is None:
            self._turn.remarks.append(remark)
        else:
            self._items.append(remark)

    def _request(self, time: float, request: ModelRequested) -> None:
        if request.kept and request.turn not in self._asked:
            for each in request.messages:
                if not isinstance(each, WholeMessage) or each.message.role != "user":
                    continue
                if (text := each.message.text) not in self._steered:
                    self._remark(time, "message", f"the model was told: {text}")
        self._steered.clear()
        self._asked.add(request.turn)
        self._turn = OpenTurn(time, request, inherited=self._place < self._fork_begins)
        self._items.append(self._turn)

    def _respond(self, time: float, entry: ModelResponded) -> None:
        if self._turn is None:
            self._turn = OpenTurn(time, ModelRequested(turn=entry.turn, digest="", context=""))
            self._items.append(self._turn)
        turn, message = self._turn, self._ids.distinct(entry.message)
        turn.response, turn.answered = entry, time
        self.text = message.text or self.text
        for call in message.tool_calls:
            found = OpenCall(call, time, self._specs.get(call.name))
            turn.calls.append(found)
            self._calls[call.id] = found

    def _call_entry(self, time: float, call_id: str, entry: Any) -> None:
        call = self._calls.get(call_id) or self._strayed(time, call_id, entry)
        match entry:
            case ToolIntended(effect=effect):
                call.begun.append(time)
                call.withdrawn = False
                call.effect = effect
            case ToolWithdrawn():
                call.withdrawn = True
            case ToolReturned():
                call.returned, call.ended = entry, time
            case ToolRefused():
                call.refused, call.ended = entry, time
            case ApprovalRequested():
                call.ask(time, entry)
            case ApprovalAnswered():
                call.answer(time, entry)
            case ToolProgress():
                call.progress = _progress(entry) or call.progress
            case _:
                self._remark(time, _kind(entry), _fields(entry))

    def _strayed(self, time: float, call_id: str, entry: Any) -> OpenCall:
        """A call whose turn cannot be read: it must not be left out."""
        name = getattr(entry, "tool", "?")
        arguments = getattr(entry, "arguments", None)
        call = OpenCall(ToolCall(call_id, name, arguments), time, self._specs.get(name))
        self._calls[call_id] = call
        if self._turn is None or self._turn.answered is None:
            number = max(self._asked, default=0)
            self._turn = OpenTurn(time, ModelRequested(turn=number, digest="", context=""))
            self._items.append(self._turn)
        self._turn.calls.append(call)
        return call

    def _look_for_answers(self) -> None:
        """Finds the answers that were given elsewhere and that the run has not taken yet."""
        approvals = Approvals(self._recording.path.parent)
        for call_id, call in self._calls.items():
            if call.unanswered and (answer := approvals.given(call_id, call.digest)) is not None:
                call.answered_elsewhere(answer)


def _beginning_of_fork(recording: Recording) -> int:
    """The place of the first entry that is a fork's own; 0 if the run is none."""
    lines = recording.lines
    if recording.begun.parent is None:
        return 0
    own = (place for place, line in enumerate(lines) if isinstance(line.entry, RunResumed))
    return next(own, len(lines) - 1)


def _kind(entry: Any) -> str:
    return str(entry.__struct_config__.tag)


def _fields(entry: Any) -> str:
    return in_short(msgspec.to_builtins(entry, enc_hook=str))


def _progress(entry: ToolProgress) -> str:
    done = ""
    if entry.progress is not None:
        done = f"{entry.progress:g}" + (f"/{entry.total:g}" if entry.total is not None else "")
    return " ".join(each for each in (done, entry.message) if each)
