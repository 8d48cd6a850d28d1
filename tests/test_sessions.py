"""A session goes on with any provider, wherever a run with another was closed."""

from __future__ import annotations

import asyncio

import pytest

from aof_nb import Agent, resolve_model, tool
from aof_nb.events import RunStatus
from aof_nb.memory.in_memory import InMemory
from aof_nb.ports import Sampling
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply, Thinking, ToolCall

Fake = FakeAnthropic | FakeOpenAI
PROVIDERS: dict[str, tuple[type[Fake], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-sonnet-5"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4o"),
}


def looking() -> Reply:
    """A reply that is not the same, with the same ids, as another one."""
    calls = [ToolCall("read_log", {"lines": lines}) for lines in (1, 2)]
    return Reply(Thinking("Two, then."), "Looking.", *calls)


def found() -> Reply:
    return Reply(Thinking("The lock."), "It is the lock.")


@tool(effect="read")
async def read_log(lines: int) -> str:
    """Reads a log."""
    await asyncio.sleep(0.002 * lines)
    return "locked"


def agent(provider: str, fake: Fake, memory: InMemory) -> Agent:
    model = resolve_model(PROVIDERS[provider][1], base_url=fake.base_url, api_key="k")
    sampling = Sampling(max_tokens=4096, thinking_tokens=2048)
    return Agent(model=model, tools=[read_log], memory=memory, sampling=sampling)


async def closed_after(asked: Agent, count: int) -> bool:
    """Closes a run after so many events; whether there were as many."""
    run = asked.stream("why?", session="s")
    try:
        async for _ in run:
            count -= 1
            if count == 0:
                return True
    finally:
        await run.aclose()
    return False


@pytest.mark.parametrize("then", PROVIDERS)
@pytest.mark.parametrize("first", PROVIDERS)
async def test_it_goes_on_wherever_it_was_closed(first: str, then: str) -> None:
    """The fakes refuse what the real APIs do: calls without results, thinking out of place..."""
    count, more = 0, True
    while more:
        count += 1 if first == then else 3
        memory = InMemory()
        async with PROVIDERS[first][0]() as one, PROVIDERS[then][0]() as other:
            one.reply(looking(), found())
            more = await closed_after(agent(first, one, memory), count)
            other.reply(looking(), found())
            result = await agent(then, other, memory).run("go on", session="s")
            assert result.status is RunStatus.COMPLETED, (count, result.error)
    assert count > 10


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_runs_at_the_same_time_leave_a_conversation_that_can_go_on(provider: str) -> None:
    memory = InMemory()
    async with PROVIDERS[provider][0]() as fake:
        asked = agent(provider, fake, memory)
        for _ in range(3):
            fake.reply(looking())
        for _ in range(4):
            fake.reply(found())
        together = await asyncio.gather(*(asked.run(f"why {n}?", session="s") for n in range(3)))
        assert {each.status for each in together} == {RunStatus.COMPLETED}
        result = await asked.run("go on", session="s")
    assert result.status is RunStatus.COMPLETED, result.error
    prompts = [each.text for each in result.messages if each.role == "user"]
    assert sorted(prompts[:3]) == ["why 0?", "why 1?", "why 2?"]
    assert prompts[3:] == ["go on"]
