"""What the tests of Bedrock's models share: credentials, models and requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aof_nb.events import ModelEvent, ModelResponse
from aof_nb.messages import (
    Message,
    Outcome,
    ToolCall,
    ToolResult,
)
from aof_nb.models import resolve_model
from aof_nb.ports import Model, ModelRequest, Sampling, ToolSpec
from tests.fakes import (
    FakeBedrock,
)

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
DEEPSEEK = "deepseek.v3-v1:0"
READ_LOG = ToolSpec(
    name="read_log",
    description="Reads a log.",
    input_schema={"type": "object", "properties": {"lines": {"type": "integer"}}},
)
THINK = Sampling(max_tokens=4096, thinking_tokens=2048)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name == "aof-bedrock"]
    assert not left


def served(fake: FakeBedrock, model: str = CLAUDE, **options: Any) -> Model:
    return resolve_model(f"bedrock:{model}", base_url=fake.base_url, **options)


def ask(text: str = "why?", *more: Message, **options: Any) -> ModelRequest:
    options = {"tools": (READ_LOG,)} | options
    return ModelRequest(messages=(Message.user(text), *more), **options)


async def collect(model: Model, request: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.stream(request)]


async def answer(model: Model, request: ModelRequest) -> ModelResponse:
    last = (await collect(model, request))[-1]
    assert isinstance(last, ModelResponse)
    return last


def results(*calls: ToolCall, outcome: Outcome = Outcome.OK) -> Message:
    return Message("tool", tuple(ToolResult(c.id, c.name, "locked", outcome) for c in calls))
