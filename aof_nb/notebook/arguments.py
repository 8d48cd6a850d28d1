"""Reads the line of a magic: what is wrong in it is said with the word that was near."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NoReturn, TypeAlias

from IPython.core.error import UsageError

from aof_nb.notebook.registry import near

Completes: TypeAlias = Literal[
    "agent", "command", "file", "model", "run", "server", "session", "variable"
]
"""What the value of an argument is one of."""

_UNKNOWN = re.compile(r"unrecognized arguments: (?P<words>.*)", re.DOTALL)
_CHOICE = re.compile(r"argument (?P<name>\S+): invalid choice: '(?P<value>.*?)' \(")
_HELP = frozenset({"--help", "-h"})


class HelpAsked(Exception):
    """What is raised where a line asks what it may hold.

    Args:
        text: What it may hold.
    """


class LineParser(argparse.ArgumentParser):
    """A parser of one magic, or of one command of ``%aof``.

    Args:
        prog: The magic and the command.
        description: What it does.
        example: Lines that show it.
    """

    def __init__(self, prog: str, description: str = "", example: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=example and f"for example:\n{example}",
            add_help=False,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )
        # Later versions of Python would colour what becomes a docstring.
        self.color = False

    def add(self, *flags: str, completes: Completes | None = None, **settings: Any) -> None:
        """Adds an argument.

        Args:
            *flags: Its names.
            completes: What its value is one of, for those who complete it.
            **settings: As `argparse.ArgumentParser.add_argument` takes them.
        """
        self.add_argument(*flags, **settings).completes = completes  # type: ignore[attr-defined]

    def read(self, given: Sequence[str]) -> argparse.Namespace:
        """Reads words; options may stand between the others.

        Raises:
            HelpAsked: If they ask for help.
            UsageError: If they are wrong.
        """
        if _HELP & set(given):
            raise HelpAsked(self.format_help().rstrip())
        return self.parse_intermixed_args(given)

    def error(self, message: str) -> NoReturn:
        """Raises what is wrong as IPython shows it, without a traceback."""
        message = message.rstrip("\n")
        # A cell's magic without a body is refused by IPython, so that it could not be helped.
        asking = f"{self.prog}?" if self.prog.startswith("%%") else f"{self.prog} --help"
        raise UsageError(f"{self.prog}: {message}{self._near(message)}; see {asking}")

    @property
    def options(self) -> list[argparse.Action]:
        """The options."""
        return [each for each in self._actions if each.option_strings]

    @property
    def positionals(self) -> list[argparse.Action]:
        """The arguments without a name of their own, in their order."""
        return [each for each in self._actions if not each.option_strings]

    def option(self, word: str) -> argparse.Action | None:
        """The option of that name; None if there is none."""
        return self._option_string_actions.get(word)

    def _near(self, message: str) -> str:
        if found := _UNKNOWN.search(message):
            known = [flag for each in self.options for flag in each.option_strings]
            hints = (near(word, known) for word in found["words"].split() if word.startswith("-"))
            return next(filter(None, hints), "")
        if found := _CHOICE.search(message):
            action = self.option(found["name"].partition("/")[0])
            return near(found["value"], map(str, action.choices or ())) if action else ""
        return ""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help as wide as a cell, whatever terminal the kernel was started from."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=26, width=96)


def flags_of(parser: LineParser) -> Iterator[str]:
    """The long names of a parser's options."""
    for action in parser.options:
        yield max(action.option_strings, key=len)


def words(line: str) -> list[str]:
    """The words of a magic's line; quotes hold words together.

    Raises:
        UsageError: If a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error}: put text with spaces or apostrophes in double quotes") from None
