"""What two runs have not in common: what was asked, called, answered and paid."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from aof_nb.journal.difference import unified
from aof_nb.journal.timeline import Call, Timeline, Turn
from aof_nb.journal.wording import dollars, in_a_line, outcome_of, state_of, tokens
from aof_nb.readable import readable, visible

CallChangeKind: TypeAlias = Literal["missing", "added", "arguments", "outcome", "output"]


class Change(msgspec.Struct, frozen=True):
    """A fact that differs.

    Args:
        name: What it is.
        was: In the first run.
        now: In the second.
    """

    name: str
    was: str
    now: str


class CallChange(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that only one of the runs has made, or that went another way.

    Args:
        kind: ``missing`` from the second run, ``added`` by it, made with other ``arguments``,
            with another ``outcome``, or with another ``output``.
        tool: The tool.
        was: The call in the first run, in a line; empty if it is missing there.
        now: The call in the second.
        turns: The turns in which it was made, 0 where it was not.
        outcomes: What came of it in both.
        difference: What differs, as a unified diff.
    """

    kind: CallChangeKind
    tool: str
    was: str = ""
    now: str = ""
    turns: tuple[int, int] = (0, 0)
    outcomes: tuple[str, str] = ("", "")
    difference: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs, side by side.

    Args:
        runs: Their ids.
        changes: The facts that differ.
        prompt: How the prompts differ, as a unified diff.
        instructions: How the instructions differ.
        diverged: The first turn whose responses differ; None if none do.
        calls: The tool calls that differ, in order.
        same_calls: How many do not.
        answer: How the answers differ, as a unified diff.
    """

    runs: tuple[str, str]
    changes: tuple[Change, ...]
    prompt: str
    instructions: str
    diverged: int | None
    calls: tuple[CallChange, ...]
    same_calls: int
    answer: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        texts = (self.prompt, self.instructions, self.answer)
        return not (self.changes or self.calls or self.diverged or any(texts))


def compare(first: Timeline, second: Timeline) -> Comparison:
    """What differs between two runs."""
    sides = (first.run_id, second.run_id)
    calls = list(_Calls(first, second, sides))
    found = [each for each in calls if each is not None]
    return Comparison(
        runs=sides,
        changes=tuple(_changes(first, second)),
        prompt=unified("prompt", first.prompt, second.prompt, sides=sides),
        instructions=unified("instructions", first.instructions, second.instructions, sides=sides),
        diverged=_diverged(first.turns, second.turns),
        calls=tuple(found),
        same_calls=len(calls) - len(found),
        answer=unified("answer", first.text, second.text, sides=sides),
    )


def _changes(first: Timeline, second: Timeline) -> Iterator[Change]:
    for (name, was), (_, now) in zip(_facts(first), _facts(second), strict=True):
        if was != now:
            yield Change(name, was, now)


def _facts(run: Timeline) -> Iterator[tuple[str, str]]:
    yield "agent", run.agent
    yield "model", ", then ".join([run.model, *run.fallbacks])
    yield "answered by", ", ".join(dict.fromkeys(turn.model for turn in run.turns if turn.model))
    yield "session", run.session or ""
    yield "status", state_of(run)
    yield "error", run.error or ""
    yield "turns", str(len({turn.number for turn in run.turns}))
    yield "tool calls", str(len(run.calls))
    yield "tokens", tokens(run.usage)
    yield "cost", dollars(run.cost)
    yield "approvals", run.approve


def _diverged(first: list[Turn], second: list[Turn]) -> int | None:
    first = [turn for turn in first if turn.answered is not None]
    second = [turn for turn in second if turn.answered is not None]
    for one, other in zip(first, second, strict=False):
        if _said(one) != _said(other):
            return one.number
    fewer, more = sorted((first, second), key=len)
    return more[len(fewer)].number if len(fewer) < len(more) else None


def _said(turn: Turn) -> tuple[str, list[tuple[str, str]]]:
    return turn.text, [_key(call) for call in turn.calls]


def _key(call: Call) -> tuple[str, str]:
    given = call.raw_arguments if call.arguments is None else call.arguments
    return call.tool, msgspec.json.encode(given, order="deterministic").decode()


class _Calls:
    """The calls of two runs, laid side by side; None for those that are the same."""

    def __init__(self, first: Timeline, second: Timeline, sides: tuple[str, str]) -> None:
        self._first = [(turn.number, call) for turn in first.turns for call in turn.calls]
        self._second = [(turn.number, call) for turn in second.turns for call in turn.calls]
        self._sides = sides

    def __iter__(self) -> Iterator[CallChange | None]:
        first = [_key(call) for _, call in self._first]
        second = [_key(call) for _, call in self._second]
        matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
        for tag, start, end, other_start, other_end in matcher.get_opcodes():
            if tag == "equal":
                for place in range(end - start):
                    yield self._pair(start + place, other_start + place)
            else:
                yield from self._unlike(start, end, other_start, other_end)

    def _unlike(
        self, start: int, end: int, other_start: int, other_end: int
    ) -> Iterator[CallChange | None]:
        """Pairs calls of the same tools whose arguments differ; the rest is only in one run."""
        first = [call.tool for _, call in self._first[start:end]]
        second = [call.tool for _, call in self._second[other_start:other_end]]
        matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag == "equal":
                for place in range(b - a):
                    yield self._pair(start + a + place, other_start + c + place)
                continue
            for turn, call in self._first[start + a : start + b]:
                yield CallChange(
                    kind="missing",
                    tool=call.tool,
                    was=in_a_line(call),
                    turns=(turn, 0),
                    outcomes=(outcome_of(call), ""),
                )
            for turn, call in self._second[other_start + c : other_start + d]:
                yield CallChange(
                    kind="added",
                    tool=call.tool,
                    now=in_a_line(call),
                    turns=(0, turn),
                    outcomes=("", outcome_of(call)),
                )

    def _pair(self, place: int, other: int) -> CallChange | None:
        (turn, was), (other_turn, now) = self._first[place], self._second[other]
        kind: CallChangeKind
        if _key(was) != _key(now):
            kind = "arguments"
        elif was.outcome is not now.outcome:
            kind = "outcome"
        elif was.output != now.output:
            kind = "output"
        else:
            return None
        differences = (
            unified("arguments", _laid_out(was), _laid_out(now), sides=self._sides),
            unified("output", was.output, now.output, sides=self._sides),
        )
        return CallChange(
            kind=kind,
            tool=was.tool,
            was=in_a_line(was),
            now=in_a_line(now),
            turns=(turn, other_turn),
            outcomes=(outcome_of(was), outcome_of(now)),
            difference="\n".join(each for each in differences if each),
        )


def _laid_out(call: Call) -> str:
    if call.arguments is None:
        return call.raw_arguments
    return "\n".join(f"{name}: {readable(value)}" for name, value in call.arguments.items())


def as_lines(comparison: Comparison) -> Iterator[str]:
    """A comparison as lines: those of the first run begin with ``-``, the others' with ``+``."""
    first, second = comparison.runs
    yield f"--- {first}"
    yield f"+++ {second}"
    width = max((len(change.name) for change in comparison.changes), default=0)
    for change in comparison.changes:
        yield visible(f"{change.name:<{width}}  {change.was or 'none'} → {change.now or 'none'}")
    for difference in (comparison.prompt, comparison.instructions):
        if difference:
            yield ""
            yield from visible(difference).splitlines()
    if comparison.diverged is not None:
        yield ""
        yield f"responses differ from turn {comparison.diverged} on"
    if comparison.calls:
        yield ""
        yield f"tool calls ({comparison.same_calls} the same)"
        for call in comparison.calls:
            yield from _call_lines(call)
    if comparison.answer:
        yield ""
        yield from visible(comparison.answer).splitlines()
    if comparison.is_empty:
        yield "no difference"


def _call_lines(change: CallChange) -> Iterator[str]:
    was, now = visible(change.was), visible(change.now)
    if change.kind == "missing":
        yield f"- {was} (turn {change.turns[0]}, {change.outcomes[0]})"
    elif change.kind == "added":
        yield f"+ {now} (turn {change.turns[1]}, {change.outcomes[1]})"
    else:
        if change.kind == "arguments":
            yield f"- {was} (turn {change.turns[0]}, {change.outcomes[0]})"
            yield f"+ {now} (turn {change.turns[1]}, {change.outcomes[1]})"
        elif change.kind == "outcome":
            yield f"! {was}: {change.outcomes[0]} → {change.outcomes[1]}"
        else:
            yield f"! {was}: another output"
        yield from (f"    {line}" for line in visible(change.difference).splitlines()[2:])
