"""Conversations in a diskcache: nothing is unpickled, and what is damaged is named."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aof_nb.errors import MemoryStoreError
from aof_nb.memory.disk import DiskMemory
from aof_nb.memory.disk_session import PART_BYTES
from tests.memory.conversations import exchange, is_valid, said


@pytest.fixture
def memory(tmp_path: Path) -> DiskMemory:
    return DiskMemory(tmp_path / "m")


def changed(tmp_path: Path, *statements: str, values: tuple[object, ...] = ()) -> int:
    """Changes the database as nobody should; how many rows that touched."""
    with closing(sqlite3.connect(tmp_path / "m" / "cache.db")) as database:
        count = sum(database.execute(each, values).rowcount for each in statements)
        database.commit()
    return count


def keys(tmp_path: Path) -> list[list[Any]]:
    with closing(sqlite3.connect(tmp_path / "m" / "cache.db")) as database:
        found = database.execute("SELECT key FROM Cache ORDER BY rowid").fetchall()
    return [json.loads(zlib.decompress(key)) for (key,) in found]


def where(*key: object) -> str:
    return f"key = x'{zlib.compress(json.dumps(list(key)).encode(), 1).hex()}'"


def part(number: int, tmp_path: Path) -> str:
    [incarnation] = {key[2] for key in keys(tmp_path) if key[:2] == ["part", "s"]}
    return where("part", "s", incarnation, number)


async def test_it_survives_its_process(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from aof_nb.memory import open_memory\n"
        "from aof_nb.messages import Message\n"
        "asyncio.run(open_memory('disk:' + sys.argv[1]).append('s', [Message.user('hi')]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "m")], check=True)
    assert not (tmp_path / "m" / "cache.db-wal").exists(), "it closed the database when it ended"
    assert said(await DiskMemory(tmp_path / "m").load("s")) == ["hi"]


async def test_only_its_owner_can_read_it(memory: DiskMemory, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await memory.append("s", exchange(1))
        await memory.set_fact("n", "k", 1)
    finally:
        os.umask(before)
    for path in [tmp_path / "m", *(tmp_path / "m").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


async def test_an_append_touches_as_little_in_a_long_session(
    memory: DiskMemory, tmp_path: Path
) -> None:
    async def written_by_one() -> int:
        await memory._cache.run(lambda _: memory._cache.erase_deleted())
        await memory.append("s", exchange(0))
        return (tmp_path / "m" / "cache.db-wal").stat().st_size

    few = max([await written_by_one() for _ in range(5)])
    await memory.append("s", [each for n in range(20_000) for each in exchange(n)])
    many = max([await written_by_one() for _ in range(5)])
    assert many <= few + 3 * PART_BYTES


async def test_it_is_not_kept_open(memory: DiskMemory, tmp_path: Path) -> None:
    await memory.append("s", exchange(1))
    until = time.monotonic() + 30
    while (tmp_path / "m" / "cache.db-wal").exists() and time.monotonic() < until:
        await asyncio.sleep(0.05)
    assert not (tmp_path / "m" / "cache.db-wal").exists()
    assert await memory.load("s") == exchange(1)


async def test_a_directory_that_was_moved_away_is_made_anew(
    memory: DiskMemory, tmp_path: Path
) -> None:
    await memory.append("s", exchange(1))
    (tmp_path / "m").rename(tmp_path / "old")
    assert await memory.load("s") == []
    await memory.append("s", exchange(2))
    assert await DiskMemory(tmp_path / "m").load("s") == exchange(2)
    assert await DiskMemory(tmp_path / "old").load("s") == exchange(1)


async def test_delete_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    """The rows are compressed: what is looked for is what cannot be."""
    memory, other = DiskMemory(tmp_path / "m"), DiskMemory(tmp_path / "m")
    noise = random.Random(7).randbytes(3_000).hex()
    await memory.append("s", exchange(1, output=noise))
    await memory.set_fact("n", "k", noise)
    await other.load("s")

    def left() -> list[str]:
        stored = [each.read_bytes() for each in (tmp_path / "m").rglob("*") if each.is_file()]
        pieces = [noise[place : place + 40].encode() for place in range(0, len(noise), 40)]
        found = [zlib.compress(noise.encode(), 1)[200:240], *pieces]
        return [each.hex() for each in found if any(each in data for data in stored)]

    with closing(sqlite3.connect(tmp_path / "m" / "cache.db")) as database:
        values = database.execute("SELECT value FROM Cache WHERE value IS NOT NULL").fetchall()
    rows = [bytes(value)[100:140] for (value,) in values if len(value) > 1_000]

    def rows_left() -> bool:
        stored = [each.read_bytes() for each in (tmp_path / "m").rglob("*") if each.is_file()]
        return any(row in data for row in rows for data in stored)

    assert rows_left()
    await memory.delete("s")
    await memory.delete_fact("n", "k")
    assert not rows_left()
    assert not left()


async def test_the_store_stays_within_its_size(tmp_path: Path) -> None:
    memory = DiskMemory(tmp_path / "m", max_bytes=1_000_000)
    noise = random.Random(7)
    for n in range(30):
        await memory.append(f"s{n:02}", exchange(n, output=noise.randbytes(50_000).hex()))
        await memory.append("s00", exchange(n))
    kept = await memory.sessions()
    assert kept[0] == "s00"
    assert kept[1:] == [f"s{n:02}" for n in range(30)][-len(kept) + 1 :]
    assert 3 <= len(kept) < 20
    assert (tmp_path / "m" / "cache.db").stat().st_size <= 1_100_000


async def test_what_is_written_is_never_dropped_for_its_size(tmp_path: Path) -> None:
    memory = DiskMemory(tmp_path / "m", max_bytes=1)
    await memory.append("a", exchange(1))
    await memory.append("b", exchange(2))
    assert await memory.sessions() == ["b"]
    assert await memory.load("b") == exchange(2)


async def test_no_value_is_in_a_file_of_its_own(memory: DiskMemory, tmp_path: Path) -> None:
    output = random.Random(7).randbytes(500_000).hex()
    await memory.append("s", exchange(1, output=output))
    assert {each.name.partition("-")[0] for each in (tmp_path / "m").iterdir()} == {
        "cache.db",
        "lock",
    }
    assert await memory.load("s") == exchange(1, output=output)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path(self.target),))  # type: ignore[return-value]

    def __init__(self, target: str) -> None:
        self.target = target


@pytest.mark.parametrize("place", ["value", "key"])
@pytest.mark.parametrize("fact", [False, True])
async def test_a_planted_pickle_is_not_run(
    memory: DiskMemory, tmp_path: Path, place: str, fact: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await memory.append("s", exchange(1))
    await memory.set_fact("n", "k", 1)
    bomb = pickle.dumps(Bomb(str(tmp_path / "pwned")))
    statement = "UPDATE Cache SET mode = 4, filename = NULL, value = ? WHERE 1"
    if place == "key":
        statement = "UPDATE Cache SET raw = 0, key = ? WHERE rowid = (SELECT max(rowid) FROM Cache)"
    database = tmp_path / "m" / ("facts/cache.db" if fact else "cache.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement, (bomb,))
        connection.commit()
    again = DiskMemory(tmp_path / "m")
    loaded = await again.load("s")
    await again.sessions()
    await again.facts("n")
    await again.get_fact("n", "k")
    await again.export("s")
    await again.append("s", exchange(2))
    await again.set_fact("n", "k", 2)
    assert not (tmp_path / "pwned").exists()
    if place == "value" and not fact:
        assert "pickle" in caplog.text
        assert loaded == []
    assert (await again.load("s"))[-4:] == exchange(2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("mode = 2, filename = '../outside', value = NULL", "in a file"),
        ("mode = 4", "pickle"),
        ("value = x'789c'", "incomplete"),
        ("value = 'text'", ""),
        ("value = 7", ""),
        (f"value = x'{zlib.compress(b'{}').hex()}'", "no text"),
        (f"value = x'{zlib.compress(b'null').hex()}'", "missing"),
    ],
)
async def test_a_damaged_part_is_named_and_the_rest_saved(
    memory: DiskMemory, tmp_path: Path, change: str, why: str
) -> None:
    (tmp_path / "outside").write_bytes(zlib.compress(b"[]"))
    for n in range(3):
        await memory.append("s", exchange(n, output="o" * PART_BYTES))
    await memory.append("other", exchange(1))
    assert changed(tmp_path, f"UPDATE Cache SET {change} WHERE {part(1, tmp_path)}") == 1
    loaded = await memory.load("s")
    assert is_valid(loaded)
    assert said(loaded)[0] == "question 0"
    assert said(loaded)[-1] == "question 2"
    [told] = loaded.damaged
    assert "part 1 of session 's'" in told
    assert str(tmp_path / "m") in told
    assert why in told
    again = await memory.load("s")
    assert again == loaded
    assert again.damaged == ()
    await memory.append("s", exchange(3), expected=loaded.version)
    assert await memory.load("s") == [*loaded, *exchange(3)]
    assert (tmp_path / "outside").exists()
    assert len([each for each in keys(tmp_path) if each[3:] == [1]]) == 1, "it is kept"
    await memory.delete("s")
    assert [each for each in keys(tmp_path) if "s" in each] == []
    assert await memory.load("other") == exchange(1)
    assert (tmp_path / "outside").exists()


async def test_a_damaged_last_part_does_not_take_what_comes_after(
    memory: DiskMemory, tmp_path: Path
) -> None:
    await memory.append("s", exchange(1))
    changed(tmp_path, f"UPDATE Cache SET value = x'00' WHERE {part(0, tmp_path)}")
    await memory.append("s", exchange(2))
    loaded = await memory.load("s")
    assert loaded == exchange(2)
    assert len(loaded.damaged) == 1


@pytest.mark.parametrize("change", ["value = x'00'", f"value = x'{zlib.compress(b'7').hex()}'"])
async def test_a_damaged_head_is_made_anew(memory: DiskMemory, tmp_path: Path, change: str) -> None:
    for n in range(40):
        await memory.append("s", exchange(n, output="o" * 1_000))
    before = await memory.load("s")
    assert changed(tmp_path, f"UPDATE Cache SET {change} WHERE {where('head', 's')}") == 1
    assert await memory.sessions() == ["s"]
    loaded = await memory.load("s")
    assert loaded == before
    assert loaded.version == before.version
    await memory.append("s", exchange(99), expected=before.version)
    assert (await memory.load("s"))[-4:] == exchange(99)


async def test_a_head_without_a_session(memory: DiskMemory, tmp_path: Path) -> None:
    await memory.append("s", exchange(1))
    changed(
        tmp_path,
        f"UPDATE Cache SET value = x'00' WHERE {where('head', 's')}",
        f"DELETE FROM Cache WHERE {part(0, tmp_path)}",
    )
    assert await memory.load("s") == []
    await memory.append("s", exchange(2), expected="")
    assert await memory.load("s") == exchange(2)


async def test_a_database_that_is_none_is_set_aside(
    memory: DiskMemory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await memory.append("s", exchange(1))
    (tmp_path / "m" / "cache.db").write_bytes(b"not a database" * 100)
    other = DiskMemory(tmp_path / "m")
    loaded = await other.load("s")
    assert loaded == []
    [told] = loaded.damaged
    assert str(tmp_path / "m") in told
    assert "not a database" in told
    assert "0 rows" in told
    assert told in caplog.text
    [aside] = (tmp_path / "m").glob("damaged-*")
    assert (aside / "cache.db").read_bytes() == b"not a database" * 100
    assert aside.stat().st_mode & 0o777 == 0o700
    await other.append("s", exchange(2))
    assert (await memory.load("s")) == exchange(2), "who had it open has the new one now"
    assert (await other.load("s")).damaged == ()


@pytest.mark.parametrize(("damage", "most"), [("middle", 120), ("beginning", 200), ("end", 60)])
async def test_what_can_be_read_of_a_damaged_database_is_kept(
    memory: DiskMemory, tmp_path: Path, damage: str, most: int
) -> None:
    for n in range(30):
        await memory.append("s", exchange(n, output=random.Random(n).randbytes(4_000).hex()))
    for n in range(30):
        await memory.append(f"t{n}", exchange(n))
    await memory._cache.run(lambda _: memory._cache.erase_deleted())
    path = tmp_path / "m" / "cache.db"
    content = bytearray(path.read_bytes())
    page = 4_096
    pages = len(content) // page
    damaged = {"middle": range(pages // 2, pages // 2 + 3), "beginning": range(1), "end": ()}
    for number in damaged[damage]:
        content[number * page : (number + 1) * page] = b"\x5a" * page
    path.write_bytes(content[: len(content) * 2 // 3] if damage == "end" else content)
    fresh = DiskMemory(tmp_path / "m")
    loaded = await fresh.load("s")
    names = await fresh.sessions()
    everything = [await fresh.load(name) for name in names]
    assert all(is_valid(each) for each in everything)
    kept = sum(map(len, everything))
    assert kept > most, "of 240 messages"
    assert is_valid(loaded)
    await fresh.append("s", exchange(1))
    assert (await fresh.load("s"))[-4:] == exchange(1)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.floats(0, 1), st.integers(1, 3_000), st.binary(min_size=1, max_size=4), st.booleans()
        ),
        min_size=1,
        max_size=4,
    )
)
async def test_whatever_happens_to_the_database(
    changes: list[tuple[float, int, bytes, bool]], tmp_path: Path
) -> None:
    directory = tmp_path / f"{time.monotonic_ns()}"
    memory = DiskMemory(directory)
    for n in range(6):
        await memory.append("s", exchange(n, output=random.Random(n).randbytes(4_000).hex()))
    await memory._cache.run(lambda _: memory._cache.erase_deleted())
    content = bytearray((directory / "cache.db").read_bytes())
    for where, length, pattern, moves in changes:
        start = int(where * (len(content) - 1))
        new = (pattern * length)[:length]
        content[start : start + (length // 2 if moves else length)] = new
    (directory / "cache.db").write_bytes(content)
    fresh = DiskMemory(directory)
    assert is_valid(await fresh.load("s"))
    await fresh.append("s", exchange(9))
    kept = await fresh.load("s")
    assert is_valid(kept)
    assert kept[-4:] == exchange(9)


async def test_conversations_of_before_are_laid_out_anew(tmp_path: Path) -> None:
    import msgspec
    from diskcache import Cache, JSONDisk

    with Cache(str(tmp_path / "m"), disk=JSONDisk) as cache:
        cache.set("old", msgspec.to_builtins([*exchange(1), *exchange(2)]))
        cache.set("damaged", {"what": "is this"})
    memory = DiskMemory(tmp_path / "m")
    assert await memory.load("old") == [*exchange(1), *exchange(2)]
    await memory.append("old", exchange(3))
    assert len(await DiskMemory(tmp_path / "m").load("old")) == 12
    assert await memory.sessions() == ["old"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir(mode=0o500)
    with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")):
        await DiskMemory(tmp_path / "m").append("s", exchange(1))


async def test_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")) as caught:
        await DiskMemory(tmp_path / "m").load("s")
    assert "directory" in caught.value.remedy
    assert (tmp_path / "m").read_text() == "mine"


FORKS = """
import asyncio, os, sys
from aof_nb.memory.disk import DiskMemory
from aof_nb.messages import Message
memory = DiskMemory(sys.argv[1])
asyncio.run(memory.append("s", [Message.user("parent")]))
child = os.fork()
if child == 0:
    asyncio.run(memory.append("s", [Message.user("child")]))
    os._exit(0)
os.waitpid(child, 0)
asyncio.run(memory.append("s", [Message.user("parent again")]))
print([each.text for each in asyncio.run(memory.load("s"))])
"""


def test_it_works_after_a_fork(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path / "m")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "['parent', 'child', 'parent again']"
