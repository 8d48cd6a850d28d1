"""What lies between a socket and a decoder."""

from __future__ import annotations

import pytest

from aof_nb.events import TextDelta
from aof_nb.messages import Message
from aof_nb.models import resolve_model
from aof_nb.models.transport import Pace
from aof_nb.ports import ModelRequest
from tests.fakes import FakeOpenAI, Reply, Text, Wire


def gathered(interval: float, size: int, pieces: int = 50) -> int:
    """How many of the pieces of a stream are followed by a wait."""
    now = 100.0

    def clock() -> float:
        return now

    pace, waits = Pace(clock), 0
    for _ in range(pieces):
        now += interval
        waits += pace.is_close(size)
    return waits


@pytest.mark.parametrize(
    ("interval", "size", "waits"),
    [(0.001, 200, 46), (0.02, 200, 0), (0.0, 16_384, 0), (0.001, 16_384, 0)],
    ids=["fast and small", "slow", "a burst", "fast and large"],
)
def test_only_small_pieces_that_come_fast_are_gathered(
    interval: float, size: int, waits: int
) -> None:
    assert gathered(interval, size) == waits


def test_the_first_pieces_are_not_held_back() -> None:
    assert gathered(0.001, 200, pieces=4) == 0


async def test_a_fast_stream_arrives_whole_in_few_events() -> None:
    pieces = [f"{n} " for n in range(300)]
    async with FakeOpenAI() as fake:
        fake.reply(Reply(Text("".join(pieces), pieces), wire=Wire(delay=0.0005)))
        model = resolve_model("openai-chat:gpt-4o", base_url=fake.base_url, api_key="k")
        stream = model.stream(ModelRequest(messages=(Message.user("why?"),)))
        texts = [event.text async for event in stream if isinstance(event, TextDelta)]
    assert "".join(texts) == "".join(pieces)
    assert len(texts) < len(pieces)
