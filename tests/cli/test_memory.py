"""``aofctl memory``: looking at conversations and facts, taking them along, deleting them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aof_nb.memory import open_memory
from tests.cli.conftest import Invoke
from tests.memory.conversations import exchange


@pytest.fixture
def url(tmp_path: Path) -> str:
    memory = open_memory(f"file:{tmp_path / 'talks'}")
    asyncio.run(memory.append("inc-42", exchange(1)))
    asyncio.run(memory.append("inc-7", [*exchange(2), *exchange(3)]))
    asyncio.run(memory.set_fact("shop", "owner", {"team": "ä"}))
    return f"file:{tmp_path / 'talks'}"


def test_list(invoke: Invoke, url: str) -> None:
    done = invoke("memory", "list", "--memory", url)
    assert done.exit_code == 0
    head, first, second = done.output.splitlines()
    assert head.split() == ["session", "messages", "bytes", "last", "message"]
    assert first.split()[:2] == ["inc-42", "4"]
    assert second.split()[:2] == ["inc-7", "8"]
    found = json.loads(invoke("memory", "list", "--memory", url, "--output", "json").output)
    assert [(each["session"], each["messages"]) for each in found] == [("inc-42", 4), ("inc-7", 8)]


def test_the_default_is_the_disk(invoke: Invoke) -> None:
    assert invoke("memory", "list").output == "none\n"


def test_show(invoke: Invoke, url: str) -> None:
    done = invoke("memory", "show", "inc-7", "--memory", url, "--limit", "4")
    assert done.output.splitlines() == [
        "user: question 3",
        'assistant calls look: {"n":3}',
        "look answers: ok",
        "assistant: answer 3",
    ]


def test_show_says_what_is_damaged(invoke: Invoke, url: str, tmp_path: Path) -> None:
    file = tmp_path / "talks" / "sessions" / "inc-42.jsonl"
    file.write_text(file.read_text() + "spoilt\n")
    done = invoke("memory", "show", "inc-42", "--memory", url)
    assert done.exit_code == 0
    assert f"line 6 of {file} is damaged" in done.stderr
    assert "answer 1" in done.stdout


def test_a_session_can_be_taken_along(invoke: Invoke, url: str, tmp_path: Path) -> None:
    file = tmp_path / "inc-42.jsonl"
    assert invoke("memory", "export", "inc-42", "--memory", url, "-o", file).exit_code == 0
    assert file.stat().st_mode & 0o077 == 0
    assert invoke("memory", "export", "inc-42", "--memory", url).output == file.read_text()
    assert invoke("memory", "import", file, "copy").exit_code == 0
    assert "question 1" in invoke("memory", "show", "copy").output
    file.write_text("nonsense\n")
    done = invoke("memory", "import", file, "copy")
    assert done.exit_code == 1
    assert "line 1" in done.output


def test_delete(invoke: Invoke, url: str) -> None:
    assert invoke("memory", "delete", "inc-42", "inc-7", "--memory", url).exit_code == 0
    assert invoke("memory", "list", "--memory", url).output == "none\n"
    done = invoke("memory", "delete", "inc-42", "--memory", url)
    assert done.exit_code == 1
    assert "no session 'inc-42'" in done.output


def test_facts(invoke: Invoke, url: str) -> None:
    assert '{"team": "ä"}' in invoke("memory", "facts", "--memory", url).output
    found = invoke("memory", "facts", "shop", "--memory", url, "--output", "json").output
    assert json.loads(found) == [
        {"namespace": "shop", "key": "owner", "value": {"team": "ä"}, "expires": ""}
    ]
    assert invoke("memory", "facts", "other", "--memory", url).output == "none\n"


@pytest.mark.parametrize("command", ["show", "export"])
def test_a_session_that_is_not_there(invoke: Invoke, url: str, command: str) -> None:
    done = invoke("memory", command, "inc-43", "--memory", url)
    assert done.exit_code == 1
    assert "no session 'inc-43'" in done.output


def test_a_memory_that_is_none(invoke: Invoke) -> None:
    done = invoke("memory", "list", "--memory", "sqlite:x")
    assert done.exit_code == 2
    assert "no memory 'sqlite:x'" in done.output
    assert "redis://" in done.output


def test_a_memory_that_cannot_be_read(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("no directory")
    done = invoke("memory", "list", "--memory", f"disk:{tmp_path / 'm'}")
    assert done.exit_code == 1
    assert str(tmp_path / "m") in done.output
