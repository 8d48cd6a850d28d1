"""The committed notebooks still run, under everything that runs notebooks, and hold no secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from aof_nb.lab import Lab
from aof_nb.resources import check
from aof_nb.runbooks import check_runbook

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
RUNNERS = {
    "nbconvert": "-m jupyter nbconvert --to notebook --execute {source} --output {target}",
    "nbclient": "-m jupyter execute {source} --output {target} --timeout 100",
    "papermill": "-m papermill {source} {target} --cwd {folder} --kernel python3",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    directory = tmp_path_factory.mktemp("state")
    keyless = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    lab = Lab.up(directory / "lab")
    yield keyless | {"AOF_STATE_DIR": str(directory), "AOF_LAB_DIR": str(directory / "lab")}
    lab.down()


def outputs(notebook: nbformat.NotebookNode) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str, runner: str, environment: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / f"{name}.ipynb"
    command = RUNNERS[runner].format(
        source=NOTEBOOKS / f"{name}.ipynb", target=target, folder=NOTEBOOKS
    )
    finished = subprocess.run(
        [sys.executable, *command.split()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    executed = nbformat.read(target, as_version=4)
    said = outputs(executed)
    assert "(scripted)" in said
    assert "application/vnd.jupyter.widget-view+json" not in said
    committed = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    shapes = [
        [
            [output.output_type for output in cell.get("outputs", [])]
            for cell in notebook.cells
            if cell.cell_type == "code"
            and "injected-parameters" not in cell.metadata.get("tags", ())
        ]
        for notebook in (committed, executed)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_committed_is_clean(name: str) -> None:
    path = NOTEBOOKS / f"{name}.ipynb"
    text = path.read_text()
    assert not re.search(r"/(?:tmp|home|root|work|Users)/", text)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert "Traceback" not in outputs(notebook)
    assert [*check(path), *check_runbook(path)] == []
