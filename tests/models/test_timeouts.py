"""Providers that are too slow: each way is told from the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, RetryPolicy, Timeouts, load, resolve_model
from aof_nb.errors import ConfigurationError, ModelTimeout
from aof_nb.messages import Message
from aof_nb.models.timeouts import timeouts
from aof_nb.ports import Model, ModelRequest
from tests.fakes import FakeAnthropic, FakeBedrock, FakeOpenAI, Reply, Request, Wire

MODELS: dict[str, tuple[type[FakeAnthropic | FakeOpenAI | FakeBedrock], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:next-model"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:next-model"),
    "groq": (FakeOpenAI, "groq:next-model"),
    "bedrock": (FakeBedrock, "bedrock:amazon.next-model-v1:0"),
}
every_provider = pytest.mark.parametrize("provider", MODELS)
REQUEST = ModelRequest(messages=(Message.user("why?"),))


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


async def hangs(_: Request) -> Reply:
    await asyncio.sleep(90)
    return Reply("too late")


async def failure(model: Model) -> ModelTimeout:
    async with asyncio.timeout(60):
        with pytest.raises(ModelTimeout) as caught:
            _ = [event async for event in model.stream(REQUEST)]
    return caught.value


def served(provider: str, base_url: str, limits: Timeouts | float | None) -> Model:
    return resolve_model(MODELS[provider][1], base_url=base_url, api_key="k", timeout=limits)


@every_provider
@pytest.mark.parametrize("other", [0.1, 60.0])
async def test_an_answer_that_does_not_begin(provider: str, other: float) -> None:
    async with MODELS[provider][0]() as fake:
        fake.respond = hangs
        limits = Timeouts(first_byte=0.4, silence=other)
        error = await failure(served(provider, fake.base_url, limits))
    assert "no answer within 0.4 s" in error.message
    assert "timeouts.first_byte" in error.remedy
    assert error.partial is None


@every_provider
async def test_an_answer_that_stops_in_the_middle(provider: str) -> None:
    async with MODELS[provider][0]() as fake:
        fake.reply(Reply("x" * 4000, wire=Wire(stall_at=3000)))
        limits = Timeouts(first_byte=60.0, silence=0.4)
        error = await failure(served(provider, fake.base_url, limits))
    assert "nothing more for 0.4 s" in error.message
    assert "timeouts.silence" in error.remedy
    assert error.partial is not None


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """An address at which no connection comes about: the queue of those waiting is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(server.getsockname())
            waiting.append(each)
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for each in waiting:
                each.close()


@every_provider
async def test_a_connection_that_does_not_come_about(provider: str) -> None:
    with nobody_accepts() as address:
        limits = Timeouts(connect=0.3, first_byte=20, silence=20)
        error = await failure(served(provider, address, limits))
    assert "no connection within 0.3 s" in error.message
    assert address in error.message
    assert "timeouts.connect" in error.remedy


async def test_a_slow_but_steady_answer_is_waited_for() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply("word " * 40, wire=Wire(split=64, delay=0.02)))
        model = served("anthropic", fake.base_url, Timeouts(first_byte=60, silence=1.5))
        *_, response = [event async for event in model.stream(REQUEST)]
    assert response.message.text == "word " * 40  # type: ignore[union-attr]


async def test_who_reads_slowly_is_not_taken_for_a_silent_provider() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(Reply("word " * 400, wire=Wire(split=512)))
        model = served("anthropic", fake.base_url, Timeouts(first_byte=60, silence=0.2))
        count = 0
        async for _ in model.stream(REQUEST):
            count += 1
            await asyncio.sleep(0.3 if count == 2 else 0)
    assert count > 2


def test_the_environment_says_it_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeouts(None) == Timeouts(connect=10, first_byte=300, silence=300)
    monkeypatch.setenv("AOF_MODEL_TIMEOUT", "60")
    assert timeouts(None) == Timeouts(connect=10, first_byte=60, silence=60)
    monkeypatch.setenv("AOF_MODEL_TIMEOUT", "connect=5, silence=30")
    assert timeouts(None) == Timeouts(connect=5, silence=30)
    assert timeouts(7) == Timeouts(connect=7, first_byte=7, silence=7)


@pytest.mark.parametrize("said", ["soon", "0", "-3", "read=5", "connect=", "connect=5;silence=3"])
def test_what_the_environment_says_wrongly_is_refused(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_MODEL_TIMEOUT", said)
    with pytest.raises(ConfigurationError, match="AOF_MODEL_TIMEOUT"):
        resolve_model("openai:gpt-5", api_key="k")


async def test_an_agent_passes_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeAnthropic() as fake:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
        fake.respond = hangs
        limits, once = Timeouts(first_byte=0.3), RetryPolicy(attempts=1)
        result = await Agent(model="anthropic:next-model", timeouts=limits, retry=once).run("why?")
    assert isinstance(result.error, ModelTimeout)
    assert "no answer within 0.3 s" in result.error.message


def test_yaml_says_the_same_as_python(tmp_path: Path) -> None:
    path = tmp_path / "sre.yaml"
    path.write_text(
        "apiVersion: aof.dev/v1\nkind: Agent\nmetadata: {name: sre}\nspec:\n"
        "  model: anthropic:claude-sonnet-5\n  timeouts: {connect: 5s, silence: 1m}\n"
        "  response_cache: true\n"
    )
    agent: Any = load(path)
    assert agent.timeouts == Timeouts(connect=5, silence=60)
    assert agent.response_cache is True
