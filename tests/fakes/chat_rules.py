"""What OpenAI's Chat Completions accepts, with the words in which it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.fakes.rules import (
    InvalidRequestError,
    check_length,
    check_not_empty,
    check_openai_name,
    check_stream_options,
)
from tests.fakes.schema_rules import check_openai

FIELDS = frozenset(
    [
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "moderation",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    ]
)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check(body: Mapping[str, Any], *, own: bool = True) -> None:
    """Raise `InvalidRequestError` for a body the API would refuse.

    `own` is False for compatible servers, which take fields of their own and `max_tokens`.
    """
    for name in ("model", "messages"):
        if name not in body:
            raise InvalidRequestError(
                f"Missing required parameter: '{name}'.",
                code="missing_required_parameter",
                param=name,
            )
    for name in body:
        if own and name not in FIELDS:
            raise InvalidRequestError(f"Unrecognized request argument supplied: {name}")
    if own and "max_tokens" in body and re.match(r"(gpt-[5-9]|o\d)", body["model"]):
        raise InvalidRequestError(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            code="unsupported_parameter",
            param="max_tokens",
        )
    check_stream_options(body)
    check_response_format(body.get("response_format"))
    check_not_empty(body.get("tools"), "tools")
    check_not_empty(body["messages"], "messages")
    for index, tool in enumerate(body.get("tools") or []):
        if tool.get("type") == "function":
            check_openai_name(tool["function"].get("name"), f"tools[{index}].function.name")
    if not body.get("tools"):
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) is not None:
                raise InvalidRequestError(
                    f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are "
                    "specified.",
                    param=name,
                )
    _check_messages(body["messages"])


def check_response_format(wanted: Any) -> None:
    """The form of the answer."""
    if wanted is None:
        return
    if wanted.get("type") not in ("text", "json_object", "json_schema"):
        raise InvalidRequestError(
            f"Invalid value: '{wanted.get('type')}'. Supported values are: 'json_object', "
            "'json_schema', and 'text'.",
            code="invalid_value",
            param="response_format.type",
        )
    if wanted["type"] == "json_schema":
        check_openai(wanted.get("json_schema"), "response_format.json_schema")


def _check_messages(messages: list[Mapping[str, Any]]) -> None:
    waiting: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role")
        if role not in ROLES:
            raise InvalidRequestError(
                f"Invalid value: '{role}'. Supported values are: {', '.join(map(repr, ROLES))}.",
                code="invalid_value",
                param=f"{where}.role",
            )
        if role == "tool":
            _check_result(where, message, waiting)
            continue
        if waiting:
            raise _unanswered(waiting, where)
        calls = message.get("tool_calls")
        check_not_empty(calls, f"{where}.tool_calls")
        if (
            message.get("content") is None
            and not calls
            and not message.get("refusal")
            and not message.get("audio")
        ):
            raise InvalidRequestError(
                "Invalid value for 'content': expected a string, got null.",
                param=f"messages.[{index}].content",
            )
        for number, call in enumerate(calls or []):
            waiting.append(_check_call(f"{where}.tool_calls[{number}]", call))
    if waiting:
        raise _unanswered(waiting, "messages")


def _unanswered(waiting: list[str], param: str) -> InvalidRequestError:
    ids = ", ".join(waiting)
    return InvalidRequestError(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        f"{ids}",
        param=f"{param}.role" if "[" in param else param,
    )


def _check_result(where: str, message: Mapping[str, Any], waiting: list[str]) -> None:
    call_id = message.get("tool_call_id")
    if call_id is None:
        raise InvalidRequestError(
            f"Missing required parameter: '{where}.tool_call_id'.",
            code="missing_required_parameter",
            param=f"{where}.tool_call_id",
        )
    if call_id not in waiting:
        raise InvalidRequestError(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
            "message with 'tool_calls'.",
            param=f"{where}.role",
        )
    if message.get("content") is None:
        raise InvalidRequestError(
            "Invalid value for 'content': expected a string, got null.", param=f"{where}.content"
        )
    waiting.remove(call_id)


def _check_call(where: str, call: Mapping[str, Any]) -> str:
    for name in ("id", "type", "function"):
        if name not in call:
            raise InvalidRequestError(
                f"Missing required parameter: '{where}.{name}'.",
                code="missing_required_parameter",
                param=f"{where}.{name}",
            )
    check_length(call["id"], 40, f"{where}.id")
    check_openai_name(call["function"].get("name"), f"{where}.function.name")
    arguments = call["function"].get("arguments")
    if not isinstance(arguments, str):
        raise InvalidRequestError(
            f"Invalid type for '{where}.function.arguments': expected a string, but got an "
            "object instead.",
            code="invalid_type",
            param=f"{where}.function.arguments",
        )
    return call["id"]
