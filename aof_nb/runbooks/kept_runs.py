"""The runs of a server's runbooks on disk, and their reports as resources.

A run is three files named by its id: the executed notebook, the report in HTML, and, made when it
is first asked for, the report in Markdown.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.paths import state_dir

URI = "runbook://runs/"
MIME_TYPES = {
    ".html": "text/html",
    ".md": "text/markdown",
    ".ipynb": "application/x-ipynb+json",
}
"""What a run can be read as, by the ending of its URI."""

_MOST_LISTED = 100
_NAME = re.compile(r"([a-zA-Z0-9_-]+)(\.html|\.md|\.ipynb)")


def default_directory(place: Path) -> Path:
    """Where the runs of a directory's runbooks are kept: its own place in the state directory."""
    whole = place.resolve()
    digest = hashlib.sha256(str(whole).encode()).hexdigest()[:8]
    return state_dir() / "runbooks" / f"{whole.stem}-{digest}"


class KeptRuns:
    """The runs in a directory, which is made readable by its owner only.

    Args:
        directory: The directory.

    Raises:
        ConfigurationError: If it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{directory} cannot be made: {error.strerror}",
                remedy="name another place for executed notebooks with --runs",
            ) from error

    def new(self, name: str) -> str:
        """A run id that no other run has."""
        return f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"

    def notebook(self, run_id: str) -> Path:
        """Where a run's executed notebook is."""
        return self._directory / f"{run_id}.ipynb"

    def executed(self, run_id: str) -> Any:
        """A run's executed notebook, as nbformat's node."""
        import nbformat

        return nbformat.read(self.notebook(run_id), as_version=4)  # type: ignore[no-untyped-call]

    def finished(self) -> list[str]:
        """The ids of the runs that have a report, the latest first, a hundred at most."""
        reports = [(each.stat().st_mtime, each.stem) for each in self._directory.glob("*.html")]
        return [name for _, name in sorted(reports, reverse=True)[:_MOST_LISTED]]

    def read(self, uri: str) -> tuple[str, str] | None:
        """A resource's text and mime type; None if there is none at the URI."""
        match = _NAME.fullmatch(uri.removeprefix(URI)) if uri.startswith(URI) else None
        if match is None:
            return None
        run_id, ending = match.groups()
        path = self._directory / f"{run_id}{ending}"
        if ending == ".md" and not path.exists() and self.notebook(run_id).exists():
            from aof_nb.runbooks.report import markdown

            return markdown(self.executed(run_id)), MIME_TYPES[ending]
        try:
            return path.read_text(encoding="utf-8"), MIME_TYPES[ending]
        except OSError:
            return None
