"""Each request repeats the one before byte for byte, and providers are told to cache it."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from aof_nb.events import ModelResponse
from aof_nb.messages import Message, ToolCall, ToolResult, Usage
from aof_nb.models.registry import resolve_model
from aof_nb.ports import Model, ModelRequest, ToolSpec
from tests.fakes import FakeAnthropic, FakeOpenAI
from tests.fakes.prompt_cache import PromptCache

MARK = b',"cache_control":{"type":"ephemeral"}'
TOOLS = (
    ToolSpec(name="read_log", description="Reads a log.", input_schema={"type": "object"}),
    ToolSpec(name="restart", description="Restarts.", input_schema={"type": "object"}),
)
SYSTEM = "You are on call. " * 400


def turn(number: int, calls: int = 1) -> list[Message]:
    ids = [f"call_{number}_{each}" for each in range(calls)]
    asked = tuple(ToolCall(each, "read_log", {"lines": number}) for each in ids)
    results = tuple(ToolResult(each, "read_log", f"line {number} é\n" * 300) for each in ids)
    return [Message("assistant", asked), Message("tool", results)]


async def respond(model: Model, messages: list[Message]) -> Usage:
    request = ModelRequest(messages=tuple(messages), system=SYSTEM, tools=TOOLS)
    async with contextlib.aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, ModelResponse):
                return event.usage
    raise AssertionError("no response")


@pytest.mark.parametrize("calls", [1, 30])
async def test_each_turn_reads_what_the_one_before_wrote(calls: int) -> None:
    async with FakeAnthropic(prompt_cache=PromptCache()) as fake:
        fake.reply("one", "two", "three", "four")
        model = resolve_model("anthropic:claude-sonnet-5", base_url=fake.base_url, api_key="x")
        messages = [Message.user("why is checkout slow?")]
        usages = [await respond(model, messages)]
        for number in range(3):
            messages += turn(number, calls)
            usages.append(await respond(model, messages))
    assert usages[0].cache_read_tokens == 0
    for before, usage in itertools.pairwise(usages):
        assert usage.cache_read_tokens == before.cache_read_tokens + before.cache_write_tokens
        assert usage.cache_read_tokens == before.input_tokens
        assert usage.cache_write_tokens > 0


async def test_the_next_prompt_of_a_session_reads_it_too() -> None:
    async with FakeAnthropic(prompt_cache=PromptCache()) as fake:
        fake.reply("one", "two")
        model = resolve_model("anthropic:claude-sonnet-5", base_url=fake.base_url, api_key="x")
        asked = [Message.user("why?")]
        first = await respond(model, asked)
        later = [*asked, Message.assistant("The pool is full."), Message.user("since when?")]
        assert (await respond(model, later)).cache_read_tokens == first.input_tokens


async def test_without_cache_nothing_is_marked() -> None:
    async with FakeAnthropic(prompt_cache=PromptCache()) as fake:
        fake.reply("one", "two")
        model = resolve_model(
            "anthropic:claude-sonnet-5", base_url=fake.base_url, api_key="x", cache=False
        )
        for _ in range(2):
            usage = await respond(model, [Message.user("why?")])
            assert (usage.cache_read_tokens, usage.cache_write_tokens) == (0, 0)
        assert b"cache_control" not in fake.requests[0].body


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openai-chat"])
async def test_a_request_begins_with_the_one_before(provider: str) -> None:
    async with FakeAnthropic() if provider == "anthropic" else FakeOpenAI() as fake:
        fake.reply("one", "two", "three")
        model = resolve_model(f"{provider}:gpt-5", base_url=fake.base_url, api_key="x")
        messages = [Message.user("why is checkout slow?")]
        for number in range(3):
            await respond(model, messages)
            messages += turn(number, 2)
        bodies = [request.body.replace(MARK, b"") for request in fake.requests]
    for before, body in itertools.pairwise(bodies):
        assert body.startswith(before[: before.rindex(b"}]")])
