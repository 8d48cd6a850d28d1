"""``aofctl run FILE.ipynb``: progress, exit codes, interruption, and asking on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.notebooks import printed, write_notebook
from tests.runbooks.test_run import ASK, WAIT, alive


def test_progress_result_and_typed_parameters(aofctl: Aofctl, tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "md:## Count",
        "print(replicas * 2, service)",
        parameters="replicas = 1\nservice: str = 'web'",
    )
    done = aofctl("run", notebook, "-p", "replicas=21", "-p", "service=a=b")
    assert done.returncode == 0, done.stderr
    executed, report = re.findall(r": (.+)", done.stdout)
    assert re.fullmatch(r"runs/n-\d{8}-\d{6}\.ipynb", executed)
    assert printed(tmp_path / executed) == "42 a=b\n"
    assert "42 a=b" in (tmp_path / report).read_text()
    assert re.search(r"\[3/3\] ✓ Count \d+\.\d s", done.stderr)


def test_a_failing_notebook_is_one_and_says_where(aofctl: Aofctl, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "print('first')", "md:# Fall", "1 / 0")
    done = aofctl("run", notebook, "-o", "out.ipynb", "--report", "r.html", "--output", "jsonl")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == [
        *("cell_started", "cell_finished") * 2,
        "notebook_finished",
    ]
    assert (lines[3]["title"], lines[3]["ok"]) == ("Fall", False)
    assert (lines[-1]["status"], lines[-1]["error"]["error"]) == ("failed", "ZeroDivisionError")
    assert "cell 2 (Fall) failed: ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr
    assert printed(tmp_path / "out.ipynb") == "first\n"
    assert "ZeroDivisionError" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "replica=1"], "did you mean 'replicas'?"),
        (["-p", "replicas=many"], "takes an int"),
        (["-p", "replicas"], "is not KEY=VALUE"),
        (["-o", "json"], "--output text|json|jsonl"),
        (["-i", "hello"], "--input is for agents"),
    ],
)
def test_what_cannot_be_asked_of_it_is_two(
    invoke: Invoke, tmp_path: Path, arguments: list[str], said: str
) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "1", parameters="replicas = 1")
    done = invoke("run", notebook, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_cell_that_can_ask_nobody_is_three(aofctl: Aofctl, tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", ASK)
    done = aofctl("run", notebook, "-o", "out.ipynb", stdin="y\n")
    assert done.returncode == 3
    assert printed(tmp_path / "out.ipynb") == ""
    assert "no terminal to ask on" in done.stderr


def test_an_approval_nobody_can_be_asked_for_is_waited_for(
    aofctl: Aofctl, tmp_path: Path, runbook: Path
) -> None:
    done = aofctl("run", runbook, "-o", "out.ipynb", stdin="y\n")
    assert done.returncode == 3
    assert not (tmp_path / "note.txt").exists()
    said = re.search(
        r"clerk waits for approval of write_file.*"
        r"aofctl approve (\S+), then aofctl resume (\S+)\n$",
        done.stderr,
        re.DOTALL,
    )
    assert said, done.stderr
    agent_run, run = said[1], said[2]
    assert f"run: {run}\n" in done.stderr
    assert f"aofctl approve {agent_run}" in (tmp_path / "out.md").read_text()

    not_alone = aofctl("resume", agent_run)
    assert not_alone.returncode == 2
    assert f"aofctl resume {run}" in not_alone.stderr
    approved = aofctl("approve", agent_run)
    assert approved.returncode == 0, approved.stderr
    resumed = aofctl("resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "note.txt").exists()
    assert printed(tmp_path / "out.ipynb").endswith("\nWritten.\n")

    again = aofctl("resume", run)
    assert again.returncode == 2
    assert "has completed" in again.stderr


def test_a_failed_notebook_says_how_to_go_on_and_what_needs_a_word(
    aofctl: Aofctl, invoke: Invoke, tmp_path: Path
) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "print('before')",
        "md:## Charge",
        "print(token)\n1 / 0",
        parameters="token = ''",
    )
    content = nbformat.read(notebook, as_version=4)
    content.cells[3].metadata["aof"] = {"once": True}
    nbformat.write(content, notebook)
    failed = aofctl("run", notebook, "-o", "out.ipynb", "--output", "json", "-p", "token=hunter2")
    assert failed.returncode == 1
    told = json.loads(failed.stdout)
    run = told["run_id"]
    assert (told["status"], told["waiting"], told["undecided"]) == ("failed", [], None)
    assert f"aofctl resume {run}" in failed.stderr

    for arguments, complaint in (
        (["--agent", str(notebook)], "--agent is for runs of agents"),
        ([], "give it again: -p token=..."),
        (["-p", "token=hunter2", "--skip", "7"], "there is no code cell '7'"),
    ):
        refused = invoke("resume", run, *arguments)
        assert (refused.exit_code, refused.stdout) == (2, ""), refused.stderr
        assert complaint in refused.stderr
    given = ("-p", "token=hunter2")
    undecided = invoke("resume", run, *given, "--output", "json")
    assert undecided.exit_code == 3
    assert json.loads(undecided.stdout)["undecided"]["place"] == 4
    assert "cell 4 (Charge) is marked once: it was begun" in undecided.stderr
    assert "--repeat 4 executes it again, --skip 4 leaves it out" in undecided.stderr

    done = aofctl("resume", run, *given, "--skip", "Charge")
    assert done.returncode == 0, done.stderr
    assert "[4/4] - Charge skipped\n" in done.stderr


def test_a_reader_that_leaves_ends_the_run_quietly(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", *["1"] * 3, WAIT)
    process = subprocess.Popen(
        [*COMMAND, "run", str(notebook), "--output", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=60)
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_orphan(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", WAIT, "print('never')")
    process = subprocess.Popen(
        [*COMMAND, "run", str(notebook), "-o", "out.ipynb"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = tmp_path / "pids"
    while not (pids.exists() and pids.read_text().endswith(" ")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    assert printed(tmp_path / "out.ipynb") == "put away\n"


PLAYBOOK = """\
kind: Playbook
name: note
steps:
  - id: note
    call: {tool: write_file, arguments: {path: note.txt, content: seen}}
  - when: results.note.denied
    answer: I may not write.
  - answer: Written.
"""


@pytest.fixture
def runbook(tmp_path: Path) -> Path:
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    return write_notebook(
        tmp_path / "n.ipynb",
        "%load_ext aof_nb",
        "%%aof_agent clerk\nmodel: script:play.yaml\ntools: [files]",
        "md:## Write it down",
        "%%aof clerk --out result\nnote it",
        "print(result.text)",
    )


class OnATerminal:
    """aofctl on a terminal of its own: what it shows, and a keyboard."""

    def __init__(self, arguments: list[str], directory: Path, environment: dict[str, str]) -> None:
        self.keyboard, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        os.close(terminal)

    def see(self, mark: str) -> str:
        shown = read_until(self.keyboard, mark.encode()).decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", shown)

    def end(self) -> int:
        try:
            return self.process.wait(timeout=60)
        finally:
            os.close(self.keyboard)


@pytest.mark.parametrize(("key", "approved"), [("y", True), ("n", False)])
def test_an_agent_s_cell_asks_on_the_terminal(
    tmp_path: Path, environment: dict[str, str], runbook: Path, key: str, approved: bool
) -> None:
    aofctl = OnATerminal(["run", str(runbook), "-o", "out.ipynb"], tmp_path, environment)
    shown = aofctl.see("[n] no: ")
    os.write(aofctl.keyboard, key.encode() + b"\n")
    aofctl.see("report:")
    assert aofctl.end() == 0
    assert "[3/4] … Write it down" in shown
    assert "Approval needed: write_file  write" in shown
    assert re.search(r"path\s+note\.txt", shown)
    assert (tmp_path / "note.txt").exists() == approved
    last = "Written." if approved else "I may not write."
    assert printed(tmp_path / "out.ipynb").endswith(f"\n{last}\n")


def test_interrupting_while_asked_withdraws_the_question(
    tmp_path: Path, environment: dict[str, str], runbook: Path
) -> None:
    aofctl = OnATerminal(["run", str(runbook), "-o", "out.ipynb"], tmp_path, environment)
    aofctl.see("[n] no: ")
    started = time.monotonic()
    aofctl.process.send_signal(signal.SIGINT)
    aofctl.see("withdrawn")
    assert aofctl.end() == 130
    assert time.monotonic() - started < 30
    assert not (tmp_path / "note.txt").exists()


def test_a_notebook_whose_agent_waits_stops_there_and_is_three(
    aofctl: Aofctl, tmp_path: Path, runbook: Path
) -> None:
    done = aofctl("run", runbook, "-o", "out.ipynb", stdin="y\n")
    assert done.returncode == 3, done.stderr
    assert "clerk waits for approval of write_file" in done.stderr
    assert re.search(r"aofctl approve \S+, then aofctl resume \S+", done.stderr)
    assert "Written" not in printed(tmp_path / "out.ipynb")
    assert "waits for a person" in (tmp_path / "out.html").read_text()
    assert not (tmp_path / "note.txt").exists()


def test_never_and_all_reach_the_cells(aofctl: Aofctl, tmp_path: Path, runbook: Path) -> None:
    done = aofctl("run", runbook, "-o", "out.ipynb", "--approve", "never")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "note.txt").exists()
    done = aofctl("run", runbook, "-o", "out.ipynb", "--approve", "all")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "note.txt").exists()


def test_an_agent_that_fails_fails_the_notebook(aofctl: Aofctl, tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "%load_ext aof_nb",
        "%%aof_agent clerk\nmodel: anthropic:claude-sonnet-5",
        "%%aof clerk\nhello",
        "print('never')",
    )
    done = aofctl("run", notebook, "-o", "out.ipynb")
    assert done.returncode == 1
    assert "cell 3" in done.stderr
    assert "ANTHROPIC_API_KEY" in done.stderr
    assert "ANTHROPIC_API_KEY" in (tmp_path / "out.html").read_text()


def read_until(descriptor: int, mark: bytes) -> bytes:
    shown = b""
    while mark not in shown:
        ready, _, _ = select.select([descriptor], [], [], 60)
        assert ready, shown
        try:
            shown += os.read(descriptor, 4096)
        except OSError as error:
            raise AssertionError(f"it ended before {mark!r}: {shown!r}") from error
    return shown
