"""Reading recorded events as they would come, for tests of what is made of them."""

from __future__ import annotations

import json
from typing import Any

from aof_nb.events import ModelResponse, TextDelta, ThinkingDelta
from aof_nb.models.assembly import Decoder

Event = dict[str, Any]


def read(decoder: Decoder, events: list[Event]) -> tuple[ModelResponse, str, str]:
    """The response, and the text and the thinking that were shown of it."""
    shown: list[Any] = []
    for event in events:
        decoder.feed(json.dumps(event).encode())
        shown += decoder.events()
    assert decoder.complete
    text = "".join(each.text for each in shown if isinstance(each, TextDelta))
    thinking = "".join(each.text for each in shown if isinstance(each, ThinkingDelta))
    return decoder.response(), text, thinking


def body(events: list[Event]) -> bytes:
    frames = (
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in events
    )
    return "".join(frames).encode()
