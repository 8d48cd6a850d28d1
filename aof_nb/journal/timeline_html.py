"""A timeline as one HTML file that needs nothing else.

What models and tools wrote is escaped, and the file's content security policy lets no script run
and fetches nothing: it is opened by people who did not write it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from aof_nb.journal.timeline import Call, CallOutcome, Remark, Timeline, Turn
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
    level_of_call,
    level_of_state,
    outcome_of,
    output_of,
    permission_of,
    shortened,
    state_of,
    turn_facts,
)
from aof_nb.markdown import to_html
from aof_nb.readable import indented_json, seconds, visible
from aof_nb.truncation import truncate

if TYPE_CHECKING:
    from jinja2 import Template

_SAID_CHARS = 20_000
_OUTPUT_CHARS = 20_000
_LINE_CHARS = 300
_OPEN_CHARS = 600


def as_html(timeline: Timeline, *, full: bool = False) -> str:
    """A timeline as an HTML document.

    Args:
        timeline: The run.
        full: Whether long texts are left whole.
    """
    return _template().render(_Page(timeline, full=full).values())


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("aof_nb.journal", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    return environment.get_template("timeline.html.j2")


def _finalized(value: Any) -> Any:
    """What is put into the page: a text's control characters are shown."""
    return visible(value) if type(value) is str else value


class _Page:
    def __init__(self, timeline: Timeline, *, full: bool) -> None:
        self._run = timeline
        self._clock = Clock(timeline.began)
        self._full = full

    def values(self) -> dict[str, Any]:
        """What the template is given."""
        run = self._run
        output = ""
        if run.output is not None:
            output = indented_json(run.output)
        return {
            "run": run,
            "state": state_of(run),
            "state_level": level_of_state(run.state),
            "prompt": self._cut(run.prompt.strip(), _SAID_CHARS),
            "callouts": list(callouts(run)),
            "facts": list(facts(run)),
            "answer_title": answer_title(run),
            "answer": _rendered(run.text.strip()),
            "output": output,
            "changes": [self._call(call) for call in changes(run)],
            "costs": [
                (
                    model,
                    f"{usage.input_tokens:,}",
                    f"{usage.cache_read_tokens:,}",
                    f"{usage.output_tokens:,}",
                    dollars(run.cost_by_model.get(model)),
                )
                for model, usage in run.usage_by_model.items()
            ],
            "items": [
                self._turn(each) if isinstance(each, Turn) else self._remark(each)
                for each in run.items
            ],
            "zone": date(run.began).rpartition(" ")[2],
        }

    def _cut(self, text: str, limit: int) -> str:
        return text if self._full else truncate(text, limit)

    def _turn(self, turn: Turn) -> dict[str, Any]:
        return {
            "turn": turn.number,
            "time": self._clock(turn.asked),
            "beside": " · ".join(turn_facts(turn)),
            "remarks": [self._remark(each) for each in turn.remarks],
            "thinking": self._cut(turn.thinking.strip(), _SAID_CHARS),
            "is_answer": is_the_answer(turn, self._run),
            "said": _rendered(self._cut(turn.text.strip(), _SAID_CHARS)),
            "error": turn.error,
            "calls": [self._call(call) for call in turn.calls],
        }

    def _call(self, call: Call) -> dict[str, Any]:
        output = self._cut(output_of(call), _OUTPUT_CHARS)
        begun = [each for each in call_facts(call) if each.startswith("begun")]
        took = [] if call.duration is None else [seconds(call.duration)]
        return {
            "time": self._clock(call.begun[0] if call.begun else call.asked),
            "line": shortened(in_a_line(call), _LINE_CHARS),
            "effect": call.effect,
            "level": level_of_call(call),
            "outcome": outcome_of(call),
            "took": ", ".join([*took, *begun]),
            "approvals": list(approvals_of(call, self._clock)),
            "permission": permission_of(call, self._run, self._clock),
            "arguments": self._cut(arguments_of(call), _OUTPUT_CHARS),
            "output": output,
            "progress": call.progress if call.ended is None else "",
            "is_open": call.outcome is not CallOutcome.OK or len(output) <= _OPEN_CHARS,
        }

    def _remark(self, remark: Remark) -> dict[str, Any]:
        return {
            "time": self._clock(remark.at),
            "level": remark.level,
            "kind": kind_of(remark),
            "text": self._cut(remark.text, _SAID_CHARS),
        }


def _rendered(text: str) -> Any:
    from markupsafe import Markup

    # Nothing of the text's own markup gets through `to_html`.
    return Markup(to_html(visible(text.expandtabs()))) if text else ""  # noqa: S704
