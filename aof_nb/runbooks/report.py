"""A run's reports: its summary and the executed notebook, as one HTML file and as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.playbook_recording import read_playbook
from aof_nb.runbooks.saving import write_whole
from aof_nb.runbooks.summary import summarised
from aof_nb.runbooks.summary_text import as_html, as_markdown

_CONTENT_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="'
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    'media-src data:">'
)
_ADDRESSES = (
    "jquery_url",
    "jupyter_widgets_base_url",
    "mathjax_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
    "require_js_url",
    "widget_renderer_url",
)
_BODY = re.compile(r"<body\b[^>]*>")

_READ_AS_TEXT = ["text/markdown", "text/plain", "image/svg+xml", "image/png", "image/jpeg"]


def write_reports(notebook: Any, path: Path, directory: Path | None) -> Path:
    """Writes the reports of a notebook's run.

    Args:
        notebook: The executed notebook, as nbformat's node.
        path: The report; in HTML, or, if it is called ``.md``, in Markdown alone.
        directory: The run's directory; None if it has no journal, and so no summary.

    Returns:
        The report in Markdown, beside that in HTML.

    Raises:
        JournalError: If the run's journal cannot be read.
        OSError: If they cannot be written.
    """
    html = text = ""
    if directory is not None:
        summary = summarised(read_playbook(directory / FILE_NAME))
        html, text = as_html(summary), f"{as_markdown(summary)}\n---\n\n"
    if path.suffix != ".md":
        write_report(notebook, path, html)
    beside = path.with_suffix(".md")
    write_whole(beside, text + markdown(notebook))
    return beside


def write_report(notebook: Any, path: Path, summary: str = "") -> None:
    """Writes an executed notebook as HTML.

    Styles and the images of outputs are in the file. Scripts do not run and nothing is fetched,
    which the file's content security policy enforces: what an agent and its tools wrote is in
    there, and a report is opened by people who did not write it. For the same reason an image
    that Markdown names by a path is not put in: the path might be any file.

    Args:
        notebook: The notebook, as nbformat's node.
        path: The file, made or replaced as a whole.
        summary: HTML that goes before the cells.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()  # type: ignore[no-untyped-call]
    for each in _ADDRESSES:
        setattr(exporter, each, "")
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    html = html.replace("<head>", f"<head>{_CONTENT_POLICY}", 1)
    html = _BODY.sub(lambda body: body[0] + summary, html, count=1)
    write_whole(path, html)


def markdown(notebook: Any) -> str:
    """An executed notebook as Markdown; its images are named, not put in.

    Args:
        notebook: The notebook, as nbformat's node.
    """
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    config = Config()
    config.NbConvertBase.display_data_priority = _READ_AS_TEXT
    exporter = MarkdownExporter(config=config)  # type: ignore[no-untyped-call]
    text, _ = exporter.from_notebook_node(notebook)
    return str(text)
