"""A run that handles hundreds of secrets keeps none: in events, record, memory and files."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aof_nb import Agent
from aof_nb.events import Event, ModelEvent, ModelResponse, TextDelta, ToolCallDelta
from aof_nb.limits import Limits
from aof_nb.memory import open_memory
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.models.redacting import RedactedModel
from aof_nb.models.resilience import RetryPolicy
from aof_nb.policy import Answer, ApprovalRequest, Policy
from aof_nb.ports import Effect, ModelRequest, ToolContext, ToolOutput, ToolSpec
from aof_nb.redact import Redactor
from aof_nb.redact.tools import redacted_tools
from tests.redact.corpus import Secret, secrets

SECRETS = [each for each in secrets()[::2] if len(each.secret) >= 8]
PER_CALL = 40
PAGES = [SECRETS[start : start + PER_CALL] for start in range(0, len(SECRETS), PER_CALL)]


def page(number: int) -> str:
    return "\n\n".join(each.text for each in PAGES[number])


class Reader:
    """A tool that shows a page of secrets, fails with one, or uses one."""

    def __init__(self, name: str) -> None:
        self.spec = ToolSpec(
            name=name,
            description="Reads.",
            input_schema={"type": "object"},
            effect=Effect.READ if name == "read" else Effect.WRITE,
        )
        self.given: list[dict[str, Any]] = []

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        self.given.append(arguments)
        if self.spec.name == "use":
            return ToolOutput(f"used {arguments['key']} on {page(0)}", {"key": arguments["key"]})
        text = page(arguments["page"])
        if arguments["page"] % 5 == 4:
            raise RuntimeError(text)
        return ToolOutput(
            text, {"page": text, "items": [each.text for each in PAGES[arguments["page"]]]}
        )


class Talkative:
    """A model that reads each page, says what it was sent, and then uses a placeholder.

    It blurts out secrets too, in small pieces, as if it had guessed them.
    """

    name = "fake:talkative"

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        turn = len(self.requests) - 1
        parts: list[Any] = []
        if turn < len(PAGES):
            call = ToolCall(f"call_{turn}", "read", {"page": turn})
            blurted = "\n\n".join(each.text for each in PAGES[turn][:5])
        elif turn == len(PAGES):
            key = "[secret:aws-access-key-id-1]"
            call = ToolCall("call_use", "use", {"key": key, "raw": PAGES[0][1].text})
            blurted = request.messages[-1].tool_results[0].content
        else:
            text = "\n".join(each.text for each in SECRETS[:200])
            yield TextDelta(text)
            yield ModelResponse(Message.assistant(text), StopReason.END_TURN, Usage(1, 1), "m")
            return
        for start in range(0, len(blurted), 7):
            yield TextDelta(blurted[start : start + 7])
        parts.append(Text(blurted))
        written = json.dumps(call.arguments)
        for start in range(0, len(written), 5):
            yield ToolCallDelta(0, call.name, written[start : start + 5])
        parts.append(call)
        yield ModelResponse(
            Message("assistant", tuple(parts)), StopReason.TOOL_USE, Usage(1, 1), "m"
        )


class Asked:
    """A person who says yes."""

    def __init__(self) -> None:
        self.requests: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.requests.append(request)
        return Answer(approved=True, digest=request.digest)


def forms(each: Secret) -> list[str]:
    """How a secret could have stayed somewhere: as it is, in JSON, in Base64."""
    return [
        each.secret,
        json.dumps(each.secret)[1:-1],
        base64.b64encode(each.secret.encode()).decode().rstrip("="),
    ]


def kept_in(stored: str) -> list[tuple[str, str]]:
    return [(each.kind, form) for each in SECRETS for form in forms(each) if form in stored]


async def test_nothing_of_the_corpus_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    redactor, model, person = Redactor(), Talkative(), Asked()
    reader, user = Reader("read"), Reader("use")
    agent = Agent(
        model=RedactedModel(model, redactor),
        instructions=f"Be careful with {SECRETS[0].text}",
        tools=[reader, user],
        memory=f"disk:{tmp_path / 'memory'}",
        policy=Policy(),
        limits=Limits(max_turns=len(PAGES) + 3, max_output_chars=3_000),
        retry=RetryPolicy(attempts=1),
    )
    prompt = redactor.text(f"Look at {SECRETS[3].text}")
    run = agent.stream(prompt, session="s", approver=person, run_id="r-1")
    run.tool_layer = lambda tools: redacted_tools(tools, redactor)
    events: list[Event] = [event async for event in run]
    result = run.result

    assert result.status.value == "completed", result.error
    assert len(reader.given) == len(PAGES)
    assert kept_in(msgspec.json.encode(events).decode()) == []
    assert kept_in(msgspec.json.encode(list(result.messages)).decode()) == []
    assert kept_in(result.text) == []
    assert kept_in(repr(result)) == []
    sent = msgspec.json.encode([[each.system, *each.messages] for each in model.requests]).decode()
    assert kept_in(sent) == []
    assert kept_in(caplog.text) == []
    assert kept_in(repr(person.requests)) == []
    assert kept_in(msgspec.json.encode(redactor.state).decode()) == []

    remembered = await open_memory(f"disk:{tmp_path / 'memory'}").load("s")
    assert len(remembered) == len(result.messages)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("artifacts" in path.parts for path in files)
    for path in files:
        assert kept_in(path.read_bytes().decode("latin-1")) == [], path

    # The tool itself was given the true value, in the place of the placeholder.
    [given] = user.given
    assert given["key"] == SECRETS[3].secret
    assert given["raw"] == PAGES[0][1].text
    assert person.requests[0].arguments["key"] == "[secret:aws-access-key-id-1]"
