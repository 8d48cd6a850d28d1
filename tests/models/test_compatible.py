"""Providers that speak Chat Completions, each with what is its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent, RetryPolicy, errors, resolve_model
from aof_nb.errors import ModelError
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import Message, StopReason, Thinking, ToolCall, ToolResult
from aof_nb.models.compatible import ENDPOINTS, Endpoint, endpoint_named
from aof_nb.models.registry import providers
from aof_nb.ports import Model, ModelRequest, Sampling, ToolSpec
from tests.fakes import Failure, FakeOpenAI, Raw, Reply, Usage
from tests.fakes import Thinking as Thought
from tests.fakes import ToolCall as Call
from tests.fakes import chat_completions as chat
from tests.fakes.compatible import FakeCompatible

DIALECTS = {
    "deepseek": chat.DEEPSEEK,
    "vllm": chat.VLLM,
    "openrouter": chat.OPENROUTER,
    "mistral": chat.MISTRAL,
    "ollama": chat.OLLAMA,
    "google": chat.GOOGLE,
}
READ_LOG = ToolSpec(
    name="read_log",
    description="Reads a log.",
    input_schema={"type": "object", "properties": {"lines": {"type": "integer"}}},
)
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)


def fake_of(endpoint: Endpoint) -> FakeOpenAI:
    return FakeOpenAI(dialect=DIALECTS.get(endpoint.name, chat.OPENAI))


def served(endpoint: Endpoint, fake: FakeOpenAI) -> Model:
    return resolve_model(f"{endpoint.name}:some-model", base_url=fake.base_url, api_key="k")


def ask(*messages: Message, **options: Any) -> ModelRequest:
    return ModelRequest(messages=(Message.user("why?"), *messages), tools=(READ_LOG,), **options)


async def answer(model: Model, request: ModelRequest) -> tuple[str, ModelResponse]:
    events = [event async for event in model.stream(request)]
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert isinstance(events[-1], ModelResponse)
    return shown, events[-1]


@every_endpoint
async def test_text_calls_usage_and_stop_reasons(endpoint: Endpoint) -> None:
    async with fake_of(endpoint) as fake:
        fake.reply(
            Reply(
                "I look.",
                Call("read_log", {"lines": 1}),
                Call("read_log", {"lines": 2}),
                usage=Usage(input=100, output=20, cache_read=60),
            ),
            "It was the lock.",
        )
        model = served(endpoint, fake)
        assert model.name == f"{endpoint.name}:some-model"
        _, first = await answer(model, ask(sampling=Sampling(max_tokens=99)))
        assert first.stop_reason is StopReason.TOOL_USE
        assert [call.arguments for call in first.message.tool_calls] == [{"lines": 1}, {"lines": 2}]
        assert (first.usage.input_tokens, first.usage.cache_read_tokens) == (100, 60)
        results = tuple(ToolResult(each.id, each.name, "ok") for each in first.message.tool_calls)
        shown, second = await answer(model, ask(first.message, Message("tool", results)))
        assert shown == second.message.text == "It was the lock."
        assert second.stop_reason is StopReason.END_TURN
        assert second.model.startswith(f"{endpoint.name}:")
        sent = fake.requests[0].json
        assert sent[endpoint.output_limit or "max_tokens"] == 99
        assert ("stream_options" in sent) == endpoint.stream_options


@pytest.mark.parametrize("name", ["deepseek", "vllm", "openrouter"])
async def test_visible_reasoning_is_thinking(name: str) -> None:
    endpoint = next(each for each in ENDPOINTS if each.name == name)
    async with fake_of(endpoint) as fake:
        fake.reply(Reply(Thought("The lock?"), Call("read_log", {"lines": 1})))
        _, response = await answer(served(endpoint, fake), ask())
    [thought] = [part for part in response.message.parts if isinstance(part, Thinking)]
    assert (thought.text, thought.provider) == ("The lock?", name)


CASES: dict[int, type[ModelError]] = {
    401: errors.AuthenticationFailed,
    403: errors.PermissionDenied,
    404: errors.ModelNotFound,
    429: errors.RateLimited,
    500: errors.ServerError,
    503: errors.Overloaded,
}


@every_endpoint
@pytest.mark.parametrize("status", CASES)
async def test_errors_are_its_own(endpoint: Endpoint, status: int) -> None:
    async with fake_of(endpoint) as fake:
        fake.reply(Failure(status))
        with pytest.raises(CASES[status]) as caught:
            await answer(served(endpoint, fake), ask())
    assert (type(caught.value), caught.value.provider) == (CASES[status], endpoint.name)
    assert caught.value.message.startswith(f"{endpoint.name}: ")


def gemini(code: int, status: str, message: str, *details: dict[str, Any]) -> Failure:
    error = {"code": code, "message": message, "status": status, "details": details}
    return Failure(code, body=json.dumps([{"error": error}]).encode())


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}


@pytest.mark.parametrize(
    ("failure", "kind", "wait"),
    [
        (
            gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            errors.AuthenticationFailed,
            None,
        ),
        (
            gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted", RETRY_INFO),
            errors.RateLimited,
            17.5,
        ),
        (gemini(503, "UNAVAILABLE", "The model is overloaded."), errors.Overloaded, None),
    ],
)
async def test_gemini_s_errors(
    failure: Failure, kind: type[ModelError], wait: float | None
) -> None:
    google = ENDPOINTS[0]
    async with fake_of(google) as fake:
        fake.reply(failure)
        with pytest.raises(kind) as caught:
            await answer(served(google, fake), ask())
    assert type(caught.value) is kind
    if wait is not None:
        assert caught.value.retry_after == wait


def gemini_chunk(**choice: Any) -> bytes:
    chunk = {"id": "x", "model": "gemini-3", "choices": [{"index": 0, **choice}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def test_gemini_s_signatures_go_back_verbatim_and_only_to_gemini() -> None:
    """Its calls come whole, without an index, the first with the signature of the thoughts."""
    signature = {"google": {"thought_signature": "EjQKMgEMOdbHJChL"}}
    calls = [
        {
            "id": f"c{lines}",
            "type": "function",
            "function": {"name": "read_log", "arguments": json.dumps({"lines": lines})},
        }
        for lines in (1, 2)
    ]
    calls[0]["extra_content"] = signature
    body = gemini_chunk(delta={"role": "assistant", "tool_calls": calls[:1]})
    body += gemini_chunk(delta={"role": "assistant", "tool_calls": calls[1:]})
    body += gemini_chunk(delta={"role": "assistant"}, finish_reason="stop") + b"data: [DONE]\n\n"
    google = ENDPOINTS[0]
    async with fake_of(google) as fake, FakeOpenAI() as other:
        fake.reply(Raw(body), "done")
        other.reply("done")
        model = served(google, fake)
        _, response = await answer(model, ask())
        assert response.stop_reason is StopReason.TOOL_USE
        assert [call.arguments for call in response.message.tool_calls] == [
            {"lines": 1},
            {"lines": 2},
        ]
        results = tuple(
            ToolResult(each.id, each.name, "ok") for each in response.message.tool_calls
        )
        following = ask(response.message, Message("tool", results))
        await answer(model, following)
        await answer(
            resolve_model("openai-chat:gpt-4o", base_url=other.base_url, api_key="k"), following
        )
        sent = fake.requests[1].json["messages"][1]["tool_calls"]
        assert [each.get("extra_content") for each in sent] == [signature, None]
        foreign = Message("assistant", (ToolCall("c0", "read_log", {}),), model="openai:gpt-5")
        fake.reply("done")
        await answer(model, ask(foreign, Message("tool", (ToolResult("c0", "read_log", "x"),))))
        [stand_in] = fake.requests[2].json["messages"][1]["tool_calls"]
        assert "skip" in stand_in["extra_content"]["google"]["thought_signature"]
        to_other = other.requests[0].json["messages"][1]["tool_calls"]
        assert ["extra_content" in each for each in to_other] == [False, False]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        (
            "google",
            {
                "extra_body": {
                    "google": {
                        "thinking_config": {"thinking_budget": 2048, "include_thoughts": True}
                    }
                }
            },
        ),
        ("openrouter", {"reasoning": {"max_tokens": 2048}}),
        ("groq", {"reasoning_effort": "low"}),
    ],
)
async def test_thinking_is_asked_for_where_a_provider_takes_a_budget(
    name: str, sent: dict[str, Any]
) -> None:
    sampling = Sampling(max_tokens=500, thinking_tokens=2048, reasoning_effort="low")
    endpoint = endpoint_named(name)
    async with fake_of(endpoint) as fake:
        fake.reply("ok")
        request = ModelRequest(messages=(Message.user("why?"),), sampling=sampling)
        await answer(served(endpoint, fake), request)
        body = fake.requests[0].json
    assert sent.items() <= body.items()
    assert ("reasoning_effort" in body) is ("reasoning_effort" in sent)
    # What it thinks counts as output.
    assert (body.get("max_tokens") or body["max_completion_tokens"]) == (
        500 if name == "groq" else 3072
    )


async def test_openrouter_says_in_its_error_when_there_is_more() -> None:
    reset = str(int((time.time() + 40) * 1000))
    told = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    error = {"code": 429, "message": "Rate limit exceeded", "metadata": {"headers": told}}
    endpoint = endpoint_named("openrouter")
    async with FakeCompatible("openrouter") as fake:
        fake.reply(Failure(429, body=json.dumps({"error": error}).encode()))
        with pytest.raises(errors.RateLimited) as caught:
            await answer(served(endpoint, fake), ask())
    assert caught.value.retry_after is not None
    assert 30 < caught.value.retry_after <= 40


async def test_ollama_that_does_not_run_or_lacks_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    once = RetryPolicy(attempts=1)
    result = await Agent(model="ollama:qwen3", retry=once).run("why?")
    assert isinstance(result.error, errors.ConnectionFailed)
    assert "127.0.0.1:9/v1" in result.error.message
    assert "ollama serve" in result.error.remedy
    async with FakeOpenAI() as fake:
        monkeypatch.setenv("OLLAMA_HOST", fake.base_url.removesuffix("/v1"))
        body = {"error": {"message": 'model "qwen3" not found', "type": "api_error", "code": None}}
        fake.reply(Failure(404, body=json.dumps(body).encode()))
        result = await Agent(model="ollama:qwen3", retry=once).run("why?")
    assert isinstance(result.error, errors.ModelNotFound)
    assert result.error.remedy == "get it with `ollama pull qwen3`"


@pytest.mark.parametrize(
    "endpoint", [each for each in ENDPOINTS if each.key_variable], ids=lambda each: each.name
)
async def test_a_missing_key_is_named_before_any_request(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(endpoint.key_variable, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "of another provider")
    result = await Agent(model=f"{endpoint.name}:m").run("why?")
    assert isinstance(result.error, errors.MissingCredential)
    assert endpoint.key_variable in result.error.message


async def test_another_provider_is_not_told_the_organisation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("GROQ_API_KEY", "groq-key")
    async with FakeOpenAI() as fake:
        monkeypatch.setenv("GROQ_BASE_URL", fake.base_url)
        fake.reply("ok")
        await answer(resolve_model("groq:m"), ask())
        headers = fake.requests[0].headers
    assert headers["authorization"] == "Bearer groq-key"
    assert "secret" not in str(dict(headers))


def test_each_is_listed_with_what_it_needs() -> None:
    known = providers()
    page = (Path(__file__).parents[2] / "docs/providers.md").read_text()
    for row in known.values():
        [line] = [each for each in page.splitlines() if each.startswith(f"| `{row.name}:` |")]
        assert f"`{row.key_variable}`" in line or "no key" in line
        assert row.url_variable in line
    for endpoint in ENDPOINTS:
        row = known[endpoint.name]
        assert (row.key_variable, row.example) == (endpoint.key_variable, endpoint.example)
        assert endpoint.example.startswith(f"{endpoint.name}:")
        assert endpoint.base_url.startswith("https://" if endpoint.key_variable else "http://127.")
