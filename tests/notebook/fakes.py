"""A model, a screen and a clock for the notebook's tests."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from aof_nb.events import ModelEvent, ModelResponse, TextDelta, ThinkingDelta
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.ports import ModelRequest

Part = str | tuple[str, str] | ToolCall | Exception


class Says:
    """Plays turns: strings are said, ``("thinking", text)`` thought, calls made, errors raised."""

    name = "says (scripted)"

    def __init__(self, *turns: Sequence[Part]) -> None:
        self._turns = list(turns)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        turn = self._turns.pop(0)
        for part in turn:
            if isinstance(part, str):
                yield TextDelta(part)
            elif isinstance(part, tuple):
                yield ThinkingDelta(part[1])
            elif isinstance(part, Exception):
                raise part
        text = "".join(part for part in turn if isinstance(part, str))
        calls = tuple(part for part in turn if isinstance(part, ToolCall))
        yield ModelResponse(
            message=Message("assistant", ((Text(text),) if text else ()) + calls),
            stop_reason=StopReason.TOOL_USE if calls else StopReason.END_TURN,
            usage=Usage(input_tokens=1200, output_tokens=34),
            model=self.name,
        )


class Recording:
    """A screen that remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, str], dict[str, Any], str | None, bool]] = []

    def publish(self, data: Any, metadata: Any, *, display_id: str | None, update: bool) -> None:
        self.sent.append((dict(data), dict(metadata), display_id, update))

    @property
    def size(self) -> int:
        """Bytes of the messages' contents."""
        return sum(
            len(
                json.dumps(
                    {"data": data, "metadata": metadata, "transient": {"display_id": display_id}},
                    ensure_ascii=False,
                ).encode()
            )
            for data, metadata, display_id, _ in self.sent
        )

    @property
    def kept(self) -> list[str]:
        """What a saved notebook holds, as plain text."""
        shown: dict[str, str] = {}
        for place, (data, _, display_id, update) in enumerate(self.sent):
            key = display_id or str(place)
            assert update == (key in shown)
            shown[key] = data.get("text/plain", data.get("text/html", ""))
        return list(shown.values())


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
