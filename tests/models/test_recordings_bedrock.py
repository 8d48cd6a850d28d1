"""What Converse streams that our fake has no word for is understood, and goes back.

The events follow botocore's model of the service.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from aof_nb.errors import ServerError
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import StopReason
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.bedrock_encoding import blocks_of
from aof_nb.models.bedrock_families import family_of
from tests.fakes.bedrock import event as frame_of


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
