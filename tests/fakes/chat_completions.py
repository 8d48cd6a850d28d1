"""OpenAI's Chat Completions stream, as bytes, and the dialects of compatible servers.

Chunk order and fields follow the API reference and `ChatCompletionChunk` of the official SDK; the
nulls, the obfuscation and the empty first and last deltas follow recorded streams of OpenAI, Azure,
DeepSeek and OpenRouter.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
)
from tests.fakes.sse import dumps, frame

STOPS = {"length": "length", "filter": "content_filter", "context": "length"}
ERRORS = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        (
            "Incorrect API key provided: x. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        ),
    ),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `gpt-unknown` does not exist or you do not have access to it.",
    ),
    413: (
        "invalid_request_error",
        None,
        "Request body is too large.",
    ),
    429: (
        "requests",
        "rate_limit_exceeded",
        (
            "Rate limit reached for gpt-5 in organization org-x on requests per min: Limit 3, "
            "Used 3, Requested 1. Please try again in 20s."
        ),
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: (
        "service_unavailable_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server's chunks differ from OpenAI's own.

    Args:
        reasoning: the delta's field for reasoning text, or None to keep it to itself.
        azure: prompt filter results come first in a chunk without choices.
        usage_with_finish: usage comes in the finishing chunk, as DeepSeek and vLLM send it.
        filler: what the unused `content` of a reasoning or tool delta holds: absent, None or "".
        whole_calls: each tool call arrives complete in one delta, as Mistral and Ollama send it.
        done: the stream ends with `[DONE]`.
        same_index: every call has the index 0, as Gemini sends it.
        signed: calls carry `extra_content` with a signature (Gemini), the first of a turn only.
        hidden_reasoning: reasoning tokens are counted in the total alone (Gemini, xAI).
        comments: comment lines keep the connection open (OpenRouter, DeepSeek).
        typed_content: reasoning comes as typed pieces of `content` (Mistral).
        short_ids: calls have ids of nine letters and digits (Mistral).
        thoughts: reasoning is shown if it is asked for, as marked content between tags (Gemini).
        details: reasoning comes a second time, as structured details (OpenRouter).
    """

    reasoning: str | None = None
    azure: bool = False
    usage_with_finish: bool = False
    filler: Mapping[str, Any] | None = None
    whole_calls: bool = False
    done: bool = True
    same_index: bool = False
    signed: bool = False
    hidden_reasoning: bool = False
    comments: bytes = b""
    typed_content: bool = False
    short_ids: bool = False
    details: bool = False
    thoughts: bool = False


OPENAI = Dialect()
AZURE = Dialect(azure=True)
DEEPSEEK = Dialect(reasoning="reasoning_content", usage_with_finish=True, filler={"content": None})
VLLM = Dialect(reasoning="reasoning_content", filler={})
OPENROUTER = Dialect(
    reasoning="reasoning", filler={"role": "assistant", "content": ""}, details=True
)
MISTRAL = Dialect(
    reasoning="content",
    whole_calls=True,
    usage_with_finish=True,
    filler={"content": ""},
    typed_content=True,
    short_ids=True,
)
GOOGLE = Dialect(
    whole_calls=True,
    usage_with_finish=True,
    filler={"role": "assistant"},
    same_index=True,
    signed=True,
    hidden_reasoning=True,
    thoughts=True,
)
OLLAMA = Dialect(
    reasoning="reasoning", whole_calls=True, filler={"role": "assistant", "content": ""}
)

_SAFE = {"filtered": False, "severity": "safe"}
_FILTERS = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), _SAFE)


def error_fields(failure: Failure) -> dict[str, Any]:
    """The `error` object of an error response."""
    kind, code, message = ERRORS.get(failure.status, ERRORS[500])
    return {
        "message": failure.message or message,
        "type": failure.type or kind,
        "param": failure.param,
        "code": failure.code if failure.code or failure.message else code,
    }


def error_body(failure: Failure, _request_id: str = "") -> bytes:
    """The JSON body of an error response; its id is in the headers only."""
    return dumps({"error": error_fields(failure)}).encode()


def finish_reason(reply: Reply) -> str:
    """The reply's finish reason in the API's words."""
    if reply.stop is not None:
        return STOPS.get(reply.stop, reply.stop)
    return "tool_calls" if reply.of(ToolCall) else "stop"


def usage(reply: Reply, dialect: Dialect = OPENAI) -> dict[str, Any]:
    """The usage object; `prompt_tokens` includes what the cache served."""
    spent = reply.usage
    if dialect.hidden_reasoning:
        return {
            "prompt_tokens": spent.input,
            "completion_tokens": spent.output - spent.reasoning,
            "total_tokens": spent.input + spent.output,
            "prompt_tokens_details": {"cached_tokens": spent.cache_read},
        }
    return {
        "prompt_tokens": spent.input,
        "completion_tokens": spent.output,
        "total_tokens": spent.input + spent.output,
        "prompt_tokens_details": {
            "cached_tokens": spent.cache_read,
            "cache_write_tokens": spent.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": spent.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def call_id(reply: Reply, call: ToolCall, dialect: Dialect) -> str:
    """A call's id as the server makes it."""
    if dialect.short_ids:
        return reply.call_id(call, "")[-9:]
    return reply.call_id(call, "function-call-" if dialect.signed else "call_")


def _call_deltas(reply: Reply, dialect: Dialect) -> Iterator[dict[str, Any]]:
    """The `tool_calls` entries of the deltas, in the order they are sent."""
    streams = []
    for index, call in enumerate(reply.of(ToolCall)):
        place = 0 if dialect.same_index else index
        head: dict[str, Any] = {"index": place, "id": call_id(reply, call, dialect)}
        head["type"] = "function"
        if dialect.signed and index == 0:
            head["extra_content"] = {"google": {"thought_signature": seal(call.name)}}
        if dialect.whole_calls:
            streams.append([head | {"function": {"name": call.name, "arguments": call.json}}])
            continue
        entries = [head | {"function": {"name": call.name, "arguments": ""}}]
        entries += [{"index": index, "function": {"arguments": d}} for d in reply.deltas(call)]
        streams.append(entries)
    if reply.interleave:
        turns = itertools.chain.from_iterable(itertools.zip_longest(*streams))
        return (entry for entry in turns if entry is not None)
    return itertools.chain.from_iterable(streams)


def _shows_thoughts(request: Mapping[str, Any], dialect: Dialect) -> bool:
    google = (request.get("extra_body") or {}).get("google") or {}
    return dialect.thoughts and bool(google.get("thinking_config", {}).get("include_thoughts"))


def _marked(deltas: list[str]) -> Iterator[dict[str, Any]]:
    """Thoughts between tags, of which the second is not marked any more."""
    for number, delta in enumerate(deltas):
        tag = "" if number else "<thought>"
        yield {"content": tag + delta, "extra_content": {"google": {"thought": True}}}
    yield {"content": "</thought>"}


def _deltas(reply: Reply, dialect: Dialect, *, thoughts: bool) -> Iterator[dict[str, Any]]:
    filler = dict(dialect.filler or {})
    for part in reply.parts:
        if isinstance(part, RedactedThinking | ServerTool):
            raise TypeError(f"Chat Completions has no {type(part).__name__}")
        if isinstance(part, Text):
            for delta in reply.deltas(part):
                yield {"content": delta}
        elif isinstance(part, Refusal):
            for delta in reply.deltas(part):
                yield {"refusal": delta}
        elif isinstance(part, Thinking) and thoughts:
            yield from _marked(reply.deltas(part))
        elif isinstance(part, Thinking) and dialect.reasoning:
            for delta in reply.deltas(part):
                if dialect.typed_content:
                    told = [{"type": "text", "text": delta}]
                    yield {"content": [{"type": "thinking", "thinking": told}]}
                    continue
                details = (
                    {
                        "reasoning_details": [
                            {"type": "reasoning.text", "text": delta, "format": None, "index": 0}
                        ]
                    }
                    if dialect.details
                    else {}
                )
                yield {**filler, dialect.reasoning: delta, **details}
    for entry in _call_deltas(reply, dialect):
        yield {**filler, "tool_calls": [entry]}


def chat_completion(reply: Reply, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The whole completion, as a request without `stream` gets it."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(p.text for p in reply.of(Text)) or None,
        "refusal": "".join(p.text for p in reply.of(Refusal)) or None,
        "annotations": [],
    }
    if calls := reply.of(ToolCall):
        message["tool_calls"] = [
            {
                "id": reply.call_id(call, "call_"),
                "type": "function",
                "function": {"name": call.name, "arguments": call.json},
            }
            for call in calls
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(reply),
    }
    return {
        "id": f"chatcmpl-{reply.token}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": reply.model or (request or {}).get("model", "gpt-5"),
        "choices": [choice],
        "usage": usage(reply),
        "service_tier": "default",
        "system_fingerprint": "fp_de604bd877",
    }


def openai_chat_frames(
    reply: Reply, request: Mapping[str, Any] | None = None, dialect: Dialect = OPENAI
) -> list[bytes]:
    """The reply as the stream's chunks, one item each.

    `request` decides about usage and obfuscation through its `stream_options`; without a request
    usage is sent.
    """
    request = request or {"stream_options": {"include_usage": True}}
    options = request.get("stream_options") or {}
    with_usage = bool(options.get("include_usage"))
    obfuscated = options.get("include_obfuscation", True) and dialect in (OPENAI, AZURE)
    noise = random.Random(reply.token)

    def chunk(choices: list[dict[str, Any]], spent: dict[str, Any] | None = None) -> bytes:
        body: dict[str, Any] = {
            "id": f"chatcmpl-{reply.token}",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": reply.model or request.get("model", "gpt-5"),
            "service_tier": "default",
            "system_fingerprint": "fp_de604bd877",
            "choices": choices,
        }
        if with_usage or spent is not None:
            body["usage"] = spent
        if obfuscated:
            fill = max(1, 16 - len(dumps(choices)) % 16)
            body["obfuscation"] = "".join(
                noise.choices(string.ascii_letters + string.digits, k=fill)
            )
        return frame(dumps(body))

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        filters = {"content_filter_results": _FILTERS} if dialect.azure else {}
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **filters}]

    frames = [dialect.comments] if dialect.comments else []
    if dialect.azure:
        prompt = [{"prompt_index": 0, "content_filter_results": _FILTERS}]
        empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        frames.append(frame(dumps(empty | {"prompt_filter_results": prompt})))
    opening = None if reply.of(ToolCall) and not reply.of(Text) else ""
    frames.append(chunk(choice({"role": "assistant", "content": opening, "refusal": None})))
    thoughts = _shows_thoughts(request, dialect)
    frames += [chunk(choice(delta)) for delta in _deltas(reply, dialect, thoughts=thoughts)]
    finish = choice({}, finish_reason(reply))
    if dialect.usage_with_finish:
        frames.append(chunk(finish, usage(reply, dialect)))
    else:
        frames.append(chunk(finish))
        if with_usage:
            frames.append(chunk([], usage(reply)))
    if reply.error is not None:
        error = reply.error
        body = {"message": error.message, "type": error.type, "param": None, "code": error.code}
        return [*frames[: error.after], frame(dumps({"error": body}))]
    return [*frames, DONE] if dialect.done else frames


def openai_chat_chunks(
    reply: Reply, request: Mapping[str, Any] | None = None, dialect: Dialect = OPENAI
) -> bytes:
    """The reply as the response body's bytes."""
    return b"".join(openai_chat_frames(reply, request, dialect))
