"""What servers of Chat Completions stream besides what OpenAI does, as public reports show it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aof_nb.errors import ModelError, Overloaded, ServerError
from aof_nb.messages import StopReason, Text
from aof_nb.models import anthropic as messages_api
from aof_nb.models.compatible import endpoint_named
from aof_nb.models.openai_chat import encode_message
from aof_nb.models.openai_chat_decoding import ChatDecoder
from tests.models.recordings import Event, read


def chunk(delta: Event | None = None, finish: str | None = None, **more: Any) -> Event:
    choice = {"index": 0, "finish_reason": finish, "logprobs": None}
    choice |= {} if delta is None else {"delta": delta}
    choice |= more.pop("choice", {})
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]} | more


def chat(name: str = "openai-chat") -> ChatDecoder:
    return ChatDecoder(f"{name}:m", endpoint_named(name))


GEMINI_THOUGHT = {"google": {"thought": True}}
COUNTED = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def test_azure_s_chunks_without_a_delta() -> None:
    filters = {"hate": {"filtered": False, "severity": "safe"}}
    before = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    events = [
        before | {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Fine."}),
        chunk({}, "stop"),
        chunk(choice={"content_filter_results": filters, "content_filter_offsets": {"end": 5}}),
        {"id": "c1", "choices": [], "usage": COUNTED, "model": "gpt-4o-2024-08-06"},
    ]
    response, shown, _ = read(chat("azure"), events)
    assert shown == response.message.text == "Fine."
    assert response.model == "azure:gpt-4o-2024-08-06"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (10, 5)


@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage=COUNTED | {"prompt_cache_hit_tokens": 4}),
        chunk({}, "stop", usage=COUNTED | {"cached_tokens": 4}),
        chunk({}, "stop", usage=COUNTED | {"prompt_tokens_details": {"cached_tokens": 4}}),
        chunk({}, "stop", choice={"usage": COUNTED | {"cached_tokens": 4}}),
        chunk({}, "stop", x_groq={"id": "r", "usage": COUNTED | {"cached_tokens": 4}}),
    ],
    ids=["deepseek", "moonshot", "openai", "in the choice", "groq"],
)
def test_usage_wherever_it_stands(last: Event) -> None:
    response, _, _ = read(chat(), [chunk({"content": "ok"}), last])
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (10, 5, 4)


def test_calls_as_functions_are_calls() -> None:
    events = [
        chunk({"role": "assistant", "content": None, "function_call": {"name": "look"}}),
        chunk({"function_call": {"arguments": '{"n":'}}),
        chunk({"function_call": {"arguments": "1}"}}),
        chunk({}, "function_call"),
    ]
    response, _, _ = read(chat(), events)
    [call] = response.message.tool_calls
    assert (call.name, call.arguments, response.stop_reason) == (
        "look",
        {"n": 1},
        StopReason.TOOL_USE,
    )
    assert call.id


@pytest.mark.parametrize(
    "events",
    [
        [
            chunk({"content": "<thought>First, ", "extra_content": GEMINI_THOUGHT}),
            chunk({"content": "look.", "extra_content": GEMINI_THOUGHT}),
            chunk({"content": "</thought>Fine."}),
        ],
        [
            chunk({"content": "<thought>First, look.", "extra_content": GEMINI_THOUGHT}),
            chunk({"content": "</thought>", "role": "assistant"}),
            chunk({"content": "Fine."}),
        ],
        [
            chunk(
                {"content": "<thought>First, look.</thought>Fi", "extra_content": GEMINI_THOUGHT}
            ),
            chunk({"content": "ne."}),
        ],
        [
            chunk({"content": "First, look.", "extra_content": GEMINI_THOUGHT}),
            chunk({"content": "Fine."}),
        ],
    ],
    ids=["as documented", "tag alone", "in one", "without tags"],
)
def test_gemini_s_thoughts_are_thinking_and_its_signature_goes_back(events: list[Event]) -> None:
    signed = {"google": {"thought_signature": "EjQKMgEMOdbH", "thought": False}}
    last = chunk({"role": "assistant", "content": "", "extra_content": signed}, "stop")
    response, shown, thinking = read(chat("google"), [*events, last])
    assert shown == response.message.text == "Fine."
    assert thinking == "First, look."
    sent = json.loads(encode_message(response.message, endpoint_named("google")))
    assert sent == {
        "role": "assistant",
        "content": "Fine.",
        "extra_content": {"google": {"thought_signature": "EjQKMgEMOdbH"}},
    }
    assert b"EjQK" not in encode_message(response.message, endpoint_named("openai-chat"))
    assert b"EjQK" not in messages_api.encode_message(response.message)


@pytest.mark.parametrize(
    ("name", "finish", "kind"),
    [
        ("google", "function_call_filter: MALFORMED_FUNCTION_CALL", ServerError),
        ("deepseek", "insufficient_system_resource", Overloaded),
        ("mistral", "error", ServerError),
    ],
)
def test_an_answer_that_came_to_nothing_is_an_error_that_may_pass(
    name: str, finish: str, kind: type[ModelError]
) -> None:
    with pytest.raises(kind, match=finish) as caught:
        read(chat(name), [chunk({"role": "assistant"}, finish, usage=COUNTED)])
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("content_filter: PROHIBITED_CONTENT", StopReason.REFUSAL),
        ("model_length", StopReason.CONTEXT_FULL),
        ("eos", StopReason.END_TURN),
        ("of_tomorrow", StopReason.OTHER),
    ],
)
def test_others_words_for_the_end(finish: str, expected: StopReason) -> None:
    response, _, _ = read(chat(), [chunk({"content": "ok"}, finish)])
    assert response.stop_reason is expected


def test_groq_s_error_in_a_stream() -> None:
    with pytest.raises(ServerError, match="over capacity"):
        chat("groq").feed(json.dumps(chunk({}, x_groq={"error": "over capacity"})).encode())


def test_openrouter_s_details_go_back_whole() -> None:
    def told(**fields: Any) -> Event:
        kind = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
        return chunk({"content": "", "reasoning_details": [kind | fields]})

    sealed = {"type": "reasoning.encrypted", "data": "abc", "index": 1, "id": "rs_1"}
    call = {"index": 0, "id": "t1", "function": {"name": "look", "arguments": "{}"}}
    events = [
        told(text="First, ", signature=None),
        told(text="look."),
        told(signature="sig"),
        chunk({"reasoning_details": [sealed]}),
        chunk({"reasoning_details": [sealed]}),
        chunk({"tool_calls": [call]}, "tool_calls"),
    ]
    response, _, _ = read(chat("openrouter"), events)
    sent = json.loads(encode_message(response.message, endpoint_named("openrouter")))
    whole = {
        "type": "reasoning.text",
        "index": 0,
        "format": "anthropic-claude-v1",
        "text": "First, look.",
        "signature": "sig",
    }
    assert sent["reasoning_details"] == [whole, sealed, sealed]


def test_sources_are_kept_with_the_text() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "https://example.org"}}
    events = [chunk({"content": "Dry."}), chunk({"annotations": [cited]}, "stop")]
    response, _, _ = read(chat(), events)
    assert response.message.parts == (Text("Dry.", {"openai-chat": {"annotations": [cited]}}),)
    assert json.loads(encode_message(response.message)) == {"role": "assistant", "content": "Dry."}
