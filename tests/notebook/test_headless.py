"""Notebooks with agent cells, executed where nobody looks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from aof_nb.journal.recording import Recording, State, read_recording
from tests.notebook.kernel import ThisPython
from tests.notebook.test_kernel import PLAYBOOK, TOOLS

REFUSED = (
    "  restart (write) needs a person's approval, and this run does not ask for any. It was not …"
)
SHOWN = [
    "sre",
    "Let me look at the **service** first.",
    "✓ read_log service=checkout (T)",
    "The log says: <b>disk full</b>",
    "⊘ restart service=checkout (denied)\n" + REFUSED,
    "Nothing was restarted.",
    "script:fix.yaml (scripted) · 3 turns · 2 tool calls · 0 tokens · T · %aof show RUN",
]


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fix.yaml").write_text(PLAYBOOK)
    cells = [
        nbformat.v4.new_code_cell(TOOLS),
        nbformat.v4.new_code_cell("%%aof sre --out r\nWhy is {Agent.__name__} slow?"),
        nbformat.v4.new_code_cell("assert r.status == 'completed', r.error"),
    ]
    path = tmp_path / "incident.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for name in ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def refusing(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_APPROVE", "never")


def by_nbclient(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    directory = str(path.parent)
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        resources={"metadata": {"path": directory}},
        timeout=60,
    )
    client.execute()
    return notebook


def by_papermill(path: Path) -> Any:
    import papermill

    papermill.execute_notebook(
        path, path.with_name("out.ipynb"), cwd=path.parent, progress_bar=False
    )
    return nbformat.read(path.with_name("out.ipynb"), as_version=4)


def by_nbconvert(path: Path) -> Any:
    command = ["-m", "nbconvert", "--to", "notebook", "--execute", "--output", "out.ipynb"]
    subprocess.run(
        [sys.executable, *command, str(path)], check=True, capture_output=True, env=os.environ
    )
    return nbformat.read(path.with_name("out.ipynb"), as_version=4)


@pytest.mark.parametrize("execute", [by_nbclient, by_papermill, by_nbconvert])
@pytest.mark.usefixtures("refusing")
def test_the_same_outputs_in_each(notebook: Path, execute: Any) -> None:
    executed = execute(notebook)
    cell = next(each for each in executed.cells if each.source.startswith("%%aof sre"))
    assert {each.output_type for each in cell.outputs} == {"display_data"}
    assert {frozenset(each.data) for each in cell.outputs} == {
        frozenset({"text/markdown", "text/plain"})
    }
    [record] = cell.outputs
    said = re.sub(r"[\d.]+ m?s\b", "T", record.data["text/plain"])
    run_id = record.metadata["aof"]["run_id"]
    assert said.replace(run_id, "RUN") == "\n".join(SHOWN)
    assert "widgets" not in executed.metadata


@pytest.mark.usefixtures("refusing")
def test_nobody_is_asked_and_nothing_is_replaced(notebook: Path) -> None:
    received: list[str] = []
    executed = nbformat.read(notebook, as_version=4)

    class Listening(NotebookClient):
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            received.append(msg["msg_type"])
            return super().process_message(msg, cell, cell_index)

    Listening(
        executed,
        kernel_manager_class=ThisPython,
        resources={"metadata": {"path": str(notebook.parent)}},
    ).execute()
    assert "display_data" in received
    assert not {"update_display_data", "clear_output", "comm_open"} & set(received)


def test_a_failed_run_fails_the_notebook_with_the_panel(notebook: Path) -> None:
    (notebook.parent / "fix.yaml").unlink()
    with pytest.raises(CellExecutionError, match="the playbook cannot be read") as caught:
        by_nbclient(notebook)
    assert caught.value.ename == "CellFailed"
    assert "→ check the path" in caught.value.traceback
    assert "File " not in caught.value.traceback


def test_approve_all_by_the_environment(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_APPROVE", "all")
    shown = str(by_nbclient(notebook).cells[1].outputs)
    assert "✓ restart" in shown
    assert "is **up** again" in shown


@pytest.mark.parametrize("execute", [by_nbclient, by_papermill])
def test_an_approval_that_nobody_can_give_stops_the_notebook(notebook: Path, execute: Any) -> None:
    with pytest.raises(Exception, match="waits for a person's approval") as caught:
        execute(notebook)
    assert getattr(caught.value, "ename", "") == "CellWaiting"
    waiting = read_runs(notebook.parent / "state")
    assert [each.state for each in waiting] == [State.WAITING]
    assert f"aofctl approve {waiting[0].run_id}" in str(caught.value)


def read_runs(state: Path) -> list[Recording]:
    return [read_recording(path) for path in state.glob("runs/*/journal.jsonl")]


@pytest.mark.usefixtures("refusing")
def test_it_reads_without_a_kernel(notebook: Path) -> None:
    from nbconvert import HTMLExporter

    executed = by_nbclient(notebook)
    html, _ = HTMLExporter().from_notebook_node(executed)
    assert "<details" in html
    assert "&lt;b&gt;disk full&lt;/b&gt;" in html
    assert "Nothing was restarted." in html
    assert "<b>disk full</b>" not in html
