"""What is shown of a file's change before it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from aof_nb import Agent
from aof_nb.messages import ToolCall
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.tools.file_changes import change_of
from aof_nb.tools.files import file_tools
from tests.notebook.fakes import Says


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text("a: 1\nb: 2\nc: 3\n")
    return path


def test_what_is_added_and_removed(file: Path) -> None:
    assert change_of(file, "app.yaml", "a: 1\nb: 9\nc: 3").splitlines() == [
        "--- app.yaml",
        "+++ app.yaml",
        "@@ -1,3 +1,3 @@",
        " a: 1",
        "-b: 2",
        "-c: 3",
        "+b: 9",
        "+c: 3",
        "\\ No newline at end of file",
    ]


def test_a_new_file_is_all_added(tmp_path: Path) -> None:
    shown = change_of(tmp_path / "new", "new", "one\ntwo\n")
    assert shown.splitlines()[:2] == ["--- /dev/null", "+++ new"]
    assert shown.splitlines()[3:] == ["+one", "+two"]


def test_what_makes_no_difference_says_so(file: Path) -> None:
    assert change_of(file, "app.yaml", file.read_text()) == "app.yaml has this content already."


@pytest.mark.parametrize("data", [b"a\0b", b"x" * 500_000])
def test_what_cannot_be_compared_is_said_in_a_line(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert change_of(file, "app.yaml", "new").startswith("app.yaml is ")


def test_a_long_change_is_cut_at_its_end_and_says_so(file: Path) -> None:
    content = "".join(f"line {n}\n" for n in range(2_900))
    shown = change_of(file, "app.yaml", content)
    assert len(shown) < 13_000
    assert shown.splitlines()[-1].endswith("more lines of changes ...]")
    assert "too many" in change_of(file, "app.yaml", "x\n" * 4_000)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert change_of(tmp_path / "pipe", "pipe", "x") == ""


class Denies:
    def __init__(self) -> None:
        self.asked: list[ApprovalRequest] = []

    async def ask(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        return Answer(approved=False, digest=request.digest)


async def asked(root: Path, path: str, content: str, **settings: Any) -> ApprovalRequest:
    """What a person is asked when an agent, with all of its layers, writes a file."""
    call = ToolCall("1", "write_file", {"path": path, "content": content})
    agent = Agent(model=Says([call], ["Done."]), tools=file_tools(root), **settings)
    denies = Denies()
    await agent.run("Write.", approver=denies)
    return denies.asked[0]


@pytest.mark.parametrize("journal", [True, False])
async def test_who_is_asked_is_shown_the_change(
    file: Path, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(file.parent / "state"))
    request = await asked(file.parent, "app.yaml", "a: 1\nb: 2\nc: 4\n", journal=journal)
    assert "-c: 3\n+c: 4" in request.preview
    assert request.digest == ApprovalRequest(**(_fields(request) | {"preview": ""})).digest


async def test_a_file_outside_is_not_shown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(file.parent / "state"))
    root = file.parent / "root"
    root.mkdir()
    request = await asked(root, "../app.yaml", "x")
    assert request.preview == ""


async def test_the_change_holds_no_secret(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(file.parent / "state"))
    file.write_text("password: hunter2-and-more-of-it\n")
    request = await asked(file.parent, "app.yaml", "password: none\n")
    assert "hunter2" not in request.preview
    assert "-password: " in request.preview


def _fields(request: ApprovalRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__struct_fields__}
