"""The committed notebooks still run, under everything that runs notebooks, and hold no secrets.

They run for real under three runners, and on their cassettes, where no network is, under `aofctl
test` and nbval.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from aof_nb.journal.cassette import cassette_beside
from aof_nb.journal.recording import read_recordings
from aof_nb.lab import Lab
from aof_nb.resources import check
from aof_nb.runbooks import check_runbook
from aof_nb.runbooks.sanitizers import FILE as SANITIZE_FILE
from tests import offline

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


# What the runners do differently shows in one notebook; each notebook runs for real under one.
PAIRS = [
    (name, runner)
    for name in NAMES
    for runner in RUNNERS
    if name == "getting_started" or runner == "papermill"
]


@pytest.mark.parametrize(("name", "runner"), PAIRS)
def test_it_runs(name: str, runner: str, environment: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / f"{name}.ipynb"
    command = RUNNERS[runner].format(
        source=NOTEBOOKS / f"{name}.ipynb", target=target, folder=NOTEBOOKS
    )
    # Nobody can click here: what the tour asks about would wait for whoever answers later.
    refusing = {"AOF_APPROVE": "never"} if name == "getting_started" else {}
    finished = subprocess.run(
        [sys.executable, *command.split()],
        env=environment | refusing,
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
    assert shapes(committed) == shapes(executed)


def shapes(notebook: nbformat.NotebookNode) -> list[list[Any]]:
    """The kinds of each cell's outputs; how a stream's text was cut does not count."""
    return [
        [kind for kind, _ in itertools.groupby(cell.get("outputs", []), key=kind_of)]
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", ())
    ]


def kind_of(output: nbformat.NotebookNode) -> Any:
    kind = output.output_type
    return (kind, output.name) if kind == "stream" else (kind, *sorted(output.get("data", ())))


@pytest.fixture
def without_world(tmp_path: Path) -> dict[str, str]:
    """An environment with a key that must not be used, and nothing else to go by."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AOF_")}
    lab, state = tmp_path / "lab", tmp_path / "state"
    return kept | {
        "AOF_LAB_DIR": str(lab),
        "AOF_STATE_DIR": str(state),
        "OPENAI_API_KEY": "not to be used",
        "NO_COLOR": "1",
    }


def test_the_network_is_blocked(without_world: dict[str, str], tmp_path: Path) -> None:
    program = "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)"
    tried = offline.offline(
        [sys.executable, "-c", program], environment=without_world, cwd=tmp_path, guard=tmp_path
    )
    assert tried.returncode == 1
    assert "Network is unreachable" in tried.stderr or "network is blocked" in tried.stderr


@pytest.mark.timeout(240)
def test_replays_need_no_network_and_repeat_to_the_byte(
    without_world: dict[str, str], tmp_path: Path
) -> None:
    kept = [tmp_path / "first", tmp_path / "second"]
    for directory in kept:
        tested = offline.offline(
            [sys.executable, "-m", "aof_nb.cli", "test", NOTEBOOKS, "--save", directory],
            environment=without_world,
            cwd=NOTEBOOKS.parent,
            guard=tmp_path,
        )
        assert tested.returncode == 0, tested.stdout + tested.stderr
        assert f"{len(NAMES)} passed" in tested.stdout
    for name in NAMES:
        first, second = ((each / f"notebooks/{name}.ipynb").read_bytes() for each in kept)
        assert first == second
        assert first == (NOTEBOOKS / f"{name}.ipynb").read_bytes()
    assert not (tmp_path / "lab").exists()
    assert not list(tmp_path.glob("state/runs/*"))


@pytest.mark.parametrize("name", NAMES)
def test_nbval_agrees(name: str, without_world: dict[str, str], tmp_path: Path) -> None:
    del without_world["OPENAI_API_KEY"]
    cassette = {"AOF_REPLAY": str(cassette_beside(NOTEBOOKS / f"{name}.ipynb"))}
    options = f"-c {os.devnull} -p no:cacheprovider --nbval --nbval-current-env -W ignore"
    tested = offline.offline(
        [
            *(sys.executable, "-m", "pytest", *options.split(), "--rootdir", NOTEBOOKS),
            *("--nbval-sanitize-with", SANITIZE_FILE, NOTEBOOKS / f"{name}.ipynb"),
        ],
        environment=without_world | cassette,
        cwd=tmp_path,
        guard=tmp_path,
    )
    assert tested.returncode == 0, tested.stdout[-3000:]
    assert re.search(r"\d+ passed", tested.stdout)
    assert "unhandled iopub msg" not in tested.stdout


@pytest.mark.parametrize("name", NAMES)
def test_its_cassette_is_clean_and_small(name: str) -> None:
    path = cassette_beside(NOTEBOOKS / f"{name}.ipynb")
    assert not re.search(rb"/(?:tmp|home|root|work|Users)/", path.read_bytes())
    assert path.stat().st_size < 200_000
    recordings = read_recordings(path)
    assert {each.state for each in recordings} == {"completed"}
    assert not any(each.damage or each.torn or each.begun.source for each in recordings)


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
