"""What the Anthropic Messages API accepts, with the words in which it refuses the rest.

Consecutive messages of one role are combined, as the API does; the rules hold for what results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.reply import seal
from tests.fakes.rules import InvalidRequestError
from tests.fakes.schema_rules import check_anthropic

FIELDS = frozenset(
    [
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "mcp_servers",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
    ]
)
COUNTED_FIELDS = frozenset(
    [
        "cache_control",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    ]
)
SAMPLING = ("temperature", "top_k", "top_p")
_THINKING = ("thinking", "redacted_thinking")
_ID = r"[a-zA-Z0-9_-]+"


def check_headers(headers: Mapping[str, str]) -> None:
    """The headers every request needs besides authentication."""
    if "anthropic-version" not in headers:
        raise InvalidRequestError("anthropic-version: header is required")
    if not headers.get("content-type", "").startswith("application/json"):
        raise InvalidRequestError("content-type: must be application/json")


@dataclass(slots=True)
class Issued:
    """What a fake has sent and expects back unchanged.

    `signatures` has those that are not simply the seal of their text; `turns` the thinking blocks
    that came with a tool call, by its id.
    """

    signatures: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def record(self, message: Mapping[str, Any]) -> None:
        """Remember a message that was sent."""
        thoughts = [block for block in message["content"] if block["type"] in _THINKING]
        for block in thoughts:
            if block["type"] == "thinking":
                self.signatures[block["thinking"]] = block["signature"]
        for block in message["content"]:
            if block["type"] == "tool_use":
                self.turns[block["id"]] = thoughts


def check(
    body: Mapping[str, Any], issued: Issued | None = None, version: str = "2026-10-21"
) -> None:
    """Raise `InvalidRequestError` for a body the API would refuse.

    `version` is the request's `anthropic-version`.
    """
    issued = issued or Issued()
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise InvalidRequestError(f"{name}: Field required")
    for name in body:
        if name not in FIELDS or (name in SAMPLING and version >= "2026-10-21"):
            raise InvalidRequestError(f"{name}: Extra inputs are not permitted")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise InvalidRequestError("max_tokens: Input should be greater than or equal to 1")
    thinking = body.get("thinking") or {}
    adaptive = re.search(r"claude-(?:[a-z]+-(?:5|4-[789])|mythos)", body["model"])
    if thinking.get("type") == "adaptive" and "claude" in body["model"] and not adaptive:
        raise InvalidRequestError("adaptive thinking is not supported on this model")
    if thinking.get("type") == "enabled":
        if adaptive:
            raise InvalidRequestError(
                '"thinking.type.enabled" is not supported for this model. Use '
                '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
            )
        if thinking.get("budget_tokens", 0) < 1024:
            raise InvalidRequestError(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
            )
        if thinking["budget_tokens"] >= body["max_tokens"]:
            raise InvalidRequestError("`max_tokens` must be greater than `thinking.budget_tokens`.")
    config = body.get("output_config") or {}
    for name in config:
        if name not in ("effort", "format", "task_budget"):
            raise InvalidRequestError(f"output_config.{name}: Extra inputs are not permitted")
    if config.get("format") is not None:
        check_anthropic(config["format"])
    _check_tools(body.get("tools") or [], body.get("tool_choice"))
    if not body["messages"]:
        raise InvalidRequestError("messages: at least one message is required")
    for index, message in enumerate(body["messages"]):
        _check_message(index, message, issued)
    turns = _turns(body["messages"])
    _check_sequence(turns, thinking.get("type") == "enabled")
    _check_unmodified(turns, issued)


def as_generation(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request to count tokens as the request for a response that it counts.

    Raises `InvalidRequestError` for fields that only the latter takes.
    """
    for name in body:
        if name not in COUNTED_FIELDS:
            raise InvalidRequestError(f"{name}: Extra inputs are not permitted")
    return {**body, "max_tokens": 1 << 20}


def _check_tools(tools: Sequence[Mapping[str, Any]], choice: Any) -> None:
    names = [tool.get("name", "") for tool in tools]
    for index, tool in enumerate(tools):
        if tool.get("type", "custom") != "custom":
            continue
        where = f"tools.{index}.custom"
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool.get("name", "")):
            raise InvalidRequestError(
                f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            )
        schema = tool.get("input_schema")
        if schema is None:
            raise InvalidRequestError(f"{where}.input_schema: Field required")
        if schema.get("type") != "object":
            raise InvalidRequestError(f"{where}.input_schema.type: Input should be 'object'")
    if len(set(names)) < len(names):
        raise InvalidRequestError("tools: Tool names must be unique.")
    if choice is not None and choice.get("type") in ("any", "tool") and not tools:
        raise InvalidRequestError("tool_choice may only be specified while providing tools.")


def _blocks(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _check_message(index: int, message: Mapping[str, Any], issued: Issued) -> None:
    where = f"messages.{index}"
    if message.get("role") not in ("user", "assistant"):
        raise InvalidRequestError(f"{where}.role: Input should be 'user' or 'assistant'")
    for name in message:
        if name not in ("role", "content"):
            raise InvalidRequestError(f"{where}.{name}: Extra inputs are not permitted")
    if not message.get("content"):
        raise InvalidRequestError(
            f"{where}: all messages must have non-empty content except for the optional final "
            "assistant message"
        )
    for number, block in enumerate(_blocks(message)):
        spot = f"{where}.content.{number}"
        kind = block.get("type")
        if kind == "text" and not block.get("text"):
            raise InvalidRequestError("messages: text content blocks must be non-empty")
        if kind == "tool_use":
            if message["role"] != "assistant":
                raise InvalidRequestError(
                    f"{where}: `tool_use` blocks can only be in `assistant` messages"
                )
            if not re.fullmatch(_ID, block.get("id", "")):
                raise InvalidRequestError(
                    f"{spot}.tool_use.id: String should match pattern '^{_ID}$'"
                )
            if not isinstance(block.get("input"), dict):
                raise InvalidRequestError(
                    f"{spot}.tool_use.input: Input should be a valid dictionary"
                )
        if kind == "tool_result" and message["role"] != "user":
            raise InvalidRequestError(
                f"{where}: `tool_result` blocks can only be in `user` messages"
            )
        if kind in _THINKING and message["role"] != "assistant":
            raise InvalidRequestError(
                f"{where}: `{kind}` blocks can only be in `assistant` messages"
            )
        if kind == "thinking":
            if "signature" not in block:
                raise InvalidRequestError(f"{spot}.thinking.signature: Field required")
            if block["signature"] not in (
                seal(block.get("thinking", "")),
                issued.signatures.get(block["thinking"]),
            ):
                raise InvalidRequestError(f"{spot}: Invalid `signature` in `thinking` block")


def _turns(messages: Sequence[Mapping[str, Any]]) -> list[tuple[int, str, list[Mapping[str, Any]]]]:
    """The messages with neighbours of one role combined: first index, role, blocks."""
    turns: list[tuple[int, str, list[Mapping[str, Any]]]] = []
    for index, message in enumerate(messages):
        if turns and turns[-1][1] == message["role"]:
            turns[-1][2].extend(_blocks(message))
        else:
            turns.append((index, message["role"], _blocks(message)))
    return turns


def _check_sequence(turns: list[tuple[int, str, list[Mapping[str, Any]]]], thinking: bool) -> None:
    if turns[0][1] != "user":
        raise InvalidRequestError('messages: first message must use the "user" role')
    called: set[str] = set()
    before: list[str] = []
    for position, (index, role, blocks) in enumerate(turns):
        kinds = [block["type"] for block in blocks]
        if role == "assistant":
            before = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if len(set(before)) < len(before) or called & set(before):
                raise InvalidRequestError("messages: `tool_use` ids must be unique")
            called |= set(before)
            _check_thinking_first(index, kinds)
            answered = turns[position + 1][2] if position + 1 < len(turns) else []
            _check_results(index, before, answered)
            continue
        given = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
        for number, block in enumerate(blocks):
            if block["type"] == "tool_result" and block.get("tool_use_id") not in before:
                raise InvalidRequestError(
                    f"messages.{index}.content.{number}: unexpected `tool_use_id` found in "
                    "`tool_result` blocks: "
                    f"{block.get('tool_use_id')}. Each `tool_result` block must have a "
                    "corresponding `tool_use` "
                    "block in the previous message."
                )
        if len(set(given)) < len(given):
            raise InvalidRequestError(
                f"messages.{index}.content: each tool_use must have a single result. Found "
                "multiple "
                f"`tool_result` blocks with id: {next(i for i in given if given.count(i) > 1)}"
            )
        before = []
    _, role, blocks = turns[-1]
    paused = any(block["type"] == "server_tool_use" for block in blocks)
    if role == "assistant" and not paused:
        raise InvalidRequestError(
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )
    last = [turn for turn in turns if turn[1] == "assistant"][-1:]
    in_loop = turns[-1][1] == "user" and any(
        block["type"] == "tool_result" for block in turns[-1][2]
    )
    for index, _, blocks in last:
        if thinking and in_loop and blocks[0]["type"] not in _THINKING:
            raise InvalidRequestError(
                f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, "
                "but found "
                f"`{blocks[0]['type']}`. When `thinking` is enabled, a final `assistant` message "
                "must start with a "
                "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` "
                "blocks). We recommend "
                "you include thinking blocks from previous turns. To avoid this requirement, "
                "disable `thinking`. "
                "Please consult our documentation at "
                "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
            )


def _check_thinking_first(index: int, kinds: list[str]) -> None:
    """Thinking leads its turn, except after what a server tool did in it."""
    for number, kind in enumerate(kinds):
        earlier = kinds[:number]
        if (
            kind in _THINKING
            and any(k in ("text", "tool_use") for k in earlier)
            and "server_tool_use" not in earlier
        ):
            raise _modified(f"messages.{index}.content.{number}")


def _check_unmodified(
    turns: list[tuple[int, str, list[Mapping[str, Any]]]], issued: Issued
) -> None:
    """The latest assistant turn still has the thinking it came with."""
    index, _, blocks = next(
        (turn for turn in reversed(turns) if turn[1] == "assistant"), (0, "", [])
    )
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    sent = issued.turns.get(calls[0]) if calls else None
    if sent is not None and [block for block in blocks if block["type"] in _THINKING] != sent:
        raise _modified(f"messages.{index}.content.0")


def _modified(where: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{where}: `thinking` or `redacted_thinking` blocks in the latest assistant message "
        "cannot be modified. "
        "These blocks must remain as they were in the original response."
    )


def _check_results(index: int, calls: list[str], following: list[Mapping[str, Any]]) -> None:
    leading = []
    for block in following:
        if block["type"] != "tool_result":
            break
        leading.append(block.get("tool_use_id"))
    if missing := [call for call in calls if call not in leading]:
        raise InvalidRequestError(
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks "
            "immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding "
            "`tool_result` block in the "
            "next message."
        )
