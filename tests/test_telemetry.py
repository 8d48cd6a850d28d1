"""Spans, metrics and log records of runs, as an application's own SDK gets them."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aof_nb import Agent, ContextPolicy, Policy, RetryPolicy, resolve_model, tool
from aof_nb.events import RunStatus, TextDelta
from aof_nb.telemetry import CONTENT_VARIABLE, names
from tests.fakes import Failure, FakeAnthropic, FakeOpenAI, Reply, ToolCall, Usage, Wire

EXPORTER = InMemorySpanExporter()
SECRET = "the-card-number"


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(EXPORTER))
    return made


@pytest.fixture(autouse=True)
def tracing(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    EXPORTER.clear()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.delenv(CONTENT_VARIABLE, raising=False)
    yield
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    return reader


@tool(effect="read")
async def status(service: str) -> str:
    """The state of a service."""
    with trace.get_tracer("mine").start_as_current_span("GET /health"):
        await asyncio.sleep(0)
    return f"{service}: {SECRET}"


@tool(effect="destructive")
def drop(table: str) -> str:
    """Drops a table."""
    raise RuntimeError(f"{table} {SECRET}")


def spans() -> list[ReadableSpan]:
    return sorted(EXPORTER.get_finished_spans(), key=lambda span: span.start_time or 0)


def named(name: str) -> list[ReadableSpan]:
    return [span for span in spans() if span.name == name]


def one(name: str) -> ReadableSpan:
    [found] = named(name)
    return found


def parent(span: ReadableSpan) -> str:
    by_id = {each.context.span_id: each.name for each in spans() if each.context}
    return by_id.get(span.parent.span_id, "?") if span.parent else ""


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def agent_at(fake: Any, name: str = "openai-chat:gpt-4o", **options: Any) -> Agent:
    model = resolve_model(name, base_url=fake.base_url, api_key="k")
    options = {"name": "sre", "tools": [status, drop]} | options
    return Agent(model=model, retry=RetryPolicy(attempts=2, first_delay=0), **options)


async def test_a_run_has_a_span_with_its_requests_and_calls_below() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(
            Reply(
                ToolCall("status", {"service": "db"}),
                ToolCall("status", {"service": "web"}),
                usage=Usage(input=100, output=20, cache_read=60),
            ),
            Reply("It is the db.", usage=Usage(input=150, output=9)),
        )
        with trace.get_tracer("mine").start_as_current_span("handle alert"):
            result = await agent_at(fake).run("why?", session="inc-1")
    tree = [(span.name, parent(span)) for span in spans()]
    assert sorted(tree) == sorted(
        [
            ("handle alert", ""),
            ("invoke_agent sre", "handle alert"),
            ("chat gpt-4o", "invoke_agent sre"),
            *[("execute_tool status", "invoke_agent sre")] * 2,
            *[("GET /health", "execute_tool status")] * 2,
            ("chat gpt-4o", "invoke_agent sre"),
        ]
    )
    run, chat = attributes(one("invoke_agent sre")), named("chat gpt-4o")[0]
    assert run["gen_ai.conversation.id"] == "inc-1"
    assert run["gen_ai.usage.input_tokens"] == result.usage.input_tokens == 250
    assert run["aof.run.id"] == result.run_id
    assert run["aof.run.status"] == "completed"
    assert chat.kind is SpanKind.CLIENT
    asked = attributes(chat)
    assert asked["gen_ai.operation.name"] == "chat"
    assert asked["gen_ai.provider.name"] == "openai"
    assert asked["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert asked["gen_ai.usage.cache_read.input_tokens"] == 60
    assert asked["gen_ai.response.id"]
    called = [attributes(span) for span in named("execute_tool status")]
    assert all(each["gen_ai.tool.type"] == "function" for each in called)
    assert len({each["gen_ai.tool.call.id"] for each in called}) == 2
    assert all(span.status.status_code is StatusCode.UNSET for span in spans())


async def test_content_is_kept_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in (False, True):
        EXPORTER.clear()
        if wanted:
            monkeypatch.setenv(CONTENT_VARIABLE, "true")
        async with FakeOpenAI() as fake:
            fake.reply(
                Reply(ToolCall("status", {"service": SECRET}), ToolCall("drop", {"table": SECRET})),
                f"It is {SECRET}.",
            )
            agent = agent_at(fake, instructions=f"Mind {SECRET}.")
            await agent.run(f"why {SECRET}?", approve="all")
        told = [span.to_json() for span in spans()]
        assert [SECRET in each for each in told if "GET /health" not in each] == [wanted] * 5
    chat = attributes(named("chat gpt-4o")[1])
    said = json.loads(chat["gen_ai.input.messages"])
    assert [each["role"] for each in said] == ["user", "assistant", "tool"]
    assert said[1]["parts"][0]["type"] == "tool_call"
    assert said[1]["parts"][0]["arguments"] == {"service": SECRET}
    assert said[2]["parts"][0]["type"] == "tool_call_response"
    assert (
        json.loads(chat["gen_ai.output.messages"])[0]["parts"][0]["content"] == f"It is {SECRET}."
    )
    assert SECRET in chat["gen_ai.system_instructions"]


async def test_each_attempt_at_each_model_of_a_chain_has_a_span() -> None:
    async with FakeAnthropic() as first, FakeOpenAI() as second:
        first.reply(Failure(529), Reply("Half an", wire=Wire(cut_at=900)))
        second.reply("Here.")
        fallback = resolve_model("groq:llama", base_url=second.base_url, api_key="k")
        agent = agent_at(first, "anthropic:claude-sonnet-5", fallback=[fallback])
        assert (await agent.run("why?")).text == "Here."
    failed = [attributes(span) for span in named("chat claude-sonnet-5")]
    assert [each["error.type"] for each in failed] == ["Overloaded", "BrokenStream"]
    assert failed[0]["http.response.status_code"] == 529
    assert {parent(span) for span in named("chat claude-sonnet-5")} == {"invoke_agent sre"}
    answered = attributes(one("chat llama"))
    assert answered["gen_ai.provider.name"] == "groq"
    assert "error.type" not in answered
    assert one("invoke_agent sre").status.status_code is StatusCode.UNSET


async def test_failed_runs_and_refused_and_failing_tools_say_so() -> None:
    async with FakeOpenAI() as fake:
        fake.reply(
            Reply(ToolCall("drop", {"table": "a"})),
            Reply(ToolCall("drop", {"table": "b"})),
            Failure(401),
        )
        agent = agent_at(fake, policy=Policy())
        await agent.run("why?", approve="never")
        [refused, _] = named("execute_tool drop")
        assert attributes(refused)["error.type"] == "denied"
        assert one("invoke_agent sre").status.status_code is StatusCode.ERROR
        assert attributes(one("invoke_agent sre"))["error.type"] == "AuthenticationFailed"
        EXPORTER.clear()
        fake.reply(Reply(ToolCall("drop", {"table": "c"})), "Done.")
        await agent.run("why?", approve="all")
    failing = one("execute_tool drop")
    assert attributes(failing)["error.type"] == "RuntimeError"
    assert failing.status.status_code is StatusCode.ERROR


async def test_cancelled_and_closed_runs_end_their_spans() -> None:
    async with FakeOpenAI() as fake:
        fake.tolerate = True
        for way in ("cancelled", "closed"):
            EXPORTER.clear()
            fake.reply(Reply("word " * 500, wire=Wire(delay=0.01)))
            run = agent_at(fake).stream("why?")
            begun = asyncio.Event()

            async def consume(run: Any = run, begun: asyncio.Event = begun) -> None:
                async for event in run:
                    if isinstance(event, TextDelta):
                        begun.set()

            if way == "cancelled":
                task = asyncio.create_task(consume())
                await asyncio.wait_for(begun.wait(), 30)
                task.cancel()
                await asyncio.wait([task])
            else:
                async for event in run:
                    if isinstance(event, TextDelta):
                        break
                await run.aclose()
            assert run.result.status is RunStatus.CANCELLED
            assert [span.name for span in spans()] == ["invoke_agent sre", "chat gpt-4o"]
            assert {attributes(span)["error.type"] for span in spans()} == {"cancelled"}


async def test_runs_at_once_keep_apart() -> None:
    async with FakeOpenAI() as fake:
        for _ in range(12):
            fake.reply(Reply("Hm.", usage=Usage(input=10, output=1)))
        await agent_at(fake).map([f"why {n}?" for n in range(12)], concurrency=6)
    traces = {span.context.trace_id for span in spans() if span.context}
    assert len(traces) == 12
    assert all(parent(span) == "invoke_agent sre" for span in named("chat gpt-4o"))


async def test_summaries_have_spans_too() -> None:
    async with FakeOpenAI() as fake, FakeOpenAI() as other:
        fake.tolerate = other.tolerate = True
        for n in range(3):
            fake.reply(Reply("word " * 2000, ToolCall("status", {"service": str(n)})))
        fake.reply("It was the db.")
        other.reply("So far: nothing.", "So far: nothing.", "So far: nothing.")
        summary = resolve_model("groq:llama", base_url=other.base_url, api_key="k")
        policy = ContextPolicy(window=4000, keep_last=1, summary_model=summary)
        result = await agent_at(fake, context=policy).run("why?")
    assert "groq:llama" in result.usage_by_model
    assert named("chat llama")
    assert {parent(span) for span in named("chat llama")} == {"invoke_agent sre"}


async def test_durations_and_tokens_are_measured(reader: InMemoryMetricReader) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(Failure(503), Reply("Hm.", usage=Usage(input=10, output=3)))
        await agent_at(fake).run("why?")
    data: Any = reader.get_metrics_data()
    found = {m.name: m for m in data.resource_metrics[0].scope_metrics[0].metrics}
    durations = found["gen_ai.client.operation.duration"]
    assert durations.unit == "s"
    points = {p.attributes.get("error.type"): p for p in durations.data.data_points}
    assert set(points) == {"Overloaded", None}
    assert points[None].explicit_bounds[:3] == (0.01, 0.02, 0.04)
    tokens = found["gen_ai.client.token.usage"].data.data_points
    assert {p.attributes["gen_ai.token.type"]: p.sum for p in tokens} == {"input": 10, "output": 3}


async def test_nothing_is_traced_where_nobody_has_set_it_up() -> None:
    script = (
        "import asyncio, sys, tempfile, pathlib\n"
        "from aof_nb import Agent\n"
        "plan = pathlib.Path(tempfile.mkdtemp()) / 'p.yaml'\n"
        "plan.write_text('steps: [{say: hello}]')\n"
        "print(asyncio.run(Agent(model=f'script:{plan}').run('hi')).text)\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


def test_providers_have_the_conventions_names() -> None:
    assert names("openai-chat:gpt-4o") == ("openai", "gpt-4o")
    assert names("azure:mine") == ("azure.ai.openai", "mine")
    assert names("says (scripted)") == ("aof_nb", "says (scripted)")


async def test_what_happens_is_logged_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aof_nb")
    async with FakeAnthropic() as first, FakeOpenAI() as second:
        first.reply(Failure(529), Failure(529))
        second.reply(Reply(ToolCall("drop", {"table": SECRET})), "Here.")
        fallback = resolve_model("groq:llama", base_url=second.base_url, api_key="k")
        agent = agent_at(first, "anthropic:claude-sonnet-5", fallback=[fallback])
        first.reply(Failure(529), Failure(529))
        result = await agent.run(f"why {SECRET}?", approve="never")
    records: list[Any] = [each for each in caplog.records if each.name.startswith("aof_nb")]
    levels = {each.name: each.levelname for each in records}
    assert set(levels) <= {"aof_nb.runs", "aof_nb.models"}
    runs = [each for each in records if each.name == "aof_nb.runs"]
    assert {each.run_id for each in runs} == {result.run_id}
    [retry, *_] = runs
    assert (retry.levelname, retry.model, retry.attempt) == (
        "WARNING",
        "anthropic:claude-sonnet-5",
        1,
    )
    assert any(getattr(each, "fallback", "") == "groq:llama" for each in runs)
    [failed] = [each for each in runs if hasattr(each, "tool")]
    assert (failed.tool, failed.outcome) == ("drop", "denied")
    ended = runs[-1]
    assert (ended.status, ended.turns, ended.levelname) == ("completed", 2, "INFO")
    assert SECRET not in caplog.text


async def test_breakers_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeOpenAI() as fake:
        fake.reply(*[Failure(503)] * 5)
        agent = agent_at(fake)
        for _ in range(3):
            await agent.run("why?")
    said: list[Any] = [each for each in caplog.records if each.name == "aof_nb.models"]
    assert [(each.breaker, each.model, each.levelname) for each in said] == [
        ("open", "openai-chat:gpt-4o", "WARNING")
    ]


def test_retries_are_not_printed_by_a_script_without_logging() -> None:
    script = (
        "import logging, aof_nb.executor, aof_nb.models.resilience\n"
        "for name in ('aof_nb.runs', 'aof_nb.models'):\n"
        "    logging.getLogger(name).warning('again')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
