"""Streams that are not as they should be: every value of a recording, changed in every way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from aof_nb.errors import ModelError
from aof_nb.models.anthropic_decoding import MessagesDecoder
from aof_nb.models.assembly import Decoder
from aof_nb.models.bedrock_decoding import ConverseDecoder
from aof_nb.models.event_stream import EventStreamFrames
from aof_nb.models.openai_chat_decoding import ChatDecoder
from aof_nb.models.openai_responses_decoding import ResponsesDecoder
from tests.fakes import (
    MISTRAL,
    OPENROUTER,
    Reply,
    ServerTool,
    Thinking,
    ToolCall,
    anthropic_frames,
    bedrock_frames,
    openai_chat_frames,
    openai_responses_frames,
)
from tests.fakes.bedrock import message

Payload = dict[str, Any]
TWO_CALLS = Reply(
    Thinking("Two logs."), "Look.", ToolCall("read", {"n": [1, {"a": None}]}), ToolCall("read", {})
)


def of_sse(frames: list[bytes]) -> list[Payload]:
    lines = [line for frame in frames for line in frame.decode().split("\n")]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def of_event_stream(frames: list[bytes]) -> list[Payload]:
    return [
        {"headers": headers, "body": json.loads(body)}
        for frame in frames
        for headers, body in EventStreamFrames().feed(frame)
    ]


class Recording:
    """A stream's events as JSON, the decoder for it, and how an event is fed to it."""

    def __init__(
        self,
        make: Callable[[], Decoder],
        events: list[Payload],
        feed: Callable[[Decoder, Payload], None],
    ) -> None:
        self.make, self.events, self.feed = make, events, feed

    def read(self, events: list[Payload]) -> Any:
        """The message that the events amount to, or the error."""
        decoder = self.make()
        try:
            for event in events:
                self.feed(decoder, event)
                list(decoder.events())
        except (ModelError, msgspec.DecodeError) as error:
            # `stream_response` makes a broken stream of the latter.
            return error
        partial, _ = decoder.partial()
        msgspec.json.encode(partial)
        if not decoder.complete:
            return None
        response = decoder.response()
        msgspec.json.encode(response)
        return response.message


def _feed(decoder: Decoder, event: Payload) -> None:
    decoder.feed(json.dumps(event).encode())


def _feed_frame(decoder: Decoder, event: Payload) -> None:
    decoder.feed(message(event["headers"], json.dumps(event["body"]).encode()))


RECORDINGS = {
    "anthropic": Recording(
        lambda: MessagesDecoder("anthropic:x"),
        of_sse(
            anthropic_frames(
                Reply(Thinking("Hm."), "Look.", ServerTool(), ToolCall("read", {"n": 2}))
            )
        ),
        _feed,
    ),
    "chat": Recording(
        lambda: ChatDecoder("openai-chat:x"),
        of_sse(openai_chat_frames(TWO_CALLS, None, OPENROUTER)),
        _feed,
    ),
    "mistral": Recording(
        lambda: ChatDecoder("openai-chat:x"),
        of_sse(openai_chat_frames(TWO_CALLS, None, MISTRAL)),
        _feed,
    ),
    "responses": Recording(
        lambda: ResponsesDecoder("openai:x"), of_sse(openai_responses_frames(TWO_CALLS)), _feed
    ),
    "bedrock": Recording(
        lambda: ConverseDecoder("bedrock:x"),
        of_event_stream(bedrock_frames(TWO_CALLS)),
        _feed_frame,
    ),
}
every_recording = pytest.mark.parametrize("name", RECORDINGS)
_GONE = object()
CHANGES: dict[str, Callable[[Any], Any]] = {
    "null": lambda _: None,
    "gone": lambda _: _GONE,
    "a number": lambda _: 7,
    "less than nothing": lambda _: -1,
    "a text": lambda _: "other",
    "true": lambda _: True,
    "in a list": lambda old: [old],
    "in an object": lambda old: {"other": old},
    "empty": lambda old: type(old)() if old is not None else None,
}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*place, key)
            yield from places(value[key], (*place, key))


def changed(event: Payload, place: tuple[Any, ...], change: Callable[[Any], Any]) -> Payload:
    result = copy.deepcopy(event)
    owner: Any = result
    for key in place[:-1]:
        owner = owner[key]
    new = change(owner[place[-1]])
    if new is _GONE:
        del owner[place[-1]]
    else:
        owner[place[-1]] = new
    return result


@every_recording
@pytest.mark.parametrize("change", CHANGES)
def test_no_value_anywhere_is_an_error_without_a_type(name: str, change: str) -> None:
    recording = RECORDINGS[name]
    tried = 0
    for index, event in enumerate(recording.events):
        for place in places(event.get("body", event) if name == "bedrock" else event):
            where = ("body", *place) if name == "bedrock" else place
            new = changed(event, where, CHANGES[change])
            recording.read([*recording.events[:index], new, *recording.events[index + 1 :]])
            tried += 1
    assert tried > 40


@every_recording
def test_events_that_are_left_out_doubled_or_swapped_are_no_error_without_a_type(
    name: str,
) -> None:
    recording, events = RECORDINGS[name], RECORDINGS[name].events
    for index, event in enumerate(events):
        recording.read(events[:index] + events[index + 1 :])
        recording.read([*events[:index], event, *events[index:]])
        recording.read(
            [*events[:index], *events[index + 1 : index + 2], event, *events[index + 2 :]]
        )


# What says who, when and how much: an answer does not depend on it.
ASIDE = frozenset(
    (
        "cache_creation",
        "choices.0.index",
        "container",
        "created",
        "created_at",
        "id",
        "item_id",
        "message.id",
        "message.model",
        "message.usage",
        "metadata",
        "metrics",
        "model",
        "obfuscation",
        "object",
        "p",
        "response.id",
        "response.model",
        "response.usage",
        "sequence_number",
        "service_tier",
        "system_fingerprint",
        "usage",
    )
)


@every_recording
@pytest.mark.parametrize("change", ["null", "gone"])
def test_what_an_answer_does_not_depend_on_may_be_missing(name: str, change: str) -> None:
    recording = RECORDINGS[name]
    whole = recording.read(recording.events)
    tried = 0
    for index, event in enumerate(recording.events):
        body = event["body"] if name == "bedrock" else event
        for place in places(body):
            if not any(".".join(map(str, place[:depth])) in ASIDE for depth in (1, 2, 3)):
                continue
            where = ("body", *place) if name == "bedrock" else place
            new = changed(event, where, CHANGES[change])
            found = recording.read([*recording.events[:index], new, *recording.events[index + 1 :]])
            assert found is not None
            assert not isinstance(found, Exception), (place, found)
            assert [part for part in found.parts if part.__class__.__name__ == "Text"] == [
                part for part in whole.parts if part.__class__.__name__ == "Text"
            ]
            assert [call.arguments for call in found.tool_calls] == [
                call.arguments for call in whole.tool_calls
            ]
            tried += 1
    assert tried > 0


def with_more(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: with_more(each) for key, each in value.items()} | {"of_tomorrow": [{"a": 1}]}
    return [with_more(each) for each in value] if isinstance(value, list) else value


@every_recording
def test_unknown_fields_anywhere_change_nothing(name: str) -> None:
    recording = RECORDINGS[name]
    whole = recording.read(recording.events)
    for index, event in enumerate(recording.events):
        new = (
            {"headers": event["headers"], "body": with_more(event["body"])}
            if name == "bedrock"
            else with_more(event)
        )
        found = recording.read([*recording.events[:index], new, *recording.events[index + 1 :]])
        assert found.text == whole.text
        assert [call.name for call in found.tool_calls] == [call.name for call in whole.tool_calls]


STRANGE: list[Payload] = [
    {"type": "of_tomorrow"},
    {"type": "of_tomorrow", "delta": "text", "index": "a", "message": 3, "content_block": [1]},
    {"type": "response.of_tomorrow", "item": "i", "response": "r", "output_index": [], "code": {}},
    {"type": ["of_tomorrow"], "usage": "much"},
    {"type": 7, "delta": 7},
    {},
]


@pytest.mark.parametrize("name", ["anthropic", "responses"])
@pytest.mark.parametrize("strange", STRANGE)
def test_events_of_an_unknown_type_are_skipped_whatever_they_hold(
    name: str, strange: Payload
) -> None:
    recording = RECORDINGS[name]
    whole = recording.read(recording.events)
    for index in range(len(recording.events) + 1):
        events = [*recording.events[:index], strange, *recording.events[index:]]
        assert recording.read(events) == whole


def test_bedrock_s_events_of_an_unknown_type_are_skipped() -> None:
    recording = RECORDINGS["bedrock"]
    whole = recording.read(recording.events)
    headers = {":event-type": "ofTomorrow", ":message-type": "event"}
    strange = {"headers": headers, "body": {"delta": 7, "contentBlockIndex": "a"}}
    for index in range(len(recording.events)):
        events = [*recording.events[:index], strange, *recording.events[index:]]
        assert recording.read(events) == whole


def piece(arguments: Any = None, *, name: str | None = "read", **numbers: Any) -> Payload:
    function = {"name": name} if name else {}
    return {**numbers, "function": function | ({"arguments": arguments} if arguments else {})}


NUMBERED: dict[str, list[Payload]] = {
    "neither ids nor indices": [piece('{"n": 1}'), piece('{"n": 1}')],
    "arguments as objects": [piece({"n": 1}, index=n, id=f"c{n}") for n in (0, 1)],
    "one index for all": [piece('{"n": 1}', index=0, id=f"c{n}") for n in (0, 1)],
    "ids with each piece": [
        *(piece("", index=n, id=f"c{n}") for n in (0, 1)),
        *(piece('{"n": 1}', name=None, index=n, id=f"c{n}") for n in (0, 1)),
    ],
    "in turns": [
        *(piece(index=n, id=f"c{n}") for n in (0, 1)),
        *(piece('{"n"', name=None, index=n) for n in (1, 0)),
        *(piece(": 1}", name=None, index=n) for n in (0, 1)),
    ],
}


@pytest.mark.parametrize("numbered", NUMBERED)
def test_two_calls_are_two_however_they_are_numbered(numbered: str) -> None:
    decoder = ChatDecoder("openai-chat:x")
    for each in NUMBERED[numbered]:
        _feed(decoder, {"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]})
    _feed(decoder, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    calls = decoder.response().message.tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("read", {"n": 1})] * 2
    assert len({call.id for call in calls}) == 2


def test_gateways_that_leave_out_what_the_provider_would_say() -> None:
    whole = ChatDecoder("openai-chat:x")
    message = {"role": "assistant", "content": "All of it.", "tool_calls": None}
    _feed(whole, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert whole.response().message.text == "All of it."

    ends = ChatDecoder("openai-chat:x")
    _feed(ends, {"choices": [{"index": 0, "delta": {"content": "All of it."}}]})
    _feed(ends, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert ends.response().message.text == "All of it."

    silent = MessagesDecoder("anthropic:x")
    for event in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 0, "delta": {"text": "All of it."}},
        {"type": "message_delta", "delta": {"stop_reason": None}},
        {"type": "message_stop"},
    ):
        _feed(silent, event)
    assert silent.complete
    assert silent.response().message.text == "All of it."

    sparse = ResponsesDecoder("openai:x")
    for event in (
        {"type": "response.output_item.done", "item": {"type": "reasoning", "id": "rs_1"}},
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "All of it."},
        {"type": "response.completed", "response": {"status": "completed"}},
    ):
        _feed(sparse, event)
    assert sparse.response().message.text == "All of it."
    listed = ResponsesDecoder("openai:x")
    output = [
        {"type": "message", "content": [{"type": "output_text", "text": "Look."}]},
        {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"},
    ]
    _feed(listed, {"type": "response.output_item.done", "item": output[0]})
    _feed(listed, {"type": "response.completed", "response": {"output": output}})
    assert [call.name for call in listed.response().message.tool_calls] == ["read"]
