"""The pytest plugin, in sessions of its own: silent until it is asked, clear when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat

from tests.notebooks import write_notebook
from tests.runbooks import tested


def pytest_in(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", *arguments],
        cwd=directory,
        env=kept | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_it_is_light_and_does_nothing_unasked(tmp_path: Path) -> None:
    write_notebook(tmp_path / "n.ipynb", "open('executed', 'w')")
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('aof_nb')\n"
        "    ours = {name for name in sys.modules if name.startswith('aof_nb')}\n"
        "    assert ours == {'aof_nb', 'aof_nb._version', 'aof_nb.pytest_plugin'}\n"
    )
    done = pytest_in(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert not (tmp_path / "executed").exists()


def test_notebooks_are_tests(tmp_path: Path) -> None:
    tested.write_notebook(tmp_path)
    done = pytest_in(tmp_path, "--aof-update", "-v")
    assert done.returncode == 0, done.stdout
    assert "triage.ipynb::cassette PASSED" in done.stdout
    changed = tested.changed(tmp_path / "triage.ipynb", "The state of", "All about")
    write_notebook(tmp_path / "own.ipynb", "print('x1')", "1 / 0")
    notebook = nbformat.read(tmp_path / "own.ipynb", as_version=4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="x2\n")]
    nbformat.write(notebook, tmp_path / "own.ipynb")
    (tmp_path / "own.cfg").write_text("regex: x\\d\nreplace: x\n")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naof_notebooks = true\naof_sanitize_with = own.cfg\n"
    )
    done = pytest_in(tmp_path)
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert "cell 4 (%%aof sre --approve all --out result): turn 1 asks for" in done.stdout
    assert '-  "description": "The state of a service.",' in done.stdout
    assert f"→ undo the change, or record it: aofctl test --update {changed}" in (done.stdout)
    assert "cell 2 (1 / 0): ZeroDivisionError" in done.stdout
    assert "cell 1 (" not in done.stdout
    done = pytest_in(tmp_path, "--aof-sanitize-with", "none.cfg", "own.ipynb")
    assert "the sanitize file" in done.stdout
    assert "check the path" in done.stdout
