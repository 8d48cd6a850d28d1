"""Completes what is typed after ``%aof`` and ``%%aof``."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from aof_nb.agent import Agent
from aof_nb.notebook import registry
from aof_nb.notebook.magics import COMMANDS
from aof_nb.notebook.options import FLAGS, MODES

if TYPE_CHECKING:
    from IPython.core.completer import IPCompleter
    from IPython.core.interactiveshell import InteractiveShell

_RUNS = 50
_LINE = re.compile(r"^\s*(?:\w+\s*=\s*)?(?P<magic>%%?aof)\s+(?P<typed>.*)$")


class Completion:
    """A matcher for IPython's completer.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

        @context_matcher(identifier="aof")  # type: ignore[untyped-decorator]
        def match(context: CompletionContext) -> SimpleMatcherResult:
            found = self.candidates(context.text_until_cursor)
            begun = context.text_until_cursor.rpartition(" ")[2]
            return {
                "completions": [SimpleCompletion(each) for each in found if each.startswith(begun)],
                "matched_fragment": begun,
                "suppress": bool(found),
            }

        self.match = match

    def candidates(self, line: str) -> list[str]:
        """The words that may stand where the line ends."""
        found = _LINE.match(line)
        if found is None:
            return []
        *before, begun = found["typed"].split(" ")
        before = [word for word in before if word]
        if before and before[-1] in {"--approve", "-a"}:
            return list(MODES)
        if begun.startswith("-"):
            return list(FLAGS)
        if found["magic"] == "%%aof":
            return [] if before else self._agents()
        if not before:
            return list(COMMANDS)
        if before in (["show"], ["resume"], ["replay"]):
            return _runs()
        return self._agents() if before in (["ask"], ["tools"]) else []

    def _agents(self) -> list[str]:
        variables = self._shell.user_ns
        held = [name for name, each in variables.items() if isinstance(each, Agent)]
        return sorted({*registry.agents, *(name for name in held if not name.startswith("_"))})

    def add_to(self, completer: IPCompleter) -> None:
        """Makes the completer ask it."""
        completer.custom_matchers.append(self.match)


def _runs() -> list[str]:
    from aof_nb.journal.runs import run_directories

    return [each.name for each in itertools.islice(run_directories(), _RUNS)]


def take_from(completer: IPCompleter) -> None:
    """Takes our matchers out of a completer, whichever module made them."""
    completer.custom_matchers[:] = [
        each
        for each in completer.custom_matchers
        if getattr(each, "__module__", "") != Completion.__module__
    ]
