"""One minimal request to a model, on the way that runs take, to see whether it answers."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from aof_nb.errors import BrokenStream
from aof_nb.events import ModelResponse
from aof_nb.messages import Message, Usage
from aof_nb.models.resilience import RetryPolicy
from aof_nb.ports import Model, ModelRequest, Sampling

# The least that every provider takes.
_MOST_TOKENS = 16
_ASKED = "Reply with the word: ok"


class Pong(msgspec.Struct, frozen=True, kw_only=True):
    """What a model has answered.

    Args:
        model: The name that the provider says answered.
        text: What it said.
        seconds: From the request to the end of the response.
        first: Seconds until something came.
        usage: The tokens.
        cost: US dollars; None if the model's price is unknown.
    """

    model: str
    text: str
    seconds: float
    first: float
    usage: Usage
    cost: float | None


async def ping(name: str | Model) -> Pong:
    """Asks a model for a word, once, through its breaker and its provider's limiter.

    Args:
        name: The model, such as ``openai:gpt-5``.

    Raises:
        ConfigurationError: If there is no such model, or its key is missing.
        ModelError: If it does not answer.

    Example:
        >>> async def latency() -> float:
        ...     return (await ping("ollama:qwen3")).seconds
    """
    model = await asyncio.to_thread(_model, name)
    request = ModelRequest(
        messages=(Message.user(_ASKED),), sampling=Sampling(max_tokens=_MOST_TOKENS)
    )
    begun, first = time.monotonic(), 0.0
    response: ModelResponse | None = None
    async with contextlib.aclosing(model.stream(request)) as events:
        async for event in events:
            first = first or time.monotonic() - begun
            if isinstance(event, ModelResponse):
                response = event
    took = time.monotonic() - begun
    if response is None:
        raise BrokenStream(f"{model.name} ended without a response")
    from aof_nb.models.prices import price

    return Pong(
        model=response.model,
        text=response.message.text,
        seconds=took,
        first=first,
        usage=response.usage,
        cost=await asyncio.to_thread(price, model.name, response.usage),
    )


def _model(name: str | Model) -> Model:
    from aof_nb.models.chain import resilient
    from aof_nb.models.redacting import RedactedModel
    from aof_nb.models.registry import resolve_model
    from aof_nb.redact import Redactor

    # It is for a person who waits, and who asks again if need be.
    once = resilient([resolve_model(name)], RetryPolicy(attempts=1))
    return RedactedModel(once, Redactor.from_environment())
