"""What a provider's batch API is to us: many requests handed over at once, answered within a day.

`BatchApi` is what a model of such a provider has as `batches()`; `read_whole` has the decoder of
the streamed API read a response that came whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any, Protocol

import msgspec

from aof_nb.errors import ModelError
from aof_nb.events import ModelResponse
from aof_nb.models.assembly import Decoder
from aof_nb.ports import ModelRequest


class Progress(msgspec.Struct, frozen=True):
    """How far a batch is.

    Args:
        ended: Whether nothing more will come of it.
        done: Requests that were answered, or refused.
        failure: Why the provider did not take the batch at all, if it did not.
    """

    ended: bool
    done: int = 0
    failure: ModelError | None = None


class BatchApi(Protocol):
    """Hands many requests to a provider and fetches what came of them."""

    @property
    def most_requests(self) -> int:
        """Requests in one batch at most."""
        ...

    @property
    def most_bytes(self) -> int:
        """Bytes of one batch at most."""
        ...

    @property
    def finds_by_key(self) -> bool:
        """Whether `candidates` knows for certain."""
        ...

    def encode(self, request_id: str, request: ModelRequest) -> bytes:
        """A request as a line of a batch.

        Args:
            request_id: Unique in the batch; letters, digits, ``_`` and ``-``, at most 64.
            request: What is asked.
        """
        ...

    async def submit(self, key: str, lines: Collection[bytes]) -> str:
        """Hands a batch over and returns the id it is given.

        Args:
            key: What it may be found by, if the id is lost.
            lines: Its requests, encoded.

        Raises:
            ModelError: If it was refused, or it is not known whether it was taken.
        """
        ...

    async def candidates(self, key: str, size: int, since: float) -> list[str]:
        """The ids of batches that may be the one submitted under a key, the likeliest first.

        Args:
            key: As it was submitted.
            size: Its number of requests.
            since: When it was about to be submitted, in seconds of the Unix epoch.
        """
        ...

    async def progress(self, batch_id: str) -> Progress:
        """How far a batch is."""
        ...

    def results(
        self, batch_id: str
    ) -> AsyncGenerator[tuple[str, ModelResponse | ModelError], None]:
        """What came of each request of a batch that has ended, in any order."""
        ...


def read_whole(decoder: Decoder, payloads: Collection[Mapping[str, Any]]) -> ModelResponse:
    """A response that came whole, read as if it had been streamed.

    Args:
        decoder: The decoder of the streamed API; a new one.
        payloads: The events that would have brought it.

    Raises:
        ModelError: If it is an error, or not a whole response.
    """
    for payload in payloads:
        decoder.feed(msgspec.json.encode(payload))
    return decoder.response()
