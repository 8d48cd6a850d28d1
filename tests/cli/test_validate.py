"""``aofctl validate`` and ``aofctl list`` over a directory as people keep one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.notebooks import write_notebook

GOOD = """\
apiVersion: aof.dev/v1
kind: Agent
metadata: {name: good}
spec:
  model: anthropic:claude-sonnet-5
  description: Looks after things.
  tools: [shell]
  mcp_servers:
    - {name: clock, command: mcp-server-time, args: [--local-timezone, UTC]}
"""
BAD = GOOD.replace("[shell]", "[shel]").replace("good", "bad")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "agents" / ".hidden").mkdir(parents=True)
    (tmp_path / "agents" / "runs").mkdir()
    (tmp_path / "agents" / "good.yaml").write_text(GOOD)
    (tmp_path / "agents" / "values.yaml").write_text("replicas: 3\nimage: nginx\n")
    (tmp_path / "agents" / ".hidden" / "bad.yaml").write_text(BAD)
    (tmp_path / "agents" / "runs" / "bad.yaml").write_text(BAD)
    write_notebook(
        tmp_path / "agents" / "triage.ipynb",
        "md:# Triage",
        "%load_ext aof_nb",
        parameters="service = 'web'",
    )
    return tmp_path / "agents"


def test_what_is_right_is_zero(invoke: Invoke, directory: Path) -> None:
    done = invoke("validate", directory)
    assert (done.exit_code, done.stdout) == (0, "2 files: no problems\n"), done.stderr


def test_each_problem_is_a_line_and_one(invoke: Invoke, directory: Path) -> None:
    (directory / "bad.yml").write_text(BAD)
    done = invoke("validate", directory, directory / "good.yaml")
    assert done.exit_code == 1
    [line] = done.stdout.splitlines()
    assert line.startswith(f"{directory / 'bad.yml'}:7")
    assert "shel" in line
    assert "1 problem in 4 files" in done.stderr
    [problem] = json.loads(invoke("validate", directory, "--output", "json").stdout)
    assert (problem["file"], problem["line"]) == (str(directory / "bad.yml"), 7)
    assert "shell" in problem["remedy"]


def test_a_runbook_s_metadata_and_parameters_are_checked(invoke: Invoke, directory: Path) -> None:
    path = write_notebook(
        directory / "wrong.ipynb",
        "1",
        parameters="x = = 1",
        aof={"severty": 1},
        tags={0: ["once", "safe_to_repeat"]},
    )
    done = invoke("validate", directory)
    assert done.exit_code == 1
    assert done.stdout == (
        f"{path}: metadata.aof.severty: unknown field 'severty' (did you mean 'severity'?)\n"
        f"{path}#cell-2: metadata: the cell is marked once, and as safe_to_repeat "
        "(keep one of them)\n"
        f"{path}: the parameters cell is not Python: line 1: invalid syntax "
        "(the cell tagged 'parameters' should hold assignments only)\n"
    )


def test_a_directory_with_nothing_of_ours_is_two(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert invoke("validate", tmp_path / "empty").exit_code == 2


def test_agents_servers_and_notebooks_are_listed(invoke: Invoke, directory: Path) -> None:
    [agent] = json.loads(invoke("list", "agents", directory, "--output", "json").stdout)
    assert agent == {
        "name": "good",
        "model": "anthropic:claude-sonnet-5",
        "description": "Looks after things.",
        "file": str(directory / "good.yaml"),
    }
    [server] = json.loads(invoke("list", "mcp", directory, "--output", "json").stdout)
    assert (server["name"], server["server"]) == (
        "clock",
        "mcp-server-time --local-timezone UTC",
    )
    [runbook] = json.loads(invoke("list", "runbooks", directory, "--output", "json").stdout)
    assert (runbook["title"], runbook["parameters"]) == ("Triage", "service='web'")
    assert "good" in invoke("list", "agents", directory).stdout


def test_one_broken_file_does_not_hide_the_others(invoke: Invoke, directory: Path) -> None:
    (directory / "a-bad.yaml").write_text("kind: Agent\nspec: [\n")
    done = invoke("list", "agents", directory, "--output", "json")
    assert [each["name"] for each in json.loads(done.stdout)] == ["good"]
    assert "a-bad.yaml" in done.stderr
