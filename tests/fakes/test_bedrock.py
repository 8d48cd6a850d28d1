"""boto3, used as documented, must make of the fake's bytes what was put in."""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError

from tests.fakes import (
    Failure,
    FakeBedrock,
    RedactedThinking,
    Reply,
    StreamError,
    Thinking,
    ToolCall,
    Usage,
    bedrock_events,
    odd,
)

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HELLO: Any = [{"role": "user", "content": [{"text": "hello"}]}]
SPEC = {"name": "read_log", "inputSchema": {"json": {"type": "object"}}}
TOOLS = {"tools": [{"toolSpec": SPEC}]}
CALL = {"toolUse": {"toolUseId": "t1", "name": "read_log", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "ok"}]}}


def client(fake: FakeBedrock) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=fake.base_url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


async def say(fake: FakeBedrock, messages: Any = HELLO, **more: Any) -> list[dict[str, Any]]:
    def ask() -> list[dict[str, Any]]:
        call = client(fake).converse_stream
        answer = call(**({"modelId": CLAUDE, "messages": messages} | more))
        return list(answer["stream"])

    return await asyncio.to_thread(ask)


def assembled(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if start := event.get("contentBlockStart"):
            blocks[start["contentBlockIndex"]] = dict(start["start"]["toolUse"])
        if found := event.get("contentBlockDelta"):
            block = blocks.setdefault(found["contentBlockIndex"], {})
            delta = found["delta"]
            delta = delta.get("toolUse") or delta.get("reasoningContent") or delta
            for key, value in delta.items():
                block[key] = block[key] + value if key in block else value
    return blocks


async def test_a_stream_is_assembled_by_boto3() -> None:
    calls = (ToolCall("read_log", {"lines": 20, "pattern": "é🚑"}), ToolCall("restart"))
    spent = Usage(input=2100, output=80, cache_read=1920, cache_write=100)
    reply = Reply(Thinking("Let me look…"), RedactedThinking(), odd.TEXT, *calls, usage=spent)
    async with FakeBedrock() as fake:
        fake.reply(reply)
        events = await say(fake, toolConfig=TOOLS)
    blocks = assembled(events)
    assert blocks[0] == {"text": "Let me look…", "signature": reply.parts[0].seal}
    assert list(blocks[1]) == ["redactedContent"]
    assert blocks[2] == {"text": odd.TEXT}
    assert blocks[3]["input"] == '{"lines": 20, "pattern": "é🚑"}'
    assert (blocks[4]["name"], blocks[4]["input"]) == ("restart", "")
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"
    usage = events[-1]["metadata"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (80, 80)
    assert (usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"]) == (1920, 100)
    assert fake.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")


async def test_a_whole_response_is_read_by_boto3() -> None:
    async with FakeBedrock() as fake:
        fake.reply(Reply("hello", ToolCall("read_log", {"lines": 1})))
        ask = client(fake).converse
        answer = await asyncio.to_thread(ask, modelId=CLAUDE, messages=HELLO, toolConfig=TOOLS)
    content = answer["output"]["message"]["content"]
    assert content[0] == {"text": "hello"}
    assert content[1]["toolUse"]["input"] == {"lines": 1}
    assert answer["stopReason"] == "tool_use"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
    ],
)
async def test_an_error_is_one_of_boto3s(status: int, code: str) -> None:
    async with FakeBedrock() as fake:
        fake.reply(Failure(status))
        with pytest.raises(ClientError) as caught:
            await say(fake)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["RequestId"]


async def test_an_error_inside_the_stream_is_one_of_boto3s() -> None:
    error = StreamError("throttlingException", "Too many tokens", after=3)
    async with FakeBedrock() as fake:
        fake.reply(Reply("hello", error=error))
        with pytest.raises(EventStreamError, match="Too many tokens"):
            await say(fake)


def test_the_framing_is_what_botocore_reads() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(bedrock_events(Reply("hello")))
    kinds = [message.headers[":event-type"] for message in buffer]
    assert kinds == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]


BLANK = {"role": "user", "content": [{"text": " "}]}
ASKED = {"role": "assistant", "content": [CALL]}
ANSWERED = {"role": "user", "content": [RESULT]}
FORGED = {"reasoningContent": {"reasoningText": {"text": "x", "signature": "y"}}}


@pytest.mark.parametrize(
    ("messages", "more", "said"),
    [
        ([*HELLO, *HELLO], {}, "must alternate between user and assistant roles"),
        ([BLANK], {}, "messages.0.content.0 is blank"),
        ([*HELLO, {"role": "assistant", "content": [{"text": "x"}]}], {}, "must end with a user"),
        ([ASKED, *HELLO], {"toolConfig": TOOLS}, "must start with a user message"),
        ([*HELLO, ASKED, ANSWERED], {}, "The toolConfig field must be defined"),
        (
            [*HELLO, ASKED, *HELLO],
            {"toolConfig": TOOLS},
            "Expected toolResult blocks at messages.2",
        ),
        ([ANSWERED], {"toolConfig": TOOLS}, "exceeds the number of toolUse blocks"),
        (
            [*HELLO, {"role": "assistant", "content": [FORGED, {"text": "x"}]}, *HELLO],
            {},
            "Invalid `signature`",
        ),
        (HELLO, {"system": [{"text": " "}]}, "is blank"),
        (HELLO, {"inferenceConfig": {"temperature": 0.1, "topP": 0.5}}, "cannot both be"),
        (
            HELLO,
            {"inferenceConfig": {"temperature": 0.1}, "modelId": "anthropic.claude-opus-4-8"},
            "deprecated for this model",
        ),
        (
            HELLO,
            {"toolConfig": TOOLS, "modelId": "us.meta.llama4-scout-17b-instruct-v1:0"},
            "doesn't support tool use in streaming mode",
        ),
        (
            HELLO,
            {
                "toolConfig": {"tools": [{"toolSpec": SPEC}, {"cachePoint": {"type": "default"}}]},
                "modelId": "amazon.nova-pro-v1:0",
            },
            "extraneous key",
        ),
        (HELLO, {"modelId": "nonsense"}, "The provided model identifier is invalid."),
    ],
)
async def test_what_converse_refuses_is_refused(messages: Any, more: Any, said: str) -> None:
    async with FakeBedrock(tolerate=True) as fake:
        with pytest.raises(ClientError) as caught:
            await say(fake, messages, **more)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert said in caught.value.response["Error"]["Message"]
