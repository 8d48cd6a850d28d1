"""A recorded run as a model: ``replay:JOURNAL`` answers as the recorded model did.

What the tools do is their own business: they are called, and what they return now is not compared
with what they returned then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from aof_nb.errors import ReplayMismatch
from aof_nb.events import (
    ContextCompacted,
    ModelEvent,
    ModelFellBack,
    ModelResponse,
    RetryScheduled,
)
from aof_nb.journal.cassette import cassette
from aof_nb.journal.playback import Playback, PlayedModel
from aof_nb.journal.recording import Recording
from aof_nb.journal.replay import journal_path
from aof_nb.messages import Message, Usage
from aof_nb.ports import ModelRequest, StructuredOutput


class ReplayModel:
    """Answers with the responses of a recorded run that was asked the same.

    Its tokens are those that were counted then; they cost nothing now.

    Args:
        journal: A run's journal, a cassette, a run's directory or id.

    Example:
        >>> ReplayModel("cassettes/triage.journal.jsonl").name
        'replay:triage.journal.jsonl (recorded)'
    """

    structured_output: StructuredOutput = "native"
    retries_itself = True

    reads_results = True
    """It compares what is asked with what was recorded, and sends nothing."""

    def __init__(self, journal: str) -> None:
        self._journal = journal
        self._playback: Playback | None = None
        self._asked: tuple[Message, ...] = ()

    @property
    def name(self) -> str:
        """``replay:FILE (recorded)``: it never poses as the model itself."""
        return f"replay:{self._journal.rpartition('/')[2]} (recorded)"

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Streams the recorded response.

        Raises:
            ReplayMismatch: If something else is asked than was recorded, with the difference.
        """
        if self._playback is None or not self._goes_on(request):
            self._playback = await asyncio.to_thread(self._found, request)
        self._asked = request.messages
        played = PlayedModel(self._playback, None)
        async with contextlib.aclosing(played.stream(request)) as events:
            async for event in events:
                yield _free(event)

    def _goes_on(self, request: ModelRequest) -> bool:
        """Whether a request belongs to the run that the one before belongs to."""
        assert self._playback is not None
        before = len(self._asked)
        known = len(request.messages) > before and request.messages[:before] == self._asked
        return known and not self._playback.live and not self._playback.has_ended

    def _found(self, request: ModelRequest) -> Playback:
        """The recording of what is asked, at the turn that the conversation has come to."""
        runs = cassette(journal_path(self._journal))
        messages = request.messages
        prompts = {each.begun.prompt for each in runs.recordings}
        asked = [place for place, each in enumerate(messages) if each.role == "user"]
        if not asked:
            raise ReplayMismatch("there is nothing asked in this request")
        # What was asked last is no prompt where the run is steered, corrected, or gone on with.
        place = next(
            (each for each in reversed(asked) if messages[each].text in prompts), asked[-1]
        )
        recording = runs.take("", messages[place].text)
        turns = sum(each.role == "assistant" for each in messages[place:])
        return _playback_from(recording, turns)


def _playback_from(recording: Recording, turns: int) -> Playback:
    playback = Playback(recording.lines, strict=True, tools=False)
    for _ in range(turns):
        playback.skip_exchange()
    return playback


def _free(event: ModelEvent) -> Any:
    """The event with what it costs now, and answered by this model."""
    if isinstance(event, ModelResponse):
        return msgspec.structs.replace(event, requested_model="")
    if isinstance(event, RetryScheduled | ModelFellBack | ContextCompacted):
        return msgspec.structs.replace(event, usage=Usage())
    return event
