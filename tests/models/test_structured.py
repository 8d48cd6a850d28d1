"""Models held to a schema over real HTTP: by the API, by a tool, by words."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from aof_nb import Agent, Limits, RetryPolicy, tool
from aof_nb.errors import BadRequest, InvalidOutput
from aof_nb.events import Event, Notice, RunFinished, RunStatus, TextDelta
from aof_nb.messages import StopReason
from aof_nb.models import resolve_model
from aof_nb.models.compaction import ContextPolicy
from aof_nb.models.compatible import ENDPOINTS, Endpoint
from aof_nb.models.structured import structured, way_of
from aof_nb.ports import Model
from aof_nb.structured_output import expected
from tests.fakes import (
    Failure,
    FakeAnthropic,
    FakeBedrock,
    FakeOpenAI,
    Refusal,
    Reply,
    Thinking,
    ToolCall,
    Wire,
)
from tests.fakes.http_server import Request
from tests.models.bedrock import CLAUDE, NOVA, aws_credentials, no_thread_left, served

aws = pytest.mark.usefixtures(aws_credentials.__name__, no_thread_left.__name__)

Fake = FakeAnthropic | FakeOpenAI


class Finding(BaseModel):
    """What was found."""

    service: str
    severity: Literal["low", "high"]
    restarts: int = 0


FOUND = {"service": "db", "severity": "high", "restarts": 2}
NATIVE: dict[str, tuple[type[Fake], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-sonnet-5"),
    "openai": (FakeOpenAI, "openai:gpt-5"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4o"),
}
BY_TOOL: dict[str, tuple[type[Fake], str]] = {
    "anthropic": (FakeAnthropic, "anthropic:claude-3-5-haiku-latest"),
    "openai": (FakeOpenAI, "openai:gpt-4-turbo"),
    "openai-chat": (FakeOpenAI, "openai-chat:gpt-4-turbo"),
}
every_provider = pytest.mark.parametrize("provider", NATIVE)


@tool(effect="read")
def status(service: str) -> str:
    """The state of a service."""
    return f"{service} is slow"


def model_at(name: str, fake: Fake, **options: Any) -> Model:
    return resolve_model(name, base_url=fake.base_url, api_key="k", **options)


def agent_at(name: str, fake: Fake, **options: Any) -> Agent:
    options = {"tools": [status], "output_schema": Finding} | options
    return Agent(model=model_at(name, fake), **options)


def asked_form(request: Request) -> Any:
    """The schema as the request has it natively; None if it has none."""
    body = request.json
    form = body.get("text") or body.get("output_config") or {}
    return body.get("response_format") or form.get("format")


async def events_of(run: Any) -> list[Event]:
    return [event async for event in run]


@every_provider
async def test_the_api_is_told_the_schema_and_tools_still_work(provider: str) -> None:
    kind, name = NATIVE[provider]
    async with kind() as fake:
        fake.reply(Reply(ToolCall("status", {"service": "db"})), json.dumps(FOUND))
        result = await agent_at(name, fake).run("why?")
        forms = [asked_form(request) for request in fake.requests]
    assert result.status is RunStatus.COMPLETED, result.error
    assert result.output == Finding(service="db", severity="high", restarts=2)
    assert result.data == FOUND
    assert result.tool_calls == 1
    assert all(form["type"] == "json_schema" for form in forms)
    assert forms[0] == forms[1]


@every_provider
async def test_a_schema_that_is_too_loose_is_sent_in_another_way(provider: str) -> None:
    kind, name = NATIVE[provider]
    found = {"db": 3, "web": 1}
    async with kind() as fake:
        by_tool = provider == "anthropic"
        fake.reply(Reply(ToolCall("answer", found)) if by_tool else json.dumps(found))
        agent = agent_at(name, fake, output_schema=dict[str, int])
        result = await agent.run("restarts?")
        form = asked_form(fake.requests[0])
    assert result.output == found
    assert (form is None) == by_tool
    assert by_tool or form.get("json_schema", form)["strict"] is False


@every_provider
async def test_a_tool_takes_the_answer_where_the_api_cannot(provider: str) -> None:
    kind, name = BY_TOOL[provider]
    async with kind() as fake:
        fake.reply(
            Reply("Looking.", ToolCall("status", {"service": "db"})),
            Reply("It is the db.", ToolCall("answer", FOUND)),
            "And then?",
        )
        agent = agent_at(name, fake)
        run = agent.stream("why?", session="s")
        events = await events_of(run)
        again = await agent.run("and?", session="s", output_schema=str)
        requests = fake.requests
    result = run.result
    assert result.output == Finding.model_validate(FOUND)
    assert result.tool_calls == 1
    assert result.text.startswith("It is the db.\n\n{")
    shown = "".join(e.text for e in events if isinstance(e, TextDelta))
    assert shown == "Looking." + "It is the db.\n\n" + json.dumps(FOUND)
    assert asked_form(requests[0]) is None
    assert requests[0].json["tools"] == requests[1].json["tools"]
    # The next run knows nothing of that tool.
    assert "answer" not in [each.get("name") for each in requests[2].json["tools"]]
    assert again.output == "And then?"


@every_provider
async def test_an_answer_beside_other_calls_waits_for_them(provider: str) -> None:
    kind, name = BY_TOOL[provider]
    both = Reply(ToolCall("answer", {"service": "?"}), ToolCall("status", {"service": "db"}))
    async with kind() as fake:
        fake.reply(both, Reply(ToolCall("answer", FOUND)))
        result = await agent_at(name, fake).run("why?")
    assert result.output.service == "db"
    assert (result.turns, result.tool_calls) == (2, 1)


@every_provider
async def test_the_last_turn_asks_by_words_as_no_tool_may_be_called(provider: str) -> None:
    kind, name = BY_TOOL[provider]
    async with kind() as fake:
        fake.reply(
            Reply(ToolCall("status", {"service": "db"})), f"```json\n{json.dumps(FOUND)}\n```"
        )
        agent = agent_at(name, fake, limits=Limits(max_turns=2))
        result = await agent.run("why?")
        assert "JSON Schema" in str(fake.requests[1].json)
        assert "JSON Schema" not in str(fake.requests[0].json)
    assert result.status is RunStatus.LIMIT
    assert result.output.severity == "high"


@every_provider
@pytest.mark.parametrize("way", ["native", "tool"])
async def test_a_wrong_answer_is_corrected(provider: str, way: str) -> None:
    kind, name = NATIVE[provider] if way == "native" else BY_TOOL[provider]
    wrong = FOUND | {"severity": "medium"}
    async with kind() as fake:
        for each in (wrong, FOUND):
            fake.reply(json.dumps(each) if way == "native" else Reply(ToolCall("answer", each)))
        run = agent_at(name, fake).stream("why?")
        events = await events_of(run)
        said = str(fake.requests[1].json)
    assert run.result.output.severity == "high"
    assert "$.severity: Input should be 'low' or 'high'" in said
    [notice] = [each for each in events if isinstance(each, Notice)]
    assert "$.severity" in notice.text
    assert isinstance(events[-1], RunFinished)
    assert events[-1].output == FOUND


@every_provider
async def test_a_run_fails_with_what_is_wrong(provider: str) -> None:
    kind, name = NATIVE[provider]
    async with kind() as fake:
        fake.reply(*['{"service": "db"}'] * 3)
        agent = agent_at(name, fake, limits=Limits(max_corrections=2))
        result = await agent.run("why?")
        assert len(fake.requests) == 3
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, InvalidOutput)
    assert result.error.violation == "$.severity: Field required"
    assert result.text == result.error.text == '{"service": "db"}'
    assert result.output is None
    assert "after 2 corrections" in result.error.message
    assert len([each for each in result.messages if each.role == "user"]) == 3


@every_provider
async def test_an_answer_by_tool_that_breaks_off_is_kept_as_text(provider: str) -> None:
    kind, name = BY_TOOL[provider]
    for cut_at in range(200, 2200, 250):
        async with kind() as fake:
            fake.reply(Reply(ToolCall("answer", FOUND), wire=Wire(cut_at=cut_at)))
            agent = agent_at(name, fake, retry=RetryPolicy(attempts=1))
            result = await agent.run("why?")
        assert result.output is None or result.output.service == "db"
        assert (result.output is None) == (result.status is RunStatus.FAILED)
        assert json.dumps(FOUND).startswith(result.text) or result.output is not None
        assert [call for each in result.messages for call in each.tool_calls] == []


@every_provider
@pytest.mark.parametrize("way", ["native", "tool"])
async def test_cut_and_refused_answers_are_not_corrected(provider: str, way: str) -> None:
    kind, name = NATIVE[provider] if way == "native" else BY_TOOL[provider]
    cut = Reply('{"service": "d', stop="length")
    if way == "tool":
        cut = Reply(ToolCall("answer", '{"service": "d'), stop="length")
    async with kind() as fake:
        fake.reply(cut)
        result = await agent_at(name, fake).run("why?")
        assert (result.status, result.stop_reason) == (RunStatus.LIMIT, StopReason.MAX_TOKENS)
        assert result.output is None
        assert result.text == '{"service": "d'
        fake.reply(Reply(Refusal("I cannot say.")))
        result = await agent_at(name, fake).run("why?")
        assert result.status is RunStatus.REFUSED
        assert result.output is None
        assert len(fake.requests) == 2


@every_provider
async def test_a_schema_the_api_refuses_goes_by_tool_from_then_on(provider: str) -> None:
    kind, name = NATIVE[provider]
    said = {
        "anthropic": "output_config.format.schema: Invalid schema: The compiled grammar is too "
        "large, which would cause performance issues.",
        "openai": "Invalid schema for response_format 'Finding': schema is too deep.",
        "openai-chat": "Invalid parameter: 'response_format' of type 'json_schema' is not "
        "supported with this model.",
    }[provider]
    async with kind() as fake:
        fake.reply(
            Failure(400, said),
            Reply(ToolCall("status", {"service": "db"})),
            Reply(ToolCall("answer", FOUND)),
        )
        run = agent_at(name, fake).stream("why?")
        events = await events_of(run)
        forms = [asked_form(request) is not None for request in fake.requests]
    assert run.result.output.service == "db"
    assert forms == [True, False, False]
    assert [said[:40] in each.text for each in events if isinstance(each, Notice)] == [True]


async def test_another_refused_request_is_an_error() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Failure(400, "Unknown parameter: 'foo'."))
        result = await agent_at("openai:gpt-5", fake).run("why?")
    assert isinstance(result.error, BadRequest)


async def test_thinking_and_an_answer_by_tool_go_on_together() -> None:
    async with FakeAnthropic() as fake:
        fake.reply(
            Reply(Thinking("Hm."), ToolCall("answer", {"service": "db"})),
            Reply(Thinking("Oh."), ToolCall("answer", FOUND)),
        )
        agent = agent_at("anthropic:claude-opus-4-1", fake)
        result = await agent.run("why?")
    assert result.output.restarts == 2


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("anthropic:claude-sonnet-5", "native"),
        ("anthropic:claude-opus-4-5-20251101", "native"),
        ("anthropic:claude-sonnet-4-20250514", "tool"),
        ("openai:gpt-5", "native"),
        ("openai:gpt-4-turbo", "tool"),
        ("openai-chat:gpt-4o", "native"),
        ("openai-chat:o1-mini", "prompt"),
        ("azure:my-gpt-4o", "native"),
        ("google:gemini-3-flash-preview", "native"),
        ("groq:llama-3.3-70b-versatile", "tool"),
        ("deepseek:deepseek-chat", "tool"),
        ("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", "native"),
        ("bedrock:us.anthropic.claude-opus-4-1-20250805-v1:0", "tool"),
        ("bedrock:amazon.nova-pro-v1:0", "tool"),
        ("bedrock:amazon.titan-text-express-v1", "prompt"),
        ("script:x.yaml", "native"),
    ],
)
def test_which_way_a_model_takes(name: str, way: str) -> None:
    wanted = expected(Finding)
    assert wanted is not None
    assert way_of(resolve_model(name), wanted.schema) == way


def test_a_model_can_be_told_its_way() -> None:
    wanted = expected(Finding)
    assert wanted is not None
    model = resolve_model("openai-chat:llama", structured="prompt")
    assert way_of(model, wanted.schema) == "prompt"
    held = structured(model, wanted.schema)
    assert held.name == "openai-chat:llama"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
@pytest.mark.parametrize("tools", [[], [status]], ids=["alone", "beside tools"])
async def test_every_compatible_server_is_asked_in_a_way_it_takes(
    endpoint: Endpoint, tools: list[Any]
) -> None:
    native = endpoint.structured == "native" and (not tools or endpoint.schema_beside_tools)
    async with FakeOpenAI() as fake:
        fake.reply(json.dumps(FOUND) if native else Reply(ToolCall("answer", FOUND)))
        result = await agent_at(f"{endpoint.name}:some-model", fake, tools=tools).run("why?")
        assert result.output == Finding.model_validate(FOUND)
        assert (asked_form(fake.requests[0]) is not None) == native


async def test_words_are_left_where_a_server_knows_neither_schemas_nor_tools() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(
            Failure(400, "response_format is not supported"),
            Failure(
                400,
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to'
                " be set",
            ),
            json.dumps(FOUND | {"restarts": -1}),
            json.dumps(FOUND),
        )
        schema = Finding.model_json_schema()
        schema["properties"]["restarts"]["minimum"] = 0
        agent = agent_at("vllm:some-model", fake, tools=[], output_schema=schema)
        run = agent.stream("why?")
        events = await events_of(run)
        assert len(fake.requests) == 4
        assert "tools" not in fake.requests[2].json
        assert "JSON Schema" in str(fake.requests[2].json)
    assert run.result.output == FOUND
    notices = [each.text for each in events if isinstance(each, Notice)]
    assert ["schema" in notices[0], "tools" in notices[1], len(notices)] == [True, True, 3]


async def test_a_missing_tool_support_is_an_error_where_the_agent_needs_tools() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Failure(400, "registry.ollama.ai/library/gemma does not support tools"))
        result = await agent_at("ollama:gemma", fake).run("why?")
        assert len(fake.requests) == 1
    assert isinstance(result.error, BadRequest)


@aws
@pytest.mark.parametrize("way", ["native", "tool"])
async def test_models_of_bedrock(way: str) -> None:
    model = CLAUDE if way == "native" else NOVA
    async with FakeBedrock() as fake:
        fake.reply(
            Reply(ToolCall("status", {"service": "db"})),
            json.dumps(FOUND) if way == "native" else Reply(ToolCall("answer", FOUND)),
        )
        agent = Agent(model=served(fake, model), tools=[status], output_schema=Finding)
        result = await agent.run("why?")
        forms = [each.json.get("outputConfig", {}).get("textFormat") for each in fake.requests]
    assert result.output == Finding.model_validate(FOUND)
    assert [form is not None for form in forms] == [way == "native"] * 2
    if way == "native":
        assert forms[0]["structure"]["jsonSchema"]["name"] == "Finding"


@every_provider
async def test_an_answer_by_tool_that_broke_off_comes_again_and_counts_once(provider: str) -> None:
    kind, name = BY_TOOL[provider]
    for cut_at in range(200, 2200, 250):
        async with kind() as fake:
            fake.reply(
                Reply(ToolCall("answer", FOUND), wire=Wire(cut_at=cut_at)),
                Reply(ToolCall("answer", FOUND)),
            )
            agent = agent_at(name, fake, retry=RetryPolicy(first_delay=0))
            result = await agent.run("why?")
        assert (json.loads(result.text), result.output.service) == (FOUND, "db")


async def test_each_model_of_a_chain_is_asked_in_its_way() -> None:
    async with FakeAnthropic() as first, FakeOpenAI() as second:
        first.reply(Failure(401))
        second.reply(Reply(ToolCall("answer", FOUND)))
        agent = agent_at(
            "anthropic:claude-sonnet-5", first, fallback=[model_at("groq:llama", second)]
        )
        result = await agent.run("why?")
        assert asked_form(first.requests[0]) is not None
        assert asked_form(second.requests[0]) is None
    assert result.output.service == "db"
    assert result.models == ("groq:llama",)


async def test_a_summary_of_old_turns_is_not_held_to_the_schema() -> None:
    policy = ContextPolicy(window=4000, keep_last=1)
    async with FakeOpenAI() as fake:
        fake.reply(
            Reply("word " * 2000, ToolCall("status", {"service": "db"})),
            Reply("word " * 2000, ToolCall("status", {"service": "db"})),
            Reply(ToolCall("answer", FOUND)),
        )
        fake.reply(Reply(ToolCall("answer", FOUND)))
        fake.tolerate = True
        agent = agent_at("groq:llama", fake, context=policy)
        await agent.run("why?")
        summaries = [each for each in fake.requests if "tools" not in each.json]
    assert summaries
    assert all("answer" not in str(each.json.get("tools")) for each in summaries)
    assert all("JSON Schema" not in str(each.json["messages"][0]) for each in summaries)
