"""The server scenarios of the official conformance suite, against ``aofctl mcp serve``.

Most of its scenarios call tools by names of their own, which here are notebooks of those names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mcp.conftest import HttpServer, Npm, npm
from tests.notebooks import write_notebook
from tests.runbooks.test_run import ASK

__all__ = ["npm"]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

LISTS = ["server-initialize", "ping", "tools-list", "resources-list", "dns-rebinding-protection"]
CALLS = [
    "server-sse-multiple-streams",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-error",
    "tools-call-with-progress",
    "tools-call-elicitation",
]
DO_NOT_APPLY = {
    "a runbook's result is text, pictures and links to its report": [
        "tools-call-audio",
        "tools-call-embedded-resource",
        "tools-call-mixed-content",
    ],
    "a parameters cell has no types of its own, so its schema needs no $defs": [
        "json-schema-2020-12"
    ],
    "the only questions are for approval, whose form is one choice": [
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
    ],
    "the only resources are reports, which do not change": [
        "resources-read-text",
        "resources-read-binary",
        "resources-templates-read",
        "resources-subscribe",
        "resources-unsubscribe",
    ],
    "a run's connection is not closed on purpose while it lasts": ["server-sse-polling"],
    "there are no prompts, and nothing to complete": [
        "completion-complete",
        "prompts-list",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-embedded-resource",
        "prompts-get-with-image",
    ],
    "the server asks no model: a runbook's agents have theirs": ["tools-call-sampling"],
    "MCP has deprecated log messages; progress tells how far a run is": [
        "logging-set-level",
        "tools-call-with-logging",
    ],
}


Serve = Callable[[Path], str]


@pytest.fixture(scope="module")
def url_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts a server over a directory, once, and tells its URL."""
    directory = tmp_path_factory.mktemp("conformance")
    servers: dict[Path, HttpServer] = {}

    def serve(books: Path) -> str:
        if books not in servers:
            command = [sys.executable, "-m", "aof_nb.cli", "mcp", "serve", str(books)]
            options = ["--transport", "http", "--runs", str(directory / "runs"), "--approve", "ask"]
            shell = ["sh", "-c", 'exec "$0" "$@" --port "$PORT"', *command, *options]
            server = servers[books] = HttpServer(shell, dict(os.environ), directory / "server.log")
            server.start()
        return f"http://127.0.0.1:{servers[books].port}/mcp"

    yield serve
    for server in servers.values():
        server.kill()


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("books")
    picture = "Image(bytes.fromhex('89504e470d0a1a0a'), format='png')"
    write_notebook(directory / "test_simple_text.ipynb", "print('simple')", aof={})
    write_notebook(
        directory / "test_image_content.ipynb",
        f"from IPython.display import Image\n{picture}",
        aof={},
        tags={0: ["result"]},
    )
    write_notebook(
        directory / "test_error_handling.ipynb", "raise ValueError('on purpose')", aof={}
    )
    write_notebook(directory / "test_tool_with_progress.ipynb", "1", "2", "3", aof={})
    write_notebook(directory / "test_elicitation.ipynb", ASK, parameters="message = None")
    return directory


def conforms(npm: Npm, url: str, scenario: str) -> None:
    ended = subprocess.run(
        [npm("conformance"), "server", "--url", url, "--scenario", scenario],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 failed, 0 warnings" in ended.stdout
    assert "Passed: 0/0" not in ended.stdout


@pytest.mark.npm
@pytest.mark.parametrize("scenario", LISTS)
def test_our_notebooks_are_served_as_mcp_demands(scenario: str, npm: Npm, url_of: Serve) -> None:
    conforms(npm, url_of(NOTEBOOKS), scenario)


@pytest.mark.npm
@pytest.mark.parametrize("scenario", CALLS)
def test_runbooks_are_called_as_mcp_demands(
    scenario: str, npm: Npm, url_of: Serve, books: Path
) -> None:
    conforms(npm, url_of(books), scenario)


@pytest.mark.npm
def test_every_scenario_is_passed_or_known_not_to_apply(npm: Npm) -> None:
    listed = subprocess.run(
        [npm("conformance"), "list", "--server"], capture_output=True, text=True, check=True
    ).stdout
    scenarios = {line[4:] for line in listed.splitlines() if line.startswith("  - ")}
    others = [each for named in DO_NOT_APPLY.values() for each in named]
    assert {*LISTS, *CALLS, *others} == scenarios
    assert len([*LISTS, *CALLS, *others]) == len(scenarios)
