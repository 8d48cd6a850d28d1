"""The command line as a whole: help, version, usage errors, and what starting it imports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aof_nb import __version__
from tests.cli.conftest import Aofctl, Invoke

HEAVY = (
    "anthropic",
    "boto3",
    "botocore",
    "openai",
    "mcp",
    "papermill",
    "nbconvert",
    "IPython",
    "httpx2",
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["version"], ["list", "models"], ["list", "runs"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from aof_nb.cli import main\n"
        f"sys.argv = ['aofctl', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"AOF_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"


def test_the_help_names_every_command(invoke: Invoke) -> None:
    done = invoke("--help")
    assert done.exit_code == 0
    commands = "run validate list show logs diff approve deny runs mcp lab version"
    for command in commands.split():
        assert f" {command} " in done.stdout
    assert "--approve" in invoke("run", "--help").stdout
    assert "break" in invoke("lab", "--help").stdout


def test_version_says_what_it_stands_on(aofctl: Aofctl, invoke: Invoke) -> None:
    assert f"aof_nb      {__version__}\n" in aofctl("version").stdout
    versions = json.loads(invoke("version", "--output", "json").stdout)
    assert versions["aof_nb"] == __version__
    assert versions["python"].startswith("3.")
    assert {"anthropic", "openai", "mcp", "papermill"} <= versions.keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run"],
        ["run", "gone.yaml"],
        ["run", "gone.ipynb"],
        ["version", "--output", "xml"],
        ["validate", "gone"],
    ],
)
def test_wrong_usage_is_two(invoke: Invoke, arguments: list[str]) -> None:
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "aofctl: no such command 'rum'. Did you mean 'run', 'resume'?\n  aofctl --help"),
        (["run", "--aprove", "never"], "--approve)\n  aofctl run --help"),
        (
            ["run", "x.yaml", "--approve", "perhaps"],
            "invalid value for '--approve': 'perhaps' is not one of 'ask', 'never', 'all'\n",
        ),
        (["lab", "break"], "aofctl: missing argument 'fault'\n  aofctl lab break --help"),
    ],
)
def test_wrong_usage_is_one_line_and_where_to_look(
    aofctl: Aofctl, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "x.yaml").write_text("name: x\nmodel: openai:gpt-5\n")
    done = aofctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 2


def test_a_missing_command_shows_the_help(aofctl: Aofctl) -> None:
    done = aofctl("lab")
    assert (done.returncode, done.stderr) == (2, "")
    assert " status " in done.stdout


def test_models_and_tools_are_listed(invoke: Invoke, environment: dict[str, str]) -> None:
    environment["OPENAI_API_KEY"] = "k"
    environment["OLLAMA_HOST"] = "gpu-1:11434"
    models = json.loads(invoke("list", "models", "--output", "json").stdout)
    needs = {each["model"].partition(":")[0]: each["needs"] for each in models}
    assert needs["anthropic"] == "ANTHROPIC_API_KEY is not set"
    assert needs["openai"] == "OPENAI_API_KEY is set"
    assert needs["script"] == "no key"
    assert needs["ollama"] == "no key; its server at gpu-1:11434 (OLLAMA_HOST)"
    assert needs["vllm"] == "no key; its server at http://127.0.0.1:8000/v1 (VLLM_BASE_URL)"
    assert needs["azure"].endswith("; AZURE_OPENAI_ENDPOINT is not set")
    assert needs["bedrock"].endswith("is not set, or AWS credentials as boto3 finds them")
    assert {each["now"] for each in models} == {""}
    tools = {
        each["name"]: each
        for each in json.loads(invoke("list", "tools", "--output", "json").stdout)
    }
    assert tools["read_file"]["effect"] == "read"
    assert "shell" in invoke("list", "tools").stdout


def test_a_model_that_is_left_alone_is_listed_so(
    invoke: Invoke, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["AOF_STATE_DIR"] = str(tmp_path)
    told = {"model": "anthropic:m", "reason": "overloaded", "until": time.time() + 30}
    (tmp_path / "breakers").mkdir()
    (tmp_path / "breakers" / f"{os.getpid()}.json").write_text(
        json.dumps([told | {"pid": os.getpid()}])
    )
    models = json.loads(invoke("list", "models", "--output", "json").stdout)
    now = {each["model"].partition(":")[0]: each["now"] for each in models}
    assert re.fullmatch(r"anthropic:m: overloaded, left alone for (29|30) s", now["anthropic"])
    assert now["openai"] == ""


def test_the_lab_s_errors_are_one_line_too(aofctl: Aofctl, tmp_path: Path) -> None:
    done = aofctl("lab", "status", "--directory", tmp_path / "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("aofctl: ")
    assert "Traceback" not in done.stderr
