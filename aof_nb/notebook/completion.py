"""Completes what is typed after ``%aof`` and ``%%aof``, and the YAML below their siblings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from aof_nb.notebook import registry
from aof_nb.notebook.arguments import LineParser, flags_of
from aof_nb.notebook.commands import COMMANDS
from aof_nb.notebook.lookups import model_names, recent_runs, sessions_of
from aof_nb.notebook.options import cell_parser

if TYPE_CHECKING:
    from IPython.core.completer import IPCompleter
    from IPython.core.interactiveshell import InteractiveShell

_LINE = re.compile(r"^\s*(?:[\w.]+\s*=\s*)?(?P<magic>%%?aof)\s+(?P<typed>.*)$")
_YAML = re.compile(r"^%%aof_(?P<kind>agent|mcp)\b")
_CELL = cell_parser()


class Completion:
    """A matcher for IPython's completer.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

        @context_matcher(identifier="aof")  # type: ignore[untyped-decorator]
        def match(context: CompletionContext) -> SimpleMatcherResult:
            try:
                begun, found = self.found(context)
            except Exception:  # noqa: BLE001  a completer that raises spoils the others' answers
                begun, found = "", {}
            fitting = [
                SimpleCompletion(each, type=told)
                for each, told in found.items()
                if each.startswith(begun)
            ]
            return {
                "completions": fitting,
                "matched_fragment": begun,
                "ordered": True,
                "suppress": bool(found),
            }

        self.match = match

    def found(self, context: CompletionContext) -> tuple[str, Mapping[str, str]]:
        """What has been typed of a word, and the words that may stand there, with what they are.

        Args:
            context: The text, and where the cursor is.
        """
        kind = _YAML.match(context.full_text)
        if kind is not None and context.cursor_line:
            from aof_nb.notebook.yaml_completion import yaml_candidates

            rows = context.full_text.split("\n")
            rows = [*rows[1 : context.cursor_line], context.text_until_cursor]
            after = context.full_text.split("\n")[context.cursor_line + 1 :]
            variables: Mapping[str, Any] = self._shell.user_ns
            return yaml_candidates(kind["kind"], rows, after, variables)
        line = context.text_until_cursor
        return _begun(line), self.candidates(line)

    def candidates(self, line: str) -> Mapping[str, str]:
        """The words that may stand where the line ends, each with what it is.

        Args:
            line: The line, as far as the cursor.
        """
        found = _LINE.match(line)
        if found is None:
            return {}
        *before, begun = re.split(r"\s+", found["typed"])
        if found["magic"] == "%%aof":
            return self._next(_CELL, before, begun)
        if not before:
            return dict.fromkeys(COMMANDS, "command")
        command = COMMANDS.get(before[0])
        return self._next(command.parser, before[1:], begun) if command is not None else {}

    def _next(self, parser: LineParser, before: list[str], begun: str) -> Mapping[str, str]:
        last = parser.option(before[-1]) if before else None
        if last is not None and last.nargs != 0:
            return self._values(last, _positionals(parser, before))
        if begun.startswith("-"):
            given = {parser.option(word) for word in before}
            flags = [flag for flag in flags_of(parser) if parser.option(flag) not in given]
            return dict.fromkeys([*flags, "--help"], "option")
        placed = _positionals(parser, before)
        if len(placed) < len(parser.positionals):
            return self._values(parser.positionals[len(placed)], placed)
        return {}

    def _values(self, action: argparse.Action, placed: list[str]) -> Mapping[str, str]:
        if action.choices:
            return {str(each): action.dest for each in action.choices}
        variables = self._shell.user_ns
        match getattr(action, "completes", None):
            case "agent":
                found = sorted(registry.all_agents(variables).items())
                return {name: f"agent, {agent.model_name}" for name, agent in found}
            case "command":
                return dict.fromkeys(COMMANDS, "command")
            case "model":
                return _told(model_names(), "model")
            case "run":
                return recent_runs()
            case "server":
                return {name: str(each.transport) for name, each in registry.servers.items()}
            case "session" if placed:
                agent = registry.all_agents(variables).get(placed[0])
                return _told(sessions_of(agent), "session") if agent is not None else {}
        return {}

    def add_to(self, completer: IPCompleter) -> None:
        """Makes the completer ask it."""
        completer.custom_matchers.append(self.match)


def _told(names: Iterable[str], kind: str) -> dict[str, str]:
    return dict.fromkeys(names, kind)


def _begun(line: str) -> str:
    return re.split(r"\s", line)[-1]


def _positionals(parser: LineParser, before: list[str]) -> list[str]:
    """The words that are neither an option nor its value."""
    found: list[str] = []
    value = False
    for word in before:
        option: Any = parser.option(word)
        if not value and option is None and not word.startswith("-"):
            found.append(word)
        value = not value and option is not None and option.nargs != 0
    return found


def take_from(completer: IPCompleter) -> None:
    """Takes our matchers out of a completer, whichever module made them."""
    completer.custom_matchers[:] = [
        each
        for each in completer.custom_matchers
        if getattr(each, "__module__", "") != Completion.__module__
    ]
