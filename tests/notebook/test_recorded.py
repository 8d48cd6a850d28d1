"""``%aof runs``, ``show``, ``resume``, ``replay`` and ``cost``, in a real kernel."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from aof_nb.journal.recording import Recording, State, read_recording
from tests.notebook.kernel import Executed, Kernel, as_text, started
from tests.notebook.test_kernel import PLAYBOOK, TOOLS

UNFINISHED = """\
%load_ext aof_nb
import os, signal
from aof_nb import Agent, tool

@tool
def restart(service: str) -> str:
    "Restarts a service."
    with open("log", "a") as log:
        log.write(f"{service}\\n")
    if os.path.exists("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return "restarted"

@tool(effect="read")
def read_log(service: str) -> str:
    "Reads a log."
    return "disk full"

agent = Agent(name="sre", model="script:fix.yaml", tools=[read_log, restart])
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("kernel")
    (made / "fix.yaml").write_text(PLAYBOOK)
    return made


@pytest.fixture(scope="module")
def kernel(directory: Path) -> Iterator[Kernel]:
    with started(directory) as running:
        assert running.run(TOOLS).reply["status"] == "ok"
        yield running


def newest(directory: Path) -> Recording:
    return read_recording(max(directory.glob("state/runs/*/journal.jsonl")))


def timeless(executed: Executed) -> list[str]:
    text = re.sub(r"[\d.]+ m?s\b", "T", "\n".join(map(as_text, executed.displays)))
    return [line for line in text.splitlines() if line]


def test_a_run_that_waits_is_gone_on_with_and_shown_again(kernel: Kernel, directory: Path) -> None:
    waiting = kernel.run("%%aof sre --out r\nWhy?", live=False)
    [error] = waiting.of("error")
    run = newest(directory).run_id
    assert error["ename"] == "CellWaiting"
    assert error["evalue"] == "restart service=checkout waits for a person's approval"
    assert f"→ aofctl approve {run}, then %aof resume {run}" in error["traceback"][1]
    assert timeless(waiting)[-3:] == [
        "? restart service=checkout (waits for approval)",
        (
            "waiting: restart service=checkout waits for a person's approval: "
            f"aofctl approve {run}, then %aof resume {run}"
        ),
        (
            "waiting for an approval · script:fix.yaml (scripted) · 2 turns · 2 tool calls · "
            f"0 tokens · T · %aof show {run}"
        ),
    ]
    assert waiting.displays[-1]["metadata"]["aof"]["status"] == "waiting"
    listed = kernel.run("%aof runs").printed.splitlines()
    assert listed[0].split() == ["run", "agent", "status", "began", "took", "prompt"]
    assert listed[1].split()[:3] == [run, "sre", "waiting"]

    done = kernel.run(f"again = %aof resume {run} --approve all")
    assert done.reply["status"] == "ok", done.of("error")
    shown = timeless(done)
    assert shown[0] == "**sre**"
    assert "info: 2 turns taken from the journal; the run goes on here" in shown
    assert shown[-3:-1] == ["# Done", "checkout is **up** again."]
    assert done.displays[-1]["metadata"]["aof"]["run_id"] == run
    result = kernel.run("(again.status.value, again.run_id)").of("execute_result")[0]
    assert result["data"]["text/plain"] == f"('completed', '{run}')"

    replayed = kernel.run(f"%aof replay {run} --out recorded")
    assert replayed.reply["status"] == "ok"
    assert timeless(replayed) == [each for each in shown if "from the journal" not in each]
    told = kernel.run(f"%aof show {run}").printed
    assert told.startswith(f"Run {run}: completed\n")
    for happened in ("asked at ", "resumed with script:", "restart service=checkout · ok · write"):
        assert happened in told
    assert told.endswith("# Done\n\ncheckout is **up** again.\n")
    assert "1 run: $0.0000" in kernel.run("%aof cost").printed


def test_the_cells_id_is_in_the_journal(kernel: Kernel, directory: Path) -> None:
    kernel.run("%%aof sre --approve never\nWhy?")
    assert newest(directory).begun.cell == "cell"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%aof show", "required: run"),
        ("%aof resume", "required: run"),
        ("%aof resume nothing", "there is no run 'nothing'"),
        ("%aof resume nothing --out 1", "give the name of a variable"),
        ("%aof replay nothing.jsonl", "there is no recording"),
        ("%aof replay x --pace -1", "give 1 for the recorded waits"),
        ("%aof show nothing", "there is no run 'nothing'"),
    ],
)
def test_what_cannot_be_asked_says_why(kernel: Kernel, line: str, said: str) -> None:
    executed = kernel.run(line)
    told = executed.printed + str(executed.of("error"))
    assert said in told
    assert "Traceback" not in told


def test_a_kernel_that_died_in_a_call_is_gone_on_with_in_another(tmp_path: Path) -> None:
    (tmp_path / "fix.yaml").write_text(PLAYBOOK)
    (tmp_path / "die").touch()
    kernel = Kernel(tmp_path)
    try:
        kernel.run(UNFINISHED)
        kernel.send("%%aof agent --approve all\nWhy?")
        while kernel.manager.is_alive():
            time.sleep(0.05)
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)
    assert newest(tmp_path).state is State.INTERRUPTED
    (tmp_path / "die").unlink()
    with started(tmp_path) as another:
        another.run("%load_ext aof_nb")
        missing = another.run("%aof resume last")
        assert "run the cell that defines it first" in str(missing.of("error"))
        another.run(UNFINISHED)
        done = another.run("%aof resume last")
        assert done.reply["status"] == "ok", done.of("error")
    assert "restart service=checkout interrupted, outcome unknown" in done.text
    assert (tmp_path / "log").read_text() == "checkout\n"
    assert newest(tmp_path).state is State.COMPLETED


def test_a_run_is_saved_as_a_runbook(kernel: Kernel, directory: Path) -> None:
    assert kernel.run("%%aof sre --approve all\nWhy is checkout slow?").reply["status"] == "ok"
    saved = kernel.run("%aof save-runbook out/mend.ipynb")
    assert saved.reply["status"] == "ok", saved.reply
    assert re.match(r"out/mend\.ipynb: \d steps? of run \S+; parameters: \S+", saved.printed), (
        saved.printed
    )
    notebook = nbformat.read(directory / "out" / "mend.ipynb", as_version=4)
    nbformat.validate(notebook)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert "await steps.call(" in sources
    assert "model" not in notebook.cells[1].source
    again = kernel.run("%aof save-runbook out/mend.ipynb")
    [error] = again.of("error")
    assert "there already" in error["evalue"]
