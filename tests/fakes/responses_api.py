"""OpenAI's Responses API stream, as bytes.

Event order and fields follow "Responses streaming events" of the API reference, the event types of
the official SDK and recorded streams. There is no `[DONE]`. The `error` event nests its fields
under `error`, as the service sends it; the reference and the SDK's type have them flat.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.reply import (
    RedactedThinking,
    Reply,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    seal,
    token,
)
from tests.fakes.sse import dumps, frame

INCOMPLETE = {
    "length": "max_output_tokens",
    "context": "max_output_tokens",
    "filter": "content_filter",
    "max_output_tokens": "max_output_tokens",
    "content_filter": "content_filter",
}


def encrypted(part: Thinking) -> str:
    """What a reasoning item carries as `encrypted_content`."""
    return "gAAAAAB" + seal(part.text, 240) if part.encrypted is None else part.encrypted


def usage(reply: Reply) -> dict[str, Any]:
    """The usage object; `input_tokens` includes what the cache served."""
    spent = reply.usage
    return {
        "input_tokens": spent.input,
        "input_tokens_details": {
            "cache_write_tokens": spent.cache_write,
            "cached_tokens": spent.cache_read,
        },
        "output_tokens": spent.output,
        "output_tokens_details": {"reasoning_tokens": spent.reasoning},
        "total_tokens": spent.input + spent.output,
    }


def _sealed(request: Mapping[str, Any]) -> bool:
    include = request.get("include") or []
    return "reasoning.encrypted_content" in include or request.get("store") is False


def items(reply: Reply, request: Mapping[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Each part with the output item it becomes when complete."""
    made: list[tuple[Any, dict[str, Any]]] = []
    for index, part in enumerate(reply.parts):
        suffix = token((reply.token, "item", index), 50).lower()
        item: dict[str, Any]
        if isinstance(part, RedactedThinking | ServerTool):
            raise TypeError(f"the Responses API has no {type(part).__name__}")
        if isinstance(part, Thinking):
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            item = {"id": f"rs_{suffix}", "type": "reasoning", "summary": summary}
            if _sealed(request):
                item["encrypted_content"] = encrypted(part)
        elif isinstance(part, ToolCall):
            item = {
                "id": f"fc_{suffix}",
                "type": "function_call",
                "status": "completed",
                "arguments": part.json,
                "call_id": reply.call_id(part, "call_"),
                "name": part.name,
            }
        else:
            content: dict[str, Any] = {"type": "refusal", "refusal": part.text}
            if isinstance(part, Text):
                content = {
                    "type": "output_text",
                    "annotations": [],
                    "logprobs": [],
                    "text": part.text,
                }
            item = {
                "id": f"msg_{suffix}",
                "type": "message",
                "status": "completed",
                "content": [content],
                "role": "assistant",
            }
        made.append((part, item))
    if reply.stop in INCOMPLETE and made and "status" in made[-1][1]:
        made[-1][1]["status"] = "incomplete"
    return made


def response(
    reply: Reply, request: Mapping[str, Any] | None = None, status: str | None = None
) -> dict[str, Any]:
    """The response object; as it is at the end unless `status` says `in_progress` or `failed`."""
    request = request or {}
    incomplete = INCOMPLETE.get(reply.stop or "")
    status = status or ("incomplete" if incomplete else "completed")
    over = status in ("completed", "incomplete")
    error = None
    if status == "failed" and reply.error is not None:
        error = {"code": reply.error.code or reply.error.type, "message": reply.error.message}
    return {
        "id": f"resp_{token(reply.token, 50).lower()}",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "background": False,
        "completed_at": 1_790_000_001 if status == "completed" else None,
        "error": error,
        "frequency_penalty": 0,
        "incomplete_details": {"reason": incomplete} if over and incomplete else None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": reply.model or request.get("model", "gpt-5"),
        "moderation": None,
        "output": [item for _, item in items(reply, request)] if over else [],
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "presence_penalty": 0,
        "previous_response_id": request.get("previous_response_id"),
        "prompt_cache_key": request.get("prompt_cache_key"),
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium", "summary": None, **(request.get("reasoning") or {})},
        "safety_identifier": None,
        "service_tier": "default" if over else "auto",
        "store": request.get("store", True),
        "temperature": 1,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools", []),
        "top_logprobs": 0,
        "top_p": 1,
        "truncation": "disabled",
        "usage": usage(reply) if over else None,
        "user": None,
        "metadata": request.get("metadata") or {},
    }


def _started(item: dict[str, Any]) -> dict[str, Any]:
    """The item as it is when it is added."""
    kind = item["type"]
    if kind == "function_call":
        return item | {"status": "in_progress", "arguments": ""}
    if kind == "message":
        return item | {"status": "in_progress", "content": []}
    early = (
        {"encrypted_content": item["encrypted_content"][:96]} if "encrypted_content" in item else {}
    )
    return item | {"summary": []} | early


def _item_events(
    reply: Reply, part: Any, item: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events between an item's `added` and `done`: their names and fields."""
    where = {"item_id": item["id"]}
    if isinstance(part, ToolCall):
        for delta in reply.deltas(part):
            yield "response.function_call_arguments.delta", {**where, "delta": delta}
        yield "response.function_call_arguments.done", {**where, "arguments": part.json}
        return
    if isinstance(part, Thinking):
        if not part.text:
            return
        where["summary_index"] = 0
        whole = {"type": "summary_text", "text": part.text}
        yield "response.reasoning_summary_part.added", {**where, "part": whole | {"text": ""}}
        for delta in reply.deltas(part):
            yield "response.reasoning_summary_text.delta", {**where, "delta": delta}
        yield "response.reasoning_summary_text.done", {**where, "text": part.text}
        yield "response.reasoning_summary_part.done", {**where, "part": whole}
        return
    where["content_index"] = 0
    content = item["content"][0]
    field = "text" if isinstance(part, Text) else "refusal"
    stem = "response.output_text" if isinstance(part, Text) else "response.refusal"
    extra = {"logprobs": []} if isinstance(part, Text) else {}
    yield "response.content_part.added", {**where, "part": content | {field: ""}}
    for delta in reply.deltas(part):
        yield f"{stem}.delta", {**where, "delta": delta, **extra}
    yield f"{stem}.done", {**where, field: part.text, **extra}
    yield "response.content_part.done", {**where, "part": content}


def _events(reply: Reply, request: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    waiting = response(reply, request, "in_progress")
    yield "response.created", {"response": waiting}
    yield "response.in_progress", {"response": waiting}
    for index, (part, item) in enumerate(items(reply, request)):
        yield "response.output_item.added", {"item": _started(item), "output_index": index}
        for name, fields in _item_events(reply, part, item):
            yield name, {**fields, "output_index": index}
        yield "response.output_item.done", {"item": item, "output_index": index}
    final = response(reply, request)
    yield f"response.{final['status']}", {"response": final}


def openai_responses_frames(reply: Reply, request: Mapping[str, Any] | None = None) -> list[bytes]:
    """The reply as the stream's events, one item each."""
    request = request or {"store": False, "include": ["reasoning.encrypted_content"]}
    options = request.get("stream_options") or {}
    obfuscated = options.get("include_obfuscation", True)
    noise = random.Random(reply.token)
    events = list(_events(reply, request))
    if (error := reply.error) is not None:
        flat = {"code": error.code, "message": error.message, "param": None}
        events = events[: error.after]
        if error.form != "failed":
            nested = {"error": {"type": error.type, **flat}}
            events.append(("error", nested if error.form == "nested" else flat))
        events.append(("response.failed", {"response": response(reply, request, "failed")}))
    frames = []
    for number, (name, fields) in enumerate(events):
        if obfuscated and name.endswith(".delta"):
            fill = max(1, 16 - len(fields["delta"]) % 16)
            letters = noise.choices(string.ascii_letters + string.digits, k=fill)
            fields = {**fields, "obfuscation": "".join(letters)}  # noqa: PLW2901
        frames.append(frame(dumps({"type": name, **fields, "sequence_number": number}), name))
    return frames


def openai_responses_events(reply: Reply, request: Mapping[str, Any] | None = None) -> bytes:
    """The reply as the response body's bytes."""
    return b"".join(openai_responses_frames(reply, request))
