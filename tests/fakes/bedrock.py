"""Amazon Bedrock's ConverseStream, as bytes.

Framing follows the "Amazon Event Stream Specification" of Smithy 2.0; events and fields follow
botocore's service model of bedrock-runtime; the padding `p` in deltas and the order of events (text
and reasoning have no `contentBlockStart`, `metadata` comes after `messageStop`) follow recorded
streams.
"""

from __future__ import annotations

import random
import struct
import zlib
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
    token,
)
from tests.fakes.sse import dumps

STOPS = {
    "length": "max_tokens",
    "filter": "content_filtered",
    "context": "model_context_window_exceeded",
}
ERRORS = {
    400: ("ValidationException", "The provided request is not valid"),
    401: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    403: (
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    ),
    404: ("ResourceNotFoundException", "Could not resolve the foundation model from the ARN."),
    408: ("ModelTimeoutException", "Model processing timed out."),
    424: ("ModelErrorException", "The system encountered an unexpected error during processing."),
    429: (
        "ThrottlingException",
        "Too many requests, please wait before trying again.",
    ),
    500: (
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
"""What AWS says with each status, if a test does not say otherwise."""

_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of an event stream: prelude, headers, payload, and the two CRC32s."""
    packed = b""
    for name, value in headers.items():
        packed += struct.pack("!B", len(name)) + name.encode()
        packed += b"\x07" + struct.pack("!H", len(value.encode())) + value.encode()
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    head = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return head + struct.pack("!I", zlib.crc32(head))


def event(kind: str, **fields: Any) -> bytes:
    """One event."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, dumps(fields).encode())


def exception(kind: str, said: str, **fields: Any) -> bytes:
    """An error inside the stream, such as ``throttlingException``."""
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return message(headers, dumps({"message": said, **fields}).encode())


def error_body(failure: Failure) -> tuple[str, bytes]:
    """The error's code, for ``x-amzn-errortype``, and its JSON body."""
    kind, said = ERRORS.get(failure.status, ERRORS[500])
    return failure.type or kind, dumps({"message": failure.message or said}).encode()


def stop_reason(reply: Reply) -> str:
    """The reply's stop reason in the API's words."""
    if reply.stop is not None:
        return STOPS.get(reply.stop, reply.stop)
    if reply.of(Refusal):
        return "guardrail_intervened"
    return "tool_use" if reply.of(ToolCall) else "end_turn"


def usage(reply: Reply) -> dict[str, Any]:
    """The counts of `metadata`; `inputTokens` excludes what the cache served."""
    spent = reply.usage
    return {
        "inputTokens": spent.input - spent.cache_read - spent.cache_write,
        "outputTokens": spent.output,
        "totalTokens": spent.input + spent.output,
        "cacheReadInputTokens": spent.cache_read,
        "cacheWriteInputTokens": spent.cache_write,
        "serverToolUsage": {},
    }


def _blocks(
    reply: Reply,
) -> list[tuple[dict[str, Any] | None, list[dict[str, Any]], dict[str, Any]]]:
    """Each content block: its start, if it has one, its deltas, and as it is when complete."""
    blocks: list[tuple[dict[str, Any] | None, list[dict[str, Any]], dict[str, Any]]] = []
    for part in reply.parts:
        if isinstance(part, Text | Refusal):
            deltas = [{"text": d} for d in reply.deltas(part)]
            blocks.append((None, deltas, {"text": part.text}))
        elif isinstance(part, Thinking):
            deltas = [{"reasoningContent": {"text": d}} for d in reply.deltas(part)]
            deltas.append({"reasoningContent": {"signature": part.seal}})
            said = {"text": part.text, "signature": part.seal}
            blocks.append((None, deltas, {"reasoningContent": {"reasoningText": said}}))
        elif isinstance(part, RedactedThinking):
            sealed = {"reasoningContent": {"redactedContent": part.data}}
            blocks.append((None, [sealed], sealed))
        elif isinstance(part, ToolCall):
            use = {"toolUseId": reply.call_id(part, "tooluse_"), "name": part.name}
            spread = [] if part.json == "{}" and not part.deltas else reply.deltas(part)
            deltas = [{"toolUse": {"input": d}} for d in ["", *spread]]
            whole = {"toolUse": use | {"input": part.arguments}}
            blocks.append(({"toolUse": use}, deltas, whole))
        elif isinstance(part, ServerTool):
            use = {
                "toolUseId": f"tooluse_{token((reply.token, len(blocks)))}",
                "name": part.name,
                "type": "server_tool_use",
            }
            deltas = [{"toolUse": {"input": dumps(part.input)}}]
            blocks.append(({"toolUse": use}, deltas, {"toolUse": use | {"input": part.input}}))
            found = [{"json": part.result or {"title": "Status"}}]
            result = {"toolUseId": use["toolUseId"], "type": f"{part.name}_result"}
            blocks.append(
                (
                    {"toolResult": result},
                    [{"toolResult": found}],
                    {"toolResult": result | {"content": found}},
                )
            )
    return blocks


def bedrock_message(reply: Reply) -> dict[str, Any]:
    """The whole response, as Converse gives it."""
    return {
        "output": {
            "message": {"role": "assistant", "content": [whole for _, _, whole in _blocks(reply)]}
        },
        "stopReason": stop_reason(reply),
        "usage": usage(reply),
        "metrics": {"latencyMs": 551},
    }


def bedrock_frames(reply: Reply, request: Mapping[str, Any] | None = None) -> list[bytes]:
    """The reply as the stream's messages, one item each."""
    noise = random.Random(reply.token)

    def padding() -> str:
        return _PADDING[: noise.randrange(len(_PADDING))]

    frames = [event("messageStart", p=padding(), role="assistant")]
    for index, (start, deltas, _) in enumerate(_blocks(reply)):
        if start is not None:
            frames.append(
                event("contentBlockStart", contentBlockIndex=index, p=padding(), start=start)
            )
        frames += [
            event("contentBlockDelta", contentBlockIndex=index, delta=delta, p=padding())
            for delta in deltas
        ]
        frames.append(event("contentBlockStop", contentBlockIndex=index, p=padding()))
    frames.append(event("messageStop", p=padding(), stopReason=stop_reason(reply)))
    frames.append(event("metadata", metrics={"latencyMs": 551}, p=padding(), usage=usage(reply)))
    if reply.error is not None:
        frames = frames[: reply.error.after]
        frames.append(exception(reply.error.type, reply.error.message))
    return frames


def bedrock_events(reply: Reply, request: Mapping[str, Any] | None = None) -> bytes:
    """The reply as the response body's bytes."""
    return b"".join(bedrock_frames(reply, request))
