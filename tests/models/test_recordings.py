"""What the providers stream that our fakes have no word for: it is understood, and goes back.

The events follow the providers' documentation and their SDKs' types; what is to be sent back is
judged by the official SDKs, which read the same bytes.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from aof_nb.errors import ContentRefused, ModelError, Overloaded, RateLimited, ServerError
from aof_nb.events import ModelResponse, TextDelta, ThinkingDelta
from aof_nb.messages import Message, Opaque, StopReason, Text, Thinking, ToolCall
from aof_nb.models import anthropic as messages_api
from aof_nb.models import openai_responses as responses_api
from aof_nb.models.anthropic_decoding import MessagesDecoder
from aof_nb.models.assembly import Decoder
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.bedrock_encoding import blocks_of
from aof_nb.models.bedrock_families import family_of
from aof_nb.models.compatible import endpoint_named
from aof_nb.models.openai_chat import encode_message
from aof_nb.models.openai_chat_decoding import ChatDecoder
from aof_nb.models.openai_responses_decoding import ResponsesDecoder
from tests.fakes import FakeAnthropic, FakeOpenAI
from tests.fakes.bedrock import event as frame_of
from tests.fakes.providers import Raw
from tests.fakes.sdks import HELLO, claude, gpt, respond

Event = dict[str, Any]


def read(decoder: Decoder, events: list[Event]) -> tuple[ModelResponse, str, str]:
    """The response, and the text and the thinking that were shown of it."""
    shown: list[Any] = []
    for event in events:
        decoder.feed(json.dumps(event).encode())
        shown += decoder.events()
    assert decoder.complete
    text = "".join(each.text for each in shown if isinstance(each, TextDelta))
    thinking = "".join(each.text for each in shown if isinstance(each, ThinkingDelta))
    return decoder.response(), text, thinking


def body(events: list[Event]) -> bytes:
    frames = (
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in events
    )
    return "".join(frames).encode()


# Anthropic


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


# OpenAI, Responses


def item(place: int, **fields: Any) -> list[Event]:
    begun = fields | {"status": "in_progress"} if "status" in fields else fields
    return [
        {"type": "response.output_item.added", "output_index": place, "item": begun},
        {"type": "response.output_item.done", "output_index": place, "item": fields},
    ]


ANNOTATION = {
    "type": "url_citation",
    "start_index": 0,
    "end_index": 9,
    "url": "https://example.org",
    "title": "Example",
}


def said(place: int, text: str, **fields: Any) -> list[Event]:
    piece = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    piece |= fields.pop("piece", {})
    added, done = item(
        place,
        id=f"msg_{place}",
        type="message",
        status="completed",
        role="assistant",
        content=[piece],
        **fields,
    )
    where = {"output_index": place, "item_id": f"msg_{place}", "content_index": 0}
    return [
        added | {"item": added["item"] | {"content": []}},
        {"type": "response.content_part.added", **where, "part": piece | {"text": ""}},
        {"type": "response.output_text.delta", **where, "delta": text, "logprobs": []},
        {
            "type": "response.output_text.annotation.added",
            **where,
            "annotation_index": 0,
            "annotation": ANNOTATION,
        },
        {"type": "response.output_text.done", **where, "text": text},
        {"type": "response.content_part.done", **where, "part": piece},
        done,
    ]


def gpt_stream(*items: list[Event], kind: str = "completed", **fields: Any) -> list[Event]:
    events = [event for each in items for event in each]
    output = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    usage = {
        "input_tokens": 328,
        "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 64},
        "output_tokens": 356,
        "output_tokens_details": {"reasoning_tokens": 256},
        "total_tokens": 684,
    }
    shape = {"id": "resp_1", "object": "response", "model": "gpt-5", "output": []}
    response = shape | {"status": "in_progress", "usage": None, "error": None}
    whole = shape | {"status": kind, "output": output, "usage": usage} | fields
    head = [
        {"type": "response.created", "response": response},
        {"type": "response.queued", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "keepalive"},
    ]
    tail = [{"type": f"response.{kind}", "response": whole}]
    numbered = enumerate([*head, *events, *tail])
    return [event | {"sequence_number": number} for number, event in numbered]


REASONED = [
    *item(0, id="rs_1", type="reasoning", summary=[], encrypted_content="gAAAA")[:1],
    *(
        {"output_index": 0, "item_id": "rs_1", "summary_index": number} | event
        for number, text in enumerate(["**First**", "**Second**"])
        for event in (
            {
                "type": "response.reasoning_summary_part.added",
                "part": {"type": "summary_text", "text": ""},
            },
            {"type": "response.reasoning_summary_text.delta", "delta": text},
            {"type": "response.reasoning_summary_text.done", "text": text},
        )
    ),
    *item(
        0,
        id="rs_1",
        type="reasoning",
        summary=[
            {"type": "summary_text", "text": "**First**"},
            {"type": "summary_text", "text": "**Second**"},
        ],
        encrypted_content="gAAAAABo",
    )[1:],
]
SEARCHED = item(
    1,
    id="ws_1",
    type="web_search_call",
    status="completed",
    action={"type": "search", "query": "weather", "sources": [{"type": "url", "url": "x"}]},
)
FILES = item(
    1,
    id="fs_1",
    type="file_search_call",
    status="completed",
    queries=["deep research"],
    results=None,
)
LISTED = item(
    0,
    id="mcpl_1",
    type="mcp_list_tools",
    server_label="deepwiki",
    tools=[{"name": "ask", "input_schema": {"type": "object"}, "annotations": None}],
)
CALLED = item(
    1,
    id="mcp_1",
    type="mcp_call",
    status="completed",
    server_label="deepwiki",
    name="ask",
    arguments='{"q": 1}',
    output="yes",
    error=None,
    approval_request_id=None,
)
PYTHON = item(
    1,
    id="ci_1",
    type="code_interpreter_call",
    status="completed",
    container_id="cntr_1",
    code="1+1",
    outputs=[{"type": "logs", "logs": "2"}],
)
FUNCTION = item(
    2,
    id="fc_1",
    type="function_call",
    status="completed",
    call_id="call_1",
    name="query",
    arguments='{"sql":"select 1"}',
    namespace="db",
    caller={"type": "program", "caller_id": "prog_1"},
)
GPT = {
    "web search": (
        gpt_stream(REASONED, SEARCHED, said(2, "It is dry.", piece={"annotations": [ANNOTATION]})),
        "It is dry.",
    ),
    "files": (gpt_stream(REASONED, FILES, said(2, "Found.")), "Found."),
    "mcp": (gpt_stream(LISTED, CALLED, said(2, "Yes.")), "Yes."),
    "python": (gpt_stream(REASONED, PYTHON, said(2, "2")), "2"),
    "a namespace": (gpt_stream(REASONED, said(1, "Hm.", phase="commentary"), FUNCTION), "Hm."),
    "phases": (
        gpt_stream(said(0, "Look. ", phase="commentary"), said(1, "So.", phase="final_answer")),
        "Look. So.",
    ),
}


@pytest.mark.parametrize("name", GPT)
async def test_gpt_s_items_go_back_as_they_came(name: str) -> None:
    events, text = GPT[name]
    response, shown, thinking = read(ResponsesDecoder("openai:gpt-5"), events)
    assert shown == response.message.text == text
    if REASONED[0] | {"sequence_number": 4} in events:
        assert thinking == "**First**\n\n**Second**"
        assert [p.text for p in response.message.parts if isinstance(p, Thinking)] == [thinking]
    async with FakeOpenAI(check=False) as fake:
        fake.reply(Raw(body(events)))
        theirs = (await respond(gpt(fake)))[-1].response
    expected = []
    for each in theirs.model_dump(mode="json", exclude_unset=True)["output"]:
        if each["type"] == "message":
            # Ids and states of what OpenAI does not keep are left out.
            each.pop("id")
            each.pop("status")
            for piece in each["content"]:
                piece.pop("logprobs")
                if not piece["annotations"]:
                    piece.pop("annotations")
        elif each["type"] == "function_call":
            each.pop("id")
            each.pop("status")
            each["arguments"] = json.loads(each["arguments"])
        expected.append(each)
    sent = json.loads(b"[" + responses_api.encode_message(response.message) + b"]")
    for each in sent:
        if each["type"] == "function_call":
            each["arguments"] = json.loads(each["arguments"])
    assert sent == expected
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (328, 356, 256)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (128, 64)


def test_gpt_s_refusal_and_incomplete_answers() -> None:
    refusal = {"type": "refusal", "refusal": "I can't."}
    done = item(0, id="m", type="message", status="completed", role="assistant", content=[refusal])
    delta = {"type": "response.refusal.delta", "output_index": 0, "delta": "I can't."}
    response, shown, _ = read(ResponsesDecoder("openai:x"), gpt_stream([delta, *done]))
    assert (shown, response.stop_reason) == ("I can't.", StopReason.REFUSAL)
    for reason, expected in [
        ("max_output_tokens", StopReason.MAX_TOKENS),
        ("content_filter", StopReason.REFUSAL),
        ("steered", StopReason.OTHER),
    ]:
        events = gpt_stream(
            said(0, "Half"), kind="incomplete", incomplete_details={"reason": reason}
        )
        response, _, _ = read(ResponsesDecoder("openai:x"), events)
        assert (response.message.text, response.stop_reason) == ("Half", expected)


@pytest.mark.parametrize(
    ("code", "message", "kind", "wait"),
    [
        ("bio_policy", "Blocked.", ContentRefused, None),
        ("cyber_policy", "This request was flagged.", ContentRefused, None),
        ("invalid_prompt", "Your prompt was flagged.", ContentRefused, None),
        ("rate_limit_exceeded", "Please try again in 11.054s.", RateLimited, 11.054),
        ("slow_down", "Slow down.", Overloaded, None),
        ("vector_store_timeout", "Timed out.", ServerError, None),
    ],
)
def test_gpt_s_failures_in_a_stream(
    code: str, message: str, kind: type[ModelError], wait: float | None
) -> None:
    error = {"code": code, "message": message, "param": None, "type": None}
    failed = {"type": "response.failed", "response": {"status": "failed", "error": error}}
    with pytest.raises(ModelError) as caught:
        ResponsesDecoder("openai:x").feed(json.dumps(failed).encode())
    assert type(caught.value) is kind
    assert caught.value.retry_after == wait


# Chat Completions


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


# Bedrock


def converse(*frames: bytes, model: str = "amazon.nova-premier-v1:0") -> ModelResponse:
    decoder = ConverseDecoder(f"bedrock:{model}")
    for frame in frames:
        decoder.feed(frame)
    assert decoder.complete
    shown = "".join(each.text for each in decoder.events() if isinstance(each, TextDelta))
    response = decoder.response()
    assert shown == response.message.text
    return response


def delta(place: int, **fields: Any) -> bytes:
    return frame_of("contentBlockDelta", contentBlockIndex=place, delta=fields)


def started(place: int, **fields: Any) -> bytes:
    return frame_of("contentBlockStart", contentBlockIndex=place, start=fields)


def stopped(place: int) -> bytes:
    return frame_of("contentBlockStop", contentBlockIndex=place)


LOCATION = {"web": {"url": "https://example.org", "domain": "example.org"}}
GROUNDED = (
    frame_of("messageStart", role="assistant"),
    started(0, toolUse={"toolUseId": "t0", "name": "nova_grounding", "type": "server_tool_use"}),
    delta(0, toolUse={"input": '{"query":"x"}'}),
    stopped(0),
    started(1, toolResult={"toolUseId": "t0", "type": "nova_grounding_result"}),
    delta(1, toolResult=[{"json": {"ok": True}}]),
    stopped(1),
    delta(2, text="It is "),
    delta(2, text="dry."),
    delta(2, citation={"location": LOCATION}),
    stopped(2),
    frame_of("messageStop", stopReason="end_turn"),
    frame_of(
        "metadata",
        usage={
            "inputTokens": 3,
            "outputTokens": 2,
            "totalTokens": 12,
            "cacheReadInputTokens": 5,
            "cacheWriteInputTokens": 2,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 2}],
            "serverToolUsage": {},
        },
        metrics={"latencyMs": 8},
        trace={"guardrail": {}},
        serviceTier={"type": "default"},
    ),
)
GROUNDED_BLOCKS = [
    {
        "toolUse": {
            "toolUseId": "t0",
            "name": "nova_grounding",
            "type": "server_tool_use",
            "input": {"query": "x"},
        }
    },
    {
        "toolResult": {
            "toolUseId": "t0",
            "type": "nova_grounding_result",
            "content": [{"json": {"ok": True}}],
        }
    },
    {
        "citationsContent": {
            "content": [{"text": "It is dry."}],
            "citations": [{"location": LOCATION}],
        }
    },
]


def test_bedrock_s_own_tools_and_citations_go_back_to_the_same_maker() -> None:
    response = converse(*GROUNDED)
    assert response.message.text == "It is dry."
    assert not response.message.tool_calls
    usage = response.usage
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (10, 5, 2)
    nova = family_of("us.amazon.nova-premier-v1:0")
    assert blocks_of(response.message, nova) == GROUNDED_BLOCKS
    for other in ("anthropic.claude-sonnet-4-6", "meta.llama3-3-70b-instruct-v1:0"):
        assert blocks_of(response.message, family_of(other)) == [{"text": "It is dry."}]


def test_bedrock_s_whole_answer_with_citations_is_what_its_stream_is() -> None:
    whole = {
        "output": {"message": {"role": "assistant", "content": GROUNDED_BLOCKS}},
        "stopReason": "end_turn",
        "usage": {
            "inputTokens": 3,
            "outputTokens": 2,
            "cacheReadInputTokens": 5,
            "cacheWriteInputTokens": 2,
        },
    }
    decoder = ConverseDecoder("bedrock:amazon.nova-premier-v1:0")
    decoder.feed_whole(json.dumps(whole).encode())
    assert decoder.response() == converse(*GROUNDED)


def test_a_guardrail_is_a_refusal_and_reasoning_goes_back_sealed() -> None:
    response = converse(
        frame_of("messageStart", role="assistant"),
        delta(0, reasoningContent={"text": "Hm, "}),
        delta(0, reasoningContent={"text": "no."}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        stopped(0),
        delta(1, reasoningContent={"redactedContent": "c2VhbGVk"}),
        stopped(1),
        delta(2, text="Sorry, I cannot answer that."),
        stopped(2),
        frame_of("messageStop", stopReason="guardrail_intervened"),
        frame_of("metadata", usage={"inputTokens": 1, "outputTokens": 1}, metrics={}, trace={}),
        model="us.anthropic.claude-sonnet-4-6",
    )
    assert response.stop_reason is StopReason.REFUSAL
    assert blocks_of(response.message, family_of("anthropic.claude-sonnet-4-6")) == [
        {"reasoningContent": {"reasoningText": {"text": "Hm, no.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
        {"text": "Sorry, I cannot answer that."},
    ]


@pytest.mark.parametrize("stop", ["malformed_tool_use", "malformed_model_output"])
def test_bedrock_s_answers_that_came_to_nothing_are_errors_that_may_pass(stop: str) -> None:
    with pytest.raises(ServerError, match=stop) as caught:
        converse(
            frame_of("messageStart", role="assistant"), frame_of("messageStop", stopReason=stop)
        )
    assert caught.value.retryable


def test_parts_survive_being_stored() -> None:
    message = Message(
        "assistant",
        (Text("a", {"openai": {"phase": "commentary"}}), ToolCall("c", "f", {}), Text("b")),
    )
    stored = msgspec.json.encode(message)
    assert msgspec.json.decode(stored, type=Message) == message
    assert msgspec.json.encode(Text("b")) == b'{"type":"text","text":"b"}'
