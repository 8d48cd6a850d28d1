"""Agent: what a user declares and runs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aof_nb.errors import AofError, ConfigurationError
from aof_nb.events import RunStatus
from aof_nb.journal.entries import RunBegun, RunContext
from aof_nb.journal.fork import begin_fork
from aof_nb.journal.recording import Recording, check_resumable
from aof_nb.journal.replay import Replay
from aof_nb.limits import Limits
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import sendable
from aof_nb.models.compaction import ContextPolicy
from aof_nb.models.resilience import RetryPolicy
from aof_nb.models.timeouts import Timeouts
from aof_nb.policy import (
    DRY_RUN,
    ApproveMode,
    Approver,
    Policy,
    approval_timeout_from_environment,
    approve_from_environment,
)
from aof_nb.ports import Model, Sampling, Tool
from aof_nb.redact import RedactionPolicy
from aof_nb.result import RunResult
from aof_nb.run import Run, new_run_id, spec_of
from aof_nb.structured_output import expected, expected_again

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from aof_nb.memory import Memory


@dataclass(kw_only=True, eq=False)
class Agent:
    """A declared model with instructions, tools and limits.

    Args:
        name: What it is called.
        model: ``provider:model``, or a model.
        instructions: What it is told before the conversation.
        description: What it is for, for people and other agents.
        tools: Built-in tools by name, decorated functions, or tools.
        mcp_servers: Servers whose tools it may use.
        memory: Where conversations are kept: ``in_memory``, ``file:PATH``, ``disk``, ``disk:PATH``,
            ``redis://...``, a memory, or None.
        policy: What it may do with and without asking.
        limits: How far a run may go.
        sampling: How the model is asked to answer.
        output_schema: What the answer is to be: a pydantic model, a dataclass, ``list[...]``, any
            type that pydantic knows, or a JSON Schema; None or `str` for text.
        max_context_messages: Messages of a session's past that a run is given; None for 2,000.
        labels: For finding it.
        fallback: Models asked, in this order, where the model before cannot answer: by name, such
            as ``ollama:qwen3`` or ``script:triage.yaml``, or models.
        retry: How often each model is asked again after a failure that may pass.
        context: What happens when a conversation grows too long for its model.
        response_cache: Whether an exact request is answered as before, from disk; or the directory.
        timeouts: When a request to a model that is named is given up.
        journal: Whether its runs are journaled, so that they can be resumed, replayed and audited.
        redaction: What counts as secret, and which tools are told secrets.
        declared: What its YAML says, if it comes from there.

    Example:
        >>> Agent(name="sre", model="script:triage.yaml", tools=["shell"]).name
        'sre'
    """

    model: str | Model
    name: str = "agent"
    instructions: str = ""
    description: str = ""
    tools: Sequence[str | Tool | Callable[..., Any] | Mapping[str, Any]] = ()
    mcp_servers: Sequence[McpServer] = ()
    memory: str | Memory | None = None
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    sampling: Sampling = field(default_factory=Sampling)
    output_schema: Any = None
    max_context_messages: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    fallback: Sequence[str | Model] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    context: ContextPolicy = field(default_factory=ContextPolicy)
    response_cache: bool | str | Path = False
    timeouts: Timeouts | None = None
    journal: bool = True
    redaction: RedactionPolicy | None = None
    declared: Mapping[str, Any] | None = None

    def stream(
        self,
        prompt: str,
        *,
        session: str | None = None,
        approve: ApproveMode | None = None,
        approver: Approver | None = None,
        model: str | Model | None = None,
        limits: Limits | None = None,
        run_id: str | None = None,
        output_schema: Any = None,
        replay: Replay | str | Path | None = None,
        record: str | Path | None = None,
        source: str = "",
        cell: str = "",
        approval_timeout: float | None = None,
    ) -> Run:
        """Starts a run, to be iterated for its events.

        Args:
            prompt: What is asked.
            session: The conversation to go on with; needs `memory`, or one is kept in memory.
            approve: What happens where the policy asks: ``ask`` a person, ``never`` approve,
                approve ``all``, or only show what would be done, in a ``dry-run``; what
                ``AOF_APPROVE`` says if not given, or else ``ask``.
            approver: Who asks; the notebook's or the terminal's own if not given.
            model: Instead of the agent's own.
            limits: Instead of the agent's own.
            run_id: The run's id; made if not given.
            output_schema: Instead of the agent's own; `str` for text.
            replay: A recording to repeat, with no network and no side effects; what
                ``AOF_REPLAY`` names if not given.
            record: The cassette that the run is added to when it has ended; what ``AOF_RECORD``
                names if not given.
            source: The file that declares the agent, for whoever goes on with the run.
            cell: The id of the notebook cell that it belongs to.
            approval_timeout: Seconds that a question waits for a person, no answer being a no
                then, instead of the policy's own; `math.inf` for no limit. What
                ``AOF_APPROVAL_TIMEOUT`` says if not given.
        """
        if replay is None:
            replay = Replay.from_environment()
        elif not isinstance(replay, Replay):
            replay = Replay(replay)
        return Run(
            self,
            prompt,
            session=session,
            approve=approve or approve_from_environment(),
            approver=approver,
            model=model,
            limits=limits,
            run_id=run_id,
            output_schema=output_schema,
            replay=replay,
            record=record,
            source=source,
            cell=cell,
            approval_timeout=approval_timeout or approval_timeout_from_environment(),
        )

    def resumed(
        self,
        run: str | Recording,
        *,
        approve: ApproveMode | None = None,
        approver: Approver | None = None,
        model: str | Model | None = None,
        limits: Limits | None = None,
        output_schema: Any = None,
    ) -> Run:
        """A run that goes on where it stopped, to be iterated for its events, from the first on.

        Finished responses and tool calls are taken from its journal. A call that was begun and
        whose outcome is not known is made again if its tool only reads; else the tool's own
        `verify` decides, or a person; where nobody is asked it is left alone.

        Args:
            run: The run's id, its beginning, or what was read of its journal.
            approve: As for `stream`; as before if not given.
            approver: Who asks; the notebook's or the terminal's own if not given.
            model: Who is asked from here on. If not given, the model that was named instead of the
                agent's own, if one was; else the agent's own.
            limits: How far to go, the turns before included; as before if not given.
            output_schema: As for `stream`; as before if not given.

        Raises:
            ConfigurationError: If there is no such run, it has ended, or is another agent's.
            JournalError: If its journal cannot be read, or another process goes on with it.
        """
        from aof_nb.journal.runs import read_run

        recording = run if isinstance(run, Recording) else read_run(run)
        begun = recording.begun
        if begun.agent != self.name:
            raise ConfigurationError(
                f"the run {recording.run_id} is one of agent {begun.agent!r}, not {self.name!r}",
                remedy=f"resume it with agent {begun.agent!r}",
            )
        check_resumable(recording)
        if approve == DRY_RUN != begun.approve:
            raise ConfigurationError(
                f"the run {recording.run_id} has been carried out so far: "
                "it cannot go on as a dry run",
                remedy='try a fork of it: agent.fork(run, from_turn=1, approve="dry-run")',
            )
        return Run(
            self,
            begun.prompt,
            session=begun.session,
            approve=approve or _approve_mode(begun.approve),
            approver=approver,
            model=model or begun.asked_model or None,
            limits=limits or begun.limits,
            run_id=recording.run_id,
            output_schema=output_schema or _output_schema(recording, self.output_schema),
            resumed=recording,
            approval_timeout=begun.approval_timeout or approval_timeout_from_environment(),
        )

    def fork(
        self,
        run: str | Recording,
        from_turn: int,
        *,
        prompt: str | None = None,
        model: str | Model | None = None,
        approve: ApproveMode | None = None,
        approver: Approver | None = None,
        limits: Limits | None = None,
        output_schema: Any = None,
        source: str | None = None,
    ) -> Run:
        """A new run that has another's turns before one, and is live from there on.

        What those turns have cost is not counted again, and what their tools did is not done
        again. The fork belongs to no session. The other run may wait, have failed or have ended;
        it is left as it is.

        Args:
            run: The other run's id, its beginning, or what was read of its journal.
            from_turn: The first turn that is asked anew, from 1.
            prompt: What the model is told at that turn; at turn 1 instead of the first prompt.
            model: Who is asked from there on; the agent's own if not given.
            approve: As for `stream`; as in the other run if not given.
            approver: Who asks; the notebook's or the terminal's own if not given.
            limits: How far to go, the turns before included; as in the other run if not given.
            output_schema: As for `stream`.
            source: The file that declares the agent, for whoever goes on with the fork.

        Raises:
            ConfigurationError: If there is no such run, or no such turn in it.
            JournalError: If its journal cannot be read, or the fork's cannot be written.

        Example:
            >>> async def try_again(agent):
            ...     fork = agent.fork("last", from_turn=3, model="openai:gpt-5")
            ...     async for event in fork:
            ...         print(event)
        """
        from aof_nb.journal.runs import read_run
        from aof_nb.models.registry import shown_name

        parent = run if isinstance(run, Recording) else read_run(run)
        begun = parent.begun
        if source is None:
            source = begun.source if begun.agent == self.name else ""
        limits = limits or begun.limits
        mode = approve or _approve_mode(begun.approve)
        forked = begin_fork(
            parent,
            from_turn,
            RunBegun(
                run_id=new_run_id(),
                agent=self.name,
                model=shown_name(model or self.model),
                asked_model=model if isinstance(model, str) else "",
                prompt=sendable(prompt or ""),
                time=0.0,
                spec=spec_of(self),
                limits=limits,
                approve=mode,
                approval_timeout=begun.approval_timeout,
                source=source,
            ),
        )
        return Run(
            self,
            forked.begun.prompt,
            session=None,
            approve=mode,
            approver=approver,
            model=model,
            limits=limits,
            run_id=forked.run_id,
            output_schema=output_schema,
            resumed=forked,
            approval_timeout=begun.approval_timeout or approval_timeout_from_environment(),
        )

    async def resume(self, run: str | Recording, **options: Any) -> RunResult:
        """Goes on with a run to its end; takes what `resumed` takes.

        Raises:
            ConfigurationError: If there is no such run, it has ended, or is another agent's.
            JournalError: If its journal cannot be read, or another process goes on with it.

        Example:
            >>> async def go_on(agent):
            ...     return await agent.resume("20261126-031500-a1b2c3")
        """
        return await _to_end(self.resumed(run, **options))

    async def run(self, prompt: str, **options: Any) -> RunResult:
        """Runs to the end and returns what came of it; takes what `stream` takes.

        A failing model is reported in the result (`RunResult.raise_for_status`), not raised.
        """
        return await _to_end(self.stream(prompt, **options))

    async def map(
        self,
        prompts: Iterable[str],
        *,
        concurrency: int = 10,
        batch: bool = False,
        **options: Any,
    ) -> list[RunResult]:
        """Runs each of many prompts and returns the results in their order.

        One that fails is reported in its own result and stops none of the others; cancelling
        the call cancels all.

        Args:
            prompts: What is asked; taken as runs come to an end.
            concurrency: Runs at once.
            batch: Whether the model is asked by its provider's batches, which cost half and may
                take a day. All prompts run at once then, without `Limits.max_seconds`, and without
                the agent's `fallback`. If the process ends meanwhile, the same call goes on.
            **options: What `stream` takes, except `run_id`.

        Raises:
            ValueError: If `concurrency` is less than 1.
            ConfigurationError: If there are no batches for the model.
        """
        if batch:
            from aof_nb.batch_map import map_by_batches

            return await map_by_batches(self, list(prompts), options)
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        results: dict[int, RunResult] = {}
        waiting = enumerate(prompts)

        async def work() -> None:
            for place, prompt in waiting:
                run = self.stream(prompt, **options)
                failure: AofError | None = None
                try:
                    async with contextlib.aclosing(run):
                        async for _ in run:
                            pass
                except Exception as error:  # noqa: BLE001 - one input must not stop the others
                    failure = AofError(f"the run broke: {type(error).__name__}: {error}")
                results[place] = result = run.result
                if failure is not None:
                    results[place] = replace(result, status=RunStatus.FAILED, error=failure)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
        return [results[place] for place in sorted(results)]

    def run_sync(self, prompt: str, **options: Any) -> RunResult:
        """`run`, outside a running event loop. Connections are kept for the next call.

        Raises:
            ConfigurationError: If an event loop runs in this thread.
        """
        return _in_background("run", lambda: self.run(prompt, **options))

    def map_sync(self, prompts: Iterable[str], **options: Any) -> list[RunResult]:
        """`map`, outside a running event loop. Connections are kept for the next call.

        Raises:
            ConfigurationError: If an event loop runs in this thread.
        """
        return _in_background("map", lambda: self.map(prompts, **options))

    @property
    def model_name(self) -> str:
        """The model as people are shown it."""
        from aof_nb.models.registry import shown_name

        return shown_name(self.model)

    def open_memory(self) -> Memory:
        """The memory the agent keeps its conversations in."""
        from aof_nb.memory import open_memory

        if self.memory is None:
            self.memory = "in_memory"
        if isinstance(self.memory, str):
            self.memory = open_memory(self.memory)
        return self.memory


async def _to_end(run: Run) -> RunResult:
    try:
        async for _ in run:
            pass
    finally:
        await run.aclose()
    run.raise_if_waiting()
    return run.result


def _output_schema(recording: Recording, own: Any) -> Any:
    """What a run's answer was to be: what the agent says, unless it was told otherwise."""
    asked = next(recording.of(RunContext), None)
    if asked is None:
        return own
    if asked.output_schema is None:
        return str
    wanted = expected(own)
    if wanted is not None and wanted.schema == asked.output_schema:
        return own
    return expected_again(asked.output_schema)


def _approve_mode(recorded: str) -> ApproveMode:
    modes: tuple[ApproveMode, ...] = ("never", "all", DRY_RUN)
    return next((mode for mode in modes if mode == recorded), "ask")


T = TypeVar("T")


def _in_background(name: str, work: Callable[[], Awaitable[T]]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise ConfigurationError(
            f"{name}_sync was called where an event loop is running",
            remedy=f"use: result = await agent.{name}(...)",
        )
    future: Future[T] = _background().start_task_soon(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


_portals: list[BlockingPortal] = []
_opening = threading.Lock()


def _background() -> BlockingPortal:
    """The one event loop, in a thread of its own, that `run_sync` uses."""
    with _opening:
        if not _portals:
            import atexit

            from anyio.from_thread import start_blocking_portal

            opened = start_blocking_portal()
            _portals.append(opened.__enter__())
            atexit.register(opened.__exit__, None, None, None)
    return _portals[0]
