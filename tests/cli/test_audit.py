"""``aofctl show``, ``logs``, ``diff``, ``list runs`` and ``runs prune``, as people ask for them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aof_nb import RunResult
from aof_nb.journal.entries import RunBegun
from aof_nb.journal.journal import Journal
from aof_nb.messages import Text
from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.journal.scenes import ANSWER, Clicks, call, incident, incident_agent
from tests.journal.test_summary import begun, ended, put


@pytest.fixture
def state(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of aofctl, for this process too."""
    monkeypatch.setenv("AOF_STATE_DIR", environment["AOF_STATE_DIR"])
    return Path(environment["AOF_STATE_DIR"])


@pytest.fixture
def done(state: Path) -> RunResult:
    return asyncio.run(incident("Why is checkout slow?"))


def test_runs_are_listed_as_a_table(invoke: Invoke, done: RunResult, state: Path) -> None:
    put(state, "broken", b"nonsense\n")
    shown = invoke("list", "runs")
    assert (shown.exit_code, shown.stderr) == (0, "")
    head, *rows = shown.stdout.splitlines()
    assert head.split() == (
        ["run", "began", "agent", "status", "turns", "calls", "tokens", "cost", "took", "prompt"]
    )
    [row] = [each for each in rows if done.run_id in each]
    fields = re.split(r"  +", row.strip())
    assert fields[2:8] == ["sre", "completed", "3", "6", "5,040", "$0.0066"]
    assert fields[-1] == "Why is checkout slow?"
    [broken] = [each for each in rows if each.startswith("broken")]
    assert "damaged" in broken
    assert "line 1: JSON is malformed" in broken


def test_runs_are_listed_as_json_and_filtered(invoke: Invoke, done: RunResult, state: Path) -> None:
    put(state, "old", begun("old", time=1000.0, agent="dba"), ended())
    [run] = json.loads(invoke("list", "runs", "--agent", "s*", "--output", "json").stdout)
    assert run["run_id"] == done.run_id
    assert (run["status"], run["turns"], run["tool_calls"]) == ("completed", 3, 6)
    assert (run["cost"], run["session"]) == (done.cost, "inc-42")
    assert run["usage"]["input_tokens"] == 4800
    assert abs(datetime.fromisoformat(run["began"]).timestamp() - time.time()) < 600

    def listed(*arguments: str) -> list[str]:
        found = invoke("list", "runs", "--output", "jsonl", *arguments)
        assert found.exit_code == 0, found.stderr
        return [json.loads(line)["run_id"] for line in found.stdout.splitlines()]

    assert listed() == [done.run_id, "old"]
    assert listed("--since", "2h") == [done.run_id]
    yesterday = (datetime.now().astimezone() - timedelta(days=1)).date().isoformat()
    assert listed("--since", yesterday) == [done.run_id]
    assert listed("--since", "1970-01-01") == [done.run_id, "old"]
    assert listed("--session", "inc-42") == [done.run_id]
    assert listed("--status", "failed") == []
    assert listed("--status", "failed", "--status", "completed") == [done.run_id, "old"]
    assert listed("--limit", "0") == [done.run_id, "old"]
    shown = invoke("list", "runs", "--limit", "1")
    assert "old" not in shown.stdout
    assert "there are more than these 1 runs\n  --limit 0 shows all" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "runs", "--since", "yesterday"],
        ["list", "runs", "--status", "lost"],
        ["list", "runs", "--limit", "-1"],
        ["show"],
        ["show", "last", "--format", "pdf"],
        ["logs"],
        ["diff", "last"],
        ["runs", "prune"],
    ],
)
def test_wrong_usage_is_two(invoke: Invoke, state: Path, arguments: list[str]) -> None:
    shown = invoke(*arguments)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr


def test_no_runs_is_no_failure(invoke: Invoke, state: Path) -> None:
    assert invoke("list", "runs").stdout == "none\n"
    assert invoke("list", "approvals").stdout == "none\n"
    assert json.loads(invoke("list", "runs", "--output", "json").stdout) == []


@pytest.mark.parametrize("command", [["show"], ["logs"], ["approve"], ["deny"], ["diff", "x"]])
def test_a_run_that_is_not_there_is_named(
    invoke: Invoke, done: RunResult, command: list[str]
) -> None:
    shown = invoke(*command, done.run_id[:-1] + "~")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "aofctl: there is no run" in shown.stderr
    if command != ["diff", "x"]:
        assert f"did you mean {done.run_id}? see aofctl list runs" in shown.stderr


def test_a_run_is_shown_in_four_forms(invoke: Invoke, done: RunResult) -> None:
    text = invoke("show", "last").stdout
    assert text.startswith(f"Run {done.run_id}: completed\n")
    assert text.endswith(ANSWER)
    markdown = invoke("show", done.run_id, "--format", "md").stdout
    assert markdown.startswith(f"# Run {done.run_id}: completed\n")
    html = invoke("show", done.run_id[:12], "--format", "html").stdout
    assert html.startswith("<!DOCTYPE html>")
    assert html.rstrip().endswith("</html>")
    content = json.loads(invoke("show", "last", "--format", "json").stdout)
    assert (content["run_id"], content["text"]) == (done.run_id, ANSWER)
    assert "characters left out" in text
    assert "characters left out" not in invoke("show", "last", "--full").stdout


def test_a_journal_can_be_named_by_its_file(
    invoke: Invoke, done: RunResult, state: Path, tmp_path: Path
) -> None:
    path = state / "runs" / done.run_id / "journal.jsonl"
    (tmp_path / "kept.jsonl").write_bytes(path.read_bytes())
    assert f"Run {done.run_id}" in invoke("show", "kept.jsonl").stdout
    assert f"Run {done.run_id}" in invoke("show", path.parent).stdout
    gone = invoke("logs", tmp_path / "gone.jsonl")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "cannot be read" in gone.stderr


def test_a_damaged_run_is_shown_as_far_as_it_goes(invoke: Invoke, state: Path) -> None:
    put(state, "hit", begun("hit"), b"nonsense\n", ended())
    shown = invoke("show", "hit")
    assert shown.exit_code == 0
    assert "The journal is damaged: What cannot be read is left out: line 2: " in shown.stdout
    put(state, "beheaded", b"nonsense\n", ended())
    shown = invoke("show", "beheaded")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "aofctl logs beheaded" in shown.stderr
    lines = invoke("logs", "beheaded").stdout.splitlines()
    assert "damage line=1" in lines[0]
    assert "completed, 3 turns" in lines[1]


def test_a_log_is_printed_line_by_line(invoke: Invoke, done: RunResult, state: Path) -> None:
    shown = invoke("logs", "last")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S", line) for line in lines)
    assert lines[0].endswith("Why is checkout slow?")
    assert "completed, 3 turns, 6 tool calls" in lines[-1]
    raw = invoke("logs", "last", "--output", "jsonl").stdout
    assert raw == (state / "runs" / done.run_id / "journal.jsonl").read_text()
    assert invoke("logs", "last", "-f").stdout == shown.stdout


def test_a_log_that_nobody_reads_any_more_is_no_failure(
    aofctl: Aofctl, environment: dict[str, str], done: RunResult, tmp_path: Path
) -> None:
    piped = subprocess.run(
        f"{' '.join(COMMAND)} logs last --full | head -n 1",
        shell=True,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert piped.stdout.count("\n") == 1
    assert piped.stderr == ""


def test_a_run_is_followed_from_another_process_until_it_ends(
    environment: dict[str, str], state: Path, tmp_path: Path
) -> None:
    journal = Journal(state / "runs" / "live")
    journal.write(RunBegun(run_id="live", agent="sre", model="m", prompt="why?", time=time.time()))
    process = subprocess.Popen(
        [*COMMAND, "logs", "live", "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith("run live of sre: why?\n")
    with journal.path.open("ab") as file:
        file.write(ended())
    journal.close()
    rest, errors = process.communicate(timeout=60)
    assert "completed, 3 turns, 4 tool calls" in rest
    assert (process.returncode, errors) == (0, "")


def test_following_can_be_interrupted(
    environment: dict[str, str], state: Path, tmp_path: Path
) -> None:
    put(state, "broke-off", begun("broke-off"))
    process = subprocess.Popen(
        [*COMMAND, "logs", "broke-off", "-f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert "aofctl resume broke-off" in process.stderr.readline()
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert output.count("\n") == 1


def test_two_runs_are_compared(invoke: Invoke, done: RunResult, state: Path) -> None:
    agent = incident_agent((call("restart", service="web"),), (Text("Restarted."),))
    other = asyncio.run(agent.run("Restart it", approver=Clicks()))
    shown = invoke("diff", done.run_id, other.run_id)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[:2] == [f"--- {done.run_id}", f"+++ {other.run_id}"]
    assert "-Why is checkout slow?" in lines
    assert "+Restart it" in lines
    content = json.loads(invoke("diff", done.run_id, "last", "--output", "json").stdout)
    assert content["runs"] == [done.run_id, other.run_id]
    assert content["diverged"] == 1
    assert invoke("diff", "last", "last").stdout.splitlines()[-1] == "no difference"


def test_old_runs_are_deleted_when_it_is_asked_for(
    invoke: Invoke, done: RunResult, state: Path, environment: dict[str, str]
) -> None:
    path = put(state, "old", begun("old"), ended())
    for each in (path, path.parent):
        os.utime(each, (1000, 1000))
    dry = invoke("runs", "prune", "--older-than", "30d", "--dry-run")
    assert dry.exit_code == 0
    assert re.search(r"^old would be deleted: .* bytes|kB, last used 1970", dry.stdout)
    assert path.exists()
    environment["AOF_RUNS_MAX_AGE"] = "8w"
    content = json.loads(invoke("runs", "prune", "--output", "json", "--dry-run").stdout)
    assert [each["run_id"] for each in content] == ["old"]
    shown = invoke("runs", "prune", "--older-than", "30d", "--max-size", "2GB")
    assert shown.stdout.splitlines()[-1].startswith("1 run deleted, ")
    assert not path.parent.exists()
    assert (state / "runs" / done.run_id).exists()
    wrong = invoke("runs", "prune", "--max-size", "2Gx")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "--max-size: '2Gx' is no size\n  write 500MB" in wrong.stderr
