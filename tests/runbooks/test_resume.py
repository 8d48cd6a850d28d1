"""Resuming notebooks in real kernels: plain cells again, agents' work and `once` not twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest

from aof_nb.errors import AofError, ConfigurationError, JournalError
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.journal import FILE_NAME, Journal
from aof_nb.journal.playbook_recording import PlaybookRecording, playbooks, read_playbook
from aof_nb.journal.recording import State
from aof_nb.journal.runs import find_run, read_run, recordings
from aof_nb.policy import Answer
from aof_nb.runbooks import (
    CellFinished,
    NotebookResult,
    ParameterError,
    Progress,
    ResumeError,
    resume_playbook,
    run_notebook,
)
from tests.notebooks import printed, write_notebook

SETUP = """\
import asyncio, os, pathlib
from aof_nb import Agent, Policy, tool
from aof_nb.policy import Action
from aof_nb.ports import Effect

def note(what):
    with open("effects", "a") as file:
        file.write(f"{what}\\n")

@tool(effect=Effect.WRITE)
def change(what: str) -> str:
    "Changes something."
    note(what)
    return f"changed {what}"

def agent(name, model="script:play.yaml", **options):
    return Agent(name=name, model=model, tools=[change], **options)

sre = agent("sre", policy=Policy(write=Action.ALLOW))
careful = agent("careful")
note("setup")
"""
PLAY = """\
kind: Playbook
name: play
steps:
  - id: change
    call: {tool: change, arguments: {what: "{{ prompt }}"}}
  - answer: "It says: {{ results.change.content }}"
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "play.yaml").write_text(PLAY)
    # Given as a relative path it must be the same place for the kernel.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOF_STATE_DIR", "state")
    return tmp_path / "state"


def effects(directory: Path) -> list[str]:
    return (directory / "effects").read_text().split()


def marked(path: Path, **marks: Sequence[str]) -> Path:
    """Gives cells, by their place from 1, an id and tags."""
    notebook = nbformat.read(path, as_version=4)
    for place, cell in enumerate(notebook.cells, 1):
        cell.id = f"c{place}"
        cell.metadata["tags"] = list(marks.get(f"c{place}", ()))
    nbformat.write(notebook, path)
    return path


def untimed(outputs: Sequence[Any]) -> str:
    """Outputs without how long things took, which is rounded at another place."""
    shown = [each.get("data") or each.get("text") for each in outputs]
    return re.sub(r"[\d.]+ m?s\b", "", json.dumps(shown))


def recording_of(result: NotebookResult) -> PlaybookRecording:
    return read_playbook(find_run(result.run_id) / FILE_NAME)


async def test_a_failed_cell_is_mended_and_nothing_is_done_twice(tmp_path: Path) -> None:
    notebook = marked(
        write_notebook(
            tmp_path / "n.ipynb",
            "md:# Mend *it*",
            "%load_ext aof_nb",
            SETUP,
            "note('once')\nprint('done once')",
            "%%aof sre --out first\n{service}",
            "both = await asyncio.gather(sre.run('b'), sre.run('c'))",
            "attempts = len(pathlib.Path('effects').read_text().split('setup'))\nprint(attempts)",
            "assert os.path.exists('mended'), 'not <mended> yet'",
            "print(first.text, *[each.text for each in both], api_token)",
            "await sre.run('d')",
            parameters="service = 'x'\napi_token = ''",
        ),
        c5=["once"],
        c1=["parameters"],
    )
    given = {"service": "a", "api_token": "hunter2"}
    failed = await run_notebook(notebook, output=tmp_path / "out.ipynb", parameters=given)
    assert failed.status == "failed"
    assert failed.run_id
    assert failed.error is not None
    assert sorted(effects(tmp_path)) == ["a", "b", "c", "once", "setup"]
    recording = recording_of(failed)
    assert (recording.state, recording.attempts) == (State.FAILED, 1)
    assert [each.run_id for each in playbooks()] == [failed.run_id]
    children = list(recording.agent_runs())
    assert {each.begun.notebook_run for each in children} == {failed.run_id}
    assert [each.begun.cell for each in children] == ["c6", "c7", "c7"]
    first = nbformat.read(tmp_path / "out.ipynb", as_version=4)

    with pytest.raises(ParameterError, match="'api_token' looks secret"):
        await resume_playbook(failed.run_id)
    with pytest.raises(ParameterError, match="'service' is kept"):
        await resume_playbook(failed.run_id, parameters={"service": "b"})

    (tmp_path / "mended").touch()
    notebook.write_text("{}")
    told: list[Progress] = []
    notices: list[str] = []
    done = await resume_playbook(
        find_run(failed.run_id),
        parameters={"api_token": "hunter2"},
        on_progress=told.append,
        on_notice=notices.append,
    )
    assert (done.status, done.run_id, done.error) == ("completed", failed.run_id, None)
    assert (done.output_path, done.report_path) == (tmp_path / "out.ipynb", tmp_path / "out.html")
    assert sorted(effects(tmp_path)) == ["a", "b", "c", "d", "once", "setup", "setup"]
    assert ["has changed since" in each for each in notices] == [True]
    passed = [each.cell for each in told if isinstance(each, CellFinished) and each.passed]
    assert passed == [5]
    text = printed(tmp_path / "out.ipynb")
    assert text.endswith(
        "done once\n3\nIt says: changed a It says: changed b It says: changed c hunter2\n"
    )
    second = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    by_id = {cell.id: cell for cell in second.cells}
    for cell in first.cells:
        if cell.id in {"c5", "c6"}:
            assert cell.outputs
            assert untimed(by_id[cell.id].outputs) == untimed(cell.outputs)
    assert by_id["c5"].execution_count == 5
    recording = recording_of(done)
    assert (recording.state, recording.attempts) == (State.COMPLETED, 2)
    assert (recording.directory / "attempt-1.ipynb").exists()
    kept = [
        each for each in tmp_path.rglob("*") if each.is_file() and "hunter2" in each.read_text()
    ]
    # Where the notebook itself prints it, and nowhere else.
    assert {each.name for each in kept} == {"out.ipynb", "out.html", "out.md"}
    assert "api_token = " in (tmp_path / "out.ipynb").read_text()

    with pytest.raises(ResumeError, match="has completed"):
        await resume_playbook(done.run_id)

    assert done.markdown_path == tmp_path / "out.md"
    summary = done.markdown_path.read_text()
    html = done.report_path.read_text()
    assert summary.startswith("# Mend \\*it\\*\n")
    assert '| `api_token` | `"\\*\\*\\*"` |' in summary or '| `api_token` | `"***"` |' in summary
    assert "AssertionError: not \\<mended\\> yet" in summary
    assert "AssertionError: not &lt;mended&gt; yet" in html
    for each in (summary, html):
        assert "kept: executed before, not again" in each
        assert "resumed" in each
        assert "script:play.yaml" in each


async def test_once_means_once_without_a_word(tmp_path: Path) -> None:
    notebook = marked(
        write_notebook(
            tmp_path / "n.ipynb",
            SETUP,
            "note('one')",
            "md:## The second",
            "note('two')\nassert os.path.exists('mended')\nvalue = 2",
            "print(globals().get('value'), globals().get('last'))",
            "note('three')\nlast = 3\nassert os.path.exists('mended again')",
        ),
        c2=["once"],
        c4=["once"],
        c6=["once"],
    )
    output = tmp_path / "out.ipynb"
    failed = await run_notebook(notebook, output=output)
    assert effects(tmp_path) == ["setup", "one", "two"]
    left = output.read_bytes()

    undecided = await resume_playbook(failed.run_id)
    assert undecided.status == "undecided"
    assert undecided.undecided is not None
    cell = undecided.undecided
    assert (cell.id, cell.place, cell.title) == ("c4", 3, "The second")
    assert "did not come to its end (failed)" in cell.reason
    # Nothing has been touched: not even a kernel was started.
    assert effects(tmp_path) == ["setup", "one", "two"]
    assert output.read_bytes() == left
    assert recording_of(failed).attempts == 1

    for wrong in ("9", "The secnd"):
        with pytest.raises(ConfigurationError, match="no code cell"):
            await resume_playbook(failed.run_id, repeat=[wrong])
    with pytest.raises(ConfigurationError, match="both repeated and skipped"):
        await resume_playbook(failed.run_id, repeat=["3"], skip=["c4"])

    # Without its cause mended it fails again, and asks again.
    failed = await resume_playbook(failed.run_id, repeat=["The second"])
    assert failed.status == "failed"
    assert effects(tmp_path)[3:] == ["setup", "two"]
    assert (await resume_playbook(failed.run_id)).status == "undecided"

    failed = await resume_playbook(failed.run_id, skip=["3"])
    assert (failed.status, failed.error and failed.error.cell) == ("failed", 5)
    assert effects(tmp_path)[5:] == ["setup", "three"]
    assert printed(output) == "None None\n"
    # What was skipped stays so; the next one is to be decided on.
    undecided = await resume_playbook(failed.run_id)
    assert undecided.undecided is not None
    assert undecided.undecided.place == 5
    (tmp_path / "mended").touch()
    (tmp_path / "mended again").touch()
    done = await resume_playbook(failed.run_id, repeat=["3", "5"])
    assert done.status == "completed"
    assert effects(tmp_path)[7:] == ["setup", "two", "three"]
    assert printed(output) == "2 None\n"


async def test_a_waiting_approval_stops_the_notebook_until_it_is_answered(tmp_path: Path) -> None:
    notebook = marked(
        write_notebook(
            tmp_path / "n.ipynb",
            "%load_ext aof_nb",
            SETUP,
            "%%aof careful --out first\nrestart",
            "note('between')",
            "second = await careful.run('stop')\nnote('after')",
            "print(first.text, second.text)",
        ),
        c3=["once"],
    )
    output = tmp_path / "out.ipynb"
    waiting = await run_notebook(notebook, output=output)
    assert (waiting.status, waiting.error) == ("waiting", None)
    [asked] = waiting.waiting
    assert (asked.agent, asked.tool, asked.effect) == ("careful", "change", "write")
    assert asked.arguments == {"what": "restart"}
    assert effects(tmp_path) == ["setup"]
    assert recording_of(waiting).state is State.WAITING
    assert read_run(asked.run_id).state is State.WAITING
    assert f"aofctl approve {asked.run_id}" in waiting.report_path.read_text()
    assert "An Exception was encountered" not in output.read_text()

    still = await resume_playbook(waiting.run_id)
    assert (still.status, still.waiting) == ("waiting", waiting.waiting)

    answer(asked.run_id, approved=True)
    # Although it is marked once: all that it does is in the agent's journal.
    waiting = await resume_playbook(waiting.run_id)
    assert waiting.status == "waiting"
    assert effects(tmp_path) == ["setup", "setup", "setup", "restart", "between"]
    [asked] = waiting.waiting
    answer(asked.run_id, approved=False)
    done = await resume_playbook(waiting.run_id)
    assert done.status == "completed"
    assert effects(tmp_path)[5:] == ["setup", "between", "after"]
    assert "It says: changed restart It says: Denied by ann" in printed(output)
    assert done.markdown_path is not None
    summary = done.markdown_path.read_text()
    assert '| `change {"what": "restart"}` write | approved | ann, test |' in summary
    assert '| `change {"what": "stop"}` write | denied | ann, test |' in summary


def answer(run_id: str, *, approved: bool) -> None:
    approvals = Approvals(find_run(run_id))
    [pending] = approvals.pending()
    digest = pending.request.digest
    approvals.answer(
        pending.request, Answer(approved=approved, digest=digest, by="ann", via="test")
    )


async def test_a_mended_notebook_takes_the_place_of_the_first(tmp_path: Path) -> None:
    cells = ["%load_ext aof_nb", SETUP, "note('x')", "%%aof sre --out r\nlook", "print(r.tex)"]
    marks: dict[str, Sequence[str]] = {"c3": ["once"]}
    notebook = marked(write_notebook(tmp_path / "n.ipynb", *cells), **marks)
    failed = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    assert (failed.status, failed.error and failed.error.cell) == ("failed", 5)

    cells[4:] = ["print(r.text)\nassert os.path.exists('mended')"]
    notebook = marked(write_notebook(tmp_path / "mended.ipynb", *cells), **marks)
    notices: list[str] = []
    failed = await resume_playbook(failed.run_id, notebook=notebook, on_notice=notices.append)
    assert (failed.status, notices) == ("failed", [])
    assert printed(tmp_path / "out.ipynb").endswith("It says: changed look\n")
    notebook.unlink()
    (tmp_path / "mended").touch()
    done = await resume_playbook(failed.run_id, on_notice=notices.append)
    assert done.status == "completed"
    assert ["mended.ipynb is gone" in each for each in notices] == [True]
    assert sorted(effects(tmp_path)) == ["look", "setup", "setup", "setup", "x"]
    assert (find_run(done.run_id) / "notebook-1.ipynb").exists()

    # A cell that is marked once and has been changed since is for the user to decide.
    cells[4:] = ["1 / 0"]
    again = marked(write_notebook(tmp_path / "again.ipynb", *cells), **marks)
    failed = await run_notebook(again, output=tmp_path / "out.ipynb")
    cells[2:3] = ["note('y')"]
    again = marked(write_notebook(again, *cells), **marks)
    undecided = await resume_playbook(failed.run_id, notebook=again)
    assert undecided.undecided is not None
    assert "changed since" in undecided.undecided.reason


async def test_cells_without_ids_are_known_by_their_places(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "n.ipynb", "%load_ext aof_nb", SETUP, "%%aof sre\na", "%%aof sre\na", "1 / 0"
    )
    old = json.loads(path.read_text())
    old["nbformat_minor"] = 4
    for cell in old["cells"]:
        del cell["id"]
    path.write_text(json.dumps(old))
    failed = await run_notebook(path, output=tmp_path / "out.ipynb")
    runs = {each.run_id for each in recordings()}
    assert len(runs) == 2
    failed = await resume_playbook(failed.run_id, notebook=path)
    assert failed.status == "failed"
    assert effects(tmp_path).count("a") == 2
    assert {each.run_id for each in recordings()} == runs


async def test_what_goes_on_or_cannot_be_told_is_not_resumed(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "1 / 0")
    failed = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    directory = find_run(failed.run_id)
    journal = Journal(directory)
    with pytest.raises(JournalError, match="goes on in another process"):
        await resume_playbook(failed.run_id)
    journal.close()
    first, second = await asyncio.gather(
        resume_playbook(failed.run_id), resume_playbook(failed.run_id), return_exceptions=True
    )
    [refused] = [each for each in (first, second) if isinstance(each, BaseException)]
    assert "goes on in another process" in str(refused)

    with pytest.raises(ConfigurationError, match="there is a run"):
        await run_notebook(notebook, output=tmp_path / "out.ipynb", run_id=failed.run_id)
    with pytest.raises(ConfigurationError, match="there is no run 'nothing'"):
        await resume_playbook("nothing")
    with pytest.raises(JournalError, match="of a notebook's run, not of an agent's"):
        read_run(failed.run_id)
    path = directory / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'"type":"cell_begun"', b'"type":"cell_begun', 1))
    with pytest.raises(JournalError, match="is damaged, line 3"):
        await resume_playbook(failed.run_id)


async def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    wait = """\
import asyncio, pathlib
pathlib.Path("waits").touch()
if not pathlib.Path("mended").exists():
    await asyncio.sleep(1000)
"""
    notebook = write_notebook(tmp_path / "n.ipynb", SETUP, "r = await sre.run('a')", wait)
    running = asyncio.create_task(run_notebook(notebook, output=tmp_path / "out.ipynb", run_id="r"))
    while not (tmp_path / "waits").exists():
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    recording = read_playbook(find_run("r") / FILE_NAME)
    assert recording.state is State.CANCELLED
    assert recording.cells[-1].status == "interrupted"
    timed_out = await resume_playbook("r", timeout=20)
    assert timed_out.status == "timeout"
    assert read_playbook(recording.path).state is State.TIMEOUT
    (tmp_path / "mended").touch()
    assert (await resume_playbook("r")).status == "completed"
    assert sorted(effects(tmp_path)) == ["a", "setup", "setup", "setup"]


async def test_a_kernel_that_outlives_its_process_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "import os; os._exit(3)")
    failed = await run_notebook(notebook, output=tmp_path / "out.ipynb")
    path = find_run(failed.run_id) / FILE_NAME
    whole = path.read_bytes()
    kernel = read_playbook(path).kernel
    assert kernel is not None
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(1000)", kernel.connection
    )
    try:
        path.write_bytes(whole.replace(b'"pid":%d' % kernel.pid, b'"pid":%d' % process.pid))
        monkeypatch.setattr("aof_nb.runbooks.resume.PATIENCE", 0.3)
        with pytest.raises(JournalError, match=f"still goes on, as process {process.pid}"):
            await resume_playbook(failed.run_id)
        # Another process with the same number is none of ours.
        other = await asyncio.create_subprocess_exec("sleep", "1000")
        path.write_bytes(whole.replace(b'"pid":%d' % kernel.pid, b'"pid":%d' % other.pid))
        try:
            assert (await resume_playbook(failed.run_id)).status == "failed"
        finally:
            other.send_signal(signal.SIGKILL)
            await other.wait()
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip(
            "a small disk takes a right to mount it; test_crashes.py fills up a pretended one"
        )
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


FILL = """\
print("filling")
if not os.path.exists("filled"):
    pathlib.Path("filled").touch()
    with open("disk/filler", "wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 512): pass
        except OSError:
            pass
"""


async def test_when_the_disk_is_full_it_ends_and_goes_on_when_there_is_room(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(small_disk / "state"))
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        f"{SETUP}print('here')",
        "await sre.run('a')",
        FILL,
        "await sre.run('b')",
    )
    output = small_disk / "out.ipynb"
    with pytest.raises(AofError, match="No space left"):
        await run_notebook(notebook, output=output, report=small_disk / "out.md", run_id="r")
    # What was saved before is still whole.
    assert printed(output) == "here\n"
    # There may have been room for a line that says so.
    assert read_playbook(find_run("r") / FILE_NAME).state in {State.INTERRUPTED, State.FAILED}
    with pytest.raises(AofError, match=r"No space left"):
        await resume_playbook("r")
    (small_disk / "filler").unlink()
    done = await resume_playbook("r")
    assert done.status == "completed"
    assert sorted(effects(tmp_path)) == ["a", "b", "setup", "setup"]
    assert printed(output) == "here\nfilling\n"


async def test_without_a_journal_it_runs_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "file" / "state"))
    notebook = write_notebook(tmp_path / "n.ipynb", "print('done')")
    notices: list[str] = []
    result = await run_notebook(notebook, output=tmp_path / "out.ipynb", on_notice=notices.append)
    assert (result.status, result.run_id) == ("completed", "")
    assert ["cannot be resumed" in each for each in notices] == [True]
    assert printed(result.output_path) == "done\n"
    assert "done" in result.report_path.read_text()
