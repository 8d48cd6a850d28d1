"""What a kernel's messages of one cell add up to."""

from __future__ import annotations

import json
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_NOT_OUTPUT = {"status", "execute_input"}


@dataclass(frozen=True)
class Traffic:
    """What went over the iopub channel for one answer.

    Args:
        text: Bytes of the answer itself.
        content: Bytes of the messages' contents, as JSON.
        opening: How many of these opened widgets: their scripts, styles and first state.
        messages: How many messages there were.
        updates: When the kernel sent news of the answer, in seconds and in order: to its view, or
            in place of the output where no view says that it is ready.
        trips: Milliseconds from sending a comm message until its echo came, meanwhile.
        clicks: The same where the kernel's event loop answers.
    """

    text: int
    content: int
    opening: int
    messages: int
    updates: tuple[float, ...]
    trips: tuple[float, ...] = ()
    clicks: tuple[float, ...] = ()

    @property
    def ratio(self) -> float:
        """Content over text."""
        return self.content / self.text

    @property
    def updates_a_second(self) -> float:
        """The mean from the first update to the last."""
        if len(self.updates) < 2 or self.updates[0] == self.updates[-1]:
            return 0.0
        return (len(self.updates) - 1) / (self.updates[-1] - self.updates[0])

    @property
    def busiest_second(self) -> int:
        """The most updates in any one second."""
        return max(
            (bisect_left(self.updates, at + 1.0) - n for n, at in enumerate(self.updates)),
            default=0,
        )


def summed(
    messages: Iterable[Mapping[str, Any]],
    text: int,
    trips: Iterable[float] = (),
    clicks: Iterable[float] = (),
) -> Traffic:
    """Adds up messages of the iopub channel; what only tells the kernel's state does not count.

    Args:
        messages: As Jupyter's clients give them.
        text: Bytes of the answer.
        trips: Round trips in milliseconds.
        clicks: The same where the kernel's event loop answered.
    """
    counted = [each for each in messages if each["msg_type"] not in _NOT_OUTPUT]
    sizes = [len(json.dumps(each["content"], ensure_ascii=False).encode()) for each in counted]
    opening = sum(
        size for each, size in zip(counted, sizes, strict=True) if each["msg_type"] == "comm_open"
    )
    # Where a view is kept up to date, outputs are replaced only to open it and to end it.
    live = [each for each in counted if _is_news(each)] or [
        each for each in counted if each["msg_type"] == "update_display_data"
    ]
    updates = sorted(_seconds(each["header"]["date"]) for each in live)
    times = tuple(updates), tuple(trips), tuple(clicks)
    return Traffic(text, sum(sizes), opening, len(counted), *times)


def _is_news(message: Mapping[str, Any]) -> bool:
    """Whether a message tells a view what is new of its items."""
    if message["msg_type"] != "comm_msg":
        return False
    data = message["content"]["data"]
    return data.get("method") == "custom" and "items" in data["content"]


def percentile(values: Iterable[float], percent: int) -> float:
    """A percentile from 1 to 99; not a number if there are no values."""
    found = sorted(values)
    if len(found) < 2:
        return found[0] if found else float("nan")
    return statistics.quantiles(found, n=100, method="inclusive")[percent - 1]


def _seconds(date: datetime | str) -> float:
    return (date if isinstance(date, datetime) else datetime.fromisoformat(date)).timestamp()
