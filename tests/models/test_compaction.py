"""What is left out of a conversation leaves one that every provider takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError, ContextTooLong
from aof_nb.events import ContextCompacted, ModelEvent, ModelResponse, Notice
from aof_nb.messages import Message, Role, StopReason, Text, ToolCall, ToolResult, Usage
from aof_nb.models import compacting
from aof_nb.models.compacting import CompactingModel
from aof_nb.models.compaction import ContextPolicy, last_turns, old_turns, without_outputs
from aof_nb.models.tokens import estimate
from aof_nb.ports import ModelRequest, Sampling


class Narrow:
    """A model that refuses what is more tokens than it takes, and summarises if it has no system.

    Args:
        window: Tokens it takes.
    """

    name = "openai-chat:narrow"

    def __init__(self, window: int) -> None:
        self.window = window
        self.sent: list[ModelRequest] = []
        self.refused = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        if request.system.startswith("You summarise"):
            yield response("It was found that the pool is full.", 100)
            return
        if (size := estimate(request)) > self.window:
            self.refused += 1
            raise ContextTooLong(f"prompt is too long: {size} tokens > {self.window} maximum")
        self.sent.append(request)
        yield response("ok", size)


def response(text: str, size: int) -> ModelResponse:
    return ModelResponse(Message.assistant(text), StopReason.END_TURN, Usage(size, 5), "narrow")


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Prompts, each followed by turns with calls; the last message is one to be answered."""
    conversation, number = list[Message](), 0
    for place in range(draw(st.integers(1, 4))):
        conversation.append(Message.user(f"prompt {place} " + "p" * draw(st.integers(0, 900))))
        for _ in range(draw(st.integers(0, 6))):
            calls, results = list[ToolCall](), list[ToolResult]()
            for _ in range(draw(st.integers(1, 3))):
                number += 1
                calls.append(ToolCall(f"c{number}", "read_log", {"part": number}))
                output = f"output {number} " + "x" * draw(st.integers(0, 5000))
                kept = f"c{number}.txt" if draw(st.booleans()) else None
                results.append(ToolResult(f"c{number}", "read_log", output, artifact=kept))
            text = (Text("t" * draw(st.integers(1, 500))),) if draw(st.booleans()) else ()
            conversation.append(Message("assistant", (*text, *calls)))
            conversation.append(Message("tool", tuple(results)))
        if draw(st.booleans()):
            conversation.append(Message.assistant("a" * draw(st.integers(1, 2000))))
    if conversation[-1].role == "assistant":
        conversation.append(Message.user("and now?"))
    return conversation


def check(messages: tuple[Message, ...], original: tuple[Message, ...]) -> None:
    assert messages[0] is original[0]
    open_calls: list[str] = []
    for message in messages:
        if open_calls:
            assert message.role == "tool"
            assert [result.call_id for result in message.tool_results] == open_calls
            open_calls = []
        else:
            assert message.role != "tool"
        open_calls = [call.id for call in message.tool_calls]
    assert not open_calls
    prompts = [message for message in original if message.role == "user"]
    assert messages[-1].role == original[-1].role
    assert any(message is prompts[-1] for message in messages)


def answer(model: CompactingModel, request: ModelRequest) -> list[ModelEvent]:
    async def collect() -> list[ModelEvent]:
        return [event async for event in model.stream(request)]

    return asyncio.run(collect())


@given(
    conversations(),
    st.integers(300, 6000),
    st.booleans(),
    st.integers(1, 4),
    st.booleans(),
)
def test_whatever_is_sent_is_a_whole_conversation(
    conversation: list[Message], window: int, known: bool, keep: int, summarises: bool
) -> None:
    narrow = Narrow(window)
    policy = ContextPolicy(
        window=window if known else None,
        keep_last=keep,
        summary_model=None if summarises else False,
    )
    model = CompactingModel(narrow, policy)
    # Turn by turn, as a run does.
    ends = [n for n in range(1, len(conversation) + 1) if conversation[n - 1].role != "assistant"]
    for end in ends:
        request = ModelRequest(messages=tuple(conversation[:end]))
        before = msgspec.json.encode(request)
        asked, refused = len(narrow.sent), narrow.refused
        with contextlib.suppress(ContextTooLong):
            events = answer(model, request)
            for event in events:
                if isinstance(event, ContextCompacted):
                    done = bool(event.dropped or event.summarised or event.shortened)
                    assert (event.after < event.before) == done
                    assert done or event.usage.total_tokens
        assert msgspec.json.encode(request) == before
        assert len(narrow.sent) - asked + narrow.refused - refused <= 2
        for sent in narrow.sent[asked:]:
            check(sent.messages, request.messages)


@given(conversations(), st.integers(1, 5))
def test_outputs_are_left_out_once_and_only_before_the_last_turns(
    conversation: list[Message], keep: int
) -> None:
    messages = tuple(conversation)
    end = last_turns(messages, keep)
    shorter, dropped = without_outputs(messages, end)
    assert shorter[end:] == messages[end:]
    assert len(shorter) == len(messages)
    assert without_outputs(shorter, end) == (shorter, ())
    assert (shorter is messages) == (not dropped)
    calls = [message.tool_calls for message in messages]
    assert [message.tool_calls for message in shorter] == calls
    kept = [result for message in messages[end:] for result in message.tool_results]
    turns = sum(bool(message.tool_calls) for message in messages[end:])
    assert not kept or turns <= keep


@pytest.mark.parametrize(
    ("roles", "keep", "start"),
    [
        ("u", 2, 1),
        ("uatat", 1, 3),
        ("uatat", 2, 1),
        ("uatat", 9, 1),
        ("uatauat", 2, 3),
        ("uatauatu", 1, 5),
        ("uatuuat", 2, 1),
        # A response that was gone on with after a pause is one turn with what follows.
        ("uataat", 1, 3),
    ],
)
def test_where_the_last_turns_begin(roles: str, keep: int, start: int) -> None:
    words: dict[str, Role] = {"u": "user", "a": "assistant", "t": "tool"}
    messages = tuple(Message(words[role], ()) for role in roles)
    assert last_turns(messages, keep) == start


def test_a_placeholder_names_tool_size_and_artifact() -> None:
    call = Message("assistant", (ToolCall("c1", "read_log", {}),))
    result = ToolResult("c1", "read_log", "x" * 12_345, artifact="c1.txt")
    messages = (Message.user("why?"), call, Message("tool", (result,)))
    [shorter] = without_outputs(messages, 3)[0][2].tool_results
    assert shorter.content == (
        "[output of read_log left out: 12,345 characters; whole output kept as c1.txt]"
    )
    assert (shorter.call_id, shorter.outcome, shorter.artifact) == (
        "c1",
        result.outcome,
        "c1.txt",
    )


def test_an_earlier_summary_is_summarised_again_and_prompts_are_not() -> None:
    first, summary, prompt = Message.user("why?"), Message.user("[summary]"), Message.user("now?")
    messages = (first, summary, prompt, Message.assistant("a"), Message.assistant("b"))
    split = old_turns(messages, 4, summary)
    assert split.first == (first,)
    assert split.old == (summary, messages[3])
    assert split.prompt == (prompt,)
    assert split.rest == (messages[4],)
    assert [each.text[:9] for each in split.summarised("s", "m")] == [
        "why?",
        "[The earl",
        "now?",
        "b",
    ]


def test_a_conversation_that_is_another_forgets_what_was_left_out() -> None:
    narrow = Narrow(2000)
    model = CompactingModel(narrow, ContextPolicy(window=2000))
    call = Message("assistant", (ToolCall("c1", "read_log", {}),))
    output = Message("tool", (ToolResult("c1", "read_log", "x" * 9000),))
    long = ModelRequest(messages=(Message.user("why?"), call, output))
    events = answer(model, long)
    assert any(isinstance(event, ContextCompacted) for event in events)
    other = ModelRequest(messages=(Message.user("how?"), call, Message("tool", output.parts[:0])))
    answer(model, other)
    assert narrow.sent[-1] is other


class Slow:
    """A model that says it waits, and goes on waiting."""

    name = "openai-chat:slow"
    closed = False

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        try:
            yield Notice("waits")
            await asyncio.sleep(3600)
        finally:
            self.closed = True


@pytest.mark.parametrize("refused", [True, False])
async def test_closing_while_it_is_summarised_closes_the_summarys_stream(refused: bool) -> None:
    slow = Slow()
    policy = ContextPolicy(window=None if refused else 3000, summary_model=slow)
    model = CompactingModel(Narrow(3000), policy)
    turns = [(Message.assistant("a" * 3000), Message.user(f"and {n}?")) for n in range(5)]
    messages = (Message.user("why?"), *(each for turn in turns for each in turn))
    stream = model.stream(ModelRequest(messages=messages))
    async for event in stream:
        if event == Notice("waits"):
            break
    assert not slow.closed
    await stream.aclose()
    assert slow.closed


async def test_output_that_is_asked_for_is_kept_free_once() -> None:
    narrow = Narrow(1000)
    refusal = (
        "input length and `max_tokens` exceed context limit: 1100 + 1000 > 2000, decrease input "
        "length or `max_tokens` and try again"
    )

    async def stream(request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        if (size := estimate(request)) > narrow.window:
            raise ContextTooLong(refusal)
        narrow.sent.append(request)
        yield response("ok", size)

    narrow.stream = stream  # type: ignore[method-assign]
    model = CompactingModel(narrow, ContextPolicy(warn_at=1.0))
    call = Message("assistant", (ToolCall("c1", "read_log", {}),))
    output = Message("tool", (ToolResult("c1", "read_log", "x" * 3300),))
    sampling = Sampling(max_tokens=1000)
    first = ModelRequest(messages=(Message.user("why?"), call, output), sampling=sampling)
    assert any([isinstance(event, ContextCompacted) async for event in model.stream(first)])
    # 700 of the 1000 that are free besides the output.
    other = ModelRequest(messages=(Message.user("y" * 2000),), sampling=sampling)
    events = [event async for event in model.stream(other)]
    assert [type(event) for event in events] == [ModelResponse]


async def test_the_last_outputs_stay_whole_if_the_named_window_has_room_for_them() -> None:
    narrow = Narrow(2000)
    model = CompactingModel(narrow, ContextPolicy(summary_model=False))
    turns = [
        (
            Message("assistant", (ToolCall(f"c{n}", "read_log", {}),)),
            Message("tool", (ToolResult(f"c{n}", "read_log", "x" * size),)),
        )
        for n, size in enumerate([3000, 4200])
    ]
    messages = (Message.user("why?"), *(each for turn in turns for each in turn))
    events = [event async for event in model.stream(ModelRequest(messages=messages))]
    [compacted] = [event for event in events if isinstance(event, ContextCompacted)]
    assert (compacted.dropped, compacted.shortened) == (("read_log",), False)
    assert narrow.sent[-1].messages[-1] is messages[-1]


async def test_only_the_latest_conversations_are_remembered() -> None:
    call = Message("assistant", (ToolCall("c1", "read_log", {}),))
    output = Message("tool", (ToolResult("c1", "read_log", "x" * 9000),))
    for n in range(100):
        model = CompactingModel(Narrow(2000), ContextPolicy(window=2000))
        request = ModelRequest(messages=(Message.user(f"why {n}?"), call, output))
        assert any([isinstance(event, ContextCompacted) async for event in model.stream(request)])
    assert len(compacting._plans) <= 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": {"ollama": -1}},
        {"warn_at": 80},
        {"compact_at": 0},
        {"keep_last": 0},
    ],
)
def test_a_policy_that_is_none_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        ContextPolicy(**wrong)  # type: ignore[arg-type]
