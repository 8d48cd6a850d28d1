"""What Bedrock's Converse accepts, with the words in which it refuses the rest."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.reply import seal
from tests.fakes.rules import InvalidRequestError
from tests.fakes.schema_rules import check_anthropic

FIELDS = {
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "inferenceConfig",
    "messages",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    "system",
    "toolConfig",
}
_ID = r"[a-zA-Z0-9_.:-]{1,64}"
_NAME = r"[a-zA-Z0-9_-]{1,64}"
_UNSAMPLED = re.compile(r"claude-(?:opus-4-[789]|(?:opus|sonnet|haiku|fable)-5)")
_STRUCTURED = re.compile(r"claude-(?:opus-4-[5-9]|(?:sonnet|haiku)-4-[5-9]|\w+-5)")
_UNSTREAMED = re.compile(r"llama|mistral-large-24|palmyra")


@dataclass(slots=True)
class Issued:
    """What a fake has sent and expects back unchanged: reasoning, by the call it came with."""

    turns: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def record(self, content: Sequence[Mapping[str, Any]]) -> None:
        """Remember a message that was sent."""
        thoughts = [block for block in content if "reasoningContent" in block]
        for block in content:
            if "toolUse" in block:
                self.turns[block["toolUse"]["toolUseId"]] = thoughts


def _refuse(said: str) -> InvalidRequestError:
    return InvalidRequestError(said)


def check(body: Mapping[str, Any], model: str, issued: Issued, *, streamed: bool) -> None:
    """Raise `InvalidRequestError` for a body the API would refuse."""
    for name in body:
        if name not in FIELDS:
            raise _refuse(f"Malformed input request: extraneous key [{name}] is not permitted")
    messages = body.get("messages") or []
    if not messages:
        raise _refuse("A conversation must start with a user message.")
    _check_config(body, model)
    _check_tools(body.get("toolConfig"), messages, model, streamed=streamed)
    for block in body.get("system") or []:
        if "text" in block and not block["text"].strip():
            raise _refuse("The text field in the SystemContentBlock object at system.0 is blank.")
    _check_cache(body, model)
    _check_turns(messages)
    for index, message in enumerate(messages):
        for number, block in enumerate(message["content"]):
            _check_block(f"messages.{index}.content.{number}", message["role"], block, model)
        _check_mixed(index, message, model)
    _check_pairs(messages)
    _check_unmodified(messages, issued, model)


def _check_text_format(wanted: Any, model: str) -> None:
    if wanted is None:
        return
    if not _STRUCTURED.search(model):
        raise _refuse("This model doesn't support the outputConfig.textFormat field.")
    schema = json.loads(wanted["structure"]["jsonSchema"]["schema"])
    check_anthropic({"type": wanted.get("type"), "schema": schema})


def _check_config(body: Mapping[str, Any], model: str) -> None:
    _check_text_format((body.get("outputConfig") or {}).get("textFormat"), model)
    config = body.get("inferenceConfig") or {}
    given = {"temperature", "topP"} & set(config)
    if given and _UNSAMPLED.search(model):
        raise _refuse(
            "The model returned the following errors: `temperature` is deprecated for this model."
        )
    if len(given) == 2 and re.search(r"claude-(?:opus|sonnet|haiku)-4-[1-6]\b", model):
        raise _refuse(
            "The model returned the following errors: `temperature` and `top_p` cannot both be "
            "specified for this model. Please use only one."
        )
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking") or {}
    if thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens", 0)
    if budget < 1024 or budget >= config.get("maxTokens", 32000):
        raise _refuse(
            "The model returned the following errors: `max_tokens` must be greater than "
            "`thinking.budget_tokens`."
        )
    if "temperature" in config:
        raise _refuse(
            "The model returned the following errors: `temperature` may only be set to 1 when "
            "thinking is enabled."
        )
    last = [message for message in body["messages"] if message["role"] == "assistant"][-1:]
    results = any("toolResult" in block for block in body["messages"][-1]["content"])
    if last and results and "reasoningContent" not in last[0]["content"][0]:
        raise _refuse(
            "The model returned the following errors: messages.1.content.0.type: Expected "
            "`thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, "
            "a final `assistant` message must start with a thinking block."
        )


def _check_tools(
    config: Mapping[str, Any] | None,
    messages: Sequence[Mapping[str, Any]],
    model: str,
    *,
    streamed: bool,
) -> None:
    used = any("toolUse" in b or "toolResult" in b for m in messages for b in m["content"])
    if config is None:
        if used:
            raise _refuse(
                "The toolConfig field must be defined when using toolUse and toolResult content "
                "blocks."
            )
        return
    if streamed and _UNSTREAMED.search(model):
        raise _refuse("This model doesn't support tool use in streaming mode.")
    specs = [tool["toolSpec"] for tool in config["tools"] if "toolSpec" in tool]
    if not specs:
        raise _refuse("The toolConfig.tools field must have at least 1 item.")
    if "none" in (config.get("toolChoice") or {}):
        raise _refuse("Malformed input request: extraneous key [none] is not permitted")
    for index, spec in enumerate(specs):
        where = f"toolConfig.tools.{index}.member.toolSpec"
        if not re.fullmatch(_NAME, spec.get("name", "")):
            raise _refuse(
                f"1 validation error detected: Value '{spec.get('name')}' at '{where}.name' failed "
                "to satisfy constraint: Member must satisfy regular expression pattern: "
                "[a-zA-Z0-9_-]+"
            )
        if spec.get("description") == "":
            raise _refuse(
                f"1 validation error detected: Value '' at '{where}.description' failed to satisfy "
                "constraint: Member must have length greater than or equal to 1"
            )
        schema = spec["inputSchema"]["json"]
        if schema.get("type") != "object":
            raise _refuse(
                f"The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one "
                "of the following: object."
            )
        extra = set(schema) - {"type", "properties", "required", "$defs"}
        if "nova" in model and extra:
            raise _refuse(
                f"Malformed input request: extraneous key [{min(extra)}] is not permitted"
            )
    names = [spec["name"] for spec in specs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _refuse(f"The tool {twice} is already defined at toolConfig.tools.0.")


def _check_cache(body: Mapping[str, Any], model: str) -> None:
    tools = (body.get("toolConfig") or {}).get("tools") or []
    content = [block for message in body["messages"] for block in message["content"]]
    system = body.get("system") or []
    marks = [block for block in [*tools, *system, *content] if "cachePoint" in block]
    if marks and not re.search(r"claude|nova", model):
        raise InvalidRequestError(
            "You invoked an unsupported model or your request did not allow prompt caching. See "
            "the documentation for more information.",
            status=403,
        )
    if "nova" in model and any("cachePoint" in tool for tool in tools):
        raise _refuse(
            "The model returned the following errors: Malformed input request: "
            "#/toolConfig/tools/1: extraneous key [cachePoint] is not permitted, please reformat "
            "your input and try again."
        )
    if len(marks) > 4:
        raise _refuse("You can specify at most 4 cache points.")


def _check_turns(messages: Sequence[Mapping[str, Any]]) -> None:
    if messages[0]["role"] != "user":
        raise _refuse(
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    for before, after in itertools.pairwise(messages):
        if before["role"] == after["role"]:
            raise _refuse(
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again."
            )
    if messages[-1]["role"] != "user":
        raise _refuse(
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )
    for index, message in enumerate(messages):
        if not message["content"]:
            raise _refuse(
                f"The content field in the Message object at messages.{index} is empty. Add a "
                "ContentBlock object to the content field and try again."
            )


def _check_block(where: str, role: str, block: Mapping[str, Any], model: str) -> None:
    if len(block) != 1:
        raise _refuse(f"The ContentBlock object at {where} must set one of its members.")
    if "text" in block and not block["text"].strip():
        raise _refuse(
            f"The text field in the ContentBlock object at {where} is blank. Add text to the text "
            "field, and try again."
        )
    if use := block.get("toolUse"):
        if not re.fullmatch(_ID, use["toolUseId"]):
            raise _refuse(
                f"1 validation error detected: Value '{use['toolUseId']}' at '{where}.toolUse."
                "toolUseId' failed to satisfy constraint: Member must satisfy regular expression "
                "pattern: [a-zA-Z0-9_.:-]+"
            )
        if not re.fullmatch(_NAME, use["name"]):
            raise _refuse(
                f"1 validation error detected: Value '{use['name']}' at '{where}.toolUse.name' "
                "failed to satisfy constraint: Member must satisfy regular expression pattern: "
                "[a-zA-Z0-9_-]+"
            )
        if not isinstance(use.get("input"), dict):
            raise _refuse(
                f"The format of the value at {where}.toolUse.input is invalid. Provide a json "
                "object for the field and try again."
            )
    if result := block.get("toolResult"):
        if "status" in result and not re.search(r"claude|nova", model):
            raise _refuse(
                "This model doesn't support the status field. Remove status and try again."
            )
        if not result["content"]:
            raise _refuse(f"The content field at {where}.toolResult cannot be empty.")
    if thought := block.get("reasoningContent"):
        if role != "assistant" or not re.search(r"claude|nova-2", model):
            raise _refuse(
                "User messages cannot contain reasoning content. Please remove the reasoning "
                "content and try again."
            )
        said = thought.get("reasoningText")
        if said is not None and said.get("signature") != seal(said["text"]):
            raise _refuse(
                f"The model returned the following errors: {where}: Invalid `signature` in "
                "`thinking` block"
            )


def _check_mixed(index: int, message: Mapping[str, Any], model: str) -> None:
    kinds = {kind for block in message["content"] for kind in block}
    for kind, name in (("toolUse", "use"), ("toolResult", "result")):
        if {kind, "text"} <= kinds and _UNSTREAMED.search(model):
            raise _refuse(
                f"messages.{index}.content: Conversation blocks and tool {name} blocks cannot be "
                "provided in the same turn."
            )


def _check_pairs(messages: Sequence[Mapping[str, Any]]) -> None:
    asked: list[str] = []
    for index, message in enumerate(messages):
        uses = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        answered = [
            block["toolResult"]["toolUseId"]
            for block in message["content"]
            if "toolResult" in block and "type" not in block["toolResult"]
        ]
        if len(answered) > len(asked):
            raise _refuse(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number "
                "of toolUse blocks of previous turn."
            )
        if missing := [call for call in asked if call not in answered]:
            raise _refuse(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: "
                f"{', '.join(missing)}"
            )
        asked = [use["toolUseId"] for use in uses if "type" not in use]
        if len(set(asked)) < len(asked):
            raise _refuse(f"messages.{index}.content contains duplicate toolUse Ids.")


def _check_unmodified(messages: Sequence[Mapping[str, Any]], issued: Issued, model: str) -> None:
    """The latest assistant turn still has the reasoning it came with."""
    if "claude" not in model:
        return
    turns = [message["content"] for message in messages if message["role"] == "assistant"]
    content = turns[-1] if turns else []
    calls = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
    sent = issued.turns.get(calls[0]) if calls else None
    if sent is not None and [block for block in content if "reasoningContent" in block] != sent:
        raise _refuse(
            "The model returned the following errors: messages.1.content.0: `thinking` or "
            "`redacted_thinking` blocks in the latest assistant message cannot be modified. These "
            "blocks must remain as they were in the original response."
        )
