"""Bedrock's stream must be made into what was put in, however its bytes are cut."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from aof_nb.errors import ModelError
from aof_nb.events import ModelEvent, ModelResponse, TextDelta
from aof_nb.messages import Opaque, StopReason, Text, Thinking
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.bedrock_failures import refusal
from aof_nb.models.bedrock_families import FAMILIES, family_of
from aof_nb.models.event_stream import DamagedStream, EventStreamFrames
from tests.fakes import RedactedThinking, Reply, ServerTool, ToolCall, Usage, bedrock_events, odd
from tests.fakes import Thinking as Thought
from tests.fakes.bedrock import bedrock_message, event, message


def rich() -> Reply:
    return Reply(
        Thought("Let me look…"),
        RedactedThinking(),
        odd.TEXT,
        ToolCall("read_log", {"lines": 20, "pattern": "é🚑"}),
        ToolCall("restart", {"now": True}),
        usage=Usage(input=2100, output=80, cache_read=1920, cache_write=0),
    )


def decode(decoder: ConverseDecoder, pieces: list[bytes]) -> list[ModelEvent]:
    events: list[ModelEvent] = []
    for piece in pieces:
        decoder.feed(piece)
        events += decoder.events()
    return events


def whole(body: bytes) -> ModelResponse:
    decoder = ConverseDecoder("asked")
    decode(decoder, [body])
    assert decoder.complete
    return decoder.response()


def cut(body: bytes, places: list[int]) -> list[bytes]:
    return [body[a:b] for a, b in itertools.pairwise([0, *sorted(places), len(body)])]


@given(seed=st.integers())
@settings(max_examples=60, deadline=None)
def test_how_the_bytes_are_split_does_not_matter(seed: int) -> None:
    body = bedrock_events(rich())
    chance = random.Random(seed)
    places = [chance.randrange(len(body)) for _ in range(chance.randint(0, 60))]
    decoder = ConverseDecoder("asked")
    events = decode(decoder, cut(body, places))
    assert decoder.response() == whole(body)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == odd.TEXT


def test_a_stream_cut_at_any_byte_is_either_whole_or_says_so() -> None:
    body = bedrock_events(rich())
    expected = whole(body)
    complete = 0
    for end in range(len(body)):
        decoder = ConverseDecoder("asked")
        decode(decoder, [body[:end]])
        if decoder.complete:
            complete += 1
            assert decoder.response().message.parts == expected.message.parts
            continue
        partial, _ = decoder.partial()
        if partial is not None:
            assert odd.TEXT.startswith(partial.text)
            others = [part for part in partial.parts if not isinstance(part, Text)]
            assert all(part in expected.message.parts for part in others)
    assert 0 < complete < len(body) / 2


def test_a_byte_changed_anywhere_never_passes_for_another_answer() -> None:
    body = bedrock_events(Reply("It is the lock.", ToolCall("read_log", {"lines": 3})))
    expected = whole(body).message
    for place in range(len(body)):
        damaged = bytearray(body)
        damaged[place] ^= 0x20
        decoder = ConverseDecoder("asked")
        try:
            decode(decoder, [bytes(damaged)])
        except DamagedStream:
            partial, _ = decoder.partial()
            assert partial is None or expected.text.startswith(partial.text)
        if decoder.complete:
            assert decoder.response().message == expected


def test_reasoning_is_kept_as_it_came() -> None:
    reply = rich()
    first, second, *_ = whole(bedrock_events(reply)).message.parts
    thought, sealed = reply.parts[:2]
    assert isinstance(thought, Thought)
    assert isinstance(sealed, RedactedThinking)
    said = {"text": thought.text, "signature": thought.seal}
    assert first == Thinking(thought.text, "bedrock", {"reasoningContent": {"reasoningText": said}})
    block = {"reasoningContent": {"redactedContent": sealed.data}}
    assert second == Thinking("", "bedrock", block)


def test_redacted_reasoning_in_pieces_is_joined() -> None:
    deltas = [{"reasoningContent": {"redactedContent": piece}} for piece in ("YQ==", "Yg==")]
    body = b"".join(event("contentBlockDelta", contentBlockIndex=0, delta=d) for d in deltas)
    [part] = whole(body + event("messageStop", stopReason="end_turn")).message.parts
    assert isinstance(part, Thinking)
    assert part.opaque == {"reasoningContent": {"redactedContent": "YWI="}}


def test_a_whole_response_means_what_the_stream_means() -> None:
    reply = Reply(*rich().parts, ServerTool(), usage=rich().usage)
    decoder = ConverseDecoder("asked")
    decoder.feed_whole(json.dumps(bedrock_message(reply)).encode())
    assert decoder.response() == whole(bedrock_events(reply))


def test_unknown_events_fields_and_blocks_are_skipped_or_carried() -> None:
    body = b"".join(
        [
            event("initial-response"),
            event("messageStart", role="assistant", mood="good"),
            event("heartbeat", n=1),
            event("contentBlockDelta", contentBlockIndex=0, delta={"text": "ok"}, aroma=1),
            event("contentBlockDelta", contentBlockIndex=0, delta={"citation": {"title": "T"}}),
            event("contentBlockStart", contentBlockIndex=1, start={"hologram": {"x": 1}}),
            event("contentBlockDelta", contentBlockIndex=1, delta={"hologram": "y"}),
            message({":message-type": "of tomorrow"}, b"\x00"),
            event("messageStop", stopReason="end_turn", additionalModelResponseFields={"a": 1}),
            event("metadata", usage={"inputTokens": 3, "outputTokens": 2, "moonTokens": 9}),
        ]
    )
    response = whole(body)
    assert response.message.text == "ok"
    assert response.stop_reason is StopReason.END_TURN
    assert (response.usage.input_tokens, response.usage.output_tokens) == (3, 2)
    carried = [part.block for part in response.message.parts if isinstance(part, Opaque)]
    assert carried == [{"start": {"hologram": {"x": 1}}, "deltas": [{"hologram": "y"}]}]


def test_a_router_says_which_model_answered() -> None:
    invoked = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    body = event("messageStop", stopReason="end_turn")
    body += event("metadata", usage={}, trace={"promptRouter": {"invokedModelId": invoked}})
    assert whole(body).model == "bedrock:amazon.nova-lite-v1:0"


def test_an_error_message_of_the_protocol_is_an_error() -> None:
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "Oh."}
    with pytest.raises(ModelError, match="Oh"):
        ConverseDecoder("asked").feed(message(headers, b""))


def test_the_framing_is_read_as_botocore_reads_it() -> None:
    body = bedrock_events(rich())
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    theirs = [(found.headers, found.payload) for found in buffer]
    assert list(EventStreamFrames().feed(body)) == theirs


def test_headers_of_all_types_are_taken_apart() -> None:
    odd_headers = b"".join(
        bytes([1, 97 + kind, kind]) + value
        for kind, value in enumerate(
            [
                b"",
                b"",
                b"\x01",
                b"\x00\x01",
                b"\x00\x00\x00\x01",
                bytes(8),
                b"\x00\x02\xff\xfe",
                b"\x00\x01z",
                bytes(8),
                bytes(16),
            ]
        )
    )
    framed = framed_with(odd_headers, b"{}")
    assert list(EventStreamFrames().feed(framed)) == [({"h": "z"}, b"{}")]
    buffer = EventStreamBuffer()
    buffer.add_data(framed)
    assert len(next(iter(buffer)).headers) == 10


def framed_with(headers: bytes, payload: bytes) -> bytes:
    import struct
    import zlib

    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack("!I", zlib.crc32(head))


@pytest.mark.parametrize(
    "headers", [b"\x05a", b"\x01a\x0b", b"\x01a\x07\x00\x09z", b"\x01\xff\x00"]
)
def test_headers_that_cannot_be_read_are_damage(headers: bytes) -> None:
    with pytest.raises(DamagedStream):
        list(EventStreamFrames().feed(framed_with(headers, b"{}")))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_stream_are_damage_or_not_enough(data: bytes) -> None:
    frames = EventStreamFrames()
    try:
        assert list(frames.feed(data)) == []
    except DamagedStream:
        assert len(data) >= 12


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "Claude 3.5 Sonnet (June) and earlier"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5"),
        ("anthropic.claude-opus-4-20250514-v1:0", "Claude 3.7 and 4"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "Claude 4.1"),
        ("global.anthropic.claude-sonnet-4-6", "Claude 4.6"),
        ("global.anthropic.claude-opus-4-8", "Claude 4.7 and later"),
        ("anthropic.claude-sonnet-5", "Claude 4.7 and later"),
        ("us.amazon.nova-2-lite-v1:0", "Nova 2"),
        ("us.amazon.nova-premier-v1:0", "Nova"),
        ("mistral.mistral-7b-instruct-v0:2", "Mistral Instruct"),
        ("mistral.mistral-large-2407-v1:0", "Mistral Large"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "Llama"),
        ("openai.gpt-oss-20b-1:0", "gpt-oss"),
        ("qwen.qwen3-coder-480b-a35b-v1:0", "others"),
    ],
)
def test_families_are_told_by_their_ids(model: str, name: str) -> None:
    assert family_of(model).name == name


def test_every_family_is_named_once() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("code", "said", "remedy"),
    [
        (
            "ValidationException",
            (
                "Invocation of model ID x with on-demand throughput isn’t supported. Retry your "
                "request with the ID or ARN of an inference profile that contains this model."
            ),
            "inference profile",
        ),
        ("AccessDeniedException", "You don't have access to the model with this ID.", "console"),
        ("ExpiredTokenException", "The security token included is expired", "sso login"),
        ("ThrottlingException", "Too many tokens per day", "daily quota"),
    ],
)
def test_remedies_are_for_the_case(code: str, said: str, remedy: str) -> None:
    assert remedy in refusal(code, said).remedy


def test_the_documentation_says_what_the_families_take() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bedrock.md").read_text()
    for family in FAMILIES:
        sampling = "both" if family.both else "temperature or top_p"
        thinking = {"": "", "budget": "with a budget"}.get(family.thinking, family.thinking)
        cells = [
            family.name,
            sampling if family.sampling else "none",
            ", ".join(family.cache),
            thinking,
            "yes" if family.effort else "",
            "yes" if family.streams_tools else "no",
            family.structured,
        ]
        row = "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
        assert row in page
