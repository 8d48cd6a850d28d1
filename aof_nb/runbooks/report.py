"""A run's report: the executed notebook as one HTML file, which needs nothing else, or Markdown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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

_READ_AS_TEXT = ["text/markdown", "text/plain", "image/svg+xml", "image/png", "image/jpeg"]


def write_report(notebook: Any, path: Path) -> None:
    """Writes an executed notebook as HTML.

    Styles and the images of outputs are in the file. Scripts do not run and nothing is fetched,
    which the file's content security policy enforces: what an agent and its tools wrote is in
    there, and a report is opened by people who did not write it. For the same reason an image
    that Markdown names by a path is not put in: the path might be any file.

    Args:
        notebook: The notebook, as nbformat's node.
        path: The file, made or replaced as a whole.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter()  # type: ignore[no-untyped-call]
    for each in _ADDRESSES:
        setattr(exporter, each, "")
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    html = html.replace("<head>", f"<head>{_CONTENT_POLICY}", 1)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(html, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


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
