"""Cost limits, of a run and of a day: a request that could exceed one is not sent.

What a request will cost is not known before, so its worst case is taken: all of its input
uncached and the longest answer it may give.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.limits import Limits
from aof_nb.messages import Message, Usage
from aof_nb.paths import state_dir
from aof_nb.ports import Sampling, ToolSpec

if TYPE_CHECKING:
    import sqlite3

VARIABLE = "AOF_MAX_COST_PER_DAY"
DEFAULT_OUTPUT_TOKENS = 8192

_CHARACTERS_A_TOKEN = 3
_THINKING_AND_MORE = 1024


class Verdict(msgspec.Struct, frozen=True):
    """Whether the next request may be sent.

    Args:
        admitted: Whether its worst case fits.
        last: Whether another one after it would not fit for certain.
        detail: What is spent of what, if either is so.
        notice: What the user should be told, once.
    """

    admitted: bool = True
    last: bool = False
    detail: str = ""
    notice: str = ""


def worst_case(
    last: Usage | None,
    new: tuple[Message, ...],
    system: str,
    tools: tuple[ToolSpec, ...],
    sampling: Sampling,
) -> Usage:
    """The most tokens a request can take, erring high.

    Args:
        last: What the request before took; None for a run's first.
        new: The messages that it did not have, its answer excepted.
        system: The instructions; counted in a first request only, as `tools`.
        tools: What is declared.
        sampling: How the model is asked; without `max_tokens`, 8192 are assumed.
    """
    size = sum(len(msgspec.json.encode(message)) for message in new)
    known = 0
    if last is None:
        size += len(system.encode()) + len(msgspec.json.encode(tools))
    else:
        known = last.total_tokens
    output = sampling.max_tokens or DEFAULT_OUTPUT_TOKENS
    if sampling.thinking_tokens:
        output = max(output, sampling.thinking_tokens + _THINKING_AND_MORE)
    return Usage(known + size // _CHARACTERS_A_TOKEN + 1, output)


class Spending:
    """What one run has spent and may still spend, in US dollars.

    Args:
        run_id: The run's id.
        model: The model that is asked, by its full name.
        per_run: The run's limit, if it has one.
        per_day: The limit of all runs of a UTC day that were started with one, if there is one.
        file: Where they count together; made if it is missing.
        fallbacks: The models that may be asked in its place; a worst case is the dearest's.
        resumed: Whether what the run has used at first was paid for before, and is in the day's
            count already where it was paid on this day.
    """

    def __init__(
        self,
        run_id: str,
        model: str,
        per_run: float | None,
        per_day: float | None,
        file: Path | None = None,
        *,
        fallbacks: Sequence[str] = (),
        resumed: bool = False,
    ) -> None:
        self._run_id = run_id
        self._model = model
        self._fallbacks = fallbacks
        self._resumed = resumed
        self._per_run = per_run
        self._per_day = per_day
        self._file = file
        self._told = set[str]()
        self._day = ""
        self._before_today = 0.0

    @classmethod
    def limited(
        cls,
        run_id: str,
        model: str,
        limits: Limits,
        fallbacks: Sequence[str] = (),
        *,
        resumed: bool = False,
    ) -> Spending | None:
        """A run's spending, if anything limits it.

        Raises:
            ConfigurationError: If ``AOF_MAX_COST_PER_DAY`` is not an amount.
        """
        per_day = _daily_limit()
        if limits.max_cost is None and per_day is None:
            return None
        return cls(run_id, model, limits.max_cost, per_day, fallbacks=fallbacks, resumed=resumed)

    async def admit(self, worst: Usage, used: Mapping[str, Usage]) -> Verdict:
        """Whether a request may be sent; if so its worst case counts until `settle`.

        Args:
            worst: Its worst case.
            used: What the run has used, by model.

        Raises:
            ConfigurationError: If the day's costs cannot be kept.
        """
        return await asyncio.to_thread(self._admit, worst, dict(used))

    async def settle(self, used: Mapping[str, Usage]) -> None:
        """Counts what a run has really cost so far, instead of the worst case."""
        if self._per_day is not None and self._day:
            settling = asyncio.to_thread(self._settle, dict(used))
            await asyncio.shield(asyncio.ensure_future(settling))

    def _admit(self, worst: Usage, used: dict[str, Usage]) -> Verdict:
        from aof_nb.models.prices import price

        next_cost = price(self._model, worst)
        spent, notice = self._spent(used)
        if next_cost is None:
            notice = self._unknown(self._model) or notice
        others = (price(each, worst) for each in self._fallbacks)
        next_cost = max(next_cost or 0.0, *(each or 0.0 for each in others), 0.0)
        verdict = Verdict(notice=notice)
        if self._per_run is not None:
            verdict = _verdict(spent, next_cost, self._per_run, "this run", notice)
        if self._per_day is not None and verdict.admitted:
            today = self._reserve(spent, next_cost)
            daily = _verdict(today, next_cost, self._per_day, "this day (UTC)", notice)
            if not daily.admitted or not verdict.last:
                verdict = daily
        return verdict

    def _spent(self, used: dict[str, Usage]) -> tuple[float, str]:
        from aof_nb.models.prices import price

        total, notice = 0.0, ""
        for model, usage in used.items():
            amount = price(model, usage)
            if amount is None:
                notice = self._unknown(model) or notice
            total += amount or 0.0
        return total, notice

    def _unknown(self, model: str) -> str:
        if model in self._told:
            return ""
        self._told.add(model)
        return f"the cost limit cannot be enforced for {model}: its price is unknown"

    def _reserve(self, spent: float, next_cost: float) -> float:
        """What the day has cost without the next request, which is added if it fits."""
        day = datetime.now(UTC).date().isoformat()
        with self._ledger() as ledger:
            if day != self._day:
                self._before_today = spent if self._day else self._paid_before(ledger, day, spent)
                self._day = day
            own = spent - self._before_today
            others = ledger.execute(
                "SELECT coalesce(sum(dollars), 0) FROM spent WHERE day = ? AND run != ?",
                (day, self._run_id),
            ).fetchone()[0]
            assert self._per_day is not None
            fits = others + own + next_cost <= self._per_day
            self._write(ledger, own + next_cost if fits else own)
        return float(others + own)

    def _paid_before(self, ledger: sqlite3.Connection, day: str, spent: float) -> float:
        """What the run has spent that is not to be counted on this day beside what is."""
        if not self._resumed:
            return 0.0
        counted = ledger.execute(
            "SELECT coalesce(sum(dollars), 0) FROM spent WHERE day = ? AND run = ?",
            (day, self._run_id),
        ).fetchone()[0]
        return spent - float(counted)

    def _settle(self, used: dict[str, Usage]) -> None:
        spent, _ = self._spent(used)
        with self._ledger() as ledger:
            self._write(ledger, spent - self._before_today)

    def _write(self, ledger: sqlite3.Connection, dollars: float) -> None:
        ledger.execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?)", (self._day, self._run_id, dollars)
        )

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[sqlite3.Connection]:
        import sqlite3

        file = self._file or state_dir() / "costs.sqlite3"
        try:
            with contextlib.closing(sqlite3.connect(file, timeout=10, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS spent "
                    "(day TEXT, run TEXT, dollars REAL, PRIMARY KEY (day, run))"
                )
                yield db
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"the day's costs cannot be kept in {file}: {error}",
                remedy=f"move the file away, or unset {VARIABLE}",
            ) from error


def _verdict(spent: float, next_cost: float, limit: float, of: str, notice: str) -> Verdict:
    detail = (
        f"${spent:.4f} of ${limit:.4f} are spent in {of}, "
        f"and the next request may cost ${next_cost:.4f}"
    )
    admitted = spent + next_cost <= limit
    last = spent + 2 * next_cost > limit
    return Verdict(admitted, last, detail if last or not admitted else "", notice)


def _daily_limit() -> float | None:
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    try:
        amount = float(given)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise ConfigurationError(
            f"{VARIABLE} is {given!r}, which is not an amount of US dollars",
            remedy=f"set it to a number such as 5.00, or unset {VARIABLE}",
        )
    return amount
