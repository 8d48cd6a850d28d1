"""What Claude streams that our fake has no word for is understood, and goes back.

The events follow the documentation and the SDK's types; what is to be sent back is judged by the
official SDK, which reads the same bytes.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from aof_nb.messages import Message, Opaque, StopReason, Text, ToolCall
from aof_nb.models import anthropic as messages_api
from aof_nb.models import openai_responses as responses_api
from aof_nb.models.anthropic_decoding import MessagesDecoder
from aof_nb.models.bedrock_encoding import blocks_of
from aof_nb.models.bedrock_families import family_of
from aof_nb.models.openai_chat import encode_message
from tests.fakes import FakeAnthropic
from tests.fakes.providers import Raw
from tests.fakes.sdks import HELLO, claude
from tests.models.recordings import Event, body, read


def block(index: int, start: Event, *deltas: Event) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": each} for each in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def claude_stream(*blocks: list[Event], stop: str = "end_turn", **more: Any) -> list[Event]:
    message = {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 2679,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 3,
            "service_tier": "standard",
            "inference_geo": "global",
        },
    }
    delta = {"stop_reason": stop, "stop_sequence": None, "stop_details": None} | more
    usage = {
        "input_tokens": 10682,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 50,
        "output_tokens": 510,
        "output_tokens_details": {"thinking_tokens": 77},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
    }
    return [
        {"type": "message_start", "message": message},
        {"type": "ping"},
        *(event for events in blocks for event in events),
        {"type": "message_delta", "delta": delta, "usage": usage, "context_management": None},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 1}},
    ]


CITATION = {
    "type": "web_search_result_location",
    "cited_text": "Claude Shannon was born on April 30, 1916.",
    "url": "https://example.org/shannon",
    "title": "Claude Shannon",
    "encrypted_index": "Eo8BCioIAhgBIiQyYjQ0OWJm",
}
FOUND = {
    "type": "web_search_result",
    "title": "Claude Shannon",
    "url": "https://example.org/shannon",
    "encrypted_content": "EqgfCioIARgBIiQ3YTAwMjY1Mi1mZjM5",
    "page_age": "April 30, 2025",
}
SEARCH = block(
    1,
    {
        "type": "server_tool_use",
        "id": "srvtoolu_01",
        "name": "web_search",
        "input": {},
        "caller": {"type": "direct"},
    },
    {"type": "input_json_delta", "partial_json": ""},
    {"type": "input_json_delta", "partial_json": '{"query": "claude sh'},
    {"type": "input_json_delta", "partial_json": 'annon"}'},
)
RESULT = block(
    2, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": [FOUND]}
)
CITED = block(
    3,
    {"type": "text", "text": "", "citations": []},
    {"type": "citations_delta", "citation": CITATION},
    {"type": "text_delta", "text": "He was born "},
    {"type": "text_delta", "text": "in 1916."},
)
CODE = [
    *block(
        0,
        {"type": "server_tool_use", "id": "srvtoolu_02", "name": "bash_code_execution"},
        {"type": "input_json_delta", "partial_json": '{"command": "ls"}'},
    ),
    *block(
        1,
        {
            "type": "bash_code_execution_tool_result",
            "tool_use_id": "srvtoolu_02",
            "content": {
                "type": "bash_code_execution_result",
                "stdout": "a\n",
                "stderr": "",
                "return_code": 0,
                "content": [{"type": "bash_code_execution_output", "file_id": "file_01"}],
            },
        },
    ),
    *block(
        2,
        {
            "type": "tool_use",
            "id": "toolu_01",
            "name": "query",
            "input": {},
            "caller": {"type": "code_execution_20250825", "tool_id": "srvtoolu_02"},
        },
        {"type": "input_json_delta", "partial_json": '{"sql": "select 1"}'},
    ),
]
MCP = [
    *block(
        0,
        {
            "type": "mcp_tool_use",
            "id": "mcptoolu_01",
            "name": "echo",
            "server_name": "example-mcp",
            "input": {},
        },
        {"type": "input_json_delta", "partial_json": '{"param": [1, {"a": "b"}]}'},
    ),
    *block(
        1,
        {
            "type": "mcp_tool_result",
            "tool_use_id": "mcptoolu_01",
            "is_error": False,
            "content": [{"type": "text", "text": "Hello"}],
        },
    ),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "It says hello."}),
]
THOUGHT = [
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "see."},
        {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Fine."}),
]
OPENING = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "I'll search."})
CLAUDE = {
    "web search": (
        claude_stream(OPENING, SEARCH, RESULT, CITED),
        "I'll search.He was born in 1916.",
    ),
    "code": (claude_stream(CODE, stop="tool_use", container={"id": "container_01"}), ""),
    "mcp": (claude_stream(MCP), "It says hello."),
    "thinking": (claude_stream(THOUGHT), "Fine."),
    "paused": (claude_stream(OPENING, SEARCH, stop="pause_turn"), "I'll search."),
}


@pytest.mark.parametrize("name", CLAUDE)
async def test_claude_s_blocks_go_back_as_its_sdk_would_send_them(name: str) -> None:
    events, text = CLAUDE[name]
    response, shown, _ = read(MessagesDecoder("anthropic:c"), events)
    assert shown == response.message.text == text
    async with FakeAnthropic(check=False) as fake:
        fake.reply(Raw(body(events)))
        ask = claude(fake).beta.messages.stream(model="c", max_tokens=9, messages=HELLO)
        async with ask as stream:
            theirs = await stream.get_final_message()
    expected = [
        {
            key: value
            for key, value in each.items()
            # What is so by default is left out of calls.
            if (each["type"], key, value) != ("tool_use", "caller", {"type": "direct"})
        }
        for each in theirs.model_dump(mode="json", exclude_unset=True)["content"]
    ]
    for each in expected:
        # The SDK's own, not the API's.
        each.pop("parsed_output", None)
        if each["type"] == "text" and not each.get("citations"):
            each.pop("citations", None)
    sent = json.loads(b"[" + messages_api.encode_message(response.message) + b"]")
    assert sent == expected
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens) == (10832, 510)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (50, 100)
    assert usage.reasoning_tokens == 77


def test_claude_s_compaction_is_carried_and_the_turn_goes_on() -> None:
    compaction = block(
        0,
        {"type": "compaction", "content": None, "signature": "sig"},
        {"type": "compaction_delta", "content": "Summary so far.", "encrypted_content": "Enc="},
    )
    response, shown, _ = read(
        MessagesDecoder("anthropic:c"), claude_stream(compaction, stop="compaction")
    )
    assert (shown, response.stop_reason) == ("", StopReason.PAUSE)
    assert json.loads(messages_api.encode_message(response.message)) == {
        "type": "compaction",
        "content": "Summary so far.",
        "signature": "sig",
        "encrypted_content": "Enc=",
    }


def test_blocks_and_deltas_of_tomorrow_are_put_together_and_carried() -> None:
    unknown = block(
        0,
        {"type": "connector_text", "text": "", "marks": []},
        {"type": "text_delta", "text": "not "},
        {"type": "text_delta", "text": "an answer"},
        {"type": "marks_delta", "marks": [1]},
        {"type": "marks_delta", "marks": [2], "level": 3, "none": None},
    )
    after = block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "An answer."})
    response, shown, _ = read(MessagesDecoder("anthropic:c"), claude_stream(unknown, after))
    assert shown == response.message.text == "An answer."
    [carried] = [part.block for part in response.message.parts if isinstance(part, Opaque)]
    assert carried == {
        "type": "connector_text",
        "text": "not an answer",
        "marks": [1, 2],
        "level": 3,
    }


@pytest.mark.parametrize("stop", ["max_tokens", "refusal", "model_context_window_exceeded"])
def test_a_server_side_call_that_was_cut_off_is_not_sent_back(stop: str) -> None:
    response, _, _ = read(MessagesDecoder("anthropic:c"), claude_stream(OPENING, SEARCH, stop=stop))
    [only] = response.message.parts
    assert only == Text("I'll search.")


def test_a_server_side_call_that_broke_off_is_kept_and_not_sent_back() -> None:
    decoder = MessagesDecoder("anthropic:c")
    for event in claude_stream(OPENING, SEARCH, RESULT)[:-2]:
        decoder.feed(json.dumps(event).encode())
    for event in block(5, SEARCH[0]["content_block"] | {"id": "srvtoolu_09"}):
        decoder.feed(json.dumps(event).encode())
    partial, _ = decoder.partial()
    assert partial is not None
    ids = [part.block.get("id") for part in partial.parts if isinstance(part, Opaque)]
    assert "srvtoolu_09" in ids
    sent = json.loads(b"[" + messages_api.encode_message(partial) + b"]")
    assert [each.get("id") or each.get("tool_use_id") or each["type"] for each in sent] == [
        "text",
        "srvtoolu_01",
        "srvtoolu_01",
    ]


def test_what_is_claude_s_own_goes_to_no_other_provider() -> None:
    response, _, _ = read(MessagesDecoder("anthropic:c"), CLAUDE["web search"][0])
    others = (
        encode_message(response.message),
        responses_api.encode_message(response.message),
        msgspec.json.encode(blocks_of(response.message, family_of("amazon.nova-pro-v1:0"))),
    )
    for sent in others:
        assert b"born in 1916." in sent
        assert b"srvtoolu" not in sent
        assert b"cited_text" not in sent


def test_parts_survive_being_stored() -> None:
    message = Message(
        "assistant",
        (Text("a", {"openai": {"phase": "commentary"}}), ToolCall("c", "f", {}), Text("b")),
    )
    stored = msgspec.json.encode(message)
    assert msgspec.json.decode(stored, type=Message) == message
    assert msgspec.json.encode(Text("b")) == b'{"type":"text","text":"b"}'
