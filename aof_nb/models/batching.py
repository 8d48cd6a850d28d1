"""Many runs that ask one model by batches: each answer costs half, and may take a day.

The runs are ordinary ones. Their requests are gathered until every run waits for an answer; then
they are submitted together, and when the batch has ended the runs go on, to ask again together.
All of it is recorded, so that the same map, called again after its process has died, goes on where
it was: no request is submitted twice, no tool called twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from aof_nb import errors
from aof_nb.errors import AofError, ConfigurationError, ModelError
from aof_nb.events import ModelEvent, ModelResponse, RetryScheduled, TextDelta
from aof_nb.models.batch_record import (
    Answered,
    BatchPrepared,
    BatchRecord,
    BatchRefused,
    BatchSubmitted,
    ToolCalled,
    ToolReturned,
    as_json,
)
from aof_nb.models.batches import BatchApi
from aof_nb.models.layer import ModelLayer
from aof_nb.models.response_cache import request_key
from aof_nb.ports import Effect, Model, ModelRequest, Tool, ToolContext, ToolOutput, ToolSpec

_logger = logging.getLogger("aof_nb.models")
_FIRST_LOOK = 5.0
_LONGEST_PAUSE = 60.0
_FAILED_LOOKS = 20
_ATTEMPTS = 3
UNKNOWN = (
    "Interrupted before it had finished: whether it took effect is unknown. "
    "Find out before doing it again."
)


def batch_api(model: Model) -> BatchApi:
    """The batch API of a model's provider.

    Raises:
        ConfigurationError: If there is none.
    """
    batches = getattr(model, "batches", None)
    api: BatchApi | None = batches() if batches is not None else None
    if api is None:
        raise ConfigurationError(
            f"{model.name} has no batch API that is known here",
            remedy="leave batch=True out, or name a model of anthropic:, openai: or openai-chat:",
        )
    return api


class Batches:
    """The batches of one map.

    Args:
        model: The model that is asked.
        record: What is known of them.
        runs: How many runs there are; each must either ask or `finish`.
    """

    def __init__(self, model: Model, record: BatchRecord, runs: int) -> None:
        self.record = record
        self._model = model
        self._api = batch_api(model)
        self._runs = runs
        self._waiting: dict[str, asyncio.Future[Answered]] = {}
        self._gathered: dict[str, bytes] = {}
        self._due = asyncio.Event()
        self._finished = False
        self.failure: AofError | None = None

    def model(self, prompt: int) -> Model:
        """The model as one run asks it.

        Args:
            prompt: The place of the run's prompt, from 0.
        """
        return BatchingModel(self._model, self, prompt)

    def tools(self, prompt: int, tools: Sequence[Tool]) -> list[Tool]:
        """A run's tools, each call of which is made once, whatever happens."""
        return [RecordedTool(tool, self.record, prompt) for tool in tools]

    def finish(self) -> None:
        """One of the runs has ended."""
        self._runs -= 1
        self._look()

    async def answer(self, request_id: str, request: ModelRequest) -> Answered:
        """What came of a request, once its batch has ended.

        Raises:
            ModelError: If the batch it would have been in was refused.
        """
        known = self.record.answers.get(request_id)
        if known is not None:
            return known
        if self.failure is not None:
            raise self.failure
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        if not any(request_id in each.requests for each in self.record.prepared.values()):
            self._gathered[request_id] = self._api.encode(request_id, request)
        self._look()
        try:
            return await future
        finally:
            self._waiting.pop(request_id, None)
            self._gathered.pop(request_id, None)

    def _look(self) -> None:
        if self._gathered and len(self._waiting) >= self._runs:
            self._due.set()
        if not self._runs:
            self._finished = True
            self._due.set()

    async def recover(self) -> None:
        """Finds out about batches that a process was submitting when it died.

        Raises:
            ModelError: If the provider does not say.
        """
        for prepared in list(self.record.prepared.values()):
            if prepared.key not in self.record.submitted:
                batch_id = await self._find(prepared)
                if batch_id is None:
                    self.record.write(BatchRefused(prepared.key))
                else:
                    self.record.write(BatchSubmitted(prepared.key, batch_id))

    async def serve(self) -> None:
        """Submits what is gathered and fetches the answers, until all runs have ended."""
        try:
            async with asyncio.TaskGroup() as batches:
                for known in list(self.record.prepared.values()):
                    if any(each not in self.record.answers for each in known.requests):
                        batches.create_task(self._fetch(known))
                while not self._finished:
                    await self._due.wait()
                    self._due.clear()
                    for lines in self._portions():
                        batches.create_task(self._submit(lines))
        except* (AofError, OSError) as raised:
            self._fail(raised)

    def _fail(self, raised: BaseException) -> None:
        while isinstance(raised, BaseExceptionGroup):
            raised = raised.exceptions[0]
        if not isinstance(raised, AofError):
            raised = ConfigurationError(f"the batches' record cannot be kept: {raised}")
        self.failure = raised
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(raised)

    def _portions(self) -> Iterator[dict[str, bytes]]:
        """What is gathered, in as many batches as the provider's limits make of it."""
        gathered, self._gathered = sorted(self._gathered.items()), {}
        portion: dict[str, bytes] = {}
        size = 0
        for request, line in gathered:
            full = len(portion) >= self._api.most_requests
            if portion and (full or size + len(line) + 1 > self._api.most_bytes):
                yield portion
                portion, size = {}, 0
            portion[request] = line
            size += len(line) + 1
        if portion:
            yield portion

    async def _submit(self, lines: dict[str, bytes]) -> None:
        """Submits a batch, once, and fetches what comes of it."""
        prepared = BatchPrepared(f"aof-{secrets.token_hex(8)}", tuple(lines), time.time())
        self.record.write(prepared)
        batch_id: str | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                batch_id = await self._api.submit(prepared.key, lines.values())
                break
            except ModelError as error:
                if not error.retryable:
                    self.record.write(BatchRefused(prepared.key))
                if not error.retryable or attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(error.retry_after or _FIRST_LOOK * 2**attempt)
                # It may have been taken, and only the answer have been lost.
                if (batch_id := await self._find(prepared)) is not None:
                    break
        assert batch_id is not None
        self.record.write(BatchSubmitted(prepared.key, batch_id))
        _logger.info(
            "%s: %d requests were submitted as batch %s",
            self._model.name,
            len(lines),
            batch_id,
            extra={"model": self._model.name, "batch_id": batch_id, "requests": len(lines)},
        )
        await self._fetch(prepared)

    async def _find(self, prepared: BatchPrepared) -> str | None:
        """The id of a batch that was submitted, if it was, and its answer lost."""
        taken = set(self.record.submitted.values())
        found = await self._api.candidates(prepared.key, len(prepared.requests), prepared.time)
        for batch_id in found:
            if batch_id not in taken and await self._is(batch_id, prepared):
                return batch_id
        return None

    async def _is(self, batch_id: str, prepared: BatchPrepared) -> bool:
        if self._api.finds_by_key:
            return True
        await self._ended(batch_id)
        async with contextlib.aclosing(self._api.results(batch_id)) as results:
            async for request, _ in results:
                return request in prepared.requests
        return False

    async def _ended(self, batch_id: str) -> ModelError | None:
        """Waits until a batch has ended; returns why the provider did not take it, if so."""
        pause, failed = _FIRST_LOOK, 0
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            try:
                progress = await self._api.progress(batch_id)
            except ModelError as error:
                failed += 1
                if not error.retryable or failed == _FAILED_LOOKS:
                    raise
                continue
            failed = 0
            if progress.ended:
                return progress.failure

    async def _fetch(self, prepared: BatchPrepared) -> None:
        """Waits for a batch that was submitted and hands its answers out."""
        batch_id = self.record.submitted[prepared.key]
        failure = await self._ended(batch_id)
        if failure is not None:
            self.record.write(BatchRefused(prepared.key))
            raise failure
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                answers = await self._answers(batch_id)
                break
            except ModelError as error:
                if not error.retryable or attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(error.retry_after or _FIRST_LOOK * 2**attempt)
        missing = [each for each in prepared.requests if each not in answers]
        answers |= {each: Answered(each, error="the batch has no answer to it") for each in missing}
        self.record.write(*answers.values())
        for request, answered in answers.items():
            future = self._waiting.get(request)
            if future is not None and not future.done():
                future.set_result(answered)

    async def _answers(self, batch_id: str) -> dict[str, Answered]:
        answers: dict[str, Answered] = {}
        async with contextlib.aclosing(self._api.results(batch_id)) as results:
            async for request, result in results:
                answers[request] = _answered(request, result)
        return answers


def _answered(request: str, result: ModelResponse | ModelError) -> Answered:
    if isinstance(result, ModelResponse):
        return Answered(request, result)
    return Answered(
        request,
        error=result.message,
        error_type=type(result).__name__,
        remedy=result.remedy,
        request_id=result.request_id,
    )


def _raised(answered: Answered, provider: str) -> ModelError:
    kind = getattr(errors, answered.error_type, ModelError)
    error: ModelError = kind(
        answered.error,
        provider=provider,
        request_id=answered.request_id,
        remedy=answered.remedy,
    )
    return error


class BatchingModel(ModelLayer):
    """A model as one run of a map asks it: by the map's batches.

    Args:
        model: The model itself.
        batches: The map's.
        prompt: The place of the run's prompt.
    """

    retries_itself = True

    def __init__(self, model: Model, batches: Batches, prompt: int) -> None:
        super().__init__(model)
        self._batches = batches
        self._prompt = prompt
        self._asked = Counter[str]()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Yields the response, once its batch has ended."""
        digest = request_key(self._model, request)[:24]
        for attempt in range(1, _ATTEMPTS + 1):
            number = self._asked[digest]
            self._asked[digest] += 1
            answered = await self._batches.answer(f"{self._prompt}-{digest}-{number}", request)
            if answered.response is not None:
                if answered.response.message.text:
                    yield TextDelta(answered.response.message.text)
                yield answered.response
                return
            error = _raised(answered, self.name.partition(":")[0])
            if not error.retryable or attempt == _ATTEMPTS:
                raise error
            yield RetryScheduled(self.name, error.message, 0.0, attempt, _ATTEMPTS)


class RecordedTool:
    """A tool whose calls are made once, whichever process makes them.

    Args:
        tool: The tool.
        record: Where its calls are written down.
        prompt: The place of the run's prompt.
    """

    def __init__(self, tool: Tool, record: BatchRecord, prompt: int) -> None:
        self._tool = tool
        self._record = record
        self._prompt = prompt

    @property
    def spec(self) -> ToolSpec:
        """The tool's own definition."""
        return self._tool.spec

    def __getattr__(self, name: str) -> Any:
        # What a tool offers besides the port, such as its plain form.
        if name == "_tool":
            raise AttributeError(name)
        return getattr(self._tool, name)

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls it, or returns what it returned before."""
        key = (self._prompt, context.call_id)
        if (output := self._record.outputs.get(key)) is not None:
            return output
        spec = self.spec
        if key in self._record.calls and spec.effect is not Effect.READ:
            return ToolOutput(UNKNOWN, is_error=True)
        self._record.write(ToolCalled(*key, spec.name))
        try:
            output = as_json(await self._tool.call(arguments, context))
        except (Exception, SystemExit) as error:
            said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            self._record.write(ToolReturned(*key, ToolOutput(said, is_error=True)))
            raise
        self._record.write(ToolReturned(*key, output))
        return output
