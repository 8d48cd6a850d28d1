"""Our decoders must make of the providers' bytes what was put in, however they are cut."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb.errors import ModelError, Overloaded
from aof_nb.events import ModelEvent, ModelResponse, TextDelta, ThinkingDelta
from aof_nb.messages import Opaque, StopReason, Thinking
from aof_nb.models.anthropic_decoding import MessagesDecoder
from aof_nb.models.assembly import Decoder, tool_call
from aof_nb.models.openai_chat_decoding import ChatDecoder
from aof_nb.models.openai_responses_decoding import ResponsesDecoder
from aof_nb.models.sse import EventStream
from tests.fakes import (
    RedactedThinking,
    Reply,
    ServerTool,
    StreamError,
    ToolCall,
    Usage,
    anthropic_events,
    odd,
    openai_chat_chunks,
    openai_responses_events,
)
from tests.fakes import Thinking as Thought

Make = Callable[[str], Decoder]
PROTOCOLS: dict[str, tuple[Make, Callable[..., bytes]]] = {
    "messages": (MessagesDecoder, anthropic_events),
    "chat": (ChatDecoder, openai_chat_chunks),
    "responses": (ResponsesDecoder, openai_responses_events),
}


def decode(decoder: Decoder, pieces: list[bytes]) -> list[ModelEvent]:
    stream, events = EventStream(), []
    for piece in pieces:
        for payload in stream.feed(piece):
            decoder.feed(payload)
        events += decoder.events()
    for payload in stream.flush():
        decoder.feed(payload)
    return [*events, *decoder.events()]


def whole(make: Make, body: bytes) -> ModelResponse:
    decoder = make("asked")
    decode(decoder, [body])
    assert decoder.complete
    return decoder.response()


ODD = [
    pytest.param(PROTOCOLS[protocol][0], case, id=f"{protocol}-{case.name}")
    for protocol, cases in (
        ("chat", odd.CHAT),
        ("messages", odd.MESSAGES),
        ("responses", odd.RESPONSES),
    )
    for case in cases
]
STOPS = {
    "stop": StopReason.END_TURN,
    "end_turn": StopReason.END_TURN,
    "completed": StopReason.END_TURN,
    "tool_calls": StopReason.TOOL_USE,
    "tool_use": StopReason.TOOL_USE,
    "length": StopReason.MAX_TOKENS,
    "max_output_tokens": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
    "refusal": StopReason.REFUSAL,
}


@pytest.mark.parametrize(("make", "case"), ODD)
def test_odd_streams_mean_what_they_say(make: Make, case: odd.Odd) -> None:
    decoder = make("asked")
    events = decode(decoder, [case.body])
    assert decoder.complete is case.whole
    if not case.whole:
        partial, _ = decoder.partial()
        assert partial is not None
        assert partial.interrupted
        assert case.text.startswith(partial.text)
        return
    response = decoder.response()
    message = response.message
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert shown == message.text
    assert message.text in {case.text, case.refusal, case.text + case.refusal}
    thinking = "".join(part.text for part in message.parts if isinstance(part, Thinking))
    assert thinking == case.thinking
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == case.thinking
    assert [call.name for call in message.tool_calls] == [name for name, _ in case.calls]
    for call, (_, text) in zip(message.tool_calls, case.calls, strict=True):
        if call.arguments is None:
            assert call.raw_arguments == text
        else:
            assert call.arguments == msgspec.json.decode(text)
    expected = STOPS[case.stop or "stop"]
    if case.calls and expected is StopReason.END_TURN:
        expected = StopReason.TOOL_USE
    assert response.stop_reason is (StopReason.REFUSAL if case.refusal else expected)


def rich() -> Reply:
    return Reply(
        Thought("Let me look…"),
        odd.TEXT,
        ToolCall("read_log", {"lines": 20, "pattern": "é🚑"}),
        ToolCall("restart", {"now": True}),
        usage=Usage(input=2100, output=80, cache_read=1920, cache_write=0, reasoning=30),
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(seed=st.integers())
@settings(max_examples=60, deadline=None)
def test_how_the_bytes_are_split_does_not_matter(protocol: str, seed: int) -> None:
    make, encode = PROTOCOLS[protocol]
    body = encode(rich())
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(body)) for _ in range(chance.randint(0, 60)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    decoder = make("asked")
    events = decode(decoder, pieces)
    assert decoder.complete
    expected = whole(make, body)
    assert decoder.response() == expected
    shown = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert shown == odd.TEXT


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_cut_at_any_byte_is_either_whole_or_says_so(protocol: str) -> None:
    make, encode = PROTOCOLS[protocol]
    body = encode(rich())
    expected = whole(make, body)
    complete = 0
    for end in range(len(body)):
        decoder = make("asked")
        with contextlib.suppress(msgspec.DecodeError):
            decode(decoder, [body[:end]])
        if decoder.complete:
            complete += 1
            assert decoder.response().message.parts == expected.message.parts
        else:
            partial, _ = decoder.partial()
            if partial is not None:
                assert odd.TEXT.startswith(partial.text)
                assert all(call in expected.message.tool_calls for call in partial.tool_calls)
    assert complete < len(body) / 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_usage_counts_cached_and_reasoning_tokens(protocol: str) -> None:
    make, encode = PROTOCOLS[protocol]
    usage = whole(make, encode(rich())).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (2100, 80, 1920)
    if protocol != "messages":
        assert usage.reasoning_tokens == 30


def test_cache_writes_count_as_input() -> None:
    reply = Reply("ok", usage=Usage(input=100, output=5, cache_read=20, cache_write=70))
    usage = whole(MessagesDecoder, anthropic_events(reply)).usage
    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (100, 20, 70)


def test_thinking_keeps_its_signature_and_redacted_blocks_are_carried() -> None:
    reply = Reply(Thought("Hm"), RedactedThinking(), "ok")
    first, second, _ = whole(MessagesDecoder, anthropic_events(reply)).message.parts
    assert isinstance(first, Thinking)
    assert first.opaque == {
        "type": "thinking",
        "thinking": "Hm",
        "signature": reply.parts[0].seal,  # type: ignore[union-attr]
    }
    assert isinstance(second, Thinking)
    assert second.opaque["data"] == reply.parts[1].data  # type: ignore[union-attr]


def test_encrypted_reasoning_is_kept_as_it_came() -> None:
    parts = whole(
        ResponsesDecoder, openai_responses_events(Reply(Thought("Hm"), "ok"))
    ).message.parts
    assert isinstance(parts[0], Thinking)
    assert parts[0].opaque["type"] == "reasoning"
    assert parts[0].opaque["encrypted_content"]


def test_server_side_tools_are_carried_through() -> None:
    body = anthropic_events(Reply("Looking.", ServerTool(input={"query": "x"}), "Found."))
    message = whole(MessagesDecoder, body).message
    blocks = [part.block for part in message.parts if isinstance(part, Opaque)]
    assert [block["type"] for block in blocks] == ["server_tool_use", "web_search_tool_result"]
    assert blocks[0]["input"] == {"query": "x"}
    assert not message.tool_calls


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_error_in_the_stream_is_typed(protocol: str) -> None:
    make, encode = PROTOCOLS[protocol]
    error = StreamError("overloaded_error", "Overloaded", code="server_is_overloaded", after=4)
    decoder = make("asked")
    with pytest.raises(ModelError) as caught:
        decode(decoder, [encode(Reply("Half of the answer is here", error=error))])
    assert isinstance(caught.value, Overloaded)
    assert caught.value.retryable


def test_text_of_one_read_is_one_event() -> None:
    body = openai_chat_chunks(Reply("x" * 4000, delta=1))
    events = decode(ChatDecoder("asked"), [body[i : i + 65536] for i in range(0, len(body), 65536)])
    assert len(events) <= len(body) / 65536 + 1


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_the_event_stream_takes_any_bytes(pieces: list[bytes]) -> None:
    one, many = EventStream(), EventStream()
    at_once = [*one.feed(b"".join(pieces)), *one.flush()]
    piecewise = [payload for piece in pieces for payload in many.feed(piece)]
    assert [*piecewise, *many.flush()] == at_once


@pytest.mark.parametrize("raw", ['{"a": ', "[1]", '{"a": ' + "[" * 5000 + "]" * 5000 + "}"])
def test_arguments_that_are_no_object_that_can_be_read_are_kept_as_text(raw: str) -> None:
    call = tool_call("c1", "look", raw)
    assert (call.arguments, call.raw_arguments) == (None, raw)


@pytest.mark.parametrize("index", ["", '"index": null, '])
def test_calls_without_an_index_are_told_apart_by_their_ids(index: str) -> None:
    decoder = ChatDecoder("asked")
    for call_id, arguments in [("a", '{\\"n\\"'), ("", ": 1}"), ("b", '{\\"n\\": 2}')]:
        named = f'"id": "{call_id}", ' if call_id else ""
        name = '"name": "f", ' if call_id else ""
        call = f'{{{index}{named}"function": {{{name}"arguments": "{arguments}"}}}}'
        decoder.feed(f'{{"choices": [{{{index}"delta": {{"tool_calls": [{call}]}}}}]}}'.encode())
    decoder.feed(b'{"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}')
    calls = decoder.response().message.tool_calls
    assert [(each.id, each.arguments) for each in calls] == [("a", {"n": 1}), ("b", {"n": 2})]
