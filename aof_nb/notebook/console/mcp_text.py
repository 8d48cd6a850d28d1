"""What the page of MCP servers says, as HTML that holds no markup but its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aof_nb.markdown import html_text
from aof_nb.mcp.browsing import Part
from aof_nb.mcp.connection import ServerStatus
from aof_nb.mcp.definition import Definition, as_lines, difference
from aof_nb.mcp.findings import Finding, findings, in_words
from aof_nb.mcp.pins import Pin, ServerPins
from aof_nb.notebook.console.markup import told
from aof_nb.notebook.results import shown
from aof_nb.readable import counted
from aof_nb.truncation import truncate

NOT_ASKED = "The server has not been asked yet: the first button above does."
"""What stands in the place of what a server offers before that is known."""

_TEXT_CHARS = 20_000
_MARKS = {"connecting": "…", "open": "●", "closed": "○", "failed": "✗"}
_WORDS = {"connecting": "connecting", "open": "connected", "closed": "closed", "failed": "failed"}
_LOOK = {
    "hidden": "hidden characters",
    "instructions": "instructions to the model",
    "secrets": "places of secrets",
    "shadows": "another tool's name",
}


def block(words: str) -> str:
    """Text in a box, as it stands."""
    return f"<pre>{html_text(truncate(words, _TEXT_CHARS))}</pre>"


def standing(status: ServerStatus | None) -> str:
    """How a connection is, in a few words with a mark."""
    if status is None:
        return "○ not started"
    tools = f", {counted(status.tools, 'tool')}" if status.state == "open" else ""
    return f"{_MARKS[status.state]} {_WORDS[status.state]}{tools}"


def milliseconds(duration: float | None) -> str:
    """A latency."""
    return "" if duration is None else f"{duration * 1000:,.0f} ms"


def notable(found: Sequence[Finding]) -> str:
    """What is to be looked at in a definition, in a few words; empty if nothing is."""
    kinds = dict.fromkeys(_LOOK[each.kind] for each in found)
    return f"⚠ {', '.join(kinds)}" if kinds else ""


def notes(found: Iterable[Finding], tool: str = "") -> str:
    """What is to be looked at in a definition, a line each.

    Args:
        found: What was found.
        tool: The tool's name, where it has to be told.
    """
    of = f"{tool}: " if tool else ""
    return "".join(
        f'<div class="aof-note aof-warning">⚠ {html_text(f"{of}{in_words(each)}")}</div>'
        for each in found
    )


def definition(known: Definition) -> str:
    """A definition as the server sent it."""
    return block("\n".join(as_lines(known)))


def pin(name: str, known: Pin) -> str:
    """A tool's definition: the one that holds, or how it was changed, and what to look at."""
    if known.changed is None:
        return notes(findings(known.definition)) + definition(known.definition)
    changes = shown(difference(known.definition, known.changed))
    assert changes is not None
    return (
        f'<div class="aof-note aof-warning">⚠ {html_text(name)} was changed by its server. '
        "No agent is given it until the change is accepted.</div>"
        f"{notes(findings(known.changed))}{changes.html}"
    )


def pins(known: ServerPins) -> str:
    """All that a person should look at in a server's definitions."""
    parts = []
    for name, each in known.tools.items():
        if each.changed is not None:
            parts.append(f"<h4>{html_text(name)}</h4>{pin(name, each)}")
        else:
            parts.append(notes(findings(each.definition), name))
    return "".join(parts) or "<div>No definition has changed, and nothing odd was found.</div>"


def parts(found: Sequence[Part]) -> str:
    """What was read of a resource or a prompt."""
    if not found:
        return '<div role="status">It is empty.</div>'
    return "".join(f"<h4>{html_text(each.title)}</h4>{result(each.text)}" for each in found)


def result(content: str, data: object = None) -> str:
    """What came back, shown as what it is: a table, JSON, a diff, or text."""
    if isinstance(data, dict) and list(data) == ["result"]:
        # Servers wrap what is no object so, as their answers must be objects.
        data = None if isinstance(data["result"], str) else data["result"]
    as_it_is = shown(content, data)
    if as_it_is is not None:
        return as_it_is.html
    return block(content) if content else told("Nothing came back.")
