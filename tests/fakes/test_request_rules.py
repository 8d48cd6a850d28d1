"""A request the real API would refuse is refused, in the real API's words."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.fakes import FakeAnthropic, FakeOpenAI, Reply, Thinking, ToolCall
from tests.fakes.sdks import chat, claude, gpt, respond, say

TOOL = {"name": "read_log", "description": "", "input_schema": {"type": "object"}}


async def test_leaving_the_block_tells_of_refused_requests() -> None:
    with pytest.raises(AssertionError, match="non-empty content"):
        async with FakeAnthropic() as fake:
            with pytest.raises(anthropic.BadRequestError):
                await say(claude(fake), [{"role": "user", "content": []}])


USER = {"role": "user", "content": "hello"}
CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}


@pytest.mark.parametrize(
    ("messages", "more", "message"),
    [
        ([USER, {"role": "assistant", "content": [CALL]}], {}, "`tool_use` ids were found without"),
        (
            [
                USER,
                {"role": "assistant", "content": [CALL]},
                {"role": "user", "content": [{"type": "text", "text": "x"}, RESULT]},
            ],
            {},
            "`tool_use` ids were found without",
        ),
        ([{"role": "user", "content": [RESULT]}], {}, "unexpected `tool_use_id`"),
        ([USER, {"role": "assistant", "content": "x"}], {}, "must end with a user message"),
        ([{"role": "assistant", "content": "x"}, USER], {}, "first message"),
        ([{"role": "user", "content": [{"type": "text", "text": ""}]}], {}, "must be non-empty"),
        ([{"role": "system", "content": "x"}], {}, "Input should be 'user' or 'assistant'"),
        (
            [
                USER,
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "x", "signature": "y"}],
                },
                USER,
            ],
            {},
            "Invalid `signature`",
        ),
        ([USER], {"tools": [{**TOOL, "name": "a.b"}]}, "String should match pattern"),
        ([USER], {"tools": [TOOL, TOOL]}, "Tool names must be unique"),
        (
            [USER],
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            '"thinking.type.enabled" is not supported',
        ),
        (
            [USER],
            {"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}},
            "adaptive thinking is not supported",
        ),
        ([USER], {"extra_body": {"foo": 1}}, "Extra inputs are not permitted"),
        ([USER], {"extra_body": {"temperature": 0}}, "Extra inputs are not permitted"),
        (
            [USER, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}],
            {
                "model": "claude-haiku-4-5",
                "thinking": {"type": "enabled", "budget_tokens": 2048},
            },
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`",
        ),
    ],
)
async def test_anthropic_refuses_what_the_api_refuses(
    messages: Any, more: Any, message: str
) -> None:
    async with FakeAnthropic(tolerate=True) as fake:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await say(claude(fake), messages, **more)
    assert message in str(caught.value)
    assert message in fake.rejected[0]


@pytest.mark.parametrize("harm", ["dropped", "altered"])
async def test_anthropic_refuses_changed_thinking(harm: str) -> None:
    async with FakeAnthropic(tolerate=True) as fake:
        fake.reply(Reply(Thinking("Hm", signature="sig"), ToolCall("f", id="t1")))
        message = await say(claude(fake))
        blocks: Any = [block.model_dump(exclude_none=True) for block in message.content]
        if harm == "dropped":
            del blocks[0]
        else:
            blocks[0]["thinking"] = "Hmm"
        turn = {"role": "assistant", "content": blocks}
        with pytest.raises(anthropic.BadRequestError, match="thinking"):
            await say(claude(fake), [USER, turn, {"role": "user", "content": [RESULT]}])


ASKED = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "ok"}


@pytest.mark.parametrize(
    ("messages", "more", "message"),
    [
        ([USER, ASKED], {}, "did not have response messages: c1"),
        ([USER, ASKED, USER], {}, "did not have response messages: c1"),
        ([USER, TOLD], {}, "must be a response to a preceeding message"),
        ([USER, ASKED, TOLD, TOLD], {}, "must be a response to a preceeding message"),
        ([USER, {"role": "assistant", "content": None}, USER], {}, "expected a string, got null"),
        ([USER, {"role": "assistant", "content": "x", "tool_calls": []}, USER], {}, "empty array"),
        ([USER], {"tools": []}, "empty array"),
        (
            [USER],
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "does not match pattern",
        ),
        (
            [USER],
            {"tools": [{"type": "function", "function": {"name": "a" * 65}}]},
            "maximum length 64",
        ),
        ([USER], {"max_tokens": 5}, "max_completion_tokens"),
        ([USER], {"extra_body": {"foo": 1}}, "Unrecognized request argument"),
    ],
)
async def test_chat_refuses_what_the_api_refuses(messages: Any, more: Any, message: str) -> None:
    async with FakeOpenAI(tolerate=True) as fake:
        with pytest.raises(openai.BadRequestError) as caught:
            await chat(gpt(fake), messages, **more)
    assert message in str(caught.value)
    assert len(fake.rejected) == 1


async def test_chat_refuses_arguments_that_are_not_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {}}}
    async with FakeOpenAI(tolerate=True) as fake:
        with pytest.raises(openai.BadRequestError, match="expected a string"):
            await chat(gpt(fake), [USER, {"role": "assistant", "tool_calls": [call]}, TOLD])


CALLED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([USER, CALLED], "No tool output found for function call c1"),
        ([USER, OUTPUT], "No tool call found for function call output"),
        ([USER, CALLED, OUTPUT, OUTPUT], "Duplicate tool output"),
        ([USER, CALLED, THOUGHT, OUTPUT], "without its required following item"),
        ([USER, THOUGHT], "without its required following item"),
        ([USER, {**CALLED, "arguments": {}}, OUTPUT], "expected a string"),
    ],
)
async def test_responses_refuses_what_the_api_refuses(asked: Any, message: str) -> None:
    async with FakeOpenAI(tolerate=True) as fake:
        with pytest.raises(openai.BadRequestError) as caught:
            await respond(gpt(fake), asked)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("harm", "message"),
    [("dropped", "required 'reasoning' item"), ("altered", "could not be verified")],
)
async def test_responses_refuses_changed_reasoning(harm: str, message: str) -> None:
    async with FakeOpenAI(tolerate=True) as fake:
        fake.reply(Reply(Thinking("Hm"), ToolCall("f", id="c1")))
        final = (await respond(gpt(fake)))[-1].response
        thought, call = (item.model_dump(exclude_none=True) for item in final.output)
        kept = [] if harm == "dropped" else [{**thought, "encrypted_content": "other"}]
        with pytest.raises(openai.BadRequestError, match=message):
            await respond(gpt(fake), [USER, *kept, call, OUTPUT])


async def test_house_rule_of_stateless_responses() -> None:
    async with FakeOpenAI(tolerate=True) as fake:
        with pytest.raises(openai.BadRequestError, match="house rule"):
            await gpt(fake).responses.create(model="gpt-5", input="hello")


OPEN = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
CLOSED = OPEN | {"additionalProperties": False}
NESTED = {"type": "object", "properties": {"a": OPEN}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "strict", "message"),
    [
        (OPEN, True, "In context=(), 'additionalProperties' is required to be supplied"),
        (CLOSED, True, "In context=(), 'required' is required to be supplied"),
        (NESTED | {"additionalProperties": False}, True, "In context=('properties', 'a')"),
        (CLOSED | {"required": ["a"], "default": {}}, True, "'default' is not permitted"),
        ({"type": "array"}, False, "schema must be a JSON Schema of 'type: \"object\"'"),
    ],
)
async def test_openai_refuses_schemas(schema: Any, strict: bool, message: str) -> None:
    wanted = {"name": "x", "schema": schema, "strict": strict}
    async with FakeOpenAI(tolerate=True) as fake:
        response_format = {"type": "json_schema", "json_schema": wanted}
        with pytest.raises(openai.BadRequestError) as caught:
            await chat(gpt(fake), [USER], response_format=response_format)
        assert message in caught.value.message
        text = {"format": {"type": "json_schema", **wanted}}
        with pytest.raises(openai.BadRequestError) as caught:
            await respond(gpt(fake), [USER], text=text)
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (OPEN, "'additionalProperties' must be explicitly set to false"),
        (OPEN | {"additionalProperties": True}, "'additionalProperties: true' is not supported"),
        (CLOSED, "For 'integer' type, properties minimum are not supported"),
    ],
)
async def test_anthropic_refuses_schemas(schema: Any, message: str) -> None:
    config = {"format": {"type": "json_schema", "schema": schema}}
    async with FakeAnthropic(tolerate=True) as fake:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await say(claude(fake), output_config=config)
    assert message in str(caught.value)
