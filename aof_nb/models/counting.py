"""The providers' own counts of a request's tokens, where they give them away.

Anthropic's and OpenAI's endpoints for it are free and take the request as it would be sent. A
count is a round trip, so it is asked for only where an estimate would have something left out.

Sources: https://platform.claude.com/docs/en/build-with-claude/token-counting,
https://platform.openai.com/docs/api-reference/responses/input-tokens
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from aof_nb.models.exchanges import Connect, call
from aof_nb.ports import Model, ModelRequest

_logger = logging.getLogger("aof_nb.models")
_PATIENCE = 10.0


class _Count(msgspec.Struct):
    input_tokens: int


async def counted(model: Model, request: ModelRequest) -> int | None:
    """A request's input tokens as its provider counts them; None if it does not, or not in time.

    Args:
        model: The model that the request is for; it may have ``count_tokens(request)``.
        request: As it would be sent.
    """
    count_tokens = getattr(model, "count_tokens", None)
    if count_tokens is None:
        return None
    try:
        async with asyncio.timeout(_PATIENCE):
            tokens: int | None = await count_tokens(request)
    except Exception as error:  # noqa: BLE001  whatever it is, there is the estimate
        _logger.debug("%s did not count a request: %s", model.name, error)
        return None
    return tokens


async def count_at(
    path: str,
    body: bytes,
    *,
    keep: frozenset[str],
    connect: Connect,
    provider: str,
) -> int:
    """Asks a counting endpoint.

    Args:
        path: The endpoint's path.
        body: The request's JSON, as it would be sent for an answer.
        keep: The fields of it that the endpoint takes.
        connect: Gives the SDK's module and its async client.
        provider: The provider's name, for errors.

    Raises:
        ModelError: Classified.
    """
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    content = msgspec.json.encode({name: fields[name] for name in fields if name in keep})
    response = await call("post", path, connect=connect, provider=provider, content=content)
    return msgspec.json.decode(response, type=_Count).input_tokens
