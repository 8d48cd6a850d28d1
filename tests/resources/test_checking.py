"""`check` finds everything that is wrong, in files, directories and notebooks."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from aof_nb import Agent, load
from aof_nb.errors import ResourceError
from aof_nb.resources import Problem, check, check_text
from aof_nb.resources.found import resource_files_in


def test_every_problem_of_a_file_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "modl: x\ntemperature: hot\ntools: [shel]\nmcp_servers:\n  - {name: a, comand: x}\n"
        "limits: {max_turns: true}\n"
    )
    problems = check(file)
    assert [(each.line, each.field) for each in problems] == [
        (1, "model"),
        (1, "modl"),
        (2, "temperature"),
        (3, "tools[0]"),
        (5, "mcp_servers[0].comand"),
        (6, "limits.max_turns"),
    ]
    assert str(problems[1]) == f"{file}:1: modl: unknown field 'modl' (did you mean 'model'?)"


def test_warnings_do_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "model: cohere:command\ntools: [jira, argocd_app_list]\nfallback: [m:n]\n"
    )
    problems = check(tmp_path)
    assert {each.severity for each in problems} == {"warning"}
    assert [(each.line, each.field) for each in problems] == [
        (1, "model"),
        (2, "tools[0]"),
        (2, "tools[1]"),
        (3, "fallback[0]"),
    ]
    assert "use argocd" in problems[2].remedy
    assert isinstance(load(tmp_path / "a.yaml"), Agent)


def test_what_has_no_effect_and_what_is_not_set_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET_OF_TEST", raising=False)
    file = tmp_path / "a.yaml"
    file.write_text(
        "model: openai:gpt-5\nmodel_config:\n  frequency_penalty: 1\nmcp_servers:\n"
        "  - name: x\n    command: x\n    auto_reconnect: true\n    env:\n"
        "      TOKEN: ${UNSET_OF_TEST}\n"
    )
    assert [(each.line, each.field, each.severity) for each in check(file)] == [
        (3, "model_config.frequency_penalty", "warning"),
        (7, "mcp_servers[0].auto_reconnect", "warning"),
        (9, "mcp_servers[0].env.TOKEN", "warning"),
    ]
    with pytest.raises(ResourceError, match=r"a.yaml:9: .*UNSET_OF_TEST is not set"):
        load(file)
    monkeypatch.setenv("UNSET_OF_TEST", "")
    assert isinstance(load(file), Agent)


def test_a_directorys_other_files_are_passed_over(tmp_path: Path) -> None:
    for name in (".git", "node_modules", "ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yml").write_text("kind: Agent\n")
    (tmp_path / "ours" / "compose.yaml").write_text("services: {web: {image: x}}\n")
    assert {each.file for each in check(tmp_path)} == {str(tmp_path / "ours" / "a.yml")}


def test_a_playbook_is_checked(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("kind: Playbook\nsteps:\n  - {anwser: x}\n")
    [problem] = check(tmp_path / "p.yaml")
    assert (problem.line, problem.severity) == (3, "error")


def notebook(path: Path, *sources: str) -> Path:
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def test_a_notebooks_cells_are_checked(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "%load_ext aof_nb",
        "%%aof_mcp lab\ncommand: python\n",
        "%%aof_agent sre\nmodel: {model}\npolicy:\n  rules:\n    - action: {repairs}\n"
        "mcp_servers: [lab]\n",
        "%%aof_agent other\nmodel: m:m\nmcp_servers: [leb]\ntool: x\n",
        "%%aof sree\nwhy?",
    )
    problems = check(path)
    assert [str(each).removeprefix(str(path)) for each in problems] == [
        "#cell-4:3: mcp_servers[0]: there is no MCP server 'leb' (did you mean 'lab'?)",
        "#cell-4:4: tool: unknown field 'tool' (did you mean 'tools'?)",
        "#cell-5:1: no cell before it defines agent 'sree' (did you mean 'sre'?)",
    ]


def test_functions_of_the_notebook_are_tools(tmp_path: Path) -> None:
    path = notebook(
        tmp_path / "n.ipynb",
        "from mine import tail, grep as search\n@tool\ndef disks():\n    ...\nread = make()",
        "%%aof_agent a\nmodel: openai:gpt-5\ntools: [tail, search, disks, read]\n",
        "%%aof_agent b\nmodel: openai:gpt-5\ntools: [disc]\n",
    )
    [problem] = check(path)
    assert str(problem).startswith(f"{path}#cell-3:3: tools[0]: there is no built-in tool 'disc'")


def test_what_is_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").write_text("{}")
    [problem] = check(tmp_path / "n.ipynb")
    assert problem.message == "not a notebook"
    assert check(tmp_path / "missing.yaml")[0].message.startswith("cannot be read")


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem("a.yaml", 3, "x", "is wrong", "do right")) == (
        "a.yaml:3: x: is wrong (do right)"
    )


def test_text_that_is_in_no_file_yet(tmp_path: Path) -> None:
    text = "model: openai:gpt-5\ntools: [shel]\n"
    [problem] = check_text(text, file="new.yaml", folder=tmp_path)
    assert str(problem).startswith("new.yaml:2: tools[0]: there is no built-in tool 'shel'")


def test_only_so_many_files_are_looked_at(tmp_path: Path) -> None:
    for name in ("a.txt", "b.yaml", "c.yaml", "d.yaml"):
        (tmp_path / name).write_text("model: openai:gpt-5\n")
    os.mkfifo(tmp_path / "aa.yaml")
    found, complete = resource_files_in(tmp_path, most=4)
    assert ([each.name for each in found], complete) == (["b.yaml", "c.yaml"], False)
    assert resource_files_in(tmp_path, most=5)[1]
