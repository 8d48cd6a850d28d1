"""A chain of models: where one cannot answer, the next is asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

import msgspec

from aof_nb.errors import (
    AllModelsFailed,
    AofError,
    AuthenticationFailed,
    ConfigurationError,
    ModelError,
    ModelNotFound,
    PermissionDenied,
    QuotaExceeded,
)
from aof_nb.events import (
    DELTAS,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    ResponseSuperseded,
)
from aof_nb.messages import Opaque, Usage
from aof_nb.models.compacting import CompactingModel, ContextWarnings
from aof_nb.models.compaction import ContextPolicy
from aof_nb.models.registry import parse_name
from aof_nb.models.resilience import ResilientModel, RetryPolicy, reason
from aof_nb.ports import Model, ModelRequest

_LASTING = (
    AuthenticationFailed,
    ConfigurationError,
    ModelNotFound,
    PermissionDenied,
    QuotaExceeded,
)


def resilient(
    models: Sequence[Model],
    retry: RetryPolicy | None = None,
    context: ContextPolicy | None = None,
) -> Model:
    """A model that retries, and falls back along a chain; for one run.

    Args:
        models: The models, the preferred one first.
        retry: How often each is asked again.
        context: What is done when a conversation grows too long for one of them; None for nothing.

    Raises:
        ConfigurationError: If the policy names a model of an unknown provider.
    """
    guarded: list[Model] = [
        model
        if getattr(model, "retries_itself", False)
        else ResilientModel(model, retry=retry, last=model is models[-1])
        for model in models
    ]
    if context is not None:
        if isinstance(context.summary_model, str):
            parse_name(context.summary_model)
        warnings = ContextWarnings()
        guarded = [
            CompactingModel(model, context, retry=retry, warnings=warnings) for model in guarded
        ]
    return guarded[0] if len(guarded) == 1 else ModelChain(guarded)


class ModelChain:
    """Asks each model in turn until one answers.

    Every request begins with the first again, so that its recovery is noticed; one that cannot
    answer at all, for want of a key or of credit, is not asked again.

    Args:
        models: At least one, the preferred one first.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = list(models)
        self._given_up: dict[int, AofError] = {}

    @property
    def name(self) -> str:
        """The name of the first; which one has answered is said by the response."""
        return self._models[0].name

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the first response there is.

        Raises:
            AllModelsFailed: If there is none.
        """
        failures: list[tuple[str, AofError]] = []
        for place, model in enumerate(self._models):
            if (known := self._given_up.get(place)) is not None:
                failures.append((model.name, known))
                continue
            shown = False
            try:
                async with contextlib.aclosing(model.stream(request)) as events:
                    async for event in events:
                        shown = shown or isinstance(event, DELTAS)
                        if isinstance(event, ResponseSuperseded):
                            shown = False
                        yield _from_fallback(event, model) if place else event
            except (ModelError, ConfigurationError) as error:
                if not _may_fall_back(error):
                    raise
                failures.append((model.name, error))
                if isinstance(error, _LASTING):
                    self._given_up[place] = error
            else:
                return
            following = self._next(place)
            if following is None:
                break
            if shown:
                yield ResponseSuperseded(model.name)
            cause = failures[-1][1]
            usage = cause.partial_usage if isinstance(cause, ModelError) else None
            yield ModelFellBack(model.name, following.name, reason(cause), usage or Usage())
        failure = AllModelsFailed(failures)
        last = failures[-1][1]
        if isinstance(last, ModelError):
            failure.partial, failure.partial_usage = last.partial, last.partial_usage
        raise failure from last

    def _next(self, place: int) -> Model | None:
        for each in range(place + 1, len(self._models)):
            if each not in self._given_up:
                return self._models[each]
        return None


def _from_fallback(event: ModelEvent, model: Model) -> ModelEvent:
    if isinstance(event, ModelResponse):
        return msgspec.structs.replace(event, requested_model=model.name)
    return event


def _may_fall_back(error: AofError) -> bool:
    # Blocks that only the provider understands are tools it has run: not twice.
    parts = error.partial.parts if isinstance(error, ModelError) and error.partial else ()
    return not any(isinstance(part, Opaque) for part in parts)
