"""``aofctl approve``, ``deny`` and ``list approvals``: answers from another process."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from aof_nb import Agent, RunResult, RunStatus
from aof_nb.journal.approvals import Approvals
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.reading import timeline
from aof_nb.journal.runs import find_run, read_run
from aof_nb.messages import Text
from tests.cli.conftest import COMMAND, Aofctl, Invoke
from tests.cli.test_run_agent import AGENT, PLAYBOOK
from tests.cli.test_run_notebook import read_until
from tests.journal.scenes import call, incident_agent
from tests.journal.test_summary import ended


@pytest.fixture
def state(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of aofctl, for this process too."""
    monkeypatch.setenv("AOF_STATE_DIR", environment["AOF_STATE_DIR"])
    environment["JUPYTERHUB_USER"] = "ines"
    return Path(environment["AOF_STATE_DIR"])


def one_call() -> Agent:
    return incident_agent(
        (call("run_command", argv=["kubectl", "delete", "pod", "web-1"]),), (Text("done"),)
    )


def two_calls() -> Agent:
    return incident_agent(
        (call("restart", service="web"), call("restart", service="db")), (Text("done"),)
    )


def waiting(agent: Agent) -> RunResult:
    result = asyncio.run(agent.run("x"))
    assert result.status is RunStatus.WAITING
    return result


def test_what_waits_is_listed_with_what_would_be_run(invoke: Invoke, state: Path) -> None:
    result = waiting(one_call())
    shown = invoke("list", "approvals")
    head, row = shown.stdout.splitlines()
    assert head.split() == ["run", "agent", "call", "effect", "asked", "what"]
    assert row.startswith(f"{result.run_id}  sre    run_command  destructive  ")
    assert row.rstrip().endswith("run_command: kubectl delete pod web-1")
    [content] = json.loads(invoke("list", "approvals", "--output", "json").stdout)
    assert content["arguments"] == {"argv": ["kubectl", "delete", "pod", "web-1"]}
    assert (content["run_id"], content["status"]) == (result.run_id, "waiting")


def test_an_approval_says_what_it_allows_and_what_comes_next(invoke: Invoke, state: Path) -> None:
    result = waiting(one_call())
    shown = invoke("approve", "last", "--reason", "agreed on the call")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.splitlines() == [
        "  run_command (destructive)",
        "  Runs a command.",
        "  It may destroy something that cannot be brought back.",
        "    argv: kubectl delete pod web-1",
        "  the policy asks before a tool with effect destructive",
        "approved by ines",
        f"go on with it: aofctl resume {result.run_id}",
    ]
    again = invoke("approve", "last")
    assert (again.exit_code, again.stdout) == (1, "")
    assert f"go on with it: aofctl resume {result.run_id}" in again.stderr
    asyncio.run(one_call().resume(result.run_id))
    [done] = timeline(read_run(result.run_id)).calls
    assert done.outcome == "ok"
    [approval] = done.approvals
    assert (approval.by, approval.via, approval.note) == ("ines", "aofctl", "agreed on the call")
    late = invoke("deny", "last")
    assert (late.exit_code, late.stdout) == (1, "")
    assert f"nothing waits for approval in run {result.run_id} (completed)" in late.stderr


def test_arguments_can_be_changed(invoke: Invoke, state: Path) -> None:
    result = waiting(one_call())
    wrong = invoke("approve", "last", "--arguments", '["kubectl"]')
    assert wrong.exit_code == 2
    assert "Give a JSON object" in wrong.stderr
    changed = '{"argv": ["kubectl", "get", "pods"]}'
    assert invoke("approve", "last", "--arguments", changed).exit_code == 0
    resumed = asyncio.run(one_call().resume(result.run_id))
    [told] = [each for message in resumed.messages for each in message.tool_results]
    assert 'with changed arguments: {"argv":["kubectl","get","pods"]}' in told.content
    answered = [json.loads(line) for line in (find_run("last") / FILE_NAME).open()]
    [answer] = [each for each in answered if each["type"] == "approval_answered"]
    assert answer["arguments"] == {"argv": ["kubectl", "get", "pods"]}


def test_a_changed_call_is_approved_without_those_like_it(invoke: Invoke, state: Path) -> None:
    refused = invoke("approve", "any", "--similar", "--arguments", "{}")
    assert refused.exit_code == 2
    assert "--similar and --arguments cannot be given together" in refused.output


def test_a_denial_reaches_the_model_with_its_reason(invoke: Invoke, state: Path) -> None:
    result = waiting(one_call())
    shown = invoke("deny", result.run_id, "--reason", "the pod is the last one", "--by", "ola")
    assert shown.stdout.splitlines()[-2:] == [
        "denied by ola",
        f"go on with it: aofctl resume {result.run_id}",
    ]
    done = asyncio.run(one_call().resume(result.run_id))
    [told] = [each.content for message in done.messages for each in message.tool_results]
    assert told == (
        "Denied by ola: run_command was not carried out. The reason given: the pod is the last one"
    )


def test_of_several_calls_one_is_to_be_named(invoke: Invoke, state: Path) -> None:
    result = waiting(two_calls())
    shown = invoke("approve", "last")
    assert (shown.exit_code, shown.stdout) == (2, "")
    said = "  restart (write)\n  Restarts a service.\n  It changes something.\n"
    assert f"restart:\n{said}    service: web" in shown.stderr
    assert "    service: db" in shown.stderr
    assert f"2 calls wait in run {result.run_id}\n  name one" in shown.stderr
    unknown = invoke("approve", "last", "--call", "other")
    assert unknown.exit_code == 2
    assert "--call 'other' is none that waits" in unknown.stderr
    both = invoke("approve", "last", "--call", "restart", "--all")
    assert both.exit_code == 2
    shown = invoke("approve", "last", "--call", "restart_")
    assert shown.exit_code == 0
    assert "service: db" in shown.stdout
    assert shown.stdout.endswith(f"1 call still waits: aofctl approve {result.run_id}\n")
    [left] = Approvals(find_run("last")).pending()
    assert left.request.arguments == {"service": "web"}


def test_all_calls_can_be_answered_at_once(invoke: Invoke, state: Path) -> None:
    result = waiting(two_calls())
    shown = invoke("approve", "last", "--all", "--similar")
    assert shown.stdout.count("approved by ines, and similar calls of this run\n") == 2
    done = asyncio.run(two_calls().resume(result.run_id))
    assert done.status is RunStatus.COMPLETED
    calls = timeline(read_run(result.run_id)).calls
    assert [each.outcome for each in calls] == ["ok", "ok"]
    # A yes for similar calls that is read first is one for the other, whose own is not waited for.
    answers = [each.approvals[-1] for each in calls]
    assert [(each.approved, each.by) for each in answers] == [(True, "ines")] * 2
    assert any(each.similar for each in answers)


def test_a_run_that_goes_on_is_answered_from_another_process(invoke: Invoke, state: Path) -> None:
    class Nobody:
        async def ask(self, request: object) -> None:
            await asyncio.Event().wait()

    async def answered() -> RunResult:
        run = asyncio.create_task(one_call().run("x", approver=Nobody(), run_id="live"))
        while not Approvals(state / "runs" / "live").pending():
            await asyncio.sleep(0.02)
        shown = await asyncio.to_thread(invoke, "approve", "live")
        assert shown.stdout.endswith("approved by ines\nthe run goes on\n")
        return await run

    assert asyncio.run(answered()).status is RunStatus.COMPLETED


def test_what_a_run_left_that_has_ended_cannot_be_answered(invoke: Invoke, state: Path) -> None:
    result = waiting(one_call())
    with (find_run(result.run_id) / "journal.jsonl").open("ab") as file:
        file.write(ended())
    assert invoke("list", "approvals").stdout == "none\n"
    shown = invoke("approve", "last")
    assert (shown.exit_code, shown.stdout) == (1, "")


def test_what_is_asked_does_not_steer_the_terminal(invoke: Invoke, state: Path) -> None:
    agent = incident_agent((call("restart", service="web\x1b[2J\u202e\r", note="a\nb"),))
    waiting(agent)
    for command in (["list", "approvals"], ["approve", "last"]):
        shown = invoke(*command).stdout
        assert all(each.isprintable() or each == "\n" for each in shown)
        assert "\\x1b[2J" in shown


@pytest.mark.parametrize(("typed", "pending"), [("y", 0), ("n", 1)])
def test_on_a_terminal_it_asks_once_more(
    environment: dict[str, str], state: Path, tmp_path: Path, typed: str, pending: int
) -> None:
    result = waiting(one_call())
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "approve", "last"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    os.close(terminal)
    shown = read_until(keyboard, b"[y/N]")
    assert b"kubectl delete pod web-1" in shown
    os.write(keyboard, typed.encode() + b"\n")
    read_until(keyboard, b"resume" if typed == "y" else b"nothing is approved")
    assert process.wait(timeout=60) == (0 if typed == "y" else 1)
    os.close(keyboard)
    assert len(Approvals(find_run(result.run_id)).pending()) == pending


@pytest.mark.parametrize(
    ("command", "answer", "written"),
    [("approve", "Written.\n", True), ("deny", "I may not write.\n", False)],
)
def test_a_run_is_gone_on_with_at_once(
    aofctl: Aofctl, state: Path, tmp_path: Path, command: str, answer: str, written: bool
) -> None:
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    agent = tmp_path / "clerk.yaml"
    agent.write_text(AGENT.format(playbook=tmp_path / "play.yaml"))
    waits = aofctl("run", agent, "-i", "why?")
    assert waits.returncode == 3
    assert f"aofctl approve {find_run('last').name}" in waits.stderr
    done = aofctl(command, "last", "--resume")
    assert done.returncode == 0, done.stderr
    told = ["  write_file (write)", "  Writes 1 line to note.txt", "  It changes something."]
    assert done.stdout.splitlines()[:3] == told
    assert "    path: note.txt\n    content: seen\n" in done.stdout
    assert done.stdout.endswith(answer)
    assert (tmp_path / "note.txt").exists() is written
    shown = aofctl("show", "last").stdout
    assert f"{'approved' if written else 'denied'} by ines via aofctl at " in shown
