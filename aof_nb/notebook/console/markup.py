"""Pieces of HTML that several pages are made of; what they are given is shown as text."""

from __future__ import annotations

from collections.abc import Iterable

from aof_nb.markdown import html_text


def told(words: str) -> str:
    """Text that is less important."""
    return f'<span class="aof-told">{html_text(words)}</span>' if words else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for."""
    shown = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(said)}</dd>" for name, said in rows)
    return f"<dl>{shown}</dl>"


def problem(words: str) -> str:
    """Something that is wrong."""
    return f'<div class="aof-problem" role="alert">{html_text(words)}</div>'
