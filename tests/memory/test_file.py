"""Conversations in files that people can read, and what may become of files."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aof_nb.errors import MemoryStoreError
from aof_nb.memory.file import FileMemory
from aof_nb.memory.locked_file import file_name, name_of, opened
from aof_nb.messages import Message
from tests.memory.conversations import exchange, is_valid, said


@pytest.fixture
def memory(tmp_path: Path) -> FileMemory:
    return FileMemory(tmp_path / "m")


def path_of(memory: FileMemory, session: str = "s") -> Path:
    return memory._path(session)


async def test_people_can_read_it(memory: FileMemory, tmp_path: Path) -> None:
    await memory.append("inc-42", [Message.user("wieso? ünd warum?"), Message.assistant("so.")])
    await memory.set_fact("checkout", "owner", "team shop", ttl=60)
    lines = (tmp_path / "m" / "sessions" / "inc-42.jsonl").read_text().splitlines()
    head, first, second = map(json.loads, lines)
    assert head["session"] == "inc-42"
    assert "wieso? ünd warum?" in lines[1]
    assert (first["n"], second["n"], second["message"]["role"]) == (1, 2, "assistant")
    _, fact = map(
        json.loads, (tmp_path / "m" / "facts" / "checkout.jsonl").read_text().splitlines()
    )
    assert (fact["key"], fact["value"]) == ("owner", "team shop")


async def test_only_its_owner_can(memory: FileMemory, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await memory.append("s", exchange(1))
        await memory.set_fact("n", "k", 1)
        path_of(memory).write_bytes(path_of(memory).read_bytes() + b"damage\n")
        await memory.load("s")
    finally:
        os.umask(before)
    found = [tmp_path / "m", *(tmp_path / "m").rglob("*")]
    assert len(found) == 6
    for path in found:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


async def test_a_relative_place_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    memory = FileMemory("m")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await memory.append("s", exchange(1))
    assert (tmp_path / "m").is_dir()


async def test_delete_leaves_nothing_on_the_disk(memory: FileMemory, tmp_path: Path) -> None:
    await memory.append("s", [Message.user("hunter2")])
    path_of(memory).write_bytes(path_of(memory).read_bytes() + b"damaged hunter2\n")
    await memory.load("s")
    await memory.set_fact("n", "k", "hunter2")
    await memory.set_fact("n", "j", 1)
    await memory.delete("s")
    await memory.delete_fact("n", "k")
    found = [each for each in (tmp_path / "m").rglob("*") if each.is_file()]
    assert [each.name for each in found] == ["n.jsonl"]
    assert b"hunter2" not in found[0].read_bytes()


async def test_an_expired_fact_leaves_nothing_on_the_disk(
    memory: FileMemory, tmp_path: Path
) -> None:
    await memory.set_fact("n", "k", "hunter2", ttl=0.05)
    time.sleep(0.1)
    assert await memory.facts("n") == []
    assert not [each for each in (tmp_path / "m").rglob("*") if each.is_file()]


async def test_whatever_byte_an_append_was_cut_at(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "m")
    await memory.append("s", exchange(1))
    before = path_of(memory).read_bytes()
    await memory.append("s", exchange(2))
    whole = path_of(memory).read_bytes()
    for end in range(len(before), len(whole)):
        path_of(memory).write_bytes(whole[:end])
        loaded = await memory.load("s", limit=4 if end % 2 else None)
        complete = end == len(whole) - 1
        assert said(loaded)[-1:] == ["question 2" if complete else "question 1"], end
        assert is_valid(loaded)
        assert bool(loaded.damaged) == (end > len(before) and not complete)
        again = await memory.load("s")
        assert again == ([*exchange(1), *exchange(2)] if complete else exchange(1))
        assert again.damaged == ()
        await memory.append("s", exchange(3))
        assert (await memory.load("s"))[-4:] == exchange(3)


async def test_whatever_byte_a_first_append_was_cut_at(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path / "m")
    await memory.append("s", exchange(1))
    whole = path_of(memory).read_bytes()
    for end in range(len(whole) - 1):
        path_of(memory).write_bytes(whole[:end])
        if end % 3 == 0:
            assert await memory.load("s") == []
        elif end % 3 == 1:
            assert await memory.info("s") is None
        await memory.append("s", exchange(3))
        assert await memory.load("s") == exchange(3), end
        await memory.delete("s")


async def test_what_was_cut_off_is_set_aside(memory: FileMemory) -> None:
    await memory.append("s", exchange(1))
    await memory.append("s", exchange(2))
    path_of(memory).write_bytes(path_of(memory).read_bytes()[:-30])
    loaded = await memory.load("s")
    assert loaded == exchange(1)
    assert len(loaded.damaged) == 4, "an append counts as a whole"
    assert all(str(path_of(memory)) in each for each in loaded.damaged)
    aside = path_of(memory).with_suffix(".damaged").read_text()
    assert aside.count("\n") == 4
    assert "question 2" in aside


@pytest.mark.parametrize("limit", [None, 1_000])
async def test_a_damaged_line_is_named_and_the_rest_saved(
    memory: FileMemory, limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(5):
        await memory.append("s", exchange(n))
    lines = path_of(memory).read_bytes().split(b"\n")
    lines[7] = b"\xff\x00 not JSON"
    path_of(memory).write_bytes(b"\n".join(lines))
    modified = path_of(memory).stat().st_mtime_ns
    loaded = await memory.load("s", limit=limit)
    assert said(loaded) == [f"question {n}" for n in range(5)]
    assert is_valid(loaded)
    assert "was lost" in loaded[6].tool_results[0].content
    [told] = loaded.damaged
    assert f"line 8 of {path_of(memory)} is damaged" in told
    assert "s.damaged" in told
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert path_of(memory).with_suffix(".damaged").read_bytes() == b"\xff\x00 not JSON\n"
    assert path_of(memory).stat().st_mtime_ns == modified
    again = await memory.load("s", limit=limit)
    assert again == loaded
    assert again.damaged == ()
    assert again.version == loaded.version
    await memory.append("s", exchange(5), expected=loaded.version)
    assert (await memory.load("s")) == [*loaded, *exchange(5)]


@pytest.mark.parametrize("limit", [None, 1_000])
async def test_lines_that_are_gone_are_missed(memory: FileMemory, limit: int | None) -> None:
    for n in range(3):
        await memory.append("s", exchange(n))
    lines = path_of(memory).read_bytes().split(b"\n")
    path_of(memory).write_bytes(b"\n".join([*lines[:6], *lines[8:]]))
    loaded = await memory.load("s", limit=limit)
    assert is_valid(loaded)
    assert said(loaded) == [f"question {n}" for n in range(3)]
    assert loaded.damaged == (f"messages are missing in {path_of(memory)}: 2",)
    again = await memory.load("s", limit=limit)
    assert (again, again.damaged) == (loaded, ())


async def test_a_damaged_head_is_made_anew(memory: FileMemory) -> None:
    version = await memory.append("s", exchange(1))
    lines = path_of(memory).read_bytes().split(b"\n")
    path_of(memory).write_bytes(b"\n".join([b"nonsense", *lines[1:]]))
    loaded = await memory.load("s")
    assert loaded == exchange(1)
    assert "line 1 of" in loaded.damaged[0]
    assert loaded.version != version
    assert await memory.sessions() == ["s"]
    path_of(memory).write_bytes(b"\n".join(lines[1:]))
    assert await memory.load("s") == exchange(1)


async def test_nothing_but_damage(memory: FileMemory) -> None:
    await memory.append("s", exchange(1))
    path_of(memory).write_bytes(b"\x00" * 5_000 + b"\nmore\n")
    loaded = await memory.load("s")
    assert loaded == []
    assert loaded.version == ""
    assert len(loaded.damaged) == 2
    assert await memory.sessions() == []
    await memory.append("s", exchange(2), expected="")
    assert await memory.load("s") == exchange(2)


damage = st.tuples(
    st.floats(0, 1), st.integers(0, 300), st.binary(max_size=20) | st.just(b"\n") | st.just(b"")
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(damage, min_size=1, max_size=3),
    reads=st.sampled_from(["load", "limit", "info", "export", "append"]),
)
async def test_whatever_happens_to_a_file(
    changes: list[tuple[float, int, bytes]], reads: str, tmp_path: Path
) -> None:
    memory = FileMemory(tmp_path / "m")
    await memory.delete("s")
    for n in range(4):
        await memory.append("s", exchange(n))
    content = bytearray(path_of(memory).read_bytes())
    for where, length, new in changes:
        start = round(where * len(content))
        content[start : start + length] = new
    path_of(memory).write_bytes(content)
    if reads == "load":
        assert is_valid(await memory.load("s"))
    elif reads == "limit":
        assert is_valid(await memory.load("s", limit=5))
    elif reads == "info":
        await memory.info("s")
    elif reads == "export":
        await memory.export("s")
    await memory.append("s", exchange(9))
    kept = await memory.load("s")
    assert is_valid(kept)
    assert kept[-4:] == exchange(9)
    assert (await memory.load("s")).damaged == ()


async def test_a_damaged_fact_is_set_aside(
    memory: FileMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for key in "abc":
        await memory.set_fact("n", key, key)
    path = tmp_path / "m" / "facts" / "n.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], lines[2][:-5], *lines[3:]]))
    assert [fact.key for fact in await memory.facts("n")] == ["a", "c"]
    assert f"line 3 of {path} is damaged" in caplog.text
    assert path.with_suffix(".damaged").read_bytes() == lines[2][:-5] + b"\n"
    await memory.set_fact("n", "b", 2)
    assert [fact.key for fact in await memory.facts("n")] == ["a", "b", "c"]


async def test_what_cannot_be_written_is_read_all_the_same(
    memory: FileMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.append("s", exchange(1))
    path_of(memory).write_bytes(path_of(memory).read_bytes() + b"damage\n")

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aof_nb.memory.locked_file.write_all", fails)
    for _ in range(2):
        loaded = await memory.load("s")
        assert loaded == exchange(1)
        assert "line 6" in loaded.damaged[0]
        assert "kept" not in loaded.damaged[0]
        assert (await memory.info("s")).messages == 4  # type: ignore[union-attr]
    with pytest.raises(MemoryStoreError, match="No space left") as caught:
        await memory.append("s", exchange(2))
    assert caught.value.remedy
    monkeypatch.undo()
    assert (await memory.load("s")) == exchange(1)


async def test_a_full_disk_leaves_what_was_there(
    memory: FileMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.append("s", exchange(1))
    before = path_of(memory).read_bytes()
    written = os.pwrite

    def half(file: int, data: bytes, place: int) -> int:
        if len(data) > 300:
            return written(file, data[:200], place)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(MemoryStoreError, match="No space left"):
        await memory.append("s", exchange(2))
    with pytest.raises(MemoryStoreError, match="No space left"):
        await memory.append("new", exchange(2))
    assert path_of(memory).read_bytes() == before
    assert await memory.sessions() == ["s"]


async def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    memory = FileMemory(tmp_path / "m")
    for attempt in (memory.append("s", exchange(1)), memory.set_fact("n", "k", 1)):
        with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")) as caught:
            await attempt
        assert "directory" in caught.value.remedy
    assert (tmp_path / "m").read_text() == "mine"


async def test_a_newer_format_is_left_alone(memory: FileMemory) -> None:
    await memory.append("s", exchange(1))
    content = path_of(memory).read_bytes().replace(b'"aof_memory":1', b'"aof_memory":2')
    path_of(memory).write_bytes(content)
    for attempt in (memory.load("s"), memory.append("s", exchange(2)), memory.info("s")):
        with pytest.raises(MemoryStoreError, match="newer"):
            await attempt
    assert path_of(memory).read_bytes() == content


async def test_others_files_are_left_alone(memory: FileMemory) -> None:
    await memory.append("s", exchange(1))
    folder = path_of(memory).parent
    (folder / "notes.txt").write_text("mine")
    (folder / "odd~0123456789ab.jsonl").write_text("mine")
    (folder / "empty.jsonl").touch()
    assert await memory.sessions() == ["s"]
    assert (folder / "notes.txt").exists()
    assert (folder / "odd~0123456789ab.jsonl").read_text() == "mine"


@given(st.lists(st.text(max_size=300), unique=True, max_size=30))
def test_file_names(names: list[str]) -> None:
    names = [name for name in names if name < "\ud800" or name.isprintable()]
    names = [name for name in names if not any(0xD800 <= ord(each) < 0xE000 for each in name)]
    files = [file_name(name) for name in names]
    assert len({each.lower() for each in files}) == len(names), "also where case does not count"
    for name, file in zip(names, files, strict=True):
        assert "/" not in file
        assert file.isascii()
        assert not file.startswith(".")
        assert 0 < len(file) <= 200
        assert name_of(file) in {name, None}


HOLDER = """
import sys, time
from pathlib import Path
from aof_nb.memory.locked_file import opened
with opened(Path(sys.argv[1]), write=True):
    print("locked", flush=True)
    time.sleep(600)
"""


async def test_a_lock_that_nobody_gives_back(
    memory: FileMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.append("s", exchange(1))
    monkeypatch.setattr("aof_nb.memory.locked_file.PATIENCE", 0.3)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path_of(memory))], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(MemoryStoreError, match="locked") as caught:
                await memory.append("s", exchange(2))
            assert str(path_of(memory)) in caught.value.remedy
        finally:
            holder.kill()
    assert await memory.load("s") == exchange(1)
    await memory.append("s", exchange(2))


def test_a_file_that_was_replaced_while_its_lock_was_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    context = multiprocessing.get_context("spawn")
    with opened(path, write=True):
        other = context.Process(target=_appends, args=(path,))
        other.start()
        time.sleep(0.5)
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").replace(path)
    other.join(60)
    assert other.exitcode == 0
    assert path.read_text() == "newer"


def _appends(path: Path) -> None:
    with opened(path, write=True) as file:
        assert file is not None
        os.pwrite(file, b"er", os.fstat(file).st_size)
