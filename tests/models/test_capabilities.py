"""Every provider, tried for every capability and every fault; and the page that says so."""

from __future__ import annotations

import pytest

from aof_nb.messages import Message, ToolCall, ToolResult
from aof_nb.models.schema_dialects import without_keywords
from aof_nb.ports import ModelRequest, Sampling, ToolSpec
from tests.fakes.compatible import SERVERS, FakeCompatible
from tests.models.capabilities import (
    CAPABILITIES,
    PROVIDERS,
    answer,
    ask,
    outcome,
    outcomes,
    served,
    table,
    written,
)


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, str]]:
    """What becomes of all tries, made once."""
    return outcomes()


@pytest.mark.timeout(600)
def test_all_tries_end_as_they_must(found: dict[str, dict[str, str]]) -> None:
    failed = {
        f"{name}, {capability}": said
        for name, outcomes_of in found.items()
        for capability, said in outcomes_of.items()
        if said.startswith("fails")
    }
    assert failed == {}
    assert len(found) == len(PROVIDERS) >= 15


def test_the_page_says_what_they_come_to(found: dict[str, dict[str, str]]) -> None:
    assert written() == table(found), "run python -m tests.models.capabilities"


async def test_what_fails_is_said_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(name: str) -> str:
        raise AssertionError(name)

    monkeypatch.setitem(CAPABILITIES, "text", broken)
    assert await outcome("groq", "text") == "fails: AssertionError: groq"


@pytest.mark.parametrize("name", SERVERS)
async def test_calls_that_another_model_wrote_can_be_sent(name: str) -> None:
    asked = Message("assistant", (ToolCall("call_1:x", "read_log", {}),), model="anthropic:c")
    answered = Message("tool", (ToolResult("call_1:x", "read_log", "locked"),))
    async with FakeCompatible(name) as fake:
        fake.reply("ok")
        await answer(served(name, fake), ask(asked, answered))


async def test_mistral_and_gemini_are_not_sent_what_they_refuse() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"n": {"type": "integer", "multipleOf": 2}, "$id": {"type": "string"}},
    }
    tools = (ToolSpec(name="pick", description="Picks.", input_schema=schema),)
    request = ModelRequest(
        messages=(Message.user("why?"),), tools=tools, sampling=Sampling(reasoning_effort="low")
    )
    async with FakeCompatible("google") as fake:
        fake.reply("ok")
        await answer(served("google", fake), request)
        sent = fake.requests[0].json["tools"][0]["function"]["parameters"]
    assert sent == {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "$id": {"type": "string"}},
    }
    async with FakeCompatible("mistral") as fake:
        fake.reply("ok")
        await answer(served("mistral", fake), request)
        assert "reasoning_effort" not in fake.requests[0].json


def test_keywords_are_dropped_and_properties_of_their_name_kept() -> None:
    schema = {
        "$schema": "x",
        "properties": {"$id": {"type": "string"}, "n": {"multipleOf": 2, "default": {"$id": 1}}},
    }
    assert without_keywords(schema, frozenset(["$schema", "$id", "multipleOf"])) == {
        "properties": {"$id": {"type": "string"}, "n": {"default": {"$id": 1}}}
    }
