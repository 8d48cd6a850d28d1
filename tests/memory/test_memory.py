"""Every memory keeps the same promises."""

from __future__ import annotations

import asyncio
import pickle
import random
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ConfigurationError, MemoryStoreError
from aof_nb.memory import Memory, open_memory
from aof_nb.memory.conversation import fitted, newest_messages, size
from aof_nb.memory.disk import DiskMemory
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message, Thinking, ToolCall, ToolResult

Make = Callable[..., Memory]


@pytest.fixture(params=["in_memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "in_memory":
        return InMemory
    return lambda **options: DiskMemory(tmp_path / "memory", **options)


def exchange(n: int, *, output: str = "ok") -> list[Message]:
    return [
        Message.user(f"question {n}"),
        Message("assistant", (ToolCall(f"c{n}", "look", {"n": n}),)),
        Message("tool", (ToolResult(f"c{n}", "look", output),)),
        Message.assistant(f"answer {n}"),
    ]


def is_valid(messages: list[Message]) -> bool:
    """Whether a provider would take it: starts with the user, every call has its result."""
    if messages and messages[0].role != "user":
        return False
    for message, following in zip(messages, [*messages, None][1:], strict=True):
        asked = [call.id for call in message.tool_calls]
        if asked and (
            following is None or [each.call_id for each in following.tool_results] != asked
        ):
            return False
    return True


async def test_a_conversation_comes_back_as_it_was(make: Make) -> None:
    memory = make()
    thinking = Thinking("hm", "anthropic", {"type": "thinking", "signature": "s=="})
    first = [Message.user("déjà vu 🙂"), Message("assistant", (thinking,), model="m")]
    await memory.append("inc/42", first)
    await memory.append("inc/42", exchange(1))
    assert await memory.load("inc/42") == [*first, *exchange(1)]
    assert await memory.load("other") == []
    assert await memory.sessions() == ["inc/42"]


async def test_delete_deletes(make: Make) -> None:
    memory = make()
    await memory.append("a", exchange(1))
    await memory.append("b", exchange(2))
    await memory.delete("a")
    await memory.delete("never there")
    assert await memory.load("a") == []
    assert await memory.sessions() == ["b"]


async def test_a_limit_keeps_whole_exchanges(make: Make) -> None:
    memory = make()
    await memory.append("s", [*exchange(1), *exchange(2), *exchange(3)])
    assert await memory.load("s", limit=9) == [*exchange(2), *exchange(3)]
    assert await memory.load("s", limit=1) == exchange(3)


async def test_a_session_stays_within_its_size(make: Make) -> None:
    memory = make(max_session_bytes=5_000)
    for n in range(50):
        await memory.append("s", exchange(n))
    kept = await memory.load("s")
    assert kept[-4:] == exchange(49)
    assert sum(map(size, kept)) <= 5_000
    assert is_valid(kept)


async def test_one_huge_output_is_shortened_and_not_lost(make: Make) -> None:
    memory = make(max_session_bytes=5_000)
    await memory.append("s", exchange(1, output="x" * 100_000))
    kept = await memory.load("s")
    assert sum(map(size, kept)) <= 5_000
    assert is_valid(kept)
    assert "left out" in kept[2].tool_results[0].content


async def test_appends_at_the_same_time_are_all_kept(make: Make) -> None:
    memory = make()
    await asyncio.gather(*(memory.append("s", exchange(n)) for n in range(20)))
    kept = await memory.load("s")
    assert {each.text for each in kept if each.role == "user"} == {
        f"question {n}" for n in range(20)
    }
    assert is_valid(kept)


APPENDER = """
import asyncio, sys
from aof_nb.memory import open_memory
from aof_nb.messages import Message
async def main():
    memory = open_memory("disk:" + sys.argv[1])
    for n in range(25):
        await memory.append("s", [Message.user(f"{sys.argv[2]}-{n}"), Message.assistant("ok")])
asyncio.run(main())
"""


async def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path / "m"), name])
        for name in "ab"
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    kept = await open_memory(f"disk:{tmp_path / 'm'}").load("s")
    said = [each.text for each in kept if each.role == "user"]
    for name in "ab":
        assert [each for each in said if each[0] == name] == [f"{name}-{n}" for n in range(25)]
    assert is_valid(kept)


async def test_it_survives_its_process(tmp_path: Path) -> None:
    script = APPENDER.replace("range(25)", "range(2)")
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "m"), "a"], check=True)
    memory = open_memory(f"disk:{tmp_path / 'm'}")
    await memory.append("s", [Message.user("now"), Message.assistant("yes")])
    said = [each.text for each in await DiskMemory(tmp_path / "m").load("s")]
    assert said == ["a-0", "ok", "a-1", "ok", "now", "yes"]
    assert (tmp_path / "m").stat().st_mode & 0o077 == 0


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
    assert sum(each.stat().st_size for each in (tmp_path / "m").iterdir()) <= 1_200_000


async def test_what_is_written_is_never_dropped_for_its_size(tmp_path: Path) -> None:
    memory = DiskMemory(tmp_path / "m", max_bytes=1)
    await memory.append("a", exchange(1))
    await memory.append("b", exchange(2))
    assert await memory.sessions() == ["b"]
    assert await memory.load("b") == exchange(2)


async def test_the_sessions_in_a_process_are_bounded() -> None:
    memory = InMemory(max_sessions=3)
    for session in ["a", "b", "c", "a", "d", "e"]:
        await memory.append(session, exchange(1))
    assert await memory.sessions() == ["a", "d", "e"]


async def test_a_large_conversation_is_replaced_as_a_whole(tmp_path: Path) -> None:
    memory = DiskMemory(tmp_path / "m")
    output = random.Random(7).randbytes(500_000).hex()
    await memory.append("s", exchange(1, output=output))
    assert {each.name.partition("-")[0] for each in (tmp_path / "m").iterdir()} == {"cache.db"}
    assert await memory.load("s") == exchange(1, output=output)


async def test_a_relative_place_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    memory = open_memory("disk:m")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await memory.append("s", exchange(1))
    assert (tmp_path / "m").is_dir()


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path(self.target),))  # type: ignore[return-value]

    def __init__(self, target: str) -> None:
        self.target = target


@pytest.mark.parametrize("where", ["value", "key"])
async def test_a_planted_pickle_is_refused_and_not_run(tmp_path: Path, where: str) -> None:
    memory = DiskMemory(tmp_path / "m")
    await memory.append("s", exchange(1))
    bomb = pickle.dumps(Bomb(str(tmp_path / "pwned")))
    with sqlite3.connect(tmp_path / "m" / "cache.db") as database:
        if where == "value":
            database.execute("UPDATE Cache SET mode = 4, filename = NULL, value = ?", (bomb,))
        else:
            database.execute("UPDATE Cache SET raw = 0, key = ?", (bomb,))
    database.close()
    with pytest.raises(MemoryStoreError, match="pickle"):
        await (memory.load("s") if where == "value" else memory.sessions())
    assert not (tmp_path / "pwned").exists()


async def test_damage_is_named(tmp_path: Path) -> None:
    memory = DiskMemory(tmp_path / "m")
    await memory.append("s", exchange(1))
    (tmp_path / "m" / "cache.db").write_bytes(b"not a database" * 100)
    with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")) as caught:
        await memory.load("s")
    assert caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        "mode = 2, filename = '../outside', value = NULL",
        "value = x'789c'",
        "value = 'text'",
        "value = 7",
        f"value = x'{zlib.compress(b'{}').hex()}'",
    ],
)
async def test_a_damaged_conversation_is_named(tmp_path: Path, change: str) -> None:
    (tmp_path / "outside").write_bytes(zlib.compress(b"[]"))
    memory = DiskMemory(tmp_path / "m")
    await memory.append("s", exchange(1))
    with sqlite3.connect(tmp_path / "m" / "cache.db") as database:
        database.execute(f"UPDATE Cache SET {change}")
    database.close()
    with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")):
        await memory.load("s")
    with pytest.raises(MemoryStoreError, match=str(tmp_path / "m")):
        await memory.append("s", exchange(2))
    assert (tmp_path / "outside").exists()


@pytest.mark.parametrize("url", ["redys://x", "", "in_memory:x", "Disk"])
def test_an_unknown_memory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{url}'") as caught:
        open_memory(url)
    assert "disk:PATH" in caught.value.remedy


async def test_the_places_of_memories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    for url, place in [("disk", "state/memory"), (f"disk://{tmp_path}/far", "far")]:
        await open_memory(url).append("s", exchange(1))
        assert (tmp_path / place / "cache.db").exists()


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    messages: list[Message] = []
    for n in range(draw(st.integers(0, 6))):
        whole = exchange(n, output="é\n" * draw(st.integers(0, 1_000)))
        messages += whole if draw(st.booleans()) else [whole[0], whole[3]]
    return messages


@given(conversations(), st.integers(1, 30), st.integers(100, 20_000))
def test_what_is_kept_is_a_valid_end(messages: list[Message], limit: int, most: int) -> None:
    kept = newest_messages(messages, limit)
    assert is_valid(kept)
    assert not kept or kept == messages[-len(kept) :]
    assert len(kept) <= max(limit, 4)
    assert bool(kept) == bool(messages)
    fitting = fitted(messages, most)
    assert is_valid(fitting)
    assert bool(fitting) == bool(messages)
    if sum(map(size, fitting)) > most:
        assert len([each for each in fitting if each.role == "user"]) == 1


async def test_what_cannot_be_written_leaves_the_session_as_it_was(make: Make) -> None:
    memory = make()
    await memory.append("s", exchange(1))
    with pytest.raises(MemoryStoreError):
        await memory.append("s", [Message.user("half a character: \udce9")])
    assert await memory.load("s") == exchange(1)
