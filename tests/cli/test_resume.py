"""``aofctl resume``, ``replay`` and ``fork``, with processes that are really killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aof_nb import Agent, load
from aof_nb.journal.approvals import Approvals
from aof_nb.policy import Answer
from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.cli.test_run_notebook import OnATerminal

AGENT = """\
apiVersion: aof.dev/v1
kind: Agent
metadata:
  name: clerk
spec:
  model: "script:play.yaml"
  tools: [files, shell]
  policy:
    rules:
      - {action: allow, tool: shell}
"""
NOTE = """\
steps:
  - id: before
    say: Let me look.
    call: {tool: list_directory, arguments: {path: .}}
  - id: note
    call: {tool: write_file, arguments: {path: note.txt, content: "seen"}}
  - when: results.note.denied
    answer: I may not write.
  - answer: "Written."
"""
HANG = """\
steps:
  - id: first
    call: {tool: shell, arguments: {argv: [sh, -c, "echo first >> log"]}}
  - id: second
    call:
      tool: shell
      arguments:
        argv:
          - sh
          - -c
          - "echo second >> log; [ -e again ] || { echo $$ > pid; exec sleep 1000; }"
  - when: results.second.outcome == 'interrupted'
    answer: I do not know whether it took effect.
  - answer: "Done."
"""


@pytest.fixture
def clerk(tmp_path: Path) -> Path:
    (tmp_path / "play.yaml").write_text(NOTE)
    agent = tmp_path / "clerk.yaml"
    agent.write_text(AGENT)
    return agent


@pytest.fixture
def killed(clerk: Path, tmp_path: Path, environment: dict[str, str]) -> Path:
    """A run whose process was killed in the middle of its second call; the log of its effects."""
    (tmp_path / "play.yaml").write_text(HANG)
    process = subprocess.Popen(
        [*COMMAND, "run", str(clerk), "-i", "go"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait(timeout=60)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    (tmp_path / "again").touch()
    return tmp_path / "log"


def run_directory(tmp_path: Path) -> Path:
    [found] = (tmp_path / "state" / "runs").iterdir()
    return found


def approve(tmp_path: Path, *, yes: bool = True) -> None:
    approvals = Approvals(run_directory(tmp_path))
    [pending] = approvals.pending()
    digest = pending.request.digest
    approvals.answer(pending.request, Answer(approved=yes, digest=digest, by="ann", via="test"))


@pytest.mark.parametrize("yes", [True, False])
def test_a_run_that_waits_goes_on_in_another_process(
    aofctl: Aofctl, clerk: Path, tmp_path: Path, yes: bool
) -> None:
    waiting = aofctl("run", clerk, "-i", "why?")
    assert waiting.returncode == 3, waiting.stderr
    run = run_directory(tmp_path).name
    assert aofctl("resume", run).returncode == 3
    approve(tmp_path, yes=yes)
    done = aofctl("resume", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Written.\n" if yes else "I may not write.\n")
    assert (tmp_path / "note.txt").exists() == yes
    assert "approved by ann (test)" in done.stderr
    again = aofctl("resume", run[:-2])
    assert again.returncode == 1
    assert "has ended (completed)" in again.stderr


@pytest.mark.parametrize(("key", "log", "answer"), [("y", 3, "Done."), ("n", 2, "I do not know")])
def test_a_call_that_a_kill_interrupted_is_asked_about(
    killed: Path, tmp_path: Path, environment: dict[str, str], key: str, log: int, answer: str
) -> None:
    assert killed.read_text().split() == ["first", "second"]
    aofctl = OnATerminal(["resume", "last"], tmp_path, environment)
    shown = aofctl.see("[n] no: ")
    assert "nobody knows whether it took effect" in shown
    os.write(aofctl.keyboard, key.encode() + b"\n")
    assert answer in aofctl.see("tokens")
    assert aofctl.end() == 0
    assert killed.read_text().split() == ["first", "second", "second"][:log]


def test_where_nobody_can_be_asked_about_it_the_run_waits(aofctl: Aofctl, killed: Path) -> None:
    waiting = aofctl("resume", "last")
    assert waiting.returncode == 3, waiting.stderr
    assert "waits for a person's approval of shell" in waiting.stderr
    left_alone = aofctl("resume", "last", "--approve", "never")
    assert left_alone.returncode == 0, left_alone.stderr
    assert left_alone.stdout.endswith("I do not know whether it took effect.\n")
    assert killed.read_text().split() == ["first", "second"]


def test_the_agent_is_found_by_its_file_or_named(
    aofctl: Aofctl, clerk: Path, tmp_path: Path
) -> None:
    assert aofctl("run", clerk, "-i", "why?").returncode == 3
    moved = clerk.rename(tmp_path / "moved.yaml")
    gone = aofctl("resume", "last")
    assert gone.returncode == 2
    assert "clerk.yaml, which is gone" in gone.stderr
    assert "--agent FILE" in gone.stderr
    done = aofctl("resume", "last", "--agent", moved, "--approve", "all")
    assert (done.returncode, (tmp_path / "note.txt").read_text()) == (0, "seen")


@pytest.mark.parametrize(
    ("cell", "said"),
    [("", "begun from Python"), ("c1", "begun in a notebook")],
)
async def test_a_run_that_no_file_declares_says_where_it_goes_on(
    invoke: Invoke,
    clerk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    said: str,
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    agent = load(clerk)
    assert isinstance(agent, Agent)
    run = agent.stream("why?", cell=cell)
    async for _ in run:
        pass
    done = invoke("resume", run.run_id)
    assert done.exit_code == 2
    assert said in done.stderr
    assert f"%aof resume {run.run_id}" in done.stderr
    forked = invoke("fork", run.run_id, "--from-turn", "1")
    assert forked.exit_code == 2
    assert "agent.fork(" in forked.stderr


@pytest.mark.parametrize("command", [["resume"], ["fork", "--from-turn", "1"], ["replay"]])
def test_a_run_that_is_not_there_is_wrong_usage(invoke: Invoke, command: list[str]) -> None:
    done = invoke(*command, "nothing")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no run 'nothing'" in done.stderr


def test_a_replay_prints_the_same_events(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    original = aofctl("run", clerk, "-i", "why?", "--approve", "all", "--output", "jsonl")
    assert original.returncode == 0, original.stderr
    (tmp_path / "play.yaml").unlink()
    clerk.unlink()
    (tmp_path / "note.txt").unlink()
    again = aofctl("replay", "last", "--output", "jsonl")
    assert again.returncode == 0, again.stderr
    assert again.stdout == original.stdout
    assert not (tmp_path / "note.txt").exists()
    by_file = aofctl("replay", run_directory(tmp_path) / "journal.jsonl")
    assert by_file.stdout == "Let me look.\n\nWritten.\n"


def test_the_replay_of_a_killed_run_says_where_it_ends(aofctl: Aofctl, killed: Path) -> None:
    done = aofctl("replay", "last")
    assert done.returncode == 1
    assert "was interrupted" in done.stderr
    assert "aofctl resume" in done.stderr
    assert killed.read_text().split() == ["first", "second"]


def test_a_fork_goes_another_way(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    assert aofctl("run", clerk, "-i", "why?", "--approve", "all").returncode == 0
    parent = run_directory(tmp_path).name
    (tmp_path / "note.txt").unlink()
    (tmp_path / "brief.yaml").write_text("steps: [{answer: 'In short: {{ prompt }}'}]\n")
    fork = aofctl(
        *("fork", parent, "--from-turn", "2", "--prompt", "be brief"),
        *("--model", f"script:{tmp_path / 'brief.yaml'}", "--output", "json"),
    )
    assert fork.returncode == 0, fork.stderr
    result = json.loads(fork.stdout)
    assert (result["text"], result["turns"]) == ("In short: be brief", 2)
    assert result["run_id"] != parent
    assert not (tmp_path / "note.txt").exists()
    bad = aofctl("fork", parent, "--from-turn", "4")
    assert bad.returncode == 2
    assert "it has turns 1 to 3" in bad.stderr
    waiting = aofctl("fork", parent, "--from-turn", "2", "--approve", "ask")
    assert waiting.returncode == 3, waiting.stderr
    [forked] = re.findall(r"aofctl resume (\S+)", waiting.stderr)
    assert aofctl("resume", forked, "--approve", "all").returncode == 0
    assert (tmp_path / "note.txt").read_text() == "seen"
