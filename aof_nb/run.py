"""Run: one prompt carried through the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.cancellation import uncancelled
from aof_nb.errors import AofError, ApprovalPending, ReplayMismatch
from aof_nb.events import (
    CallWithheld,
    Event,
    LimitReached,
    Notice,
    RunFinished,
    RunStarted,
    RunStatus,
)
from aof_nb.executor import Record, Task, execute
from aof_nb.gate import Gate
from aof_nb.journal.approvals import WithoutSecrets
from aof_nb.journal.artifacts import Artifacts, RecordedArtifacts
from aof_nb.journal.cell_runs import cell_runs
from aof_nb.journal.entries import RunBegun
from aof_nb.journal.notebook_cell import NotebookCell, current_cell
from aof_nb.journal.recorder import digest_of, message_digest
from aof_nb.journal.recording import Recording
from aof_nb.journal.redaction import read_redaction
from aof_nb.journal.replay import Replay, record_path
from aof_nb.journal.runs import check_run_id, run_dir
from aof_nb.limits import Limits
from aof_nb.messages import Message, Usage, sendable
from aof_nb.models.fencing import fenced
from aof_nb.models.redacting import RedactedModel
from aof_nb.models.timeouts import Timeouts
from aof_nb.policy import (
    DRY_RUN,
    ApproveMode,
    Approver,
    ambient_approver,
    bounds_from_environment,
    held_to_dry_run,
)
from aof_nb.ports import Model, Tool, ToolSpec
from aof_nb.redact import RedactionPolicy, Redactor
from aof_nb.redact.tools import redact_error, redacted_tools
from aof_nb.result import RunResult
from aof_nb.run_journal import NOTED, RunJournal
from aof_nb.structured_output import Expected, expected
from aof_nb.telemetry import RunTelemetry, run_telemetry

if TYPE_CHECKING:
    from aof_nb.agent import Agent
    from aof_nb.memory import Memory

MOST_OF_THE_PAST = 2_000
"""Messages of a session's past that a run is given if nothing else is said."""

_logger = logging.getLogger("aof_nb.runs")
_DRY = "this is a dry run: what would change or send something is shown, and not executed"
_ASKED_OTHERWISE = (
    "the prompt is another one than when this cell was executed before: the run of then is taken"
)
# How much may have been said in a session since a run stopped that is resumed.
_MESSAGES_SINCE = 200


def new_run_id() -> str:
    """An id for a run: when it began, to the millisecond, and a few characters of its own.

    Ids sort as the runs began, as long as the clock is not put back.
    """
    now = time.time()
    began = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{began}-{int(now * 1000) % 1000:03d}{secrets.token_hex(3)}"


class Run:
    """One run: iterate it for its events, then read its `result`.

    The task that iterates may be cancelled at any await; the result is there all the same.
    `tool_layer`, if it is set before, is put around the tools, beneath the policy.

    Example:
        >>> async def show(agent, prompt):
        ...     run = agent.stream(prompt)
        ...     async for event in run:
        ...         print(event)
        ...     return run.result
    """

    def __init__(
        self,
        agent: Agent,
        prompt: str,
        *,
        session: str | None,
        approve: ApproveMode,
        approver: Approver | None,
        model: str | Model | None,
        limits: Limits | None,
        run_id: str | None,
        output_schema: Any = None,
        resumed: Recording | None = None,
        replay: Replay | None = None,
        record: str | Path | None = None,
        source: str = "",
        cell: str = "",
        approval_timeout: float | None = None,
    ) -> None:
        self.run_id = run_id or new_run_id()
        self._agent = agent
        self._redactor = redactor_of(agent, run_id if resumed is not None else None)
        self._prompt = self._without_secrets(sendable(prompt), told=True)
        self._session = session
        was_dry = resumed is not None and resumed.begun.approve == DRY_RUN
        self._approve: ApproveMode = DRY_RUN if was_dry else held_to_dry_run(approve)
        self._withheld: list[CallWithheld] = []
        self._approver = approver
        self._approval_timeout = approval_timeout
        self._model = model or agent.model
        self._asked_model_name = model if isinstance(model, str) else ""
        self._limits = limits or agent.limits
        self._output_schema = agent.output_schema if output_schema is None else output_schema
        self._resumed = resumed
        self._replay = replay
        self._record_to = record_path() if record is None else Path(record).expanduser()
        self._source = source
        here = current_cell()
        self._cell = cell or (here.id if here is not None else "")
        self._place = self._journaled_place(here)
        self._repeats = False
        self._asks = True
        self._notices: tuple[str, ...] = ()
        self._inbox: deque[str] = deque()
        self._journal = RunJournal()
        self.tool_layer: Callable[[Sequence[Tool]], Sequence[Tool]] | None = None
        self._record = Record(transcript=[])
        self._damaged: Sequence[str] = ()
        self._events = self._stream()

    def _journaled_place(self, here: NotebookCell | None) -> NotebookCell | None:
        """The cell of a notebook's run that this run is known by, when that is resumed."""
        if here is None or not here.playbook or not self._agent.journal:
            return None
        return here if self._replay is None and self._resumed is None else None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def aclose(self) -> None:
        """Ends the run now; the result says that it was cancelled."""
        try:
            await self._events.aclose()
        finally:
            # A generator that was never begun has nothing to run at its end.
            self._record.status = self._record.status or RunStatus.CANCELLED

    def steer(self, text: str) -> None:
        """Says something to the model while the run goes on: the coming turn is asked with it.

        Args:
            text: What is said. If the run ends before another turn, a notice says that it was not
                taken.
        """
        self._inbox.append(self._without_secrets(text, told=True))

    def not_taken(self) -> list[Notice]:
        """What was said too late for another turn, and what to do about it; each is told once."""
        said = [sendable(self._inbox.popleft()) for _ in range(len(self._inbox))]
        if self._record.status is RunStatus.WAITING:
            remedy = "say it again when the run goes on"
        elif self._session is not None:
            remedy = f"ask it as a prompt of its own in the session {self._session}"
        else:
            remedy = "ask it as a prompt of its own"
        return [
            Notice(f"too late for this run, and not taken: “{text}”; {remedy}") for text in said
        ]

    @property
    def notebook_run(self) -> str:
        """The run of a notebook that it belongs to, and that can be resumed; else empty."""
        return "" if self._place is None else self._place.run_id

    def raise_if_waiting(self) -> None:
        """Ends a notebook that is run unattended where a run of it waits for a person.

        Raises:
            ApprovalPending: If the run waits, and its notebook's run can be resumed.
        """
        if self.notebook_run and self._record.status is RunStatus.WAITING:
            raise ApprovalPending(
                f"{self._agent.name} waits for a person's approval",
                remedy=f"aofctl approve {self.run_id}, then aofctl resume {self.notebook_run}",
            )

    @property
    def transcript(self) -> list[Message]:
        """The conversation so far. While a turn goes on, its last part may be missing."""
        return self._record.transcript

    @property
    def result(self) -> RunResult:
        """What came of the run.

        Raises:
            RuntimeError: If it has not ended.
        """
        record = self._record
        if record.status is None:
            raise RuntimeError("the run has not ended: iterate it to its end, or close it")
        return RunResult(
            run_id=self.run_id,
            agent=self._agent.name,
            status=record.status,
            text=record.text,
            messages=tuple(record.transcript),
            usage=record.usage,
            usage_by_model=dict(record.usage_by_model),
            turns=record.turns,
            tool_calls=record.tool_calls,
            duration=record.duration,
            stop_reason=record.stop_reason,
            limit=record.limit,
            error=record.error,
            output=self._output(),
            data=record.answer.data if record.answer else None,
            withheld=tuple(self._withheld) if self._approve == DRY_RUN else None,
        )

    def _output(self) -> Any:
        record = self._record
        if self._output_schema is None or self._output_schema is str:
            return record.text
        return record.answer.value if record.answer else None

    async def _stream(self) -> AsyncGenerator[Event, None]:
        record = self._record
        memory: Memory | None = None
        known = 0
        loop = asyncio.get_running_loop()
        begun, seconds = loop.time(), self._limits.max_seconds
        telemetry: RunTelemetry | None = None
        try:
            try:
                async with asyncio.timeout(seconds) as within:
                    # An id that no directory can have is refused without a journal, too.
                    check_run_id(self.run_id)
                    if self._place is not None:
                        await asyncio.to_thread(self._find_in_notebook, self._place)
                        if self._resumed is not None:
                            self._redactor = redactor_of(self._agent, self.run_id)
                    telemetry = self._telemetry()
                    await self._open_journal()
                    if self._session is not None and self._replay is None:
                        memory = self._agent.open_memory()
                    record.transcript.extend(await self._history(memory))
                    known = len(record.transcript)
                    task = await self._prepare(lambda: loop.time() - begun, telemetry)
            except AofError as error:
                if self._redactor is not None:
                    redact_error(error, self._redactor)
                record.status, record.error = RunStatus.FAILED, error
                self._begin_anyhow()
                yield self._started()
                yield self._without_a_turn()
                return
            except TimeoutError:
                if not within.expired():
                    raise
                record.status, record.limit = RunStatus.LIMIT, "seconds"
                self._begin_anyhow()
                yield self._started()
                yield LimitReached("seconds", f"{seconds:g} s were over before it could begin")
                yield self._without_a_turn()
                return
            async with contextlib.aclosing(execute(task, record)) as events:
                async for event in events:
                    if isinstance(event, CallWithheld):
                        self._withheld.append(event)
                    if isinstance(event, RunFinished):
                        for notice in self.not_taken():
                            yield notice
                        store, memory = memory, None
                        for problem in await self._conclude(store, known):
                            yield Notice(problem)
                    noted = self._journal.noted(event) if type(event) in NOTED else event
                    if isinstance(noted, RunFinished):
                        record.duration = noted.duration
                    yield noted
        finally:
            record.status = record.status or RunStatus.CANCELLED
            try:
                problems = await self._conclude(memory, known)
                # What fails here must not hide why the run has ended.
                record.error = record.error or next(iter(problems.values()), None)
            finally:
                if self._replay is not None and isinstance(record.error, ReplayMismatch):
                    self._replay.note(record.error)
                if telemetry is not None:
                    telemetry.end(record.status.value, record.usage, record.text, record.error)
                self._log_end()

    async def _conclude(self, memory: Memory | None, known: int) -> dict[str, AofError]:
        """Keeps the conversation and ends the journal, whatever becomes of either.

        Returns:
            What could not be done, in words for people, and why.
        """
        problems: dict[str, AofError] = {}
        try:
            if memory is not None:
                await uncancelled(self._remember(memory, known))
        except AofError as error:
            problems[f"the conversation was not kept: {error.message}"] = error
        except Exception as raised:  # noqa: BLE001  a memory may be anyone's
            failure = AofError(f"{type(raised).__name__}: {raised}")
            problems[f"the conversation was not kept: {failure.message}"] = failure
        finally:
            problems |= await self._journal.end(self._record)
        return problems

    def _without_secrets(self, text: str, *, told: bool = False) -> str:
        """A text with placeholders; one that the user `told` may name some itself."""
        if self._redactor is None:
            return text
        if told:
            self._redactor.mentioned(text)
        return self._redactor.text(text)

    def _begin_anyhow(self) -> None:
        """Begins the journal of a new run that has failed before it could."""
        if self._resumed is None:
            with contextlib.suppress(AofError):
                self._journal.begin(self._begun([self._asked]))

    def _telemetry(self) -> RunTelemetry | None:
        if self._replay is not None or self._repeats:
            return None
        return run_telemetry(
            run_id=self.run_id,
            agent=self._agent.name,
            model=self._asked,
            session=self._session,
            prompt=self._prompt,
        )

    @property
    def _asked(self) -> str:
        return str(getattr(self._model, "name", self._model))

    def _log_end(self) -> None:
        record = self._record
        if _logger.isEnabledFor(logging.INFO):
            _logger.info(
                "run %s of %s: %s",
                self.run_id,
                self._agent.name,
                record.status,
                extra={
                    "run_id": self.run_id,
                    "agent": self._agent.name,
                    "session": self._session,
                    "status": str(record.status),
                    "turns": record.turns,
                    "tool_calls": record.tool_calls,
                    "input_tokens": record.usage.input_tokens,
                    "output_tokens": record.usage.output_tokens,
                    "duration_s": round(record.duration, 3),
                    "error_type": type(record.error).__name__ if record.error else None,
                },
            )

    def _find_in_notebook(self, place: NotebookCell) -> None:
        """Finds what the cell's agent has done before, to repeat it or to go on with it.

        Raises:
            JournalError: If it cannot be told, or not read.
        """
        earlier = cell_runs(place.playbook).find(place, self._agent.name, self._prompt)
        if earlier is None:
            return
        self.run_id = earlier.run_id
        recording = earlier.recording
        if recording is None:
            return
        begun = recording.begun
        self._prompt, self._session = begun.prompt, begun.session
        self._limits = begun.limits or self._limits
        if begun.approve == DRY_RUN:
            self._approve = DRY_RUN
        self._repeats, self._asks = earlier.repeats, not earlier.repeats
        if earlier.repeats:
            self._journal = RunJournal(recording, replay=True, compares=False)
        else:
            self._resumed = recording
        if earlier.asked_otherwise:
            self._notices = (_ASKED_OTHERWISE,)

    def _note_in_notebook(self, place: NotebookCell) -> None:
        """Writes down that the cell has begun this run, before anything is done."""
        runs = cell_runs(place.playbook)
        runs.note(place, self._agent.name, self._prompt, run_dir(self.run_id))

    async def _open_journal(self) -> None:
        """Begins the run's journal, or finds the one that it goes on with or repeats."""
        replay = self._replay
        if replay is not None:
            found = await asyncio.to_thread(replay.find, self._agent.name, self._prompt, self._cell)
            self._asks = replay.otherwise is not None
            if replay.otherwise is not None:
                self._model = replay.otherwise
            if found is not None:
                self.run_id, self._session = found.run_id, found.begun.session
                if found.begun.approve == DRY_RUN:
                    self._approve = DRY_RUN
                self._journal = RunJournal(
                    found, replay=True, strict=True, compares=replay.compares, pace=replay.pace
                )
                return
            # Nothing of it was recorded: it is a run like any other.
            self._replay = None
        if not self._repeats:
            # Without a journal, what it does would be done again when the notebook is resumed.
            required = self._place is not None
            self._journal = RunJournal(self._resumed, required=required, record_to=self._record_to)
            if self._agent.journal or self._record_to is not None:
                # A few calls to a local file system: a thread would cost ten times as much.
                self._journal.open(self.run_id)
        if self._place is not None:
            await asyncio.to_thread(self._note_in_notebook, self._place)

    async def _history(self, memory: Memory | None) -> Sequence[Message]:
        if (recorded := self._journal.history) is not None:
            return recorded
        if memory is None or self._session is None:
            return ()
        most = self._agent.max_context_messages or MOST_OF_THE_PAST
        history = await memory.load(self._session, limit=most)
        # A memory of the user's own may give a plain list.
        self._damaged = getattr(history, "damaged", ())
        if self._redactor is None:
            return history
        return [self._redactor.message(message) for message in history]

    async def _prepare(self, elapsed: Callable[[], float], telemetry: RunTelemetry | None) -> Task:
        from aof_nb.models.compacting import compacts_at
        from aof_nb.tool_names import check_unique
        from aof_nb.tools import resolve_tools

        agent, journal = self._agent, self._journal
        output = expected(self._output_schema)
        models = self._models() if self._asks else []
        system = self._without_secrets(agent.instructions, told=True)
        if self._redactor is not None:
            journal.keep_placeholders(self._redactor)
        journal.begin(self._begun([each.name for each in models]))
        journal.say([f"the conversation could not be read whole: {each}" for each in self._damaged])
        model = journal.model(self._asked_model(models, output, telemetry) if models else None)
        tools: list[Tool] = [] if self._repeats else list(resolve_tools(agent.tools))
        journal.say(self._notices)
        if self._approve == DRY_RUN and self._resumed is None and self._asks:
            journal.say([_DRY])
        if not self._asks:
            tools = journal.replayed_tools(tools, [each.name for each in agent.mcp_servers])
        else:
            if agent.mcp_servers:
                from aof_nb.mcp.pool import pool

                own = [tool.spec.name for tool in tools]
                offered = await pool().tools(agent.mcp_servers, beside=own)
                tools += offered.tools
                journal.say([self._without_secrets(each) for each in offered.warnings])
            check_unique([tool.spec for tool in tools])
            if self._redactor is not None:
                tools = redacted_tools(tools, self._redactor)
            if self.tool_layer is not None:
                tools = list(self.tool_layer(tools))
            approver = self._approver
            if approver is None and self._approve == "ask":
                approver = ambient_approver()
            asking = journal.approver(approver)
            if asking is not None and self._redactor is not None:
                asking = WithoutSecrets(asking, self._redactor)
            gate = Gate(
                agent.policy,
                mode=self._approve,
                approver=asking,
                bounds=bounds_from_environment(),
                approval_timeout=self._approval_timeout,
            )
            known = {tool.spec.name: tool.spec for tool in tools}
            past = (each for message in self._record.transcript for each in message.tool_results)
            for name in dict.fromkeys(result.name for result in past):
                gone = ToolSpec(name=name, description="", input_schema={})
                gate.note_read(known.get(name, gone))
            traced = None if telemetry is None else telemetry.tools
            tools = journal.tools(tools, gate, traced=traced)
        return Task(
            run_id=self.run_id,
            agent=agent.name,
            model=model,
            prompt=self._prompt,
            system=system,
            tools=tools,
            limits=self._limits,
            elapsed=journal.elapsed or elapsed,
            sampling=agent.sampling,
            output=output,
            session=self._session,
            artifacts=self._artifacts(),
            notices=journal.notices,
            fallbacks=[each.name for each in models[1:]],
            compacts_at=compacts_at(models[0].name, agent.context) if models else None,
            inbox=self._inbox,
            playback=journal.playback,
            on_refused=journal.refused,
        )

    def _begun(self, models: list[str]) -> RunBegun:
        agent = self._agent
        return RunBegun(
            run_id=self.run_id,
            agent=agent.name,
            model=models[0] if models else self._asked,
            prompt=self._prompt,
            time=time.time(),
            asked_model=self._asked_model_name,
            spec=spec_of(agent),
            session=self._session,
            fallbacks=tuple(models[1:]),
            limits=self._limits,
            approve=self._approve,
            approval_timeout=self._approval_timeout,
            source=self._source,
            cell=self._cell,
            notebook_run=self.notebook_run,
        )

    def _models(self) -> list[Model]:
        """The models of the chain."""
        agent = self._agent
        chain = [self._model, *agent.fallback] if self._model is agent.model else [self._model]
        return [_resolved(each, agent.timeouts) for each in chain]

    def _asked_model(
        self, models: list[Model], output: Expected | None, telemetry: RunTelemetry | None
    ) -> Model:
        """The chain, with the layers around it."""
        from aof_nb.models.chain import resilient

        agent, asked, context = self._agent, models, self._agent.context
        if telemetry is not None:
            asked = [telemetry.model(each) for each in asked]
            if context is not None and context.summary_model:
                named = _resolved(context.summary_model, agent.timeouts)
                context = msgspec.structs.replace(context, summary_model=telemetry.model(named))
        conversation = f"{agent.name} {self._session or self._prompt}"
        asked = [fenced(each, conversation) for each in asked]
        model = resilient([_held_to(output, each) for each in asked], agent.retry, context)
        if agent.response_cache:
            from aof_nb.models.response_cache import cached

            given = agent.response_cache
            directory = None if given is True else given
            model = cached(model, directory=directory, keyed_by=models[0])
        return model if self._redactor is None else RedactedModel(model, self._redactor)

    def _artifacts(self) -> Artifacts:
        kind = Artifacts if self._asks or self._repeats else RecordedArtifacts
        return kind(lambda: run_dir(self.run_id) / "artifacts")

    async def _remember(self, memory: Memory, known: int) -> None:
        """Adds the run's messages to its session, for a run that failed or was cancelled too.

        One that waits adds them when it has gone on: until then its calls have no results.
        """
        if self._approve == DRY_RUN:
            # Later runs of the session would be told of things that nobody has done.
            return
        new = self._record.transcript[known:]
        if not new or self._session is None or self._record.status is RunStatus.WAITING:
            return
        if self._resumed is not None:
            # The process before may have failed or died with a part of it kept.
            kept = await memory.load(self._session, limit=len(new) + _MESSAGES_SINCE)
            new = _not_in(kept, new)
        elif self._repeats:
            new = _not_in(await memory.load(self._session), new)
        if new:
            await memory.append(self._session, new)

    def _started(self) -> RunStarted:
        return RunStarted(self.run_id, self._agent.name, self._asked, self._prompt, self._session)

    def _without_a_turn(self) -> RunFinished:
        record = self._record
        assert record.status is not None
        return RunFinished(
            run_id=self.run_id,
            status=record.status,
            text="",
            usage=Usage(),
            turns=0,
            tool_calls=0,
            duration=0.0,
            usage_by_model={},
            limit=record.limit,
            error=record.error.message if record.error else None,
            remedy=record.error.remedy if record.error else None,
        )


def spec_of(agent: Agent) -> str:
    """A hash of what an agent is declared to be."""
    return digest_of((agent.name, agent.instructions, agent.sampling))


def _not_in(conversation: Sequence[Message], messages: list[Message]) -> list[Message]:
    """What is to be added to a conversation that has the first of some messages already.

    Results of calls that the conversation has others for are left out: a call has one result.
    """
    known = [message_digest(each) for each in conversation]
    wanted = [message_digest(each) for each in messages]
    most = 0
    for start in range(len(known)):
        same = 0
        for old, new in zip(known[start:], wanted, strict=False):
            if old != new:
                break
            same += 1
        most = max(most, same)
    if 0 < most < len(messages) and messages[most].role == "tool":
        most += 1
    return messages[most:]


def redactor_of(agent: Agent, resumed: str | None) -> Redactor | None:
    """What keeps an agent's secrets out of a run; None if it is not to.

    Args:
        agent: The agent.
        resumed: The id of the run that goes on, whose placeholders hold.
    """
    policy = agent.redaction or RedactionPolicy()
    if not policy.enabled:
        return None
    variables = [each.env for each in agent.mcp_servers]
    headers = [each.headers for each in agent.mcp_servers]
    for field in ("env", "environment"):
        declared = (agent.declared or {}).get(field)
        if isinstance(declared, Mapping):
            variables.append({str(name): str(value) for name, value in declared.items()})
    state = None if resumed is None else read_redaction(run_dir(resumed))
    return Redactor.from_environment(*variables, *headers, policy=policy, state=state)


def _resolved(model: str | Model, limits: Timeouts | None) -> Model:
    from aof_nb.models import resolve_model
    from aof_nb.models.registry import FILES

    if limits is None or not isinstance(model, str) or model.startswith(FILES):
        return resolve_model(model)
    return resolve_model(model, timeout=limits)


def _held_to(output: Expected | None, model: Model) -> Model:
    from aof_nb.models.structured import structured

    return model if output is None else structured(model, output.schema)
