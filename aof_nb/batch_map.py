"""Many prompts by batches: `Agent.map(..., batch=True)`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.errors import AofError
from aof_nb.events import RunStatus
from aof_nb.models.batch_record import BatchRecord, Begun
from aof_nb.models.batching import Batches, batch_api
from aof_nb.models.registry import resolve_model
from aof_nb.paths import state_dir

if TYPE_CHECKING:
    from aof_nb.agent import Agent
    from aof_nb.result import RunResult

_logger = logging.getLogger("aof_nb.runs")


async def map_by_batches(
    agent: Agent, prompts: Sequence[str], options: Mapping[str, Any]
) -> list[RunResult]:
    """Runs each prompt, all of them asking the model together.

    Args:
        agent: Who runs them.
        prompts: What is asked.
        options: What `Agent.stream` takes.

    Raises:
        ConfigurationError: If the model's provider has no batches, or another process waits for
            these.
        ModelError: If the provider does not say what became of a batch.
    """
    model = resolve_model(options.get("model") or agent.model)
    batch_api(model)
    if not prompts:
        return []
    identity = msgspec.json.encode([agent.name, model.name, prompts])
    directory = state_dir() / "batches" / hashlib.sha256(identity).hexdigest()[:16]
    record = BatchRecord(directory, Begun(agent.name, model.name, len(prompts)))
    try:
        batches = Batches(model, record, len(prompts))
        await batches.recover()
        limits = msgspec.structs.replace(options.get("limits") or agent.limits, max_seconds=None)
        async with asyncio.TaskGroup() as group:
            group.create_task(batches.serve())
            runs = [
                group.create_task(
                    _run(agent, place, prompt, batches, {**options, "limits": limits})
                )
                for place, prompt in enumerate(prompts)
            ]
    except BaseException:
        _logger.warning(
            "the batches of %s go on at the provider: the same call goes on with them", agent.name
        )
        raise
    else:
        if batches.failure is None:
            record.remove()
    finally:
        record.close()
    return [run.result() for run in runs]


async def _run(
    agent: Agent, place: int, prompt: str, batches: Batches, options: Mapping[str, Any]
) -> RunResult:
    run = agent.stream(prompt, **{**options, "model": batches.model(place)})
    run.tool_layer = functools.partial(batches.tools, place)
    failure: AofError | None = None
    try:
        async with contextlib.aclosing(run):
            async for _ in run:
                pass
    except Exception as error:  # noqa: BLE001  one prompt must not stop the others
        failure = AofError(f"the run broke: {type(error).__name__}: {error}")
    finally:
        batches.finish()
    if failure is None:
        return run.result
    return replace(run.result, status=RunStatus.FAILED, error=failure)
