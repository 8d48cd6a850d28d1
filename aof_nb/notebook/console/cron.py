"""The times of a schedule, as cron writes them and as systemd does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aof_nb.errors import ConfigurationError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SYSTEMD_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(\*|(?P<low>\w+)(-(?P<high>\w+))?)(/(?P<step>\d{1,3}))?", re.ASCII)
_REMEDY = "write five fields such as: 30 3 * * 1-5 (at 03:30, Monday to Friday)"


@dataclass(frozen=True)
class Times:
    """When something is done.

    Args:
        text: The five fields, as cron and Kubernetes take them.
        fields: What each field means: its values.
        either_day: Whether a day of the month or of the week is enough, as cron has it where both
            are given.
    """

    text: str
    fields: tuple[frozenset[int], ...]
    either_day: bool

    def on_calendar(self) -> list[str]:
        """The same as values of systemd's ``OnCalendar``; any of them is enough.

        Example:
            >>> parse_times("30 3 * * 1-5").on_calendar()
            ['Mon,Tue,Wed,Thu,Fri *-*-* 03:30:00']
        """
        minutes, hours, days, months, weekdays = self.fields
        clock = f"{_listed(hours, _FIELDS[1])}:{_listed(minutes, _FIELDS[0])}:00"
        month = _listed(months, _FIELDS[3])
        by_week = ",".join(
            _SYSTEMD_DAYS[each] for each in (1, 2, 3, 4, 5, 6, 0) if each in weekdays
        )
        on_week = f"{by_week} " if len(weekdays) < len(_DAYS) else ""
        by_month = _listed(days, _FIELDS[2])
        if self.either_day:
            return [f"*-{month}-{by_month} {clock}", f"{on_week}*-{month}-* {clock}"]
        return [f"{on_week}*-{month}-{by_month} {clock}"]


def parse_times(text: str) -> Times:
    """Reads a cron expression of five fields, or a name such as ``@daily``.

    Args:
        text: The expression.

    Raises:
        ConfigurationError: If it is none; with the field.

    Example:
        >>> sorted(parse_times("*/20 * * * *").fields[0])
        [0, 20, 40]
    """
    said = " ".join(text.split())
    written = _NAMED.get(said.lower(), said).split(" ")
    if len(written) != len(_FIELDS):
        raise ConfigurationError(f"{said!r} is no cron expression", remedy=_REMEDY)
    fields = [_values(part, field) for part, field in zip(written, _FIELDS, strict=True)]
    fields[4] = frozenset(each % 7 for each in fields[4])
    starred = written[2].startswith("*") or written[4].startswith("*")
    return Times(" ".join(written), tuple(fields), either_day=not starred)


def _values(written: str, field: tuple[str, int, int, tuple[str, ...]]) -> frozenset[int]:
    name, least, most, _ = field
    found: set[int] = set()
    for part in written.split(","):
        match = _PART.fullmatch(part)
        step = int(match["step"] or 1) if match is not None else 0
        if match is None or not step:
            raise ConfigurationError(f"{part!r} is no {name} of a cron expression", remedy=_REMEDY)
        if match["low"] is None:
            low, high = least, most
        else:
            low = _number(match["low"], field)
            # A step without an end goes on to the last value.
            high = most if match["step"] else low
            high = _number(match["high"], field) if match["high"] else high
        if not least <= low <= high <= most:
            raise ConfigurationError(
                f"{part!r} is no {name} of a cron expression",
                remedy=f"give values from {least} to {most}, the lower one first",
            )
        found.update(range(low, high + 1, step))
    return frozenset(found)


def _number(text: str, field: tuple[str, int, int, tuple[str, ...]]) -> int:
    name, least, _, names = field
    if text.lower() in names:
        return names.index(text.lower()) + least
    if text.isdecimal():
        return int(text)
    raise ConfigurationError(f"{text!r} is no {name} of a cron expression", remedy=_REMEDY)


def _listed(values: frozenset[int], field: tuple[str, int, int, tuple[str, ...]]) -> str:
    _, least, most, _ = field
    if len(values) == most - least + 1:
        return "*"
    return ",".join(f"{each:02}" for each in sorted(values))
