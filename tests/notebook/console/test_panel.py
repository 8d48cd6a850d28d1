"""The side panel in a real kernel, and what comes where a page has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.notebook.kernel import Executed, Kernel, started


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with started(tmp_path_factory.mktemp("panel")) as running:
        running.run("%load_ext aof_nb\nimport aof_nb.notebook.commands as commands")
        yield running


def opened(kernel: Kernel, *, attached: bool) -> Executed:
    """The panel, in a page that has a place for it, or makes its view and has none."""

    def page(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "comm_open" and "aof-console-pulse" in str(content["data"]):
            kernel.custom(content["comm_id"], {"do": "here", "attached": attached})

    return kernel.run("%aof console --panel", seen=page)


def test_a_page_that_shows_the_panel_is_told_where_it_is(kernel: Kernel) -> None:
    kernel.run("commands._PANEL_SECONDS = 60")
    executed = opened(kernel, attached=True)
    assert "in JupyterLab's side panel" in executed.printed
    assert len(executed.displays) == 1


def test_where_there_is_no_panel_the_console_is_in_the_cell(kernel: Kernel) -> None:
    kernel.run("commands._PANEL_SECONDS = 0.5")
    executed = opened(kernel, attached=False)
    assert "No side panel has appeared" in executed.printed
    [_, shown] = executed.displays
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
