"""``aofctl run FILE.yaml``: what is printed where, what it ends with, and who is asked."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aof_nb.memory import open_memory
from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.cli.test_run_notebook import alive, read_until

PLAYBOOK = """\
kind: Playbook
name: note
steps:
  - say: "You asked: {{ prompt }}"
  - id: before
    say: Let me look.
    call: {tool: list_directory, arguments: {path: .}}
  - id: note
    call: {tool: write_file, arguments: {path: note.txt, content: "seen"}}
  - when: results.note.denied
    answer: I may not write.
  - answer: "Written."
"""
AGENT = """\
apiVersion: aof.dev/v1
kind: Agent
metadata:
  name: clerk
spec:
  model: "script:{playbook}"
  tools: [files]
"""


@pytest.fixture
def clerk(tmp_path: Path) -> Path:
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    agent = tmp_path / "clerk.yaml"
    agent.write_text(AGENT.format(playbook=tmp_path / "play.yaml"))
    return agent


def test_the_answer_goes_out_and_the_rest_beside_it(
    aofctl: Aofctl, clerk: Path, tmp_path: Path
) -> None:
    done = aofctl("run", clerk, "-i", "why?", "--approve", "all")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "You asked: why?\n\nLet me look.\n\nWritten.\n"
    assert (tmp_path / "note.txt").read_text() == "seen"
    lines = done.stderr.splitlines()
    assert "→ list_directory path=." in lines
    assert "→ write_file path=note.txt content=seen" in lines
    assert any(re.fullmatch(r"✓ write_file \d+\.\d s", line) for line in lines)
    assert re.fullmatch(r"script:.*\(scripted\).* · 3 turns · 2 tool calls · .* s", lines[-1])


def test_a_refusal_by_mode_is_told_to_the_model_and_is_no_failure(
    aofctl: Aofctl, clerk: Path, tmp_path: Path
) -> None:
    done = aofctl("run", clerk, "-i", "-", "--approve", "never", stdin="from the pipe\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("You asked: from the pipe\n")
    assert done.stdout.endswith("I may not write.\n")
    assert not (tmp_path / "note.txt").exists()


def test_an_approval_nobody_can_be_asked_for_is_three(
    aofctl: Aofctl, clerk: Path, tmp_path: Path
) -> None:
    done = aofctl("run", clerk, "-i", "x", stdin="y\n")
    assert done.returncode == 3
    assert done.stdout.endswith("Let me look.\n")
    run = done.stderr.splitlines()[0].removeprefix("run ")
    assert f"aofctl: the run {run} waits for a person's approval of write_file" in done.stderr
    assert done.stderr.endswith(f"  aofctl approve {run}, then aofctl resume {run}\n")
    assert not (tmp_path / "note.txt").exists()


def test_a_run_without_a_journal_cannot_wait(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    clerk.write_text(clerk.read_text() + "  journal: false\n")
    done = aofctl("run", clerk, "-i", "x", stdin="y\n")
    assert done.returncode == 3
    assert done.stdout.endswith("I may not write.\n")
    assert "no terminal to ask on" in done.stderr
    assert not (tmp_path / "note.txt").exists()


@pytest.mark.parametrize(("key", "last"), [("y", b"Written."), ("n", b"I may not write.")])
def test_the_terminal_is_asked_even_when_the_input_is_piped(
    clerk: Path, environment: dict[str, str], tmp_path: Path, key: str, last: bytes
) -> None:
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", str(clerk), "-i", "-"],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    os.close(terminal)
    assert process.stdin is not None
    process.stdin.write(b"piped")
    process.stdin.close()
    shown = read_until(keyboard, b"[n] no: ")
    assert b"write_file" in shown
    assert b"note.txt" in shown
    os.write(keyboard, key.encode() + b"\n")
    assert last in read_until(keyboard, b"tokens")
    assert process.wait(timeout=60) == 0
    os.close(keyboard)
    assert (tmp_path / "note.txt").exists() == (key == "y")


@pytest.mark.parametrize("approve", ["ask", "all"])
def test_a_dry_run_shows_what_it_would_do(
    aofctl: Aofctl, clerk: Path, tmp_path: Path, approve: str
) -> None:
    done = aofctl("run", str(clerk), "-i", "x", "--dry-run", "--approve", approve)
    assert done.returncode == 0
    assert "✓ list_directory" in done.stderr
    assert "Dry run: 1 call was not executed." in done.stderr
    assert "1. write_file: Writes 1 line to note.txt · It changes something." in done.stderr
    assert not (tmp_path / "note.txt").exists()
    run_id = done.stderr.split()[1]
    shown = aofctl("show", run_id)
    assert "dry run" in shown.stdout
    assert "not executed" in shown.stdout


def test_a_dry_run_of_a_notebook_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").write_text("{}")
    refused = invoke("run", str(tmp_path / "n.ipynb"), "--dry-run")
    assert refused.exit_code == 2
    assert "own code would be executed" in refused.stderr


def test_no_answer_in_time_is_a_no_and_the_run_goes_on(
    clerk: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", str(clerk), "-i", "x", "--approval-timeout", "1s"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    os.close(terminal)
    shown = read_until(keyboard, b"tokens")
    assert b"Without an answer within 1 s, it is denied." in shown
    assert b"not approved: nobody answered within 1 s" in shown
    assert b"I may not write." in shown
    assert process.wait(timeout=60) == 0
    os.close(keyboard)
    assert not (tmp_path / "note.txt").exists()


def test_every_event_is_a_line_of_json(aofctl: Aofctl, clerk: Path) -> None:
    done = aofctl("run", clerk, "-i", "why?", "--approve", "all", "--output", "jsonl")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_finished")
    assert {"turn_started", "text_delta", "turn_finished", "tool_started"} <= set(kinds)
    assert events[-1]["status"] == "completed"
    assert events[-1]["text"].endswith("Written.")


def test_the_result_is_one_object(aofctl: Aofctl, clerk: Path) -> None:
    done = aofctl("run", clerk, "-i", "why?", "--approve", "all", "--output", "json")
    result = json.loads(done.stdout)
    assert (result["agent"], result["status"]) == ("clerk", "completed")
    assert (result["turns"], result["tool_calls"], result["cost"]) == (3, 2, 0.0)
    assert "scripted" in result["models"][0]
    assert (result["error"], result["remedy"]) == (None, None)
    assert done.stderr == ""


def test_a_limit_is_a_failure_with_its_answer(aofctl: Aofctl, clerk: Path) -> None:
    done = aofctl("run", clerk, "-i", "x", "--max-turns", "1", "--output", "json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"], result["turns"]) == (1, "limit", 1)


def test_another_model_can_be_named(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("kind: Playbook\nname: o\nsteps: [{answer: Other.}]\n")
    done = aofctl("run", clerk, "-i", "x", "--model", f"script:{other}")
    assert (done.returncode, done.stdout) == (0, "Other.\n")


def test_what_fails_is_one_line_with_a_remedy(
    aofctl: Aofctl, clerk: Path, environment: dict[str, str]
) -> None:
    done = aofctl("run", clerk, "-i", "x", "--model", "anthropic:claude-sonnet-5")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ANTHROPIC_API_KEY is not set" in done.stderr
    assert "Traceback" not in done.stderr
    debugged = aofctl("run", clerk, "-i", "x", "--model", "anthropic:claude-sonnet-5", "--debug")
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr
    assert "MissingCredential" in debugged.stderr


def test_a_file_that_is_wrong_says_where(invoke: Invoke, clerk: Path) -> None:
    clerk.write_text(clerk.read_text().replace("tools:", "toolz:"))
    done = invoke("run", clerk, "-i", "x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "clerk.yaml:7" in done.stderr
    assert "toolz" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["-i", "-"], ["-i", "x", "-p", "a=1"]])
def test_what_cannot_be_asked_of_it_is_two(
    invoke: Invoke, clerk: Path, arguments: list[str]
) -> None:
    done = invoke("run", clerk, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")


async def test_a_conversation_is_kept(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    kept = f"disk:{tmp_path / 'kept'}"
    clerk.write_text(clerk.read_text() + f'  memory: "{kept}"\n')
    done = aofctl("run", clerk, "-i", "why?", "--session", "inc-42", "--approve", "never")
    assert done.returncode == 0, done.stderr
    first, *_, last = await open_memory(kept).load("inc-42")
    assert (first.text, last.text) == ("why?", "I may not write.")


def test_interrupting_stops_the_tool_and_is_130(
    clerk: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "play.yaml").write_text(
        "kind: Playbook\nname: w\nsteps:\n"
        '  - call: {tool: shell, arguments: {argv: ["sh", "-c", "echo $$ > pid; sleep 1000"]}}\n'
        "  - answer: Done.\n"
    )
    clerk.write_text(clerk.read_text().replace("[files]", "[shell]"))
    process = subprocess.Popen(
        [*COMMAND, "run", str(clerk), "-i", "x", "--approve", "all"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not alive(int(pid.read_text()))
