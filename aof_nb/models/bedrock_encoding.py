"""Requests to Bedrock's Converse, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from aof_nb.messages import Message, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from aof_nb.models.bedrock_failures import PROVIDER
from aof_nb.models.bedrock_families import ADAPTIVE, Family, family_of
from aof_nb.models.history import fitting_id, sent_parts
from aof_nb.models.schema_dialects import ANTHROPIC_SCHEMAS
from aof_nb.ports import ModelRequest, OutputSchema, Sampling, ToolSpec
from aof_nb.tool_names import safe_name

_LONGEST_ID = 64
_MIN_THINKING = 1024
_CACHE_POINT = {"cachePoint": {"type": "default"}}
_CACHE_BYTES = msgspec.json.encode(_CACHE_POINT)
_CARRIED = ({"toolResult"}, {"toolUse"})
Block = dict[str, Any]


def encode_body(
    request: ModelRequest,
    family: Family,
    encoded: Callable[[Message], bytes],
    declared: Callable[[tuple[ToolSpec, ...]], bytes],
    *,
    cache: bool = True,
) -> bytes:
    """A request's JSON: the same bytes for the same beginning, whatever follows.

    Args:
        request: What is asked.
        family: What the model takes.
        encoded: Gives a message's blocks as JSON, as `encode_message` does.
        declared: Gives the tools' declarations as JSON, in brackets.
        cache: Whether to mark what should be cached, where the family takes it.
    """
    marked = family.cache if cache else ()
    fields: list[bytes] = []
    system: list[Block] = [{"text": request.system}] if request.system.strip() else []
    if system and family.system:
        if "system" in marked:
            system.append(_CACHE_POINT)
        fields.append(b'"system":' + msgspec.json.encode(system))
    if tools := _tools(request, declared, cache="tools" in marked):
        fields.append(b'"toolConfig":{"tools":' + tools + b"}")
    head = _sampled(request, family)
    if head:
        fields.append(msgspec.json.encode(head)[1:-1])
    preamble = b"" if family.system else msgspec.json.encode(system)[1:-1]
    turns = (
        _turns(request.messages, encoded)
        if family.mixed
        else _plain_turns(request.messages, family)
    )
    messages = list(_written(turns, preamble, mark="messages" in marked))
    fields.append(b'"messages":[' + b",".join(messages) + b"]")
    return b"{" + b",".join(fields) + b"}"


def _written(
    turns: Iterable[tuple[str, list[bytes]]], preamble: bytes, *, mark: bool
) -> Iterator[bytes]:
    found = list(turns)
    last = next((at for at in reversed(range(len(found))) if found[at][0] == "user"), None)
    for at, (role, blocks) in enumerate(found):
        content = [preamble, *blocks] if preamble and at == 0 else blocks
        if mark and at == last:
            content = [*content, _CACHE_BYTES]
        yield b'{"role":"%s","content":[%s]}' % (role.encode(), b",".join(content))


def _turns(
    messages: tuple[Message, ...], encoded: Callable[[Message], bytes]
) -> Iterator[tuple[str, list[bytes]]]:
    """Messages as turns that alternate: neighbours of one role are joined."""
    role, blocks = "", list[bytes]()
    for message in messages:
        content = encoded(message)
        if not content:
            continue
        speaker = "assistant" if message.role == "assistant" else "user"
        if blocks and speaker != role:
            yield role, blocks
            blocks = []
        role = speaker
        blocks.append(content)
    if blocks:
        yield role, blocks


def _plain_turns(
    messages: tuple[Message, ...], family: Family
) -> Iterator[tuple[str, list[bytes]]]:
    """Turns for models that refuse text beside tool calls or results.

    What a user adds to results goes with the last of them; what a model said beside its calls
    cannot be sent.
    """
    turns: list[tuple[str, list[Block]]] = []
    for message in messages:
        speaker = "assistant" if message.role == "assistant" else "user"
        if found := blocks_of(message, family):
            if turns and turns[-1][0] == speaker:
                turns[-1][1].extend(found)
            else:
                turns.append((speaker, found))
    for speaker, found in turns:
        tools = [block for block in found if "text" not in block]
        if tools and len(tools) < len(found) and speaker == "user":
            said = [block for block in found if "text" in block]
            result = tools[-1]["toolResult"]
            tools[-1] = {"toolResult": result | {"content": [*result["content"], *said]}}
        yield speaker, [msgspec.json.encode(block) for block in tools or found]


def encode_message(message: Message, family: Family) -> bytes:
    """A message's content blocks as JSON, without the brackets; empty if there are none."""
    return msgspec.json.encode(blocks_of(message, family))[1:-1]


def blocks_of(message: Message, family: Family) -> list[Block]:
    """A message's content blocks: what this family takes of them."""
    own = _is_of(message, family)
    found = [_block(part, family, own=own) for part in sent_parts(message)]
    blocks = [block for block in found if block is not None]
    while blocks and "reasoningContent" in blocks[-1]:
        # What followed was empty; alone, reasoning is taken for the beginning of an answer.
        blocks.pop()
    return blocks


def _is_of(message: Message, family: Family) -> bool:
    """Whether a message was written by a model whose own blocks this family can read."""
    provider, _, model = (message.model or "").partition(":")
    same = family.maker and family_of(model).maker == family.maker
    return provider == PROVIDER and bool(same)


def _block(part: Part, family: Family, *, own: bool) -> Block | None:
    match part:
        case Text(text, opaque):
            said = opaque.get(PROVIDER, {}) if own else {}
            return said or {"text": text} if text.strip() else None
        case Thinking(provider=provider, opaque=block):
            return block if own and family.reasoning and provider == PROVIDER else None
        case Opaque(provider=provider, block=block):
            return block if own and provider == PROVIDER and set(block) in _CARRIED else None
        case ToolCall():
            return {
                "toolUse": {
                    "toolUseId": fitting_id(part.id, _LONGEST_ID, plain=True),
                    "name": safe_name(part.name),
                    "input": part.arguments or {},
                }
            }
        case ToolResult():
            result: Block = {
                "toolUseId": fitting_id(part.call_id, _LONGEST_ID, plain=True),
                "content": [{"text": part.content if part.content.strip() else "(no output)"}],
            }
            if part.is_error and family.status:
                result["status"] = "error"
            return {"toolResult": result}


def declaration(tool: ToolSpec, family: Family) -> Block:
    """A tool as the family wants it declared."""
    schema = tool.input_schema
    if family.schema_keys:
        kept = {key: schema[key] for key in schema if key in {*family.schema_keys, "$defs"}}
        schema = {"type": "object", "properties": {}} | kept
    elif schema.get("type") != "object":
        schema = {"type": "object"} | schema
    spec: Block = {"name": tool.name}
    if tool.description.strip():
        spec["description"] = tool.description
    return {"toolSpec": spec | {"inputSchema": {"json": schema}}}


def _tools(
    request: ModelRequest, declared: Callable[[tuple[ToolSpec, ...]], bytes], *, cache: bool
) -> bytes:
    """The tools' declarations; for a history with calls there must be some.

    Converse has no choice for "none": tools that are withheld stay declared, and calls of them
    are answered by the loop.
    """
    tools = bytes(declared(request.tools)) if request.tools else b""
    if not tools:
        parts = (part for message in request.messages for part in message.parts)
        names = dict.fromkeys(safe_name(part.name) for part in parts if isinstance(part, ToolCall))
        empty = {"json": {"type": "object", "properties": {}}}
        specs = [{"toolSpec": {"name": name, "inputSchema": empty}} for name in names]
        return msgspec.json.encode(specs) if specs else b""
    return tools[:-1] + b"," + _CACHE_BYTES + b"]" if cache else tools


def _sampled(request: ModelRequest, family: Family) -> Block:
    """The fields that say how to answer, as far as the family takes them."""
    sampling = request.sampling
    config: Block = {}
    more: Block = {}
    found: Block = {}
    output: Block = {}
    thinks = _thinking(request, family)
    if sampling.max_tokens is not None:
        config["maxTokens"] = sampling.max_tokens
    if thinks:
        more["thinking"] = thinks
        budget = thinks.get("budget_tokens", 0)
        if budget and sampling.max_tokens is not None:
            config["maxTokens"] = max(sampling.max_tokens, budget + _MIN_THINKING)
    else:
        config |= _randomness(sampling, family)
    if sampling.stop:
        config["stopSequences"] = sampling.stop
    if effort := sampling.reasoning_effort:
        if family.effort == "output_config":
            output["effort"] = effort
        elif family.effort == "reasoning_config":
            more["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": effort}
        elif family.effort == "reasoning_effort":
            more["reasoning_effort"] = effort
    if request.output_schema is not None:
        output["textFormat"] = _text_format(request.output_schema)
    if output:
        found["outputConfig"] = output
    if config:
        found["inferenceConfig"] = config
    if more:
        found["additionalModelRequestFields"] = more
    return found


def _text_format(wanted: OutputSchema) -> Block:
    schema = ANTHROPIC_SCHEMAS.strict(wanted.schema) or wanted.schema
    said = {"name": wanted.name, "schema": msgspec.json.encode(schema).decode()}
    if wanted.description:
        said["description"] = wanted.description
    return {"type": "json_schema", "structure": {"jsonSchema": said}}


def _randomness(sampling: Sampling, family: Family) -> Block:
    found: Block = {}
    if sampling.temperature is not None and "temperature" in family.sampling:
        found["temperature"] = sampling.temperature
    if sampling.top_p is not None and "top_p" in family.sampling and (family.both or not found):
        found["topP"] = sampling.top_p
    return found


def _thinking(request: ModelRequest, family: Family) -> Block:
    budget = request.sampling.thinking_tokens
    if not budget or not family.thinking:
        return {}
    if family.thinking == "adaptive":
        return ADAPTIVE
    if not _may_think(request.messages, family):
        return {}
    return {"type": "enabled", "budget_tokens": max(budget, _MIN_THINKING)}


def _may_think(messages: tuple[Message, ...], family: Family) -> bool:
    """Whether thinking may be asked for with a budget.

    Where tools were being used, Claude takes it only if that turn began with thinking, which
    one that another model wrote has not.
    """
    place, answered = len(messages), False
    while place and messages[place - 1].role != "assistant":
        place -= 1
        answered = answered or messages[place].role == "tool"
    if not answered:
        return True
    while place and messages[place - 1].role == "assistant":
        place -= 1
    first = next(iter(blocks_of(messages[place], family)), {})
    return "reasoningContent" in first
