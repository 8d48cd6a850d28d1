"""Whole outputs, each in a file of its own that only its owner reads."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.journal.artifacts import Artifacts

IDS = st.text(max_size=200) | st.text("aA._-/\\\0", max_size=8)


@given(IDS)
def test_any_id_gives_a_safe_file_name(call_id: str) -> None:
    name = Artifacts.name(call_id)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,124}\.txt", name)
    assert name == Artifacts.name(call_id)


@given(st.lists(IDS, unique=True, max_size=6))
def test_different_ids_give_different_names(call_ids: list[str]) -> None:
    assert len({Artifacts.name(each) for each in call_ids}) == len(call_ids)


def test_an_ordinary_id_is_the_name() -> None:
    assert Artifacts.name("toolu_01AbC") == "toolu_01AbC.txt"


async def test_an_output_is_kept_as_it_was(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "runs" / "r" / "artifacts")
    assert list(tmp_path.iterdir()) == []
    text = "é\r\n\0 \ud800 🙂" * 1000
    path = await artifacts.save("../../c1", text)
    assert path.parent == tmp_path / "runs" / "r" / "artifacts"
    assert path.read_bytes().decode(errors="surrogatepass") == text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert await artifacts.save("../../c1", "anew") == path
    assert path.read_text() == "anew"
    assert list(path.parent.iterdir()) == [path]


async def test_outputs_that_come_together(tmp_path: Path) -> None:
    artifacts = Artifacts(lambda: tmp_path / "found")
    paths = await asyncio.gather(*(artifacts.save(f"c{n}", f"{n}") for n in range(20)))
    assert [each.read_text() for each in paths] == [str(n) for n in range(20)]


async def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        await Artifacts(tmp_path / "file" / "artifacts").save("c1", "x")
