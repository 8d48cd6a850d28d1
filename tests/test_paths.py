"""Where things are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from aof_nb.paths import make_private, state_dir


def test_the_named_directory_is_made_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "a" / "b"))
    assert state_dir() == state_dir() == tmp_path / "a" / "b"
    assert state_dir().stat().st_mode & 0o777 == 0o700


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AOF_STATE_DIR", "~/state")
    assert state_dir() == tmp_path / "state"


@pytest.mark.parametrize("named", [None, ""])
def test_else_it_is_the_platforms_place(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    if named is None:
        monkeypatch.delenv("AOF_STATE_DIR", raising=False)
    else:
        monkeypatch.setenv("AOF_STATE_DIR", named)
    found = state_dir()
    assert found.is_dir()
    assert found.name == "aof"
    assert tmp_path in found.parents


def test_what_is_missing_above_a_private_directory_is_private_too(tmp_path: Path) -> None:
    make_private(tmp_path / "runs" / "r1" / "artifacts")
    for each in (tmp_path / "runs").rglob("*"):
        assert each.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        make_private(tmp_path / "file" / "below")
