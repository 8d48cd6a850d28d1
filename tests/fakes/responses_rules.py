"""What OpenAI's Responses API accepts, with the words in which it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.rules import (
    InvalidRequestError,
    check_length,
    check_not_empty,
    check_openai_name,
    check_stream_options,
)
from tests.fakes.schema_rules import check_openai

COUNTED_FIELDS = frozenset(
    [
        "conversation",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "personality",
        "previous_response_id",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    ]
)
FIELDS = frozenset(
    [
        "access_programs",
        "background",
        "background_options",
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)


@dataclass(slots=True)
class Issued:
    """What a fake has sent and expects back: the reasoning item before a call, by the call's id."""

    reasoning: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def record(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Remember the output items that were sent."""
        thought: Mapping[str, Any] | None = None
        for item in items:
            if item["type"] == "reasoning":
                thought = item
            elif item["type"] == "function_call" and thought is not None:
                self.reasoning[item["call_id"]] = thought


def check(body: Mapping[str, Any], issued: Issued | None = None) -> None:
    """Raise `InvalidRequestError` for a body the API would refuse."""
    for name in body:
        if name not in FIELDS:
            raise InvalidRequestError(
                f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name
            )
    for name in ("model", "input"):
        if name not in body:
            raise InvalidRequestError(
                f"Missing required parameter: '{name}'.",
                code="missing_required_parameter",
                param=name,
            )
    check_stream_options(body)
    wanted = (body.get("text") or {}).get("format")
    if wanted is not None and wanted.get("type") == "json_schema":
        check_openai(wanted, "text.format")
    check_not_empty(body["input"], "input")
    for index, tool in enumerate(body.get("tools") or []):
        if tool.get("type") == "function":
            if "function" in tool:
                param = f"tools[{index}].name"
                raise InvalidRequestError(
                    f"Missing required parameter: '{param}'.",
                    code="missing_required_parameter",
                    param=param,
                )
            check_openai_name(tool.get("name"), f"tools[{index}].name")
    if isinstance(body["input"], list):
        linked = bool(body.get("previous_response_id"))
        _check_items(body["input"], stored=body.get("store", True), linked=linked)
        if not linked:
            _check_reasoning_kept(body["input"], issued or Issued())


def check_counted(body: Mapping[str, Any], issued: Issued) -> None:
    """Raise `InvalidRequestError` for a body that is refused where input tokens are counted."""
    for name in body:
        if name not in COUNTED_FIELDS:
            raise InvalidRequestError(
                f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name
            )
    check({**body, "store": False}, issued)


def check_stateless(body: Mapping[str, Any]) -> None:
    """This project's rule: the conversation is ours, the provider keeps nothing."""
    if body.get("store") is not False:
        raise InvalidRequestError("house rule: a Responses request says `store: false`")
    reasons = re.match(r"(gpt-[5-9]|o\d)", body.get("model", ""))
    if reasons and "reasoning.encrypted_content" not in (body.get("include") or []):
        raise InvalidRequestError("house rule: `include` has `reasoning.encrypted_content`")
    if body.get("previous_response_id"):
        raise InvalidRequestError("house rule: no `previous_response_id`")


def _check_items(items: list[Mapping[str, Any]], *, stored: bool, linked: bool) -> None:
    calls: list[str] = []
    outputs: list[str] = []
    for index, item in enumerate(items):
        where = f"input[{index}]"
        kind = item.get("type", "message")
        if kind == "reasoning":
            _check_reasoning(item, items[index + 1 :], stored=stored)
        elif kind == "function_call":
            check_openai_name(item.get("name"), f"{where}.name")
            check_length(item.get("call_id", ""), 64, f"{where}.call_id")
            if not isinstance(item.get("arguments"), str):
                raise InvalidRequestError(
                    f"Invalid type for '{where}.arguments': expected a string, but got an object "
                    "instead.",
                    code="invalid_type",
                    param=f"{where}.arguments",
                )
            calls.append(item["call_id"])
        elif kind == "function_call_output":
            call_id = item.get("call_id", "")
            if call_id not in calls and not linked:
                raise InvalidRequestError(
                    f"No tool call found for function call output with call_id {call_id}.",
                    param="input",
                )
            if call_id in outputs:
                raise InvalidRequestError(
                    f"Duplicate tool output found for function call {call_id}.", param="input"
                )
            outputs.append(call_id)
        elif kind == "message" and not item.get("content"):
            raise InvalidRequestError(
                f"Missing required parameter: '{where}.content'.",
                code="missing_required_parameter",
                param=f"{where}.content",
            )
    for call_id in calls:
        if call_id not in outputs:
            raise InvalidRequestError(
                f"No tool output found for function call {call_id}.", param="input"
            )


def _check_reasoning_kept(items: list[Mapping[str, Any]], issued: Issued) -> None:
    """A call that came after a reasoning item goes back after it, the item unchanged."""
    seen: dict[str, Mapping[str, Any]] = {}
    for item in items:
        if item.get("type") == "reasoning":
            seen[item.get("id", "")] = item
        thought = (
            issued.reasoning.get(item.get("call_id", ""))
            if item.get("type") == "function_call"
            else None
        )
        if thought is None:
            continue
        if thought["id"] not in seen:
            raise InvalidRequestError(
                f"Item '{item.get('id', item['call_id'])}' of type 'function_call' was provided "
                "without its "
                f"required 'reasoning' item: '{thought['id']}'.",
                param="input",
            )
        sealed = seen[thought["id"]].get("encrypted_content")
        if sealed is not None and sealed != thought.get("encrypted_content", sealed):
            raise InvalidRequestError(
                f"The encrypted content for item {thought['id']} could not be verified. Reason: "
                "Encrypted content "
                "could not be decrypted or parsed.",
                code="invalid_encrypted_content",
            )


def _check_reasoning(
    item: Mapping[str, Any], rest: list[Mapping[str, Any]], *, stored: bool
) -> None:
    item_id = item.get("id", "")
    if not isinstance(item.get("summary"), list):
        raise InvalidRequestError(
            "Missing required parameter: 'input[0].summary'.",
            code="missing_required_parameter",
            param="input",
        )
    sealed = item.get("encrypted_content")
    if not stored and not sealed:
        raise InvalidRequestError(
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to "
            "false. Try again "
            "with `store` set to true, or remove this item from your input.",
            status=404,
            param="input",
        )
    following = next((i for i in rest if i.get("type") != "reasoning"), None)
    kind = (following or {}).get("type", "message")
    own = kind == "function_call" or (
        kind == "message" and (following or {}).get("role") == "assistant"
    )
    if following is None or not own:
        raise InvalidRequestError(
            f"Item '{item_id}' of type 'reasoning' was provided without its required following "
            "item.",
            param="input",
        )
