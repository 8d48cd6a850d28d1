"""How a fake refuses a request, and the rule all protocols share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.fakes.reply import Failure


class InvalidRequestError(Exception):
    """The real API would refuse this request, with this error."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.failure = Failure(
            status, message, type="invalid_request_error" if code else None, code=code, param=param
        )


def check_openai_name(name: Any, param: str) -> None:
    """A function's name as OpenAI accepts it (FunctionDefinition.name: a-z, A-Z, 0-9, _ and -, "
    "64)."""
    if not isinstance(name, str):
        raise InvalidRequestError(
            f"Missing required parameter: '{param}'.",
            code="missing_required_parameter",
            param=param,
        )
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
        raise InvalidRequestError(
            f"Invalid '{param}': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            code="invalid_value",
            param=param,
        )
    check_length(name, 64, param)


def check_length(value: str, limit: int, param: str) -> None:
    """OpenAI's limit on a string's length."""
    if len(value) > limit:
        raise InvalidRequestError(
            f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
            "but got "
            f"a string with length {len(value)} instead.",
            code="string_above_max_length",
            param=param,
        )


def check_not_empty(value: Any, param: str) -> None:
    """OpenAI refuses an empty array where it could be left out."""
    if value == []:
        raise InvalidRequestError(
            f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got "
            "an empty "
            "array instead.",
            code="empty_array",
            param=param,
        )


def check_stream_options(body: Mapping[str, Any]) -> None:
    """OpenAI takes `stream_options` only with `stream`."""
    if body.get("stream_options") is not None and not body.get("stream"):
        raise InvalidRequestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
