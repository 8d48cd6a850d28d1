"""Typed answers: what is expected, how it is read, and how a run ends that has none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict

from aof_nb import Agent, Limits, load, tool
from aof_nb.errors import ConfigurationError, InvalidOutput, ResourceError
from aof_nb.events import ModelEvent, ModelResponse, Notice, RunStatus, TextDelta
from aof_nb.json_text import json_values
from aof_nb.messages import Message, StopReason, Text, Usage
from aof_nb.ports import ModelRequest
from aof_nb.structured_output import CORRECTION, Expected, Invalid, expected


class Finding(BaseModel):
    service: str
    restarts: int = 0


@dataclass
class Point:
    x: int
    y: int


class Row(TypedDict):
    host: str


class Choosy(BaseModel):
    host: str

    @field_validator("host")
    @classmethod
    def known(cls, host: str) -> str:
        if host == "bug":
            raise KeyError(host)
        if host != "web":
            raise ValueError(f"no host {host!r}")
        return host


def want(declared: Any) -> Expected:
    found = expected(declared)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (Finding, '{"service": "db"}', Finding(service="db")),
        (Finding, ' {"service": "db", "restarts": "2"}\n', Finding(service="db", restarts=2)),
        (Finding, '{"service": "db", "restarts": null}', Finding(service="db")),
        (Finding, '```json\n{"service": "db"}\n```', Finding(service="db")),
        (Finding, 'Here:\n```\n{"service": "db"}\n```\nDone.', Finding(service="db")),
        (Finding, 'Not {"x": 1} but {"service": "db"} [sic].', Finding(service="db")),
        (Finding, '{"service": "a"}, no: {"service": "b"}', Finding(service="b")),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (Row, '{"host": "web"}', {"host": "web"}),
        (list[Finding], '[{"service": "db"}]', [Finding(service="db")]),
        (list[int], '{"answer": [1, 2]}', [1, 2]),
        (list[int], "They are [1, 2].", [1, 2]),
        (dict[str, int], '{"answer": 1}', {"answer": 1}),
        (Literal["up", "down"], "up", "up"),
        (Literal["up", "down"], '"down"', "down"),
        (int, '{"answer": 3}', 3),
        (int | None, "null", None),
        (Finding | Point, '{"x": 1, "y": 2}', Point(1, 2)),
        ({"type": "string"}, "It is the lock.", "It is the lock."),
        ({"type": "number", "maximum": 100}, "97.5", 97.5),
        (
            {"host": "string", "up": "boolean"},
            '{"host": "a", "up": true}',
            {"host": "a", "up": True},
        ),
    ],
    ids=str,
)
def test_an_answer_is_read(declared: Any, text: str, value: Any) -> None:
    answer = want(declared).read(text)
    assert answer.value == value
    assert type(answer.value) is type(value)
    msgspec.json.encode(answer.data)


@pytest.mark.parametrize(
    ("declared", "text", "violation"),
    [
        (Finding, "", "it is empty"),
        (Finding, "It is the db.", "there is no JSON in it"),
        (Finding, '{"service": ', "there is no JSON in it"),
        (Finding, "{}", "$.service: Field required"),
        (list[Finding], '[{"service": "a"}, {}]', "$[1].service: Field required"),
        (Choosy, '{"host": "db"}', "$.host: Value error, no host 'db'"),
        (Finding, '{"service": "\\ud800"}', "$: 'utf-8' codec"),
        ({"type": "object", "required": ["a"]}, "{}", '$: "a" is a required property'),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            '{"n": "2"}',
            '$.n: "2" is not of type "integer"',
        ),
        ({"host": "string"}, '{"host": "a", "more": 1}', "$: Additional properties"),
        (dict[str, int], json.dumps({str(n): "x" for n in range(7)}), "and 2 more"),
        ({"type": "number"}, "NaN", "there is no JSON in it"),
    ],
    ids=str,
)
def test_a_violation_is_named(declared: Any, text: str, violation: str) -> None:
    with pytest.raises(Invalid) as caught:
        want(declared).read(text)
    assert violation in str(caught.value)


@given(st.text() | st.text(alphabet='[]{}",:1a\\u \n`'))
def test_any_text_is_read_or_refused(text: str) -> None:
    for declared in (Finding, list[int], {"type": "object"}):
        with contextlib.suppress(Invalid):
            msgspec.json.encode(want(declared).read(text).data)


def test_reading_takes_no_long_time_over_brackets() -> None:
    for text in ("[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "[1," * 50_000):
        assert list(json_values(text)) == []


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"type": "objekt"}, "no JSON Schema"),
        ({"type": "object", "properties": {"x": {"$ref": "https://example.com/x"}}}, "no JSON"),
        ({"host": "text"}, "host: 'text' is no type"),
        ({"type": "object", "validation_mode": "loose"}, "validation_mode: 'loose'"),
        ({"type": "object", "max_retries": -1}, "max_retries: -1"),
        (AsyncGenerator, "pydantic makes no JSON Schema"),
        (42, "pydantic makes no JSON Schema"),
    ],
)
def test_what_is_no_schema_is_told(declared: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        expected(declared)
    assert said in caught.value.message
    assert caught.value.remedy


def test_a_validator_that_fails_is_the_users_own_matter() -> None:
    with pytest.raises(ConfigurationError, match="Choosy cannot validate: KeyError"):
        want(Choosy).read('{"host": "bug"}')


def test_text_is_wanted_where_nothing_else_is() -> None:
    assert expected(None) is None
    assert expected(str) is None


class Says:
    """A model without any way of its own: it is asked by words."""

    name = "says:it"

    def __init__(self, *texts: str, stop: StopReason = StopReason.END_TURN) -> None:
        self.texts = list(texts)
        self.stop = stop
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        text = self.texts.pop(0)
        yield TextDelta(text)
        message = Message("assistant", (Text(text),) if text else (), model="it")
        yield ModelResponse(message, self.stop, Usage(10, 5), "it")


async def test_a_model_is_asked_by_words() -> None:
    model = Says("The db, I think.", 'Sure! {"service": "db"}')
    agent = Agent(model=model, instructions="Be brief.", output_schema=Finding)
    result = await agent.run("why?")
    assert result.output == Finding(service="db")
    first, second = model.requests
    assert first.system == second.system
    assert first.system.startswith("Be brief.\n\n")
    assert '"service"' in first.system
    assert second.messages[-1].text.startswith(CORRECTION)
    assert "there is no JSON in it" in second.messages[-1].text


async def test_a_run_may_want_something_else_than_its_agent() -> None:
    agent = Agent(model=Says("[1]", "text", '{"service": "db"}'), output_schema=Finding)
    assert (await agent.run("?", output_schema=list[int])).output == [1]
    assert (await agent.run("?", output_schema=str)).output == "text"
    assert (await agent.run("?")).output == Finding(service="db")
    plain = Agent(model=Says("text"))
    result = await plain.run("?")
    assert (result.output, result.data) == ("text", None)


@pytest.mark.parametrize("most", [0, 1, 4])
async def test_corrections_are_bounded(most: int) -> None:
    model = Says(*["no"] * 9)
    agent = Agent(model=model, output_schema=Finding, limits=Limits(max_corrections=most))
    result = await agent.run("why?")
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, InvalidOutput)
    assert len(model.requests) == most + 1
    assert result.text == "no"


@pytest.mark.parametrize("limits", [Limits(max_turns=2), Limits(max_tokens=25)])
async def test_no_correction_goes_past_a_limit(limits: Limits) -> None:
    model = Says(*["no"] * 9)
    result = await Agent(model=model, output_schema=Finding, limits=limits).run("why?")
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, InvalidOutput)
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("stop", "status"),
    [(StopReason.MAX_TOKENS, RunStatus.LIMIT), (StopReason.REFUSAL, RunStatus.REFUSED)],
)
async def test_what_is_no_answer_is_not_corrected(stop: StopReason, status: RunStatus) -> None:
    model = Says("I can", stop=stop)
    result = await Agent(model=model, output_schema=Finding).run("why?")
    assert (result.status, result.output, result.text) == (status, None, "I can")


async def test_a_wrong_schema_fails_the_run_before_a_request() -> None:
    model = Says("x")
    result = await Agent(model=model, output_schema={"type": "objekt"}).run("why?")
    assert isinstance(result.error, ConfigurationError)
    assert model.requests == []


AOF = {
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
}


@pytest.mark.parametrize(
    ("more", "texts", "status", "output"),
    [
        ({}, ['{"count": "4"}', '{"count": 4}'], RunStatus.COMPLETED, {"count": 4}),
        ({"validation_mode": "coerce"}, ['{"count": "4"}'], RunStatus.COMPLETED, {"count": 4}),
        ({"validation_mode": "coerce"}, ['{"count": "x"}'] * 5, RunStatus.FAILED, None),
        ({"validation_mode": "lenient"}, ['{"count": 4, "x": 1}'], RunStatus.COMPLETED, ...),
        ({"on_validation_error": "fail"}, ["no"], RunStatus.FAILED, None),
        ({"on_validation_error": "passthrough"}, ["no"], RunStatus.COMPLETED, "no"),
        ({"max_retries": 1}, ["no", "no"], RunStatus.FAILED, None),
    ],
    ids=str,
)
async def test_aofs_settings(
    more: dict[str, Any], texts: list[str], status: RunStatus, output: Any
) -> None:
    model = Says(*texts)
    run = Agent(model=model, output_schema=AOF | more).stream("?")
    notices = [event.text async for event in run if isinstance(event, Notice)]
    assert run.result.status is status
    assert output is ... or run.result.output == output
    assert model.texts == []
    assert ("passed through" in str(notices)) == (output == "no")


async def test_aofs_envelope() -> None:
    declared = {"schema": AOF, "description": "How many.", "strict": False, "format_hint": "json"}
    wanted = want(declared)
    assert wanted.schema.description == "How many."
    assert wanted.schema.strict is False
    assert wanted.read('{"count": 1}').value == {"count": 1}


@tool(effect="read")
def disk(volume: str) -> dict[str, Any]:
    """How full a volume is."""
    return {"used": 97}


PLAYBOOK = """\
steps:
  - id: disk
    call: {tool: disk, arguments: {volume: a}}
  - say: I looked.
  - answer:
      volume: "{{ prompt }}"
      used: "{{ results.disk.data.used }}"
      notes: ["{{ 'ab' | upper }}", plain]
"""
FULL = {
    "type": "object",
    "properties": {"volume": {"type": "string"}, "used": {"type": "integer"}},
    "required": ["volume", "used"],
}


async def test_a_playbook_answers_with_data(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(PLAYBOOK)
    agent = Agent(model=f"script:{path}", tools=[disk], output_schema=FULL)
    result = await agent.run("a")
    assert result.output == {"volume": "a", "used": 97, "notes": ["AB", "plain"]}
    assert result.text.startswith("I looked.\n\n{")


@pytest.mark.parametrize("answer", ["answer: It is full.", "answer: {volume: 1}"])
async def test_a_playbook_is_not_played_again_to_correct_it(tmp_path: Path, answer: str) -> None:
    calls: list[str] = []

    @tool(effect="read")
    def count() -> str:
        """Counts."""
        calls.append("x")
        return "ok"

    path = tmp_path / "p.yaml"
    path.write_text(f"steps:\n  - id: c\n    call: {{tool: count}}\n  - {answer}\n")
    agent = Agent(model=f"script:{path}", tools=[count], output_schema=FULL)
    result = await agent.run("a", session="s")
    assert result.status is RunStatus.FAILED
    assert isinstance(result.error, InvalidOutput)
    assert "p.yaml: the playbook's answer does not fit" in result.error.message
    assert calls == ["x"]
    # The next prompt of the session is played again.
    again = await agent.run("b", session="s", output_schema=str)
    assert again.status is RunStatus.COMPLETED
    assert calls == ["x", "x"]


def test_a_file_says_what_the_answer_is(tmp_path: Path) -> None:
    agent = load("name: a\nmodel: openai:gpt-5\noutput_schema:\n  host: string\n  n: integer\n")
    assert isinstance(agent, Agent)
    wanted = want(agent.output_schema)
    assert wanted.schema.schema["required"] == ["host", "n"]
    with pytest.raises(ResourceError, match="output_schema") as caught:
        load("name: a\nmodel: openai:gpt-5\noutput_schema:\n  type: objekt\n")
    assert caught.value.line == 3
