"""The estimate of a request's tokens errs high, grows with the request, and costs little."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.messages import Message, Opaque, Part, Text, Thinking, ToolCall, ToolResult
from aof_nb.models import tokens
from aof_nb.models.tokens import TokenMeter, estimate, message_tokens, text_tokens
from aof_nb.ports import ModelRequest, ToolSpec

RESTART = ToolSpec(name="restart", description="Restarts.", input_schema={"type": "object"})
texts = st.text(max_size=60)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, texts),
    st.builds(ToolResult, call_id=st.just("c1"), name=st.just("t"), content=texts),
    st.builds(
        ToolCall, id=st.just("c1"), name=st.just("t"), arguments=st.dictionaries(texts, texts)
    ),
    st.builds(ToolCall, st.just("c1"), st.just("t"), st.none(), raw_arguments=texts),
    st.builds(Thinking, texts, st.just("anthropic"), st.dictionaries(texts, texts)),
    st.builds(Opaque, st.just("anthropic"), st.dictionaries(texts, texts)),
)
messages = st.builds(
    Message, st.sampled_from(["user", "assistant", "tool"]), st.lists(parts, max_size=4).map(tuple)
)
conversations = st.lists(messages, min_size=1, max_size=8).map(tuple)


def request(*conversation: Message, **options: Any) -> ModelRequest:
    return ModelRequest(messages=conversation, **options)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_a_token_for_three_characters(text: str) -> None:
    assert text_tokens(text) == pytest.approx(len(text) / 3)


@given(st.text(st.characters(min_codepoint=128, exclude_categories=["Cs"])))
def test_what_is_not_ascii_is_a_token_for_one_to_two_bytes(text: str) -> None:
    size = len(text.encode())
    assert size / 2 <= text_tokens(text) <= size


def test_what_goes_back_with_a_text_counts() -> None:
    cited = Text("a", {"anthropic": {"citations": [{"cited_text": "b" * 300}]}})
    assert message_tokens(Message("assistant", (cited,))) > 100


def test_half_characters_are_counted_too() -> None:
    assert text_tokens("caf\udce9") > 3


@given(conversations, messages)
def test_more_is_never_less(conversation: tuple[Message, ...], more: Message) -> None:
    assert estimate(request(*conversation, more)) > estimate(request(*conversation))
    assert estimate(request(*conversation, tools=(RESTART,))) > estimate(request(*conversation))
    assert estimate(request(*conversation, system="Careful.")) > estimate(request(*conversation))


@given(conversations, st.integers(1, 8), st.integers(1, 10_000))
def test_a_meter_counts_as_if_at_once_and_never_below_what_was_reported(
    conversation: tuple[Message, ...], known: int, reported: int
) -> None:
    meter = TokenMeter()
    begun = request(*conversation[:known])
    assert meter.count(begun) == estimate(begun)
    assert meter.count(request(*conversation)) == estimate(request(*conversation))
    assert meter.count(begun) == estimate(begun)
    meter.learn(reported)
    counts = [
        meter.count(request(*conversation[:size]))
        for size in range(min(known, len(conversation)), len(conversation) + 1)
    ]
    assert counts == sorted(counts)
    if reported >= estimate(begun) / 2:
        assert counts[0] == reported


def test_what_was_reported_is_kept_when_the_end_changes() -> None:
    meter, first = TokenMeter(), Message.user("why? " * 100)
    meter.count(request(first))
    meter.learn(500)
    last_turn = Message.user("Answer now.")
    assert 500 < meter.count(request(first, last_turn)) < 570
    answer = Message.assistant("It is slow.")
    assert 500 < meter.count(request(first, answer)) < 570
    assert meter.count(request(Message.user("another"))) < 100


def test_other_tools_are_counted_anew() -> None:
    meter, first = TokenMeter(), Message.user("why? " * 100)
    plain = meter.count(request(first))
    meter.learn(plain)
    assert meter.count(request(first, tools=(RESTART,))) > plain + tokens.FOR_TOOLS
    assert meter.count(request(first)) == plain


def test_an_implausibly_small_report_is_not_believed() -> None:
    meter, first = TokenMeter(), Message.user("why? " * 1000)
    before = meter.count(request(first))
    meter.learn(before // 3)
    assert meter.count(request(first)) == before


def test_only_new_messages_are_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    estimated: list[Message] = []

    def noted(message: Message) -> int:
        estimated.append(message)
        return 10

    monkeypatch.setattr(tokens, "message_tokens", noted)
    meter = TokenMeter()
    conversation = tuple(Message.user(f"{n}") for n in range(50))
    for size in range(1, 51):
        meter.count(request(*conversation[:size]))
    assert estimated == list(conversation)


def test_equal_messages_count_equally() -> None:
    meter, first = TokenMeter(), Message.user("why?")
    count = meter.count(request(first))
    assert meter.count(request(msgspec.json.decode(msgspec.json.encode(first), type=Message))) == (
        count
    )
