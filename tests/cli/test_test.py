"""``aofctl test``: a line for each notebook, what is wrong below, and the exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.notebooks import write_notebook
from tests.runbooks import tested
from tests.runbooks.test_run import alive


def test_a_line_for_each_notebook_and_the_difference_below(aofctl: Aofctl, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    good = write_notebook(tmp_path / "books" / "good.ipynb", "print('took 3 ms')")
    bad = write_notebook(tmp_path / "books" / "bad.ipynb", "md:# Count", "print(1 + 1)")
    agent = tested.write_notebook(tmp_path / "books")
    done = aofctl("test", "--update", "books", "-k", "OOD", "-k", "ood")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"✓ books/good.ipynb  1 cell, \d+\.\d s\n\n1 passed in .*\n", done.stdout)
    saved = nbformat.read(good, as_version=4)
    assert saved.cells[0].outputs[0].text == "took 3 ms\n"
    bad_notebook = nbformat.read(bad, as_version=4)
    bad_notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="3\n")]
    nbformat.write(bad_notebook, bad)
    done = aofctl("test", "books", "--save", "executed")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == "✗ books/bad.ipynb  cell 1 (Count)"
    assert lines[1].startswith("✓ books/good.ipynb  1 cell, ")
    assert lines[2] == "✗ books/triage.ipynb  cell 4 (%%aof sre --approve all --out result)"
    told = "\n".join(lines[3:])
    assert "✗ cell 1 (Count): its output is not the saved one\n  --- saved output\n" in told
    assert "  -3\n  +2\n  → undo the change, or record it: aofctl test" in told
    assert "there is no cassette triage.journal.jsonl\n  → record one: aofctl test --update" in told
    assert lines[-1].startswith("2 failed, 1 passed in ")
    executed = nbformat.read(tmp_path / "executed/books/bad.ipynb", as_version=4)
    assert executed.cells[1].outputs[0].text == "2\n"
    assert agent.with_suffix(".journal.jsonl").exists() is False


def test_it_records_and_replays(aofctl: Aofctl, tmp_path: Path) -> None:
    notebook = tested.write_notebook(tmp_path)
    done = aofctl("test", "--update", notebook.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ triage.ipynb  6 cells, 2 runs recorded, " in done.stdout
    done = aofctl("test", notebook.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ triage.ipynb  6 cells, 2 runs replayed, " in done.stdout
    (tmp_path / "triage.journal.jsonl").write_text("{}")
    done = aofctl("test")
    assert done.returncode == 1
    assert "triage.journal.jsonl is no journal" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--update", "--live"], "exclude each other"),
        (["--approve", "all"], "--approve is for --update and --live"),
        (["-k", "nosuch"], "no notebook with 'nosuch' in its path"),
        (["empty"], "there is no notebook"),
        (["none.ipynb"], "does not exist"),
        (["--sanitize-with", "none.cfg"], "does not exist"),
    ],
)
def test_what_cannot_be_asked_of_it_is_two(
    invoke: Invoke, tmp_path: Path, arguments: list[str], said: str
) -> None:
    write_notebook(tmp_path / "n.ipynb", "1")
    (tmp_path / "empty").mkdir()
    done = invoke("test", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in re.sub(r"[\s│]+", " ", done.stderr)


def test_a_file_that_is_no_notebook_fails_and_the_rest_is_tested(
    aofctl: Aofctl, tmp_path: Path
) -> None:
    (tmp_path / "a.ipynb").write_text("{")
    write_notebook(tmp_path / "b.ipynb", "print('\x1b[31mred')", "1 / 0")
    done = aofctl("test", "--debug")
    assert done.returncode == 1
    done = aofctl("test")
    assert done.returncode == 1
    assert "✗ a.ipynb is no notebook" in done.stdout
    assert "✗ cell 2 (1 / 0): ZeroDivisionError: division by zero" in done.stdout
    assert "Traceback" not in done.stdout


def test_interrupted_it_leaves_nothing_behind(tmp_path: Path, environment: dict[str, str]) -> None:
    write_notebook(
        tmp_path / "n.ipynb",
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))",
        "time.sleep(99)",
    )
    process = subprocess.Popen(
        [*COMMAND, "test"], cwd=tmp_path, env=environment, start_new_session=True
    )
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert not alive(int(pid.read_text()))
