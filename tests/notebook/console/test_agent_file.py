"""An agent's file, read and written again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.console.agent_file import (
    ChangedOnDisk,
    Draft,
    has_changed,
    normal_path,
    open_draft,
    save_draft,
)
from aof_nb.notebook.console.agent_list import AgentFiles

AGENT = "kind: Agent\napiVersion: aof.dev/v1\nmetadata: {name: é}\nspec: {model: openai:gpt-5}\n"


@pytest.mark.parametrize(
    "content", [AGENT.encode(), AGENT.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + b"a: 1\r\n"]
)
def test_bytes_that_are_not_changed_stay(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    draft = open_draft(tmp_path, "a.yaml", 0)
    assert "\r" not in draft.text
    assert not draft.text.startswith("\ufeff")
    assert not draft.changed
    save_draft(tmp_path, draft, "a.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == content
    draft.text += "b: 2\n"
    save_draft(tmp_path, draft, "a.yaml")
    end = b"b: 2\r\n" if b"\r" in content else b"b: 2\n"
    assert (tmp_path / "a.yaml").read_bytes() == content + end


def test_a_link_inside_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(AGENT)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    draft = open_draft(tmp_path, "link.yaml", 0)
    draft.text += "# mine\n"
    save_draft(tmp_path, draft, "link.yaml")
    assert (tmp_path / "link.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_text() == f"{AGENT}# mine\n"


def test_a_file_that_is_gone_or_there_already_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(AGENT)
    draft = open_draft(tmp_path, "a.yaml", 0)
    (tmp_path / "a.yaml").unlink()
    assert has_changed(tmp_path, draft)
    with pytest.raises(ChangedOnDisk, match=r"a\.yaml is no longer on the disk"):
        save_draft(tmp_path, draft, "a.yaml")
    (tmp_path / "b.yaml").write_text("b: 1\n")
    with pytest.raises(ChangedOnDisk, match=r"b\.yaml is there already"):
        save_draft(tmp_path, draft, "b.yaml")
    assert [each.name for each in tmp_path.iterdir()] == ["b.yaml"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"# " + b"x" * 600_000], ids=["bytes", "large"])
def test_what_is_no_agents_file_is_listed_with_the_reason(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(b"kind: Agent\n" + content)
    [found] = AgentFiles(tmp_path).read()
    assert found.kind == ""
    [problem] = found.problems
    assert "a.yaml" in problem.message
    assert problem.remedy
    with pytest.raises(ConfigurationError):
        open_draft(tmp_path, "a.yaml", 0)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ConfigurationError, match="is no file"):
        save_draft(tmp_path, Draft("a.yaml", 0, AGENT), "a.yaml")


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    files, path = AgentFiles(tmp_path), tmp_path / "a.yaml"
    path.write_text(AGENT)
    assert [each.name for each in files.read()] == ["é"]
    path.write_text(AGENT.replace("é", "other"))
    assert [each.name for each in files.read()] == ["other"]
    path.unlink()
    assert files.read() == []


@pytest.mark.parametrize("typed", ["a/b.yaml", " ./a//b.yaml ", "a/c/../b.yaml", "{}/a/b.yaml"])
def test_one_file_has_one_name(tmp_path: Path, typed: str) -> None:
    assert normal_path(tmp_path, typed.format(tmp_path)) == "a/b.yaml"
