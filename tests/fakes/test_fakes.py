"""The official SDKs, used as documented, must make of the fakes' bytes what was put in."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.fakes import (
    AZURE,
    DEEPSEEK,
    MISTRAL,
    OPENROUTER,
    VLLM,
    Failure,
    FakeAnthropic,
    FakeOpenAI,
    RedactedThinking,
    Refusal,
    Reply,
    ServerTool,
    StreamError,
    Thinking,
    ToolCall,
    Usage,
    Wire,
    anthropic_frames,
    odd,
    openai_chat_frames,
    openai_responses_frames,
)
from tests.fakes.context_window import ContextWindow
from tests.fakes.sdks import HELLO, Chat, chat, claude, gpt, respond, say

CALLS = (ToolCall("read_log", {"lines": 20, "pattern": "é🚑"}), ToolCall("restart", {"now": True}))
SPENT = Usage(input=2100, output=80, cache_read=1920, cache_write=100, reasoning=30)
TOOL = {"name": "read_log", "description": "", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "read_log", "parameters": {"type": "object"}}}


async def test_anthropic_message_is_assembled_by_the_sdk() -> None:
    reply = Reply(Thinking("Let me look…"), RedactedThinking(), odd.TEXT, *CALLS, usage=SPENT)
    async with FakeAnthropic() as fake:
        fake.reply(reply)
        message = await say(claude(fake))
    thinking, redacted, text, first, second = message.content
    assert (thinking.type, thinking.thinking) == ("thinking", "Let me look…")
    assert thinking.signature == reply.parts[0].seal
    assert redacted.type == "redacted_thinking"
    assert redacted.data == reply.parts[1].data
    assert (text.type, text.text) == ("text", odd.TEXT)
    assert [(c.type, c.name, c.input) for c in (first, second)] == [
        ("tool_use", call.name, call.arguments) for call in CALLS
    ]
    assert first.id != second.id
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (80, 1920)
    assert (usage.cache_creation_input_tokens, usage.output_tokens) == (100, 80)


@pytest.mark.parametrize("stop", ["max_tokens", "pause_turn", "model_context_window_exceeded"])
async def test_anthropic_stop_reasons(stop: str) -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply("half", stop=stop))
        assert (await say(claude(fake))).stop_reason == stop


async def test_anthropic_refusal_says_why() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply(Refusal("Not that.")))
        message = await say(claude(fake))
    assert message.stop_reason == "refusal"
    assert message.content == []
    assert message.stop_details is not None
    assert message.stop_details.explanation == "Not that."


async def test_anthropic_server_tool_and_pause() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply(ServerTool(), "found"), Reply(ServerTool(), stop="pause_turn"), "done")
        message = await say(claude(fake))
        use, result, _ = message.content
        assert use.type == "server_tool_use"
        assert use.input == {"query": "status"}
        assert result.type == "web_search_tool_result"
        assert result.tool_use_id == use.id
        paused = await say(claude(fake))
        turn = {
            "role": "assistant",
            "content": [b.model_dump(exclude_none=True) for b in paused.content],
        }
        assert (await say(claude(fake), [*HELLO, turn])).stop_reason == "end_turn"


async def test_anthropic_tool_loop_is_accepted_back_verbatim() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply(Thinking("Hm"), *CALLS), "done")
        message = await say(claude(fake), tools=[TOOL])
        blocks = [block.model_dump(exclude_none=True) for block in message.content]
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        history = [
            *HELLO,
            {"role": "assistant", "content": blocks},
            {"role": "user", "content": results},
        ]
        await say(claude(fake), history, tools=[TOOL])
        assert fake.requests[1].json["messages"][1]["content"][0]["signature"]


async def test_chat_is_assembled_from_the_sdks_chunks() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply(odd.TEXT, *CALLS, usage=SPENT))
        result = await chat(gpt(fake), tools=[FUNCTION])
    assert result.text == odd.TEXT
    assert [(name, arguments) for _, name, arguments in result.calls.values()] == [
        (call.name, call.json) for call in CALLS
    ]
    assert result.finish == "tool_calls"
    assert result.usage.prompt_tokens == 2100
    assert result.usage.prompt_tokens_details.cached_tokens == 1920
    assert result.usage.completion_tokens_details.reasoning_tokens == 30


@pytest.mark.parametrize("dialect", [AZURE, DEEPSEEK, VLLM, OPENROUTER, MISTRAL])
async def test_dialects_mean_the_same(dialect: Any) -> None:
    async with FakeOpenAI(dialect=dialect) as fake:
        fake.reply(Reply(Thinking("Hm"), "Look: ", *CALLS, interleave=True))
        result = await chat(gpt(fake))
    assert result.text == "Look: "
    assert result.thinking == ("Hm" if dialect.reasoning else "")
    assert [call[1:] for _, call in sorted(result.calls.items())] == [
        [c.name, c.json] for c in CALLS
    ]


async def test_usage_chunk_only_when_asked_for() -> None:
    async with FakeOpenAI() as fake:
        fake.reply("hello")
        stream = await gpt(fake).chat.completions.create(model="gpt-5", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_responses_are_assembled_by_the_sdk() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply(Thinking("Let me look"), odd.TEXT, *CALLS, usage=SPENT))
        events = await respond(gpt(fake))
        thought = Thinking("Let me look")
    final = events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == odd.TEXT
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert final.output[0].encrypted_content
    assert final.output[0].summary[0].text == thought.text
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == odd.TEXT
    arguments = [e.arguments for e in events if e.type == "response.function_call_arguments.done"]
    assert arguments == [call.json for call in CALLS]
    assert final.usage.input_tokens_details.cached_tokens == 1920
    assert final.usage.output_tokens_details.reasoning_tokens == 30


async def test_responses_stream_helper_accumulates_the_same() -> None:
    async with FakeOpenAI(stateless=False) as fake:
        fake.reply(Reply(odd.TEXT, CALLS[0]))
        async with gpt(fake).responses.stream(model="gpt-5", input="hello") as stream:
            final = await stream.get_final_response()
    assert final.output_text == odd.TEXT
    assert final.output[1].arguments == CALLS[0].json


async def test_responses_tool_loop_is_accepted_back_verbatim() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply(Thinking("Hm"), *CALLS), "done")
        final = (await respond(gpt(fake)))[-1].response
        items = [item.model_dump(exclude_none=True) for item in final.output]
        outputs = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
            for item in items
            if item["type"] == "function_call"
        ]
        await respond(gpt(fake), [*HELLO, *items, *outputs])


@pytest.mark.parametrize(
    ("stop", "kind", "reason"),
    [
        ("length", "response.incomplete", "max_output_tokens"),
        ("filter", "response.incomplete", "content_filter"),
    ],
)
async def test_responses_incomplete(stop: str, kind: str, reason: str) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply("half", stop=stop))
        last = (await respond(gpt(fake)))[-1]
    assert last.type == kind
    assert last.response.incomplete_details.reason == reason


async def test_responses_refusal() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply(Refusal("Not that.")))
        events = await respond(gpt(fake))
    assert "".join(e.delta for e in events if e.type == "response.refusal.delta") == "Not that."
    assert events[-1].response.output[0].content[0].refusal == "Not that."


async def test_without_stream_the_same_content_comes_as_one_document() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply("hello", CALLS[0]))
        message = await claude(fake).messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=HELLO
        )
        assert [block.type for block in message.content] == ["text", "tool_use"]
    async with FakeOpenAI(stateless=False) as fake:
        fake.reply(Reply("hello", CALLS[0]), Reply("hello", CALLS[0]))
        completion = await gpt(fake).chat.completions.create(model="gpt-5", messages=HELLO)
        assert completion.choices[0].message.content == "hello"
        assert completion.choices[0].message.tool_calls[0].function.arguments == CALLS[0].json
        response = await gpt(fake).responses.create(model="gpt-5", input="hello")
        assert response.output_text == "hello"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (413, anthropic.APIStatusError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.APIStatusError),
    ],
)
async def test_anthropic_errors(status: int, error: type[anthropic.APIStatusError]) -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Failure(status, retry_after=7))
        with pytest.raises(error) as caught:
            await say(claude(fake))
    body: Any = caught.value.body
    assert caught.value.status_code == status
    assert body["type"] == "error"
    assert body["request_id"] == caught.value.request_id
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, "server_is_overloaded"),
    ],
)
async def test_openai_errors(status: int, error: type[openai.APIStatusError], code: str) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Failure(status))
        with pytest.raises(error) as caught:
            await chat(gpt(fake))
    assert caught.value.code == code
    assert caught.value.request_id
    assert caught.value.request_id.startswith("req_")


async def test_a_request_that_is_too_long_is_refused_and_the_rest_is_counted() -> None:
    long: Any = [{"role": "user", "content": "why? " * 400}]
    async with FakeAnthropic() as fake:
        fake.context_window = ContextWindow(400)
        fake.reply("hello")
        with pytest.raises(anthropic.BadRequestError, match=r"too long: 5\d\d tokens > 400 max"):
            await say(claude(fake), long)
        assert 5 < (await say(claude(fake))).usage.input_tokens < 50
    async with FakeOpenAI() as fake:
        fake.context_window = ContextWindow(400)
        fake.reply("hello")
        for refused in (chat(gpt(fake), long), respond(gpt(fake), long)):
            with pytest.raises(openai.BadRequestError) as caught:
                await refused
            assert caught.value.code == "context_length_exceeded"
        assert 5 < (await chat(gpt(fake))).usage.prompt_tokens < 50


async def test_error_events_inside_a_stream() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply("hello there", error=StreamError()))
        with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
            await say(claude(fake))
    async with FakeOpenAI() as fake:
        error = StreamError("server_error", "The server had an error", after=2)
        flat = StreamError("server_error", "It failed", "server_error", form="flat")
        failed = StreamError("server_error", "It failed", "server_error", form="failed")
        fake.reply(*(Reply("hello there", error=e) for e in (error, error, flat, failed)))
        with pytest.raises(openai.APIError, match="The server had an error"):
            await chat(gpt(fake))
        with pytest.raises(openai.APIError, match="The server had an error"):
            await respond(gpt(fake))
        events = await respond(gpt(fake))
        assert [event.type for event in events[-2:]] == ["error", "response.failed"]
        assert (events[-2].code, events[-2].message) == ("server_error", "It failed")
        events = await respond(gpt(fake))
        assert events[-1].response.error.message == "It failed"


async def test_authentication_is_checked() -> None:
    async with FakeAnthropic(api_key="right") as fake:
        fake.reply("hello")
        with pytest.raises(anthropic.AuthenticationError, match="Invalid bearer token"):
            await say(claude(fake))
        assert not fake.rejected
        await say(anthropic.AsyncAnthropic(base_url=fake.base_url, api_key="right"))
    async with FakeOpenAI(api_key="right") as fake:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            await chat(gpt(fake))
        with pytest.raises(openai.NotFoundError):
            await openai.AsyncOpenAI(base_url=fake.base_url + "/v2", api_key="right").models.list()


async def test_split_at_random_bytes_means_the_same() -> None:
    chance = random.Random(7)
    async with FakeAnthropic() as anthropic_fake, FakeOpenAI() as openai_fake:
        for _ in range(5):
            reply = Reply(Thinking("é"), odd.TEXT, *CALLS, wire=Wire(split=chance))
            anthropic_fake.reply(reply)
            openai_fake.reply(reply)
            message = await say(claude(anthropic_fake))
            assert [b.text for b in message.content if b.type == "text"] == [odd.TEXT]
            assert (await chat(gpt(openai_fake))).text == odd.TEXT


async def test_cut_stream_is_a_transport_error() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(
            Reply(odd.TEXT, wire=Wire(cut_at=900)), Reply("x", wire=Wire(cut_at=0, reset=True))
        )
        async with httpx2.AsyncClient(headers={"authorization": "Bearer x"}) as client:
            body = {"model": "m", "messages": HELLO, "stream": True}
            url = fake.base_url + "/chat/completions"
            for expected in (900, 0):
                got = b""
                with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
                    async with client.stream("POST", url, json=body) as response:
                        async for data in response.aiter_raw():
                            got += data
                assert len(got) == expected
                assert fake.requests[-1].body_sent == expected


async def test_stall_is_seen_to_end_when_the_client_leaves() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Reply(odd.TEXT, wire=Wire(stall_at=500)), "hello")
        client = gpt(fake)
        task = asyncio.create_task(chat(client))
        while not (fake.requests and fake.requests[0].body_sent == 500):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait_for(fake.requests[0].hung_up.wait(), 10)
        assert not fake.requests[0].finished.is_set()
        assert (await chat(client)).text == "hello"


async def test_connections_are_kept_and_a_hundred_run_at_once() -> None:
    async with FakeOpenAI() as fake:
        fake.respond = lambda request: Reply(request.json["messages"][0]["content"])
        client = gpt(fake)
        for _ in range(3):
            await chat(client)
        assert fake.accepted == 1
        asked = [[{"role": "user", "content": f"number {n}"}] for n in range(100)]
        limits = httpx2.Limits(max_connections=100)
        async with httpx2.AsyncClient(limits=limits, headers={"authorization": "Bearer x"}) as http:

            async def ask(messages: Any) -> str:
                body = {"model": "m", "messages": messages, "stream": True}
                answer = await http.post(fake.base_url + "/chat/completions", json=body, timeout=60)
                chunks = [
                    line[6:] for line in answer.text.splitlines() if line.startswith("data: {")
                ]
                result = Chat()
                for chunk in chunks:
                    result.add(ChatCompletionChunk.model_validate_json(chunk))
                return result.text

            texts = await asyncio.gather(*map(ask, asked))
        assert texts == [f"number {n}" for n in range(100)]
        assert len(fake.requests) == 103


def documents(frames: list[bytes]) -> list[Any]:
    """The JSON documents of a stream's frames."""
    lines = [line for f in frames for line in f.decode().split("\n") if line.startswith("data: {")]
    return [json.loads(line[6:]) for line in lines]


def test_events_validate_against_the_sdks_types() -> None:
    """Not leniently, as the SDKs construct them, but as pydantic checks them."""
    rich = Reply(Thinking("Hm"), "text", *CALLS, usage=SPENT)
    claude_event: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for document in documents(anthropic_frames(Reply(*rich.parts, ServerTool(), pings=False))):
        claude_event.validate_python(document)
    for document in documents(openai_chat_frames(rich)):
        ChatCompletionChunk.model_validate(document)
    response_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for document in documents(openai_responses_frames(rich)):
        response_event.validate_python(document)


def readable(cases: list[odd.Odd]) -> Any:
    """The cases the SDKs can be asked about.

    They take an event of only `retry:` for one with data, which the specification says it is not.
    """
    read = [case for case in cases if case.whole and not case.name.endswith("ids_and_retry")]
    return pytest.mark.parametrize("case", read, ids=lambda case: case.name)


@readable(odd.CHAT)
async def test_odd_chat_streams_as_the_sdk_reads_them(case: odd.Odd) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(case.body)
        result = await chat(gpt(fake))
    assert result.text == case.text
    assert result.thinking == case.thinking
    assert result.refusal == case.refusal
    assert result.finish == case.stop
    assert [tuple(call[1:]) for _, call in sorted(result.calls.items())] == list(case.calls)


@readable(odd.MESSAGES)
async def test_odd_messages_as_the_sdk_reads_them(case: odd.Odd) -> None:
    async with FakeAnthropic() as fake:
        fake.reply(case.body)
        stream = await claude(fake).messages.create(
            model="claude-sonnet-5", max_tokens=64, messages=HELLO, stream=True
        )
        text, stop = "", None
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                text += event.delta.text
            elif event.type == "message_delta":
                stop = event.delta.stop_reason
    assert (text, stop) == (case.text, case.stop)


@readable(odd.RESPONSES)
async def test_odd_responses_as_the_sdk_reads_them(case: odd.Odd) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(case.body)
        final = (await respond(gpt(fake)))[-1].response
    assert final.output_text == case.text
    calls = [(item.name, item.arguments) for item in final.output if item.type == "function_call"]
    assert calls == list(case.calls)
    reason = final.incomplete_details.reason if final.incomplete_details else final.status
    assert reason == case.stop
