"""A model is sent no secrets and says none, wherever its stream is cut."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from aof_nb.errors import AllModelsFailed, AuthenticationFailed, BrokenStream, ModelError
from aof_nb.events import (
    ModelEvent,
    ModelResponse,
    Notice,
    ResponseSuperseded,
    RetryScheduled,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from aof_nb.messages import Message, Opaque, StopReason, Text, ToolCall, ToolResult, Usage
from aof_nb.models.redacting import RedactedModel, redacted
from aof_nb.ports import ModelRequest
from aof_nb.redact import RedactionPolicy, Redactor
from aof_nb.redact.tools import RedactedTool
from aof_nb.tools.shell import ShellTool

TOKEN = "c0rrect-h0rse/battery"
PLACEHOLDER = "[secret:DEPLOY_TOKEN]"
KNOWN = {"DEPLOY_TOKEN": TOKEN}


class Fake:
    """A model that yields, or raises, what it is given."""

    name = "fake:model"
    structured_output = "native"

    def __init__(self, *events: ModelEvent | Exception) -> None:
        self.events = events
        self.requests: list[ModelRequest] = []
        self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed += 1

    async def count_tokens(self, request: ModelRequest) -> int:
        self.requests.append(request)
        return 7


def answer(*parts: Any) -> ModelResponse:
    return ModelResponse(Message("assistant", parts), StopReason.END_TURN, Usage(1, 1), "m")


async def said(model: Fake, *messages: Message, system: str = "") -> list[ModelEvent]:
    layer = RedactedModel(model, Redactor(KNOWN))
    request = ModelRequest(messages=messages or (Message.user("hi"),), system=system)
    return [event async for event in layer.stream(request)]


def text_of(events: Sequence[ModelEvent], kind: type = TextDelta) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))  # type: ignore[attr-defined]


async def test_what_holds_no_secret_passes_as_it_is() -> None:
    events = [
        TextDelta("all is "),
        ThinkingDelta("hm "),
        ToolCallDelta(0, "x", '{"a": '),
        answer(Text("all is ")),
    ]
    model = Fake(*events)
    request = ModelRequest(messages=(Message.user("hi"),), system="Be brief.")
    shown = [event async for event in RedactedModel(model, Redactor(KNOWN)).stream(request)]
    assert all(one is other for one, other in zip(shown, events, strict=True))
    assert model.requests[0] is request


async def test_a_request_holds_no_secret() -> None:
    model = Fake(answer(Text("ok")))
    messages = (
        Message.user(f"use {TOKEN}"),
        Message("assistant", (ToolCall("1", "x", {"key": TOKEN}),)),
        Message("tool", (ToolResult("1", "x", "password: hunter2x"),)),
    )
    await said(model, *messages, system=f"Token: {TOKEN}")
    [request] = model.requests
    assert request.system == f"Token: {PLACEHOLDER}"
    assert request.messages[0].text == f"use {PLACEHOLDER}"
    assert request.messages[1].tool_calls[0].arguments == {"key": PLACEHOLDER}
    assert request.messages[2].tool_results[0].content == "password: [secret:password-1]"


async def test_a_message_is_redacted_once_and_stays_as_it_was_sent_first() -> None:
    redactor = Redactor()
    model = Fake(answer(Text("ok")))
    layer = RedactedModel(model, redactor)
    first, plain = Message.user("password: tr0ub4dor&3"), Message.user("say xyzzy-9182-plugh")
    for _ in range(2):
        async for _ in layer.stream(ModelRequest(messages=(first, plain))):
            pass
        redactor.text("token=xyzzy-9182-plugh")
        redactor.text("SECRET_KEY=xyzzy-9182-plughX1")
    one, two = model.requests
    assert one.messages[0] is two.messages[0]
    assert one.messages[1] is two.messages[1] is plain


async def test_messages_that_are_gone_are_not_kept() -> None:
    layer = RedactedModel(Fake(answer(Text("ok"))), Redactor(KNOWN))
    for number in range(5):
        async for _ in layer.stream(ModelRequest(messages=(Message.user(f"{number} {TOKEN}"),))):
            pass
    gc.collect()
    # The fake keeps its response, and the layer the last conversation.
    assert len(layer._messages._known) == 2


@pytest.mark.parametrize("size", [1, 2, 5, 50])
async def test_secrets_in_a_response_split_over_deltas(size: int) -> None:
    text = f"The key is {TOKEN}, and password: hunter2x is the other; that is all"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    arguments = f'{{"key": "{TOKEN}"}}'
    parts = [arguments[start : start + size] for start in range(0, len(arguments), size)]
    model = Fake(
        *map(ThinkingDelta, pieces),
        *map(TextDelta, pieces),
        *(ToolCallDelta(0, "x", part) for part in parts),
        *(ToolCallDelta(1, "y", part) for part in parts),
        answer(Text(text), ToolCall("1", "x", {"key": TOKEN}), Opaque("p", {"u": TOKEN})),
    )
    events = await said(model)
    assert TOKEN not in repr(events)
    expected = (
        f"The key is {PLACEHOLDER}, and password: [secret:password-1] is the other; that is all"
    )
    assert text_of(events) == text_of(events, ThinkingDelta) == expected
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    for index in (0, 1):
        written = "".join(event.arguments for event in calls if event.index == index)
        assert written == f'{{"key": "{PLACEHOLDER}"}}'
    final = events[-1]
    assert isinstance(final, ModelResponse)
    assert final.message.text == expected
    assert final.message.tool_calls[0].arguments == {"key": PLACEHOLDER}
    assert final.usage == Usage(1, 1)
    kinds = [type(event) for event in events]
    assert kinds == sorted(
        kinds, key=[ThinkingDelta, TextDelta, ToolCallDelta, ModelResponse].index
    )


async def test_what_is_held_back_comes_before_what_follows() -> None:
    events = await said(
        Fake(TextDelta("so c0rrect"), ToolCallDelta(0, "x", "{}"), answer(Text("so c0rrect")))
    )
    assert events[:3] == [TextDelta("so "), TextDelta("c0rrect"), ToolCallDelta(0, "x", "{}")]


async def test_a_superseded_response_takes_what_was_held_back_with_it() -> None:
    model = Fake(
        TextDelta("it is c0rrect-"),
        RetryScheduled("m", f"refused {TOKEN}", 0.1, 1, 3),
        ResponseSuperseded("m"),
        TextDelta("h0rse is an animal"),
        answer(Text("h0rse is an animal")),
    )
    events = await said(model)
    assert events[0] == TextDelta("it is ")
    assert events[1] == RetryScheduled("m", f"refused {PLACEHOLDER}", 0.1, 1, 3)
    assert text_of(events[2:]) == "h0rse is an animal"


async def test_notices_hold_no_secret() -> None:
    assert (await said(Fake(Notice(f"see {TOKEN}"), answer(Text("ok")))))[0] == Notice(
        f"see {PLACEHOLDER}"
    )


async def test_a_failure_holds_no_secret_and_loses_nothing() -> None:
    error = BrokenStream(f"broke at {TOKEN}", remedy=f"not {TOKEN}")
    error.partial = Message.assistant(f"the key is {TOKEN}")
    model = Fake(TextDelta("the key is c0rrect"), error)
    layer = RedactedModel(model, Redactor(KNOWN))
    events: list[ModelEvent] = []
    with pytest.raises(BrokenStream) as raised:
        async for event in layer.stream(ModelRequest(messages=(Message.user("x"),))):
            events.append(event)
    assert text_of(events) == "the key is c0rrect"
    assert str(raised.value) == raised.value.message == f"broke at {PLACEHOLDER}"
    assert raised.value.remedy == f"not {PLACEHOLDER}"
    assert raised.value.partial == Message.assistant(f"the key is {PLACEHOLDER}")
    assert model.closed == 1


async def test_the_failures_of_a_chain_hold_no_secret() -> None:
    inner = AuthenticationFailed(f"key {TOKEN} is wrong")
    model = Fake(AllModelsFailed([("a:b", inner)]))
    with pytest.raises(AllModelsFailed) as raised:
        await said(model)
    assert TOKEN not in f"{raised.value} {raised.value.failures}"


async def test_another_failure_becomes_a_model_s() -> None:
    with pytest.raises(ModelError, match=r"fake:model failed: OSError: no \[secret:DEPLOY_TOKEN\]"):
        await said(Fake(OSError(f"no {TOKEN}")))
    with pytest.raises(OSError, match="plain"):
        await said(Fake(OSError("plain")))


async def test_closing_the_stream_closes_the_model_s() -> None:
    model = Fake(TextDelta("one "), TextDelta("two "))
    stream = RedactedModel(model, Redactor()).stream(ModelRequest(messages=(Message.user("x"),)))
    assert await anext(stream) == TextDelta("one ")
    await stream.aclose()
    assert model.closed == 1


async def test_what_else_a_model_offers_is_there() -> None:
    model = Fake()
    layer, tools = redacted(model, [ShellTool()], Redactor(KNOWN))
    assert layer.name == "fake:model"
    assert layer.structured_output == "native"  # type: ignore[attr-defined]
    assert isinstance(tools[0], RedactedTool)
    assert await layer.count_tokens(ModelRequest(messages=(Message.user(TOKEN),))) == 7  # type: ignore[attr-defined]
    assert model.requests[0].messages[0].text == PLACEHOLDER


async def test_secrets_a_user_writes_may_be_used() -> None:
    redactor = Redactor(KNOWN)
    layer = RedactedModel(Fake(answer(Text("ok"))), redactor)
    request = ModelRequest(messages=(Message.user("deploy"),), system=f"Deploy with {PLACEHOLDER}.")
    async for _ in layer.stream(request):
        pass
    assert redactor.restore(PLACEHOLDER) == TOKEN


async def test_redaction_that_is_turned_off_adds_no_layers() -> None:
    model, tool = Fake(), ShellTool()
    off = Redactor(KNOWN, policy=RedactionPolicy(enabled=False))
    assert redacted(model, [tool], off) == (model, [tool])
