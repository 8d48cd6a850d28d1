"""What looks at a cell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aof_nb.notebook.screen import Frontend, frontend


def shell(content: dict[str, Any] | None, metadata: dict[str, Any]) -> Any:
    if content is None:
        return SimpleNamespace()
    parent = {"content": content, "metadata": metadata}
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: parent))


@pytest.mark.parametrize(
    ("environment", "content", "metadata", "expected"),
    [
        ({}, None, {}, Frontend.TERMINAL),
        ({}, {"allow_stdin": True}, {"cellId": "a"}, Frontend.LIVE),
        ({}, {"allow_stdin": True}, {"cellId": "vscode-notebook-cell:/a.ipynb#W0"}, Frontend.LIVE),
        ({}, {"allow_stdin": True}, {}, Frontend.CONSOLE),
        ({}, {"allow_stdin": False}, {"cellId": "a"}, Frontend.HEADLESS),
        ({}, {}, {}, Frontend.HEADLESS),
        ({"AOF_HEADLESS": "1"}, {"allow_stdin": True}, {"cellId": "a"}, Frontend.HEADLESS),
        ({"AOF_HEADLESS": "0"}, {"allow_stdin": True}, {"cellId": "a"}, Frontend.LIVE),
        ({"AOF_FRONTEND": "console"}, {"allow_stdin": True}, {"cellId": "a"}, Frontend.CONSOLE),
        ({"AOF_FRONTEND": "odd"}, None, {}, Frontend.TERMINAL),
    ],
)
def test_the_frontend_is_found(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    content: dict[str, Any] | None,
    metadata: dict[str, Any],
    expected: Frontend,
) -> None:
    for name in ("AOF_FRONTEND", "AOF_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert frontend(shell(content, metadata)) is expected
