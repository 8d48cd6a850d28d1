"""The providers' batch APIs: what is handed over, what comes back."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from aof_nb import resolve_model
from aof_nb.errors import BadRequest, ConfigurationError, ModelError, Overloaded, ServerError
from aof_nb.events import ModelResponse
from aof_nb.messages import Message, StopReason
from aof_nb.models.batching import batch_api
from aof_nb.ports import Effect, Model, ModelRequest, ToolSpec
from tests.fakes import Failure, FakeAnthropic, FakeOpenAI, Reply, Request, ServerTool, Thinking
from tests.fakes import ToolCall as Call
from tests.fakes import Usage as Spent

MODELS: dict[str, tuple[type[FakeAnthropic | FakeOpenAI], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-sonnet-5"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4o"),
}
every_provider = pytest.mark.parametrize("provider", MODELS)
LOOK = ToolSpec(
    name="look", description="Looks.", input_schema={"type": "object"}, effect=Effect.READ
)


def served(provider: str, fake: FakeAnthropic | FakeOpenAI) -> Model:
    return resolve_model(MODELS[provider][1], base_url=fake.base_url, api_key="k")


def asked(text: str) -> ModelRequest:
    return ModelRequest(messages=(Message.user(text),), system="Be brief.", tools=(LOOK,))


def echo(request: Request) -> Reply | Failure:
    text = json.dumps(request.json)
    if "overloaded" in text:
        return Failure(529 if "max_tokens" in request.json else 503)
    if "wrong" in text:
        return Failure(400, "that is wrong")
    if "look" in text and "use the tool" in text:
        return Reply(
            "I look.", Call("look", {"at": "a"}), Call("look", {"at": "b"}), usage=Spent(50, 9)
        )
    return Reply(f"echo of {text.count('user')}", usage=Spent(30, 7))


async def fetched(model: Model, texts: list[str]) -> dict[str, ModelResponse | ModelError]:
    api = batch_api(model)
    lines = [api.encode(f"r-{n}", asked(text)) for n, text in enumerate(texts)]
    batch_id = await api.submit("aof-test", lines)
    assert not (await api.progress(batch_id)).ended
    assert (await api.progress(batch_id)).ended
    assert await api.candidates("aof-test", len(texts), 0.0) == [batch_id]
    return {name: result async for name, result in api.results(batch_id)}


@every_provider
async def test_each_request_is_answered_as_if_it_had_been_streamed(provider: str) -> None:
    async with MODELS[provider][0]() as fake:
        fake.respond = echo
        found = await fetched(served(provider, fake), ["hello", "use the tool", "again"])
        model = served(provider, fake)
        streamed = [event async for event in model.stream(asked("use the tool"))][-1]
    assert isinstance(streamed, ModelResponse)
    called = found["r-1"]
    assert isinstance(called, ModelResponse)
    assert called.stop_reason is StopReason.TOOL_USE
    assert called.usage == streamed.usage
    assert called.model == streamed.model
    assert [call.arguments for call in called.message.tool_calls] == [{"at": "a"}, {"at": "b"}]
    assert called.message.text == "I look."
    plain = found["r-0"]
    assert isinstance(plain, ModelResponse)
    assert (plain.stop_reason, plain.usage.output_tokens) == (StopReason.END_TURN, 7)


@every_provider
async def test_failures_are_each_their_own(provider: str) -> None:
    async with MODELS[provider][0](tolerate=True) as fake:
        fake.respond = echo
        fake.batches.expiring = 1
        found = await fetched(
            served(provider, fake), ["hello", "wrong", "overloaded", "comes too late"]
        )
    assert isinstance(found["r-0"], ModelResponse)
    wrong, busy, late = found["r-1"], found["r-2"], found["r-3"]
    assert isinstance(wrong, BadRequest)
    assert "that is wrong" in wrong.message
    assert isinstance(busy, Overloaded)
    assert isinstance(late, ServerError)
    assert "expired" in late.message


async def test_thinking_and_server_tools_come_whole() -> None:
    async with FakeAnthropic() as fake:
        thought = Thinking("hm")
        search = ServerTool("web_search", {"query": "status"})
        fake.reply(Reply(thought, search, "Done."), Reply(thought, search, "Done."))
        found = (await fetched(served("anthropic", fake), ["hello"]))["r-0"]
        model = served("anthropic", fake)
        streamed = [event async for event in model.stream(asked("hello"))][-1]
    assert isinstance(found, ModelResponse)
    assert isinstance(streamed, ModelResponse)
    assert [type(part) for part in found.message.parts] == [
        type(part) for part in streamed.message.parts
    ]
    assert found.message.parts[0] == streamed.message.parts[0]


async def test_a_batch_that_openai_refuses_says_why() -> None:
    async with FakeOpenAI() as fake:
        api = batch_api(served("openai", fake))
        line = api.encode("same", asked("hello"))
        batch_id = await api.submit("k", [line, line])
        failure = (await api.progress(batch_id)).failure
        progress = await api.progress(batch_id)
    assert progress.ended
    assert failure is not None
    assert "custom_id was used before" in failure.message


@pytest.mark.parametrize("name", ["script:triage.yaml", "groq:llama-3.3-70b-versatile"])
def test_who_has_no_batches_is_told_who_has(name: str) -> None:
    class Plain:
        pass

    model: Any = Plain()
    model.name = name
    with pytest.raises(ConfigurationError, match=r"no batch API") as caught:
        batch_api(model if name.startswith("script:") else resolve_model(name, api_key="k"))
    assert "anthropic:" in caught.value.remedy


async def test_the_fakes_are_what_the_official_clients_expect() -> None:
    async with FakeAnthropic() as fake:
        fake.reply("hi")
        client = anthropic.AsyncAnthropic(base_url=fake.base_url, api_key="k")
        ours: Any = [{"role": "user", "content": "hello"}]
        params: Any = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": ours}
        made = await client.messages.batches.create(requests=[{"custom_id": "a", "params": params}])
        assert made.request_counts.processing == 1
        while made.processing_status != "ended":
            made = await client.messages.batches.retrieve(made.id)
        assert [each.id async for each in client.messages.batches.list()] == [made.id]
        [line] = [each async for each in await client.messages.batches.results(made.id)]
        assert line.custom_id == "a"
        assert line.result.type == "succeeded"
        await client.close()
    async with FakeOpenAI(stateless=False) as fake:
        fake.reply("hi")
        theirs = openai.AsyncOpenAI(base_url=fake.base_url, api_key="k")
        body = {"model": "gpt-5", "input": [{"role": "user", "content": "hello"}]}
        asks = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
        file = await theirs.files.create(
            file=("a.jsonl", json.dumps(asks).encode()), purpose="batch"
        )
        batch = await theirs.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )
        while batch.status != "completed":
            batch = await theirs.batches.retrieve(batch.id)
        assert batch.output_file_id is not None
        content = await theirs.files.content(batch.output_file_id)
        assert json.loads(content.text)["response"]["status_code"] == 200
        await theirs.close()
