"""What a server asks the user in the middle of a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from mcp_types import ElicitRequestParams, ElicitResult


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A server's question to the user (MCP 2025-11-25, client/elicitation).

    Args:
        server: The name of the server that asks.
        message: What it asks, for the user.
        schema: JSON Schema of the answer: an object of plain values. Empty if there is a url.
        url: A page the user is asked to visit instead of answering here.
    """

    server: str
    message: str
    schema: Mapping[str, Any] = {}
    url: str | None = None


Elicit: TypeAlias = Callable[[Question], Awaitable[Mapping[str, Any] | None]]
"""Answers a question with an object that fits its schema (empty for a url); None declines."""


async def accept_defaults(question: Question) -> Mapping[str, Any] | None:
    """Answers with the schema's own defaults (SEP-1034); declines where one is missing.

    Args:
        question: The server's.
    """
    properties = question.schema.get("properties", {})
    if question.url is not None or not set(question.schema.get("required", ())) <= {
        name for name, field in properties.items() if "default" in field
    }:
        return None
    return {name: field["default"] for name, field in properties.items() if "default" in field}


def as_callback(server: str, elicit: Elicit | None) -> Any:
    """The SDK's callback for a handler; None, which tells servers not to ask, for none.

    Args:
        server: The server's name.
        elicit: The handler.
    """
    if elicit is None:
        return None

    async def ask(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        from mcp_types import ElicitResult

        if params.mode == "url":
            question = Question(server=server, message=params.message, url=params.url)
        else:
            question = Question(
                server=server, message=params.message, schema=params.requested_schema
            )
        answer = await elicit(question)
        if answer is None:
            return ElicitResult(action="decline")
        content = None if question.url is not None else dict(answer)
        return ElicitResult(action="accept", content=content)

    return ask
