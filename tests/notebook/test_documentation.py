"""The page about the magics says what the parsers take; run as a module, this writes it."""

from __future__ import annotations

import re
from pathlib import Path

from aof_nb.notebook.commands import COMMANDS
from aof_nb.notebook.options import cell_parser
from aof_nb.notebook.settings import AOF, MODES, THEMES

PAGE = Path(__file__).parents[2] / "docs" / "magics.md"
_WRITTEN = re.compile(r"(<!-- begin of [^\n]*-->\n).*(<!-- end of [^\n]*-->)", re.DOTALL)


def reference() -> str:
    parsers = [cell_parser(), *(each.parser for each in COMMANDS.values())]
    return "\n".join(
        f"### `{each.prog}`\n\n```text\n{each.format_help().rstrip()}\n```\n" for each in parsers
    )


def written() -> str:
    return _WRITTEN.sub(lambda found: f"{found[1]}{reference()}{found[2]}", PAGE.read_text())


def test_the_page_is_what_the_parsers_take() -> None:
    assert PAGE.read_text() == written(), "run python -m tests.notebook.test_documentation"


def test_every_command_option_and_setting_is_named() -> None:
    text = PAGE.read_text()
    for name, command in COMMANDS.items():
        assert f"### `%aof {name}`" in text
        for action in command.parser.options:
            assert all(flag in text for flag in action.option_strings)
    for name in AOF.class_trait_names(config=True):
        assert f"`AOF.{name}`" in text
    for value in (*MODES, *THEMES):
        assert f"`{value}`" in text


if __name__ == "__main__":
    PAGE.write_text(written())
