"""``aofctl run`` with ``--record``, ``--replay`` and ``--otherwise``; ``replay:`` as a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Aofctl, Invoke
from tests.cli.test_resume import AGENT, NOTE
from tests.notebooks import printed, write_notebook


@pytest.fixture
def clerk(tmp_path: Path) -> Path:
    (tmp_path / "play.yaml").write_text(NOTE)
    agent = tmp_path / "clerk.yaml"
    agent.write_text(AGENT)
    return agent


def test_an_agent_is_recorded_and_repeated(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = aofctl("run", clerk, "-i", "why?", "--approve", "all", "--record", "beside")
        assert done.returncode == 0, done.stderr
    cassette = tmp_path / "clerk.journal.jsonl"
    assert cassette.read_text().count('"run_begun"') == 1
    assert str(tmp_path) not in cassette.read_text().partition("\n")[0]
    (tmp_path / "play.yaml").unlink()
    (tmp_path / "note.txt").unlink()
    again = aofctl("run", clerk, "-i", "why?", "--replay", "beside")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert not (tmp_path / "note.txt").exists()

    other = aofctl("run", clerk, "-i", "how?", "--replay", cassette)
    assert other.returncode == 1
    assert "-why?\n+how?" in other.stderr

    brief = tmp_path / "brief.yaml"
    brief.write_text("steps: [{answer: 'In short: {{ prompt }}'}]\n")
    asked = aofctl(
        "run", clerk, "-i", "how?", "--replay", cassette, "--otherwise", f"script:{brief}"
    )
    assert (asked.returncode, asked.stdout) == (0, "In short: how?\n")


def test_a_recorded_model_with_live_tools(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    assert aofctl("run", clerk, "-i", "why?", "--approve", "all").returncode == 0
    (tmp_path / "play.yaml").unlink()
    (tmp_path / "note.txt").unlink()
    done = aofctl(
        *("run", clerk, "-i", "why?", "--model", "replay:last", "--approve", "all"),
        *("--output", "json"),
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["text"], result["cost"]) == (0, "Written.", 0)
    assert (tmp_path / "note.txt").read_text() == "seen"
    assert "replay:triage.journal.jsonl" in aofctl("list", "models").stdout


def test_a_notebook_is_recorded_and_repeated(aofctl: Aofctl, clerk: Path, tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path / "n.ipynb",
        "%load_ext aof_nb",
        "%%aof_agent clerk\nmodel: script:play.yaml\ntools: [files]",
        "%%aof clerk --out result\nnote it",
        "print(result.text, result.run_id)",
    )
    done = aofctl(
        *("run", notebook, "-o", "out.ipynb", "--approve", "all", "--record", "beside"),
    )
    assert done.returncode == 0, done.stderr
    cassette = tmp_path / "n.journal.jsonl"
    assert f"cassette: {cassette}" in done.stdout
    (tmp_path / "play.yaml").unlink()
    (tmp_path / "note.txt").unlink()
    again = aofctl("run", notebook, "-o", "again.ipynb", "--replay", "beside")
    assert again.returncode == 0, again.stderr
    assert printed(tmp_path / "again.ipynb") == printed(tmp_path / "out.ipynb")
    assert not (tmp_path / "note.txt").exists()


def test_only_a_cassette_is_recorded_over(invoke: Invoke, clerk: Path, tmp_path: Path) -> None:
    written = clerk.read_text()
    done = invoke("run", clerk, "-i", "x", "--record", clerk)
    assert (done.exit_code, clerk.read_text()) == (1, written)
    assert "is no journal" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--otherwise", "openai:gpt-5"], "--otherwise is for what --replay"),
        (["--replay", "beside", "--record", "beside"], "exclude each other"),
        (["--replay", "beside"], "there is no recording"),
        (["--replay", "nothing"], "there is no run 'nothing'"),
    ],
)
def test_what_cannot_be_asked_of_it_is_two(
    invoke: Invoke, clerk: Path, arguments: list[str], said: str
) -> None:
    done = invoke("run", clerk, "-i", "x", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
