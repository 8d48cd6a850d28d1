"""Agent: what a user declares and runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from aof_nb.errors import AofError, ConfigurationError
from aof_nb.events import Event, LimitReached, Notice, RunFinished, RunStarted, RunStatus
from aof_nb.executor import Record, Task, execute
from aof_nb.journal.artifacts import Artifacts
from aof_nb.limits import Limits
from aof_nb.mcp.spec import McpServer
from aof_nb.messages import Message, StopReason, Usage, sendable
from aof_nb.models.compaction import ContextPolicy
from aof_nb.models.resilience import RetryPolicy
from aof_nb.models.timeouts import Timeouts
from aof_nb.paths import state_dir
from aof_nb.policy import ApproveMode, Approver, Gate, Policy, ambient_approver
from aof_nb.ports import Model, Sampling, Tool
from aof_nb.structured_output import Expected, expected
from aof_nb.telemetry import RunTelemetry, run_telemetry

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    from aof_nb.memory import Memory


MOST_OF_THE_PAST = 2_000
"""Messages of a session's past that a run is given if nothing else is said."""

_logger = logging.getLogger("aof_nb.runs")


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
            RunFailed: If the run failed or was cancelled.
        """
        if self.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            raise RunFailed(self) from self.error
        return self

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        text = self.text
        if self.data is not None:
            laid_out = msgspec.json.format(msgspec.json.encode(self.data)).decode()
            text = f"```json\n{laid_out}\n```"
        if self.error is not None:
            text = f"{text}\n\n**{self.error.message}**\n\n{self.error.remedy}".strip()
        volatile = {"run_id": self.run_id, "duration": self.duration}
        return {"text/markdown": text, "text/plain": text}, {"aof": volatile}


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
    ) -> None:
        self.run_id = run_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self._agent = agent
        self._prompt = sendable(prompt)
        self._session = session
        self._approve = approve
        self._approver = approver
        self._model = model or agent.model
        self._limits = limits or agent.limits
        self._output_schema = agent.output_schema if output_schema is None else output_schema
        self.tool_layer: Callable[[Sequence[Tool]], Sequence[Tool]] | None = None
        self._record = Record(transcript=[])
        self._events = self._stream()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def aclose(self) -> None:
        """Ends the run now; the result says that it was cancelled."""
        try:
            await self._events.aclose()
        finally:
            # A generator that was never begun has nothing to run at its end.
            self._record.status = self._record.status or RunStatus.CANCELLED

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
        )

    def _output(self) -> Any:
        record = self._record
        if self._output_schema is None or self._output_schema is str:
            return record.text
        return record.answer.value if record.answer else None

    async def _stream(self) -> AsyncGenerator[Event, None]:
        record, agent = self._record, self._agent
        memory: Memory | None = None
        known = 0
        damaged: Sequence[str] = ()
        begun, seconds = asyncio.get_running_loop().time(), self._limits.max_seconds
        telemetry = run_telemetry(
            run_id=self.run_id,
            agent=agent.name,
            model=str(getattr(self._model, "name", self._model)),
            session=self._session,
            prompt=self._prompt,
        )
        try:
            try:
                async with asyncio.timeout(seconds) as within:
                    memory = agent.open_memory() if self._session is not None else None
                    if memory is not None and self._session is not None:
                        most = agent.max_context_messages or MOST_OF_THE_PAST
                        history = await memory.load(self._session, limit=most)
                        damaged = getattr(history, "damaged", ())
                        record.transcript.extend(history)
                        known = len(record.transcript)
                    task = await self._prepare(begun, telemetry, damaged)
            except AofError as error:
                record.status, record.error = RunStatus.FAILED, error
                yield self._started(str(getattr(self._model, "name", self._model)))
                yield self._without_a_turn()
                return
            except TimeoutError:
                if not within.expired():
                    raise
                record.status, record.limit = RunStatus.LIMIT, "seconds"
                yield self._started(str(getattr(self._model, "name", self._model)))
                yield LimitReached("seconds", f"{seconds:g} s were over before it could begin")
                yield self._without_a_turn()
                return
            async with contextlib.aclosing(execute(task, record)) as events:
                async for event in events:
                    if isinstance(event, RunFinished) and memory is not None:
                        store, memory = memory, None
                        try:
                            await _uncancelled(self._remember(store, known))
                        except AofError as error:
                            yield Notice(f"the conversation was not kept: {error.message}")
                    yield event
        finally:
            record.status = record.status or RunStatus.CANCELLED
            if memory is not None:
                # What fails here must not hide why the run has ended.
                try:
                    await _uncancelled(self._remember(memory, known))
                except AofError as error:
                    record.error = record.error or error
            if telemetry is not None:
                telemetry.end(record.status.value, record.usage, record.text, record.error)
            self._log_end()

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

    async def _prepare(
        self, begun: float, telemetry: RunTelemetry | None, damaged: Sequence[str]
    ) -> Task:
        from aof_nb.models.chain import resilient
        from aof_nb.models.compacting import compacts_at
        from aof_nb.tool_names import check_unique
        from aof_nb.tools import resolve_tools

        agent = self._agent
        output = expected(self._output_schema)
        chain = [self._model, *agent.fallback] if self._model is agent.model else [self._model]
        models = [_resolved(each, agent.timeouts) for each in chain]
        context = agent.context
        asked = models
        if telemetry is not None:
            asked = [telemetry.model(each) for each in models]
            if context is not None and context.summary_model:
                named = _resolved(context.summary_model, agent.timeouts)
                context = msgspec.structs.replace(context, summary_model=telemetry.model(named))
        model = resilient([_held_to(output, each) for each in asked], agent.retry, context)
        if agent.response_cache:
            from aof_nb.models.response_cache import cached

            given = agent.response_cache
            directory = None if given is True else given
            model = cached(model, directory=directory, keyed_by=models[0])
        tools = list(resolve_tools(agent.tools))
        notices = [f"the conversation could not be read whole: {each}" for each in damaged]
        if agent.mcp_servers:
            from aof_nb.mcp.pool import pool

            offered = await pool().tools(agent.mcp_servers)
            tools += offered.tools
            notices += offered.warnings
        check_unique([tool.spec for tool in tools])
        if self.tool_layer is not None:
            tools = list(self.tool_layer(tools))
        approver = self._approver
        if approver is None and self._approve == "ask":
            approver = ambient_approver()
        gate = Gate(agent.policy, mode=self._approve, approver=approver)
        guarded = gate.guard(tools)
        return Task(
            run_id=self.run_id,
            agent=agent.name,
            model=model,
            prompt=self._prompt,
            system=agent.instructions,
            tools=guarded if telemetry is None else telemetry.tools(guarded),
            limits=self._limits,
            begun=begun,
            sampling=agent.sampling,
            output=output,
            session=self._session,
            artifacts=Artifacts(lambda: state_dir() / "runs" / self.run_id / "artifacts"),
            notices=notices,
            fallbacks=[each.name for each in models[1:]],
            compacts_at=compacts_at(models[0].name, agent.context),
        )

    async def _remember(self, memory: Memory, known: int) -> None:
        new = self._record.transcript[known:]
        if new and self._session is not None:
            await memory.append(self._session, new)

    def _started(self, model: str) -> RunStarted:
        return RunStarted(self.run_id, self._agent.name, model, self._prompt, self._session)

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


def _resolved(model: str | Model, limits: Timeouts | None) -> Model:
    from aof_nb.models import resolve_model

    if limits is None or not isinstance(model, str) or model.startswith("script:"):
        return resolve_model(model)
    return resolve_model(model, timeout=limits)


def _held_to(output: Expected | None, model: Model) -> Model:
    from aof_nb.models.structured import structured

    return model if output is None else structured(model, output.schema)


async def _uncancelled(work: Any) -> None:
    """Lets a short piece of work finish although its task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as again:
            cancelled = again
    error = None if task.cancelled() else task.exception()
    if cancelled is not None:
        raise cancelled
    if error is not None:
        raise error


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

    def stream(
        self,
        prompt: str,
        *,
        session: str | None = None,
        approve: ApproveMode = "ask",
        approver: Approver | None = None,
        model: str | Model | None = None,
        limits: Limits | None = None,
        run_id: str | None = None,
        output_schema: Any = None,
    ) -> Run:
        """Starts a run, to be iterated for its events.

        Args:
            prompt: What is asked.
            session: The conversation to go on with; needs `memory`, or one is kept in memory.
            approve: What happens where the policy asks: ``ask`` a person, ``never`` approve,
                approve ``all``.
            approver: Who asks; the notebook's or the terminal's own if not given.
            model: Instead of the agent's own.
            limits: Instead of the agent's own.
            run_id: The run's id; made if not given.
            output_schema: Instead of the agent's own; `str` for text.
        """
        return Run(
            self,
            prompt,
            session=session,
            approve=approve,
            approver=approver,
            model=model,
            limits=limits,
            run_id=run_id,
            output_schema=output_schema,
        )

    async def run(self, prompt: str, **options: Any) -> RunResult:
        """Runs to the end and returns what came of it; takes what `stream` takes.

        A failing model is reported in the result (`RunResult.raise_for_status`), not raised.
        """
        run = self.stream(prompt, **options)
        try:
            async for _ in run:
                pass
        finally:
            await run.aclose()
        return run.result

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
