"""Notebooks on their cassettes: what passes, what fails with which words, what is written."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import nbformat
import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.journal.recording import read_recordings
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.runbooks import NotebookTestResult
from aof_nb.runbooks import test_notebook as check
from tests.notebooks import write_notebook as plain_notebook
from tests.runbooks.test_run import alive
from tests.runbooks.tested import IN_PYTHON, TOOLS, changed, outputs, write_notebook


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a notebook, executed and recorded once."""
    directory = tmp_path_factory.mktemp("recorded")
    path = write_notebook(directory)
    result = asyncio.run(check(path, update=True))
    assert result.passed, list(map(str, result.problems))
    assert (result.updated, result.runs) == (True, 2)
    # The live cell was executed once, and not in the replay that followed.
    assert (directory / "restarts.txt").read_text() == "web\n"
    return directory


@pytest.fixture
def notebook(recorded: Path, tmp_path: Path) -> Path:
    """A copy, without what its tools have left behind."""
    for name in ("triage.ipynb", "triage.journal.jsonl", "fix.yaml"):
        shutil.copy(recorded / name, tmp_path)
    return tmp_path / "triage.ipynb"


def told(result: NotebookTestResult) -> str:
    return "\n".join(map(str, result.problems))


async def test_it_repeats_to_the_byte_with_no_side_effect(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A replay is what the notebook and its cassette say, whatever stands around it.
    for name in ("AOF_REPLAY", "AOF_RECORD", "AOF_FRONTEND", "AOF_APPROVE", "SOME_API_KEY"):
        monkeypatch.setenv(name, "all" if name == "AOF_APPROVE" else "live")
    (tmp_path / "fix.yaml").unlink()
    results = [await check(notebook), await check(notebook)]
    for result in results:
        assert result.passed, told(result)
        assert (result.runs, result.cells, result.updated, result.notes) == (2, 6, False, ())
        assert nbformat.writes(result.notebook) + "\n" == notebook.read_text()
    assert not (tmp_path / "restarts.txt").exists()
    assert outputs(notebook, 5) == "restarts: ['web']\n"


CHANGES = {
    "prompt": (
        "slow?",
        "so slow?",
        ["cell 4 (", "-Why is web slow?", "+Why is web so slow?", "aofctl test --update"],
    ),
    "tool": (
        "The state of a service.",
        "How a service is.",
        ["cell 4 (", '-  "description": "The state of a service."', "recorded tool status"],
    ),
    "parameter": ("'web'", "'db'", ["cell 4 (", "-Why is web slow?", "+Why is db slow?"]),
    "where the cell does not show it": (
        "And now?",
        "And then?",
        ["cell 6 (", "-And now?", "+And then?"],
    ),
    "output": ("asked in", "told in", ["cell 6 (", "-asked in Python", "+told in Python"]),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_is_told_with_its_cell(what: str, notebook: Path, tmp_path: Path) -> None:
    was, now, expected = CHANGES[what]
    before = (tmp_path / "triage.journal.jsonl").read_bytes()
    result = await check(changed(notebook, was, now))
    assert not result.passed
    assert len(result.problems) == 1
    for each in expected:
        assert each in told(result)
    assert not (tmp_path / "restarts.txt").exists()
    assert (tmp_path / "triage.journal.jsonl").read_bytes() == before


async def test_update_mends_it(notebook: Path, tmp_path: Path) -> None:
    changed(notebook, "slow?", "so slow?")
    result = await check(notebook, update=True)
    assert result.passed, told(result)
    prompts = [each.begun.prompt for each in read_recordings(tmp_path / "triage.journal.jsonl")]
    assert prompts == ["Why is web so slow?", "And now?"]
    assert not list(tmp_path.glob(".*part"))
    again = await check(notebook)
    assert again.passed, told(again)


async def test_what_does_not_repeat_is_told_when_it_is_recorded(
    notebook: Path, tmp_path: Path
) -> None:
    text = notebook.read_text().replace('"live",', "").replace('"nbval-skip"', '"other"')
    notebook.write_text(text)
    changed(notebook, "print('restarts", "Path('restarts.txt').rename('r.txt')\nprint('restarts")
    changed(notebook, "Path('restarts.txt').read", "Path('r.txt').read")
    result = await check(notebook, update=True)
    assert [problem.cell for problem in result.problems] == [5]
    assert "FileNotFoundError" in told(result)
    assert "tag it 'live'" in told(result)
    assert result.updated
    # What was recorded is kept, so that the tag alone mends it.
    assert outputs(notebook, 5) == "restarts: ['web']\n"
    notebook.write_text(notebook.read_text().replace('"other"', '"live"'))
    again = await check(notebook)
    assert again.passed, told(again)


async def test_a_cell_that_needs_what_a_live_cell_sets(notebook: Path) -> None:
    changed(notebook, "print('restarts", "found = 1\nprint('restarts")
    changed(notebook, "result.turns", "found")
    result = await check(notebook)
    assert "cell 7 (found): NameError: name 'found' is not defined" in told(result)
    assert "cell 5, tagged live, was not executed" in told(result)
    assert "NameError" in result.problems[0].traceback


async def test_without_a_cassette_nothing_is_asked(tmp_path: Path) -> None:
    path = write_notebook(tmp_path)
    result = await check(path)
    assert "cell 4 (" in told(result)
    assert "there is no cassette triage.journal.jsonl" in told(result)
    assert f"aofctl test --update {path}" in told(result)
    assert (result.cells, result.notebook) == (0, None)
    # A run that only Python shows is not made for real either.
    loud = IN_PYTHON.replace("pass", "print(getattr(event, 'error', None) or '')")
    path = plain_notebook(tmp_path / "python.ipynb", f"import aof_nb\n{TOOLS}", loud)
    result = await check(path)
    assert not (tmp_path / "restarts.txt").exists()
    assert "no outputs are saved" in result.notes[0]
    assert "there is no recording" in outputs_of(result)


def outputs_of(result: NotebookTestResult) -> str:
    return str([cell.get("outputs") for cell in result.notebook.cells])


async def test_a_run_that_fails_leaves_everything_as_it_was(notebook: Path, tmp_path: Path) -> None:
    changed(notebook, "result.turns", "1 / 0")
    before = [path.read_bytes() for path in sorted(tmp_path.glob("triage*"))]
    result = await check(notebook, update=True)
    assert "cell 7 (1 / 0): ZeroDivisionError" in told(result)
    assert result.notes == ("nothing was written",)
    assert not result.updated
    assert [path.read_bytes() for path in sorted(tmp_path.glob("triage*"))] == before


async def test_a_notebook_that_is_saved_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    meddle = "import pathlib\npathlib.Path('n.ipynb').open('a').write('\\n')"
    path = plain_notebook(tmp_path / "n.ipynb", meddle)
    size = path.stat().st_size
    with pytest.raises(ConfigurationError, match="was changed while it was recorded"):
        await check(path, update=True)
    assert path.stat().st_size > size
    assert nbformat.read(path, as_version=4).cells[0].outputs == []


async def test_a_notebook_without_agents(tmp_path: Path) -> None:
    path = plain_notebook(
        tmp_path / "n.ipynb",
        "import os, time\nprint('took 5 ms at', time.strftime('%Y-%m-%d %H:%M:%S'))",
        "from IPython.display import HTML\nHTML(f'<b>{os.getpid()}</b>')",
        "print('ticket', os.getpid())",
    )
    (tmp_path / "n.journal.jsonl").write_text("of another time")
    result = await check(path, update=True)
    # Two processes have two ids: the sanitizer is what tells that this does not matter.
    assert [problem.cell for problem in result.problems] == [2, 3]
    assert not (tmp_path / "n.journal.jsonl").exists()
    assert "</b>" in told(result)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["aof"] = {"sanitize": [{"regex": r"ticket \d+", "replace": "ticket N"}]}
    nbformat.write(notebook, path)
    file = tmp_path / "sanitize.cfg"
    file.write_text("[ids]\nregex: <b>\\d+</b>\nreplace: <b>N</b>\n")
    result = await check(path, sanitize_with=file)
    assert result.passed, told(result)


async def test_nbvals_tags_and_expected_failures(tmp_path: Path) -> None:
    path = plain_notebook(
        tmp_path / "n.ipynb",
        "open('never', 'w')",
        "print(id(object()), object())",
        "1 / 0",
        "print('the end')",
    )
    notebook = nbformat.read(path, as_version=4)
    for cell, tag in zip(
        notebook.cells, ["nbval-skip", "nbval-ignore-output", "raises-exception"], strict=False
    ):
        cell.metadata["tags"] = [tag]
    nbformat.write(notebook, path)
    assert (await check(path, update=True)).passed
    result = await check(path)
    assert result.passed, told(result)
    assert result.cells == 3
    assert not (tmp_path / "never").exists()


async def test_for_real_without_writing(notebook: Path, tmp_path: Path) -> None:
    before = [path.read_bytes() for path in sorted(tmp_path.glob("triage*"))]
    result = await check(notebook, live=True, approve="all")
    assert result.passed, told(result)
    assert (tmp_path / "restarts.txt").read_text() == "web\n"
    assert [path.read_bytes() for path in sorted(tmp_path.glob("triage*"))] == before
    changed(notebook, "asked in", "told in")
    assert "+told in Python" in told(await check(notebook, live=True, approve="all"))


class Yes:
    """Somebody who approves everything."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        return Answer(approved=True, digest=request.digest, by="mira", via="terminal")


async def test_who_approves_while_it_is_recorded(tmp_path: Path) -> None:
    path = write_notebook(tmp_path)
    for was in ("--approve all ", ', approve="never"'):
        changed(path, was, "")
    changed(path, "print('restarts", "#")
    result = await check(path, update=True)
    assert "cell 4 (" in told(result)
    assert "waits for a person's approval" in told(result)
    assert "--approve never|all" in told(result)
    assert not (tmp_path / "restarts.txt").exists()
    assert not (tmp_path / "triage.journal.jsonl").exists()
    changed(path, "%%aof sre", "%%aof sre --approve never")
    result = await check(path, update=True)
    assert result.passed, told(result)
    assert len(result.notes) == 1
    assert "the run of second waits for an approval" in result.notes[0]
    assert (await check(path)).passed
    changed(path, "%%aof sre --approve never", "%%aof sre")
    result = await check(path, update=True, approver=Yes())
    assert result.passed, told(result)
    assert result.notes == ()
    assert (tmp_path / "restarts.txt").read_text() == "web\nweb\n"
    assert "Done: web restarted." in outputs(path, 4)


async def test_what_takes_too_long_and_what_dies(tmp_path: Path) -> None:
    path = plain_notebook(tmp_path / "n.ipynb", "md:# Wait", "import time\ntime.sleep(99)", "1")
    result = await check(path, timeout=4)
    assert told(result) == "cell 1 (Wait): not done after 4 s"
    assert (await check(plain_notebook(tmp_path / "n.ipynb", "md:Nothing"))).passed
    path = plain_notebook(tmp_path / "n.ipynb", "import os", "os._exit(1)", "print('never')")
    result = await check(path)
    assert told(result) == "cell 2 (os._exit(1)): the kernel died while it ran the cell"
    assert result.cells == 1


async def test_cancelling_leaves_no_kernel(tmp_path: Path) -> None:
    path = plain_notebook(
        tmp_path / "n.ipynb",
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))",
        "time.sleep(99)",
    )
    task = asyncio.create_task(check(path))
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int(pid.read_text()))


async def test_what_cannot_be_tested(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await check(tmp_path / "none.ipynb")
    path = plain_notebook(tmp_path / "n.ipynb", "1")
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["aof"] = {"sanitize": [{"regex": "("}]}
    nbformat.write(notebook, path)
    with pytest.raises(ConfigurationError, match=r"aof.sanitize\[0\].replace: replace is missing"):
        await check(path)


async def test_a_run_that_no_cell_asks_for_is_told(notebook: Path) -> None:
    changed(notebook, IN_PYTHON, "print('asked in Python')")
    result = await check(notebook)
    assert result.passed, told(result)
    assert "holds a run that no cell asks for: second, 'And now?'" in result.notes[0]
