"""A timeline as Markdown, to be pasted into a postmortem.

What models and tools wrote is in fences, in code spans or escaped, so that it shows and does
nothing. The answer is Markdown as it came, unless there is HTML or an image in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aof_nb.journal.timeline import Call, Remark, Timeline, Turn
from aof_nb.journal.wording import (
    Clock,
    answer_title,
    approvals_of,
    arguments_of,
    call_facts,
    callouts,
    changes,
    date,
    dollars,
    facts,
    in_a_line,
    is_the_answer,
    kind_of,
    outcome_of,
    output_of,
    permission_of,
    shortened,
    state_of,
    title_of,
    turn_facts,
)
from aof_nb.markdown import safe_markdown, table
from aof_nb.readable import indented_json, visible
from aof_nb.truncation import truncate

_SAID_CHARS = 4000
_OUTPUT_CHARS = 1000
_LINE_CHARS = 200
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~&$])")


def as_markdown(timeline: Timeline, *, full: bool = False) -> str:
    """A timeline as Markdown.

    Args:
        timeline: The run.
        full: Whether long texts are left whole.
    """
    blocks = _Blocks(timeline, full=full)
    return "\n\n".join([*blocks.head(), *blocks.answer(), *blocks.changes(), *blocks.timeline()])


class _Blocks:
    def __init__(self, timeline: Timeline, *, full: bool) -> None:
        self._run = timeline
        self._clock = Clock(timeline.began)
        self._full = full

    def _cut(self, text: str, limit: int) -> str:
        return text if self._full else truncate(text, limit)

    def head(self) -> Iterator[str]:
        run = self._run
        yield f"# Run {escaped(run.run_id)}: {escaped(state_of(run))}"
        yield quoted(self._cut(escaped_lines(run.prompt.strip()), _SAID_CHARS))
        for level, title, text in callouts(run):
            mark = {"error": "🛑 ", "warning": "⚠️ "}.get(level, "")
            yield quoted(f"{mark}**{escaped(title)}.** {escaped_lines(text)}")
        rows = [(f"**{name}**", escaped(value)) for name, value in facts(run)]
        yield table(("", ""), rows)

    def answer(self) -> Iterator[str]:
        run = self._run
        if run.text.strip():
            yield f"## {answer_title(run)}"
            yield quoted(harmless(run.text.strip()))
        if run.output is not None:
            laid_out = indented_json(run.output)
            yield fenced(laid_out, "json")

    def changes(self) -> Iterator[str]:
        run = self._run
        if found := changes(run):
            yield "## Changes and approvals"
            yield table(
                ("time", "call", "effect", "outcome", "by whose word"),
                [
                    (
                        self._clock(call.begun[0] if call.begun else call.asked),
                        code(shortened(in_a_line(call), _LINE_CHARS)),
                        escaped(call.effect),
                        outcome_of(call),
                        escaped(permission_of(call, run, self._clock)),
                    )
                    for call in found
                ],
            )
        if len(run.usage_by_model) > 1:
            yield "## Cost"
            yield table(
                ("model", "tokens in", "cached", "tokens out", "cost"),
                [
                    (
                        escaped(model),
                        f"{usage.input_tokens:,}",
                        f"{usage.cache_read_tokens:,}",
                        f"{usage.output_tokens:,}",
                        dollars(run.cost_by_model.get(model)),
                    )
                    for model, usage in run.usage_by_model.items()
                ],
            )

    def timeline(self) -> Iterator[str]:
        run = self._run
        yield "## Timeline"
        yield f"Times are those of {date(run.began).rpartition(' ')[2]}."
        for item in run.items:
            yield from self._turn(item) if isinstance(item, Turn) else [self._remark(item)]

    def _turn(self, turn: Turn) -> Iterator[str]:
        beside = "".join(f" · {escaped(each)}" for each in turn_facts(turn))
        yield f"### {self._clock(turn.asked)} Turn {turn.number}{beside}"
        for remark in turn.remarks:
            yield self._remark(remark)
        if is_the_answer(turn, self._run):
            yield "*The answer, above.*"
        elif turn.text.strip():
            yield quoted(harmless(self._cut(turn.text.strip(), _SAID_CHARS)))
        if turn.error:
            yield f"**{escaped(turn.error)}**"
        for call in turn.calls:
            yield from self._call(call)

    def _call(self, call: Call) -> Iterator[str]:
        when = call.begun[0] if call.begun else call.asked
        beside = "".join(f", {escaped(each)}" for each in call_facts(call))
        told = "".join(f"; {escaped(each)}" for each in approvals_of(call, self._clock))
        yield f"{self._clock(when)} {code(title_of(call))}: **{outcome_of(call)}**{beside}{told}"
        if arguments := arguments_of(call):
            yield fenced(self._cut(arguments, _OUTPUT_CHARS))
        if output := output_of(call):
            yield fenced(self._cut(output, _OUTPUT_CHARS))

    def _remark(self, remark: Remark) -> str:
        text = escaped(shortened(remark.text, _SAID_CHARS))
        kind = kind_of(remark)
        mark = "⚠️ " if remark.level in {"warning", "error"} else ""
        named = f"*{escaped(kind)}* " if kind else ""
        return f"{self._clock(remark.at)} {mark}{named}{text}"


def escaped(text: str) -> str:
    r"""Text in a line of Markdown, as it is.

    Example:
        >>> print(escaped("a_b <script>"))
        a\_b \<script\>
    """
    return _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))


def escaped_lines(text: str) -> str:
    """The same, its lines kept."""
    return "\\\n".join(_at_start(escaped(line)) for line in text.split("\n"))


def _at_start(line: str) -> str:
    """A line that begins no list, no heading and no rule."""
    return re.sub(r"^(\d+)([.)])|^([#+=-])", r"\1\\\2\3", line)


def code(text: str) -> str:
    r"""A code span that holds anything, in a table too.

    Example:
        >>> print(code("a`b|c"))
        ``a`b\|c``
    """
    text = " ".join(visible(text).split())
    fence = "`" * (max(map(len, re.findall(r"`+", text)), default=0) + 1)
    space = " " if text[:1] == "`" or text[-1:] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def fenced(text: str, language: str = "") -> str:
    """A code block that holds anything."""
    text = visible(text.expandtabs())
    fence = "`" * max(3, max(map(len, re.findall(r"`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def quoted(text: str) -> str:
    """A block quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def harmless(text: str) -> str:
    """A model's Markdown without HTML and images."""
    return safe_markdown(visible(text.expandtabs()))
