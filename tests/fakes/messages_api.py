"""The Anthropic Messages API's stream, as bytes.

Event order and fields follow "Streaming messages" in the Claude Platform documentation and the
`Raw*Event` types of the official SDK; the padding before a document's last brace, the `ping`
placement and the cumulative usage follow recorded streams.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tests.fakes.reply import (
    Failure,
    RedactedThinking,
    Refusal,
    Reply,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    seal,
    token,
)
from tests.fakes.sse import dumps, frame

STOPS = {
    "length": "max_tokens",
    "filter": "refusal",
    "pause": "pause_turn",
    "context": "model_context_window_exceeded",
}
ERRORS = {
    400: ("invalid_request_error", "messages: Field required"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: (
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    404: ("not_found_error", "model: claude-unknown"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}


def error_body(failure: Failure, request_id: str) -> bytes:
    """The JSON body of an error response."""
    kind, message = ERRORS.get(failure.status, ERRORS[500])
    error = {"type": failure.type or kind, "message": failure.message or message}
    return dumps({"type": "error", "error": error, "request_id": request_id}).encode()


def stop_reason(reply: Reply) -> str:
    """The reply's stop reason in the API's words."""
    if reply.stop is not None:
        return STOPS.get(reply.stop, reply.stop)
    if reply.of(Refusal):
        return "refusal"
    return "tool_use" if reply.of(ToolCall) else "end_turn"


def usage(reply: Reply) -> dict[str, Any]:
    """The cumulative counts of `message_delta`; `input_tokens` excludes what the cache served."""
    spent = reply.usage
    counts: dict[str, Any] = {
        "input_tokens": spent.input - spent.cache_read - spent.cache_write,
        "cache_creation_input_tokens": spent.cache_write,
        "cache_read_input_tokens": spent.cache_read,
        "output_tokens": spent.output,
        "output_tokens_details": {"thinking_tokens": spent.reasoning},
    }
    if tools := reply.of(ServerTool):
        counts["server_tool_use"] = {"web_search_requests": len(tools), "web_fetch_requests": 0}
    return counts


def _message(reply: Reply, request: Mapping[str, Any]) -> dict[str, Any]:
    spent = usage(reply)
    return {
        "model": reply.model or request.get("model", "claude-sonnet-5"),
        "id": f"msg_01{reply.token}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": spent["input_tokens"],
            "cache_creation_input_tokens": spent["cache_creation_input_tokens"],
            "cache_read_input_tokens": spent["cache_read_input_tokens"],
            "cache_creation": {
                "ephemeral_5m_input_tokens": spent["cache_creation_input_tokens"],
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": 1,
            "service_tier": "standard",
            "inference_geo": "global",
        },
    }


def _search_result(tool: ServerTool) -> Any:
    if tool.result is not None:
        return tool.result
    return [
        {
            "type": "web_search_result",
            "title": "Status",
            "url": "https://status.example.com/",
            "encrypted_content": seal("search"),
            "page_age": None,
        }
    ]


def _blocks(reply: Reply) -> list[tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]]:
    """Each content block: as it starts, its deltas, and as it is when complete."""
    blocks = []
    for part in reply.parts:
        if isinstance(part, Text):
            start = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": d} for d in reply.deltas(part)]
            blocks.append((start, deltas, start | {"text": part.text}))
        elif isinstance(part, Thinking):
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": d} for d in reply.deltas(part)]
            deltas.append({"type": "signature_delta", "signature": part.seal})
            blocks.append((start, deltas, start | {"thinking": part.text, "signature": part.seal}))
        elif isinstance(part, RedactedThinking):
            start = {"type": "redacted_thinking", "data": part.data}
            blocks.append((start, [], start))
        elif isinstance(part, ToolCall):
            start = {
                "type": "tool_use",
                "id": reply.call_id(part, "toolu_01"),
                "name": part.name,
                "input": {},
            }
            spread = ["", *(reply.deltas(part) if part.json != "{}" or part.deltas else [])]
            deltas = [{"type": "input_json_delta", "partial_json": d} for d in spread]
            blocks.append((start, deltas, start | {"input": part.arguments}))
        elif isinstance(part, ServerTool):
            use_id = f"srvtoolu_01{token((reply.token, len(blocks)))}"
            start = {"type": "server_tool_use", "id": use_id, "name": part.name, "input": {}}
            spread = ["", dumps(part.input)]
            deltas = [{"type": "input_json_delta", "partial_json": d} for d in spread]
            blocks.append((start, deltas, start | {"input": part.input}))
            if stop_reason(reply) != "pause_turn":
                kind = f"{part.name}_tool_result"
                result = {"type": kind, "tool_use_id": use_id, "content": _search_result(part)}
                blocks.append((result, [], result))
    return blocks


def _end(reply: Reply) -> dict[str, Any]:
    reason = stop_reason(reply)
    details = None
    if reason == "refusal":
        declined = (reply.of(Refusal) or [Refusal()])[0]
        details = {"type": "refusal", "category": declined.category, "explanation": declined.text}
    return {"stop_reason": reason, "stop_sequence": None, "stop_details": details}


def anthropic_message(reply: Reply, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The whole message, as a request without `stream` gets it."""
    message = _message(reply, request or {})
    content = [block for _, _, block in _blocks(reply)]
    return message | {"content": content, **_end(reply), "usage": message["usage"] | usage(reply)}


def anthropic_frames(reply: Reply, request: Mapping[str, Any] | None = None) -> list[bytes]:
    """The reply as the stream's events, one item each."""
    noise = random.Random(reply.token)

    def event(name: str, **fields: Any) -> bytes:
        padded = dumps({"type": name, **fields})[:-1] + " " * noise.randrange(16) + "}"
        return frame(padded, name)

    ping = frame('{"type": "ping"}', "ping")
    frames = [event("message_start", message=_message(reply, request or {}))]
    for index, (start, deltas, _) in enumerate(_blocks(reply)):
        frames.append(event("content_block_start", index=index, content_block=start))
        if reply.pings and (index == 0 or noise.random() < 0.3):
            frames.append(ping)
        frames += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        frames.append(event("content_block_stop", index=index))
    frames.append(event("message_delta", delta=_end(reply), usage=usage(reply)))
    frames.append(event("message_stop"))
    if reply.error is not None:
        error = {"type": reply.error.type, "message": reply.error.message}
        frames = frames[: reply.error.after]
        frames.append(
            frame(
                dumps({"type": "error", "error": error, "request_id": f"req_011{reply.token}"}),
                "error",
            )
        )
    return frames


def anthropic_events(reply: Reply, request: Mapping[str, Any] | None = None) -> bytes:
    """The reply as the response body's bytes."""
    return b"".join(anthropic_frames(reply, request))
