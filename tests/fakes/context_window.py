"""A model's context window: what is too long is counted, and refused in the provider's own words.

The bodies are those that users of the APIs report, such as anthropics/claude-code#12186,
smol-ai/developer#7 and google-gemini/gemini-cli#6678.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tests.fakes.reply import Failure
from tests.fakes.sse import dumps

_NOT_INPUT = ("model", "stream", "stream_options", "max_tokens", "include", "store")


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """How much a fake takes, and how it counts.

    Args:
        tokens: input tokens at most.
        characters: characters of the request's JSON in a token.
    """

    tokens: int
    characters: float = 4.0

    def count(self, body: Any) -> int:
        """The input tokens of a request."""
        counted = {key: body[key] for key in body if key not in _NOT_INPUT}
        return math.ceil(len(dumps(counted)) / self.characters)


def anthropic(used: int, window: int) -> Failure:
    """As the Messages API refuses it."""
    return Failure(400, f"prompt is too long: {used} tokens > {window} maximum")


def openai_chat(used: int, window: int) -> Failure:
    """As Chat Completions refuses it."""
    return Failure(
        400,
        f"This model's maximum context length is {window} tokens. However, your messages resulted "
        f"in {used} tokens. Please reduce the length of the messages.",
        type="invalid_request_error",
        code="context_length_exceeded",
        param="messages",
    )


def openai_responses() -> Failure:
    """As the Responses API refuses it: without a number."""
    return Failure(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try "
        "again.",
        type="invalid_request_error",
        code="context_length_exceeded",
        param="input",
    )


def bedrock() -> Failure:
    """As Converse refuses it."""
    return Failure(400, "Input is too long for requested model.")
