"""What a run does with its journal: begins one, goes on with one, or plays one back."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aof_nb._version import __version__
from aof_nb.cancellation import uncancelled
from aof_nb.errors import AofError, ConfigurationError, JournalError
from aof_nb.events import (
    CallWithheld,
    Event,
    LimitReached,
    Notice,
    RunFinished,
    Steered,
    ToolFinished,
)
from aof_nb.gate import Gate
from aof_nb.journal.approvals import Approvals, RecordedApprover, WithoutRecord
from aof_nb.journal.cassette import add_to_cassette
from aof_nb.journal.entries import (
    FORMAT,
    ModelRequested,
    RunBegun,
    RunEnded,
    RunResumed,
    ToolRefused,
)
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.playback import (
    Playback,
    PlayedModel,
    PlayedTool,
    first_notices,
    history_of,
    specs_of,
)
from aof_nb.journal.recorder import JournaledModel, intended, journaled
from aof_nb.journal.recording import FINAL, Recording, State, check_resumable, read_recording
from aof_nb.journal.redaction import write_redaction
from aof_nb.journal.retention import prune_in_background
from aof_nb.journal.runs import run_dir
from aof_nb.journal.unknown import BegunTool, GoneTool, begun_edited
from aof_nb.messages import Message, ToolCall
from aof_nb.policy import Approver
from aof_nb.ports import Model, Tool
from aof_nb.redact import Redactor

if TYPE_CHECKING:
    from aof_nb.executor import Record


NOTED = frozenset({CallWithheld, LimitReached, Steered, ToolFinished, RunFinished})
"""The events that `RunJournal.noted` is to be given; most are not worth the call."""


def _made_for(run_id: str) -> Path:
    """The directory of a run.

    Raises:
        JournalError: If there is no place for it.
    """
    try:
        return run_dir(run_id)
    except OSError as error:
        raise JournalError(
            f"the state directory cannot be made: {error}",
            remedy="name another one in AOF_STATE_DIR",
        ) from error


class RunJournal:
    """A run's journal, and what of it is played back.

    Args:
        recording: What the run goes on from, or repeats.
        replay: Whether it repeats the recording, and writes none.
        strict: Whether a replay may ask for nothing that was not recorded.
        compares: Whether a strict replay is to ask for exactly what was recorded; else the answers
            are given in their order, whatever is asked, to the tools as they were.
        pace: How much of the recorded waits a replay keeps.
        tools: Whether a replay plays tools back too.
        required: Whether a run whose journal cannot be written fails, and does not go on without.
        record_to: A cassette that the whole journal is added to when the run has ended.
    """

    def __init__(
        self,
        recording: Recording | None = None,
        *,
        replay: bool = False,
        strict: bool = True,
        compares: bool = True,
        pace: float = 0.0,
        tools: bool = True,
        required: bool = False,
        record_to: Path | None = None,
    ) -> None:
        self._recording = recording
        self._replay = replay
        self._compares = compares
        self._required = required
        self._record_to = record_to
        self._journal: Journal | None = None
        self._before = 0.0
        self._durations: dict[str, float] = {}
        self._begun = False
        self.notices: list[str] = []
        self.playback: Playback | None = None
        self._strict, self._pace, self._plays_tools = replay and strict, pace, tools
        if recording is not None:
            self.playback = self._played(recording)
            if replay:
                self.notices += first_notices(recording.lines)

    def _played(self, recording: Recording) -> Playback:
        return Playback(
            recording.lines,
            strict=self._strict,
            compares=self._compares,
            pace=self._pace,
            tools=self._plays_tools,
            before=recording.duration,
        )

    @property
    def history(self) -> list[Message] | None:
        """The conversation that the recorded run began with; None if no recording says it."""
        recording = self._recording
        if recording is None:
            return None
        begun = recording.begun
        if not begun.history and next(recording.of(ModelRequested), None) is None:
            return None
        return history_of(recording.lines, begun.prompt)

    @property
    def elapsed(self) -> Callable[[], float] | None:
        """Seconds that the run has gone on, where not just the clock tells."""
        return None if self.playback is None else self.playback.elapsed

    def open(self, run_id: str) -> None:
        """Opens the journal; where a new one cannot be written, `notices` says so.

        Raises:
            ConfigurationError: If the run is there already, or has ended for good.
            JournalError: If the journal to go on with cannot be written, is damaged, or is held by
                another process.
        """
        recording = self._recording
        if recording is not None:
            if recording.path.resolve() != (run_dir(run_id) / FILE_NAME).resolve():
                raise ConfigurationError(
                    f"{recording.path} is a copy of the run's journal",
                    remedy=f"go on with the run itself, {run_id}, or fork the copy",
                )
            check_resumable(recording)
        began = time.monotonic()

        def elapsed() -> float:
            return self._before + time.monotonic() - began

        try:
            self._journal = journal = Journal(_made_for(run_id), elapsed=elapsed)
        except JournalError as error:
            if recording is not None:
                raise
            self._do_without(error)
            return
        if recording is not None:
            # Another process may have gone on with it since it was read.
            self._recording = recording = read_recording(journal.path)
            check_resumable(recording, held=True)
            self._before = recording.duration
            self.playback = self._played(recording)
        elif not journal.is_new:
            journal.close()
            self._journal = None
            raise ConfigurationError(
                f"there is a run {run_id} already",
                remedy="give another run_id, or go on with that one: agent.resume(run_id)",
            )
        if problem := prune_in_background():
            self.notices.append(problem)

    def begin(self, begun: RunBegun) -> None:
        """Writes the first entry, or that the run is resumed; a new run can go on without.

        Raises:
            JournalError: If a resumed run's cannot be written, or it is required.
        """
        if self._journal is None or self._begun:
            return
        self._begun = True
        versions = {"aof_nb": __version__, "python": platform.python_version()}
        if self._recording is not None:
            entry = RunResumed(time=time.time(), model=begun.model, versions=versions)
            self._journal.write(entry)
            return
        try:
            self._journal.write(msgspec.structs.replace(begun, format=FORMAT, versions=versions))
        except JournalError as error:
            self._journal.close()
            self._do_without(error)

    def _do_without(self, error: JournalError) -> None:
        self._journal = None
        if self._required:
            raise error
        self.notices.append(f"this run has no journal, and cannot be resumed: {error.message}")

    def keep_placeholders(self, redactor: Redactor) -> None:
        """Has a run's placeholders written before what holds them.

        A run that goes on must not give one of them to another secret.
        """
        journal = self._journal
        if journal is None:
            return
        kept = 0

        def keep() -> None:
            nonlocal kept
            if redactor.count != kept:
                write_redaction(journal.directory, redactor.state)
                kept = redactor.count

        journal.before_write = keep

    def say(self, notices: Sequence[str]) -> None:
        """Adds to what is said at the run's beginning.

        Raises:
            JournalError: If it cannot be written.
        """
        self.notices += notices
        if self._journal is not None and notices:
            self._journal.write(*map(Notice, notices))

    def approver(self, face: Approver | None) -> Approver | None:
        """The face that asks, and beside it the records that other processes answer."""
        if self._journal is None:
            return None if face is None else WithoutRecord(face)
        return RecordedApprover(Approvals(self._journal.directory), face)

    def model(self, model: Model | None) -> Model:
        """The model, journaled and played back; None for a replay that asks nobody."""
        if model is not None and self._journal is not None:
            digests = self.playback.digests if self.playback is not None else None
            model = JournaledModel(model, self._journal, digests=digests)
        if self.playback is not None:
            assert self._recording is not None
            return PlayedModel(self.playback, model, name=self._recording.begun.model)
        assert model is not None
        return model

    def tools(
        self,
        tools: Sequence[Tool],
        gate: Gate,
        *,
        traced: Callable[[Sequence[Tool]], Sequence[Tool]] | None = None,
    ) -> list[Tool]:
        """The tools with the policy around them, journaled and played back.

        Args:
            tools: The tools.
            gate: The policy.
            traced: A layer around the guarded tools.
        """
        journal, playback = self._journal, self.playback
        inner = list(tools) if journal is None else intended(tools, journal)
        guarded: list[Tool] = gate.guard(inner)
        if traced is not None:
            guarded = list(traced(guarded))
        outer = guarded if journal is None else journaled(guarded, journal, self._durations)
        if playback is None or not playback.plays_tools:
            return outer
        assert self._recording is not None
        begun: list[Tool | None] = [None] * len(outer)
        if journal is not None:
            edited = begun_edited(self._recording.lines)
            layers = [
                BegunTool(tool, again, gate, edited)
                for tool, again in zip(tools, inner, strict=True)
            ]
            begun = list(journaled(layers, journal, self._durations))
        # What was approved for similar calls was so for that run.
        keeps = self._recording.begun.parent is None
        played: list[Tool] = [
            PlayedTool(
                playback,
                tool.spec,
                tool,
                begun=other,
                gate=gate,
                own=own,
                keeps_approvals=keeps,
            )
            for tool, other, own in zip(outer, begun, tools, strict=True)
        ]
        names = {tool.spec.name for tool in played}
        gone = [spec for name, spec in specs_of(self._recording.lines).items() if name not in names]
        if journal is None:
            return played + [PlayedTool(playback, spec, None) for spec in gone]
        for spec in gone:
            both = [GoneTool(spec), GoneTool(spec, begun=True)]
            tool, other = journaled(both, journal, self._durations)
            played.append(PlayedTool(playback, spec, tool, begun=other))
        return played

    def replayed_tools(self, local: Sequence[Tool], servers: Sequence[str]) -> list[Tool]:
        """The tools of a replay that calls none: the recorded ones, as they are declared now.

        Args:
            local: The agent's own tools, which need no connection to be known.
            servers: The names of its MCP servers.
        """
        assert self.playback is not None
        assert self._recording is not None
        if not self._compares:
            recorded = specs_of(self._recording.lines).values()
            return [PlayedTool(self.playback, spec, None) for spec in recorded]
        now = {tool.spec.name: tool.spec for tool in local}
        specs = []
        for name, spec in specs_of(self._recording.lines).items():
            kind, _, server = spec.source.partition(":")
            if name in now:
                specs.append(now.pop(name))
            elif kind == "mcp" and server in servers:
                specs.append(spec)
        specs += now.values()
        return [PlayedTool(self.playback, spec, None) for spec in specs]

    def noted(self, event: Event) -> Event:
        """Writes down what only the loop tells of; a replayed event is given its recorded time.

        Raises:
            JournalError: If it cannot be written.
        """
        playback, journal = self.playback, self._journal
        playing = playback is not None and not playback.live
        match event:
            case LimitReached():
                if playback is not None and playing:
                    playback.limit_told(event)
                elif journal is not None:
                    journal.write(event)
            case Steered():
                # What was recorded has been taken from the playback by now.
                if not (playback is not None and playback.took_steered()) and journal is not None:
                    journal.write(event)
            case ToolFinished(call_id=call_id):
                return self._tool_finished(event, call_id)
            case RunFinished() if self._replay and self._recording is not None:
                ended = self._recording.ended
                if ended is not None:
                    return msgspec.structs.replace(event, duration=ended.duration)
            case _:
                pass
        return event

    def _tool_finished(self, event: ToolFinished, call_id: str) -> ToolFinished:
        """The event with the duration that is in the journal, if there is one."""
        playback, duration = self.playback, self._durations.get(call_id)
        if playback is not None and duration is None:
            duration = playback.durations.get(call_id)
        return event if duration is None else msgspec.structs.replace(event, duration=duration)

    def refused(self, call: ToolCall, complaint: str) -> None:
        """Writes down that the loop itself has answered a call."""
        if self._journal is not None:
            self._durations[call.id] = 0.0
            with contextlib.suppress(JournalError):
                entry = ToolRefused(call_id=call.id, tool=call.name, content=complaint)
                self._journal.write(entry)

    async def end(self, record: Record) -> dict[str, AofError]:
        """Writes how the run has ended, and lets go of the journal.

        Returns:
            What could not be done, in words for people, and why.
        """
        journal, self._journal = self._journal, None
        if journal is None:
            return {}
        if not self._begun:
            # It has done nothing: one that is resumed waits or has failed as before.
            journal.close()
            return {}
        assert record.status is not None
        ended = RunEnded(
            status=record.status,
            text=record.text,
            turns=record.turns,
            tool_calls=record.tool_calls,
            duration=self._before + record.duration,
            usage_by_model=dict(record.usage_by_model),
            limit=record.limit,
            error=record.error.message if record.error else None,
            remedy=record.error.remedy if record.error else None,
            output=record.answer.data if record.answer else None,
        )
        problems: dict[str, AofError] = {}
        try:
            journal.write(ended)
        except JournalError as error:
            record.error = record.error or error
            problems[f"the end of this run is not in its journal: {error.message}"] = error
        finally:
            journal.close()
        if self._recording is not None and State(record.status) in FINAL:
            # What it waited for before and was not asked for again.
            Approvals(journal.directory).clear()
        if self._record_to is not None:
            try:
                await uncancelled(asyncio.to_thread(add_to_cassette, self._record_to, journal.path))
            except JournalError as error:
                problems[f"this run was not recorded: {error.message}"] = error
        return problems
