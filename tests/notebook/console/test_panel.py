"""The side panel in a real kernel, and what comes where a page has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.kernel import Kernel, started


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with started(tmp_path_factory.mktemp("panel")) as running:
        running.run("%load_ext aof_nb\nimport aof_nb.notebook.commands as commands")
        yield running


def test_a_page_that_shows_the_panel_is_told_where_it_is(kernel: Kernel) -> None:
    def page(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "comm_open" and "aof-console-pulse" in str(content["data"]):
            kernel.custom(content["comm_id"], {"do": "here", "attached": True})

    kernel.run("commands._PANEL_SECONDS = 60")
    executed = kernel.run("%aof console --panel", seen=page)
    assert "in JupyterLab's side panel" in executed.printed
    assert len(executed.displays) == 1


def test_where_there_is_no_panel_the_console_is_in_the_cell(kernel: Kernel) -> None:
    def page(message: dict[str, Any]) -> None:
        content = message["content"]
        # Notebook 7 makes the panel's view, and then has no place for it.
        if message["msg_type"] == "comm_open" and "aof-console-pulse" in str(content["data"]):
            kernel.custom(content["comm_id"], {"do": "here", "attached": False})

    kernel.run("commands._PANEL_SECONDS = 0.5")
    executed = kernel.run("%aof console --panel", seen=page)
    assert "No side panel has appeared" in executed.printed
    [_, shown] = executed.displays
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
