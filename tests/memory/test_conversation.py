"""Shortening and mending conversations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aof_nb.memory.conversation import fitted, mended, newest_messages, size
from aof_nb.messages import Message, Outcome
from tests.memory.conversations import exchange, is_valid, said


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    messages: list[Message] = []
    for n in range(draw(st.integers(0, 6))):
        whole = exchange(n, output="é\n" * draw(st.integers(0, 1_000)))
        messages += whole if draw(st.booleans()) else [whole[0], whole[3]]
    return messages


@given(conversations(), st.integers(1, 30))
def test_the_newest_are_a_valid_end(messages: list[Message], limit: int) -> None:
    kept = newest_messages(messages, limit)
    assert is_valid(kept)
    assert not kept or kept == messages[-len(kept) :]
    assert len(kept) <= max(limit, 4)
    assert bool(kept) == bool(messages)
    left = messages[: len(messages) - len(kept)]
    last_left = max((n for n, each in enumerate(left) if each.role == "user"), default=None)
    assert last_left is None or len(messages) - last_left > limit, "no whole exchange more fits"


@given(conversations(), st.integers(100, 20_000), st.integers(0, 100))
def test_what_fits_is_a_valid_end(messages: list[Message], most: int, overhead: int) -> None:
    fitting = fitted(messages, most, overhead=overhead)
    assert is_valid(fitting)
    assert bool(fitting) == bool(messages)
    total = sum(size(each) + overhead for each in fitting)
    if total > most:
        assert len(said(fitting)) == 1
    if len(fitting) < len(messages) or total > most:
        outputs = [each.content for message in fitting for each in message.tool_results]
        assert all(len(each) <= 400 for each in outputs), "words go when no output can"
    for now, before in zip(fitting, messages[len(messages) - len(fitting) :], strict=True):
        assert now == before or now.role == "tool"


@given(conversations(), st.data())
def test_whatever_is_lost_the_rest_is_a_conversation(
    messages: list[Message], data: st.DataObject
) -> None:
    lost = data.draw(st.sets(st.sampled_from(range(max(1, len(messages))))))
    left = [each for place, each in enumerate(messages) if place not in lost]
    whole = mended(left)
    assert is_valid(whole)
    first = next((place for place, each in enumerate(left) if each.role == "user"), len(left))
    assert [each for each in whole if each.role != "tool"] == [
        each for each in left[first:] if each.role != "tool"
    ]
    if not lost:
        assert whole == messages


def test_an_output_that_was_lost_is_said_to_be() -> None:
    messages = exchange(1)
    del messages[2]
    [result] = mended(messages)[2].tool_results
    assert result.outcome is Outcome.INTERRUPTED
    assert "lost" in result.content
