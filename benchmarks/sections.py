"""Parts of the page of figures that commands of their own write."""

from __future__ import annotations

import argparse
import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.rounds import ROOT

_SECTION = re.compile(
    r"<!-- begin (?P<name>[\w-]+)[^>]*-->\n.*?<!-- end (?P=name) -->\n", re.DOTALL
)


def written(name: str, command: str, text: str) -> str:
    """A section between the marks that tell it from the rest of the page.

    Args:
        name: What it is called in its marks.
        command: What writes it.
        text: What stands in it.
    """
    return f"<!-- begin {name}, written by {command} -->\n{text}<!-- end {name} -->\n"


def circumstances(*libraries: str) -> str:
    """When and on what figures were measured, as a sentence.

    Args:
        libraries: The packages whose versions matter.
    """
    date, load = datetime.now(UTC).date().isoformat(), os.getloadavg()[0]
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"Measured on {date}, on {os.cpu_count()} cores at a load average of {load:.1f}, "
        f"Python {platform.python_version()}{f': {versions}' if versions else ''}."
    )


def replaced(page: str, section: str) -> str:
    """A page with a section in the place of the one of its name, or at its end."""
    found = _SECTION.match(section)
    assert found is not None
    for other in _SECTION.finditer(page):
        if other["name"] == found["name"]:
            return page[: other.start()] + section + page[other.end() :]
    return f"{page.rstrip()}\n\n{section}"


def carried_over(page: str, new: str) -> str:
    """A new page with the sections of the old one, which it does not write itself."""
    for section in _SECTION.finditer(page):
        new = replaced(new, section[0])
    return new


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """The command line of a command that writes a section.

    Args:
        command: How it is called.
        description: What it does.
    """
    made = argparse.ArgumentParser(prog=command, description=description)
    made.add_argument("--quick", action="store_true", help="a smoke test: figures mean nothing")
    made.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return made


def put(page: Path, section: str) -> None:
    """Writes a section to a page, which may not be there yet."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    page.write_text(replaced(text, section), encoding="utf-8")
