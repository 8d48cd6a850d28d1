"""Streams that are unusual and yet were seen from real servers.

Each is the whole body of a response, with the text and the tool calls a client must make of it.
`CHAT` speaks Chat Completions, `MESSAGES` the Messages API, `RESPONSES` the Responses API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fakes import sse
from tests.fakes.chat_completions import (
    AZURE,
    DEEPSEEK,
    DONE,
    MISTRAL,
    OPENROUTER,
    VLLM,
    Dialect,
    openai_chat_frames,
)
from tests.fakes.messages_api import anthropic_frames
from tests.fakes.reply import Refusal, Reply, Text, Thinking, ToolCall, Usage
from tests.fakes.responses_api import openai_responses_frames


@dataclass(frozen=True, slots=True)
class Odd:
    """One stream and what it means.

    `calls` are names with their arguments' JSON text; `stop` is the provider's own word where the
    stream has one; `whole` is False where it ends too early for the answer to be trusted.
    """

    name: str
    body: bytes
    text: str = ""
    calls: Sequence[tuple[str, str]] = ()
    thinking: str = ""
    refusal: str = ""
    stop: str | None = None
    whole: bool = True


TEXT = "Zażółć gęślą 🚑 – checkout is slow"
_CALLS = (
    ToolCall("read_log", {"lines": 20, "pattern": "é"}),
    ToolCall("restart", {"service": "web"}),
)
_CALLED = tuple((call.name, call.json) for call in _CALLS)


def _chat(*parts: object, dialect: Dialect | None = None, **options: object) -> list[bytes]:
    return openai_chat_frames(Reply(*parts, **options), None, dialect or Dialect())  # type: ignore[arg-type]


def _chunk(choices: str, tail: str = "") -> bytes:
    head = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m"'
    return sse.frame(f'{{{head},"choices":[{choices}]{tail}}}')


def _join(frames: Sequence[bytes]) -> bytes:
    return b"".join(frames)


def _restyled(name: str, frames: Sequence[bytes], stop: str) -> list[Odd]:
    """The same stream in each form the event-stream specification allows."""
    styles: dict[str, Callable[[Sequence[bytes]], list[bytes]]] = {
        "crlf": sse.crlf,
        "cr": sse.cr,
        "no_space": sse.tight,
        "comments": sse.with_comments,
        "openrouter_comments": lambda f: sse.with_comments(f, "OPENROUTER PROCESSING"),
        "multiline_data": sse.multiline,
        "byte_order_mark": lambda f: [b"\xef\xbb\xbf", *f],
        "ids_and_retry": lambda f: [
            b"retry: 3000\n\n",
            *(b"id: %d\n%b" % (i, x) for i, x in enumerate(f)),
        ],
    }
    return [
        Odd(f"{name}_{style}", _join(how(frames)), TEXT, stop=stop) for style, how in styles.items()
    ]


CHAT = [
    *_restyled("chat", _chat(TEXT), "stop"),
    Odd("azure_prompt_filter", _join(_chat(TEXT, dialect=AZURE)), TEXT, stop="stop"),
    Odd(
        "deepseek",
        _join(_chat(Thinking("Let me see"), TEXT, dialect=DEEPSEEK)),
        TEXT,
        thinking="Let me see",
        stop="stop",
    ),
    Odd(
        "deepseek_calls",
        _join(_chat(Thinking("Hm"), *_CALLS, dialect=DEEPSEEK)),
        "",
        _CALLED,
        "Hm",
        stop="tool_calls",
    ),
    Odd(
        "vllm",
        _join(_chat(Thinking("Let me see"), TEXT, dialect=VLLM)),
        TEXT,
        thinking="Let me see",
        stop="stop",
    ),
    Odd(
        "openrouter",
        _join(_chat(Thinking("Let me see"), TEXT, dialect=OPENROUTER)),
        TEXT,
        thinking="Let me see",
        stop="stop",
    ),
    Odd("whole_calls", _join(_chat(*_CALLS, dialect=MISTRAL)), "", _CALLED, stop="tool_calls"),
    Odd(
        "interleaved_calls",
        _join(_chat(*_CALLS, interleave=True, delta=3)),
        "",
        _CALLED,
        stop="tool_calls",
    ),
    Odd("text_then_calls", _join(_chat(TEXT, *_CALLS)), TEXT, _CALLED, stop="tool_calls"),
    Odd("done_missing", _join(_chat(TEXT)[:-1]), TEXT, stop="stop"),
    Odd(
        "refusal",
        _join(_chat(Refusal("I can't do that."))),
        refusal="I can't do that.",
        stop="stop",
    ),
    Odd("length", _join(_chat(TEXT, stop="length")), TEXT, stop="length"),
    Odd(
        "content_filter",
        _join(_chat("Half an ans", stop="filter")),
        "Half an ans",
        stop="content_filter",
    ),
    Odd(
        "length_in_call",
        _join(_chat(ToolCall("f", '{"a": [1, 2'), stop="length")),
        "",
        (("f", '{"a": [1, 2'),),
        stop="length",
    ),
    Odd("no_text_at_all", _join(_chat()), stop="stop"),
    Odd(
        "empty_deltas",
        _chunk('{"index":0,"delta":{},"finish_reason":null}')
        + _chunk('{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}')
        + _chunk('{"index":0,"delta":{"content":""},"finish_reason":null}')
        + _chunk('{"index":0,"delta":{"content":"ok"},"finish_reason":null}')
        + _chunk('{"index":0,"delta":{"content":null,"tool_calls":null},"finish_reason":""}')
        + _chunk('{"index":0,"delta":{"tool_calls":[]},"finish_reason":"stop"}')
        + _chunk("", ',"usage":null')
        + DONE,
        "ok",
        stop="stop",
    ),
    Odd(
        "unknown_fields",
        _chunk(
            '{"index":0,"delta":{"content":"ok","mood":{"x":1}},"seed":7,"finish_reason":null}',
            ',"x_groq":{"id":"r"}',
        )
        + _chunk(
            '{"index":0,"delta":{},"finish_reason":"stop","native_finish_reason":"STOP"}',
            ',"provider":"P"',
        )
        + b'event: metrics\ndata: {"latency":3}\n\n'
        + DONE,
        "ok",
        stop="stop",
    ),
    Odd(
        "call_id_repeated_and_arguments_null",
        _chunk(
            '{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":null}}]}}'
        )
        + _chunk(
            '{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":null,"arguments":"{}"}}]}}'
        )
        + _chunk('{"index":0,"delta":{},"finish_reason":"tool_calls"}')
        + DONE,
        "",
        (("f", "{}"),),
        stop="tool_calls",
    ),
    Odd(
        "calls_but_finish_stop",
        _join(_chat(*_CALLS, stop="stop")),
        "",
        _CALLED,
        stop="stop",
    ),
    Odd(
        "last_event_without_blank_line",
        _join(_chat(TEXT)).removesuffix(b"\n\n"),
        TEXT,
        stop="stop",
    ),
    Odd("cut_before_finish", _join(_chat(TEXT)[:-3]), TEXT, whole=False),
]
"""Chat Completions streams."""

MESSAGES = [
    *_restyled("messages", anthropic_frames(Reply(TEXT)), "end_turn"),
    Odd(
        "no_arguments",
        _join(anthropic_frames(Reply(ToolCall("ls")))),
        "",
        (("ls", "{}"),),
        stop="tool_use",
    ),
    Odd(
        "signature_without_thinking",
        _join(anthropic_frames(Reply(Thinking(""), "ok"))),
        "ok",
        stop="end_turn",
    ),
    Odd(
        "refusal_before_content",
        _join(anthropic_frames(Reply(Refusal("No.")))),
        refusal="No.",
        stop="refusal",
    ),
    Odd(
        "refusal_after_text",
        _join(anthropic_frames(Reply("First", Refusal("No.")))),
        "First",
        refusal="No.",
        stop="refusal",
    ),
    Odd("no_content", _join(anthropic_frames(Reply())), stop="end_turn"),
    Odd(
        "unknown_event_delta_and_block",
        _join(
            [
                *anthropic_frames(Reply(Text("ok", deltas=["o", "k"]), pings=False))[:3],
                sse.frame('{"type":"heartbeat","n":1}', "heartbeat"),
                sse.frame(
                    '{"type":"content_block_delta","index":0,"delta":{"type":"aroma_delta","aroma":"x"}}',
                    "content_block_delta",
                ),
                *anthropic_frames(Reply(Text("ok", deltas=["o", "k"]), pings=False))[3:5],
                sse.frame(
                    '{"type":"content_block_start","index":1,"content_block":{"type":"hologram","x":1}}',
                    "content_block_start",
                ),
                sse.frame('{"type":"content_block_stop","index":1}', "content_block_stop"),
                *anthropic_frames(Reply("ok", pings=False))[-2:],
            ]
        ),
        "ok",
        stop="end_turn",
    ),
    Odd("cut_before_message_stop", _join(anthropic_frames(Reply(TEXT))[:-2]), TEXT, whole=False),
]
"""Messages API streams."""

RESPONSES = [
    *_restyled("responses", openai_responses_frames(Reply(TEXT)), "completed"),
    Odd(
        "refusal",
        _join(openai_responses_frames(Reply(Refusal("No.")))),
        refusal="No.",
        stop="completed",
    ),
    Odd(
        "incomplete",
        _join(openai_responses_frames(Reply(TEXT, stop="length"))),
        TEXT,
        stop="max_output_tokens",
    ),
    Odd(
        "filtered",
        _join(openai_responses_frames(Reply("Half", stop="filter"))),
        "Half",
        stop="content_filter",
    ),
    Odd(
        "reasoning_without_summary",
        _join(openai_responses_frames(Reply(Thinking(""), "ok"))),
        "ok",
        stop="completed",
    ),
    Odd(
        "arguments_without_deltas",
        _join(openai_responses_frames(Reply(ToolCall("f", {"a": 1}, deltas=())))),
        "",
        (("f", '{"a": 1}'),),
        stop="completed",
    ),
    Odd(
        "cached_tokens",
        _join(openai_responses_frames(Reply("ok", usage=Usage(input=2048, cache_read=1920)))),
        "ok",
        stop="completed",
    ),
    Odd(
        "cut_before_completed", _join(openai_responses_frames(Reply(TEXT))[:-1]), TEXT, whole=False
    ),
]
"""Responses API streams."""
