"""Two processes that write to the same session, and what is left when one is killed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aof_nb.memory import open_memory
from aof_nb.memory.conversation import size
from aof_nb.memory.in_memory import InMemory
from aof_nb.messages import Message
from tests.memory.conversations import exchange, said

ROOT = Path(__file__).parents[2]
MANY = 10_000


class Writer:
    """A process that appends."""

    def __init__(self, url: str, name: str, count: int, place: Path) -> None:
        self.name = name
        self._log = place / f"acknowledged-{name}"
        command = [sys.executable, "-m", "tests.memory.writer", url, name, str(count)]
        self.process = subprocess.Popen(
            [*command, str(self._log)], cwd=ROOT, stderr=subprocess.PIPE
        )

    def acknowledged(self) -> list[int]:
        if not self._log.exists():
            return []
        return [int(line) for line in self._log.read_text().split("\n")[:-1]]

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 60
        while len(self.acknowledged()) < count:
            assert self.process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.005)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def ends_well(self) -> None:
        _, errors = self.process.communicate(timeout=110)
        assert self.process.returncode == 0, errors.decode()


def check_kept(kept: list[str], writer: Writer) -> None:
    """What was acknowledged is there, once and in its order, and at most one more."""
    numbers = [int(each.partition(" ")[2]) for each in kept if each.startswith(f"{writer.name} ")]
    acknowledged = writer.acknowledged()
    assert numbers[: len(acknowledged)] == acknowledged
    assert len(numbers) - len(acknowledged) <= 1
    assert numbers == list(range(len(numbers)))


@pytest.mark.timeout(300)
async def test_two_processes_lose_nothing_though_one_is_killed(
    shared_url: str, tmp_path: Path
) -> None:
    living = Writer(shared_url, "living", MANY, tmp_path)
    killed = Writer(shared_url, "killed", MANY, tmp_path)
    killed.wait_for(random.Random(time.time()).randrange(2_000, 4_000))
    killed.kill()
    living.ends_well()
    memory = open_memory(shared_url)
    loaded = await memory.load("shared")
    assert loaded.damaged == ()
    kept = said(loaded)
    check_kept(kept, living)
    check_kept(kept, killed)
    assert len(living.acknowledged()) == MANY
    assert MANY > len(killed.acknowledged()) >= 2_000
    version = loaded.version
    await memory.append("shared", exchange(1), expected=version)
    assert (await memory.load("shared", limit=4)) == exchange(1)
    assert len(await memory.load("shared")) == len(kept) + 4


@pytest.mark.timeout(300)
async def test_killed_again_and_again(shared_url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    writers = []
    for n in range(5):
        writer = Writer(shared_url, f"w{n}", 1_000, tmp_path)
        writer.wait_for(1)
        time.sleep(chance.random() * 0.05)
        writer.kill()
        writers.append(writer)
    memory = open_memory(shared_url)
    loaded = await memory.load("shared")
    for writer in writers:
        check_kept(said(loaded), writer)
    await memory.append("shared", exchange(1))
    assert (await memory.load("shared")).damaged == ()


@pytest.mark.timeout(300)
async def test_killed_while_the_session_is_shortened(shared_url: str, tmp_path: Path) -> None:
    """A session of thirty messages at most, shortened at every few of a thousand."""
    url = f"{shared_url}{'&' if '?' in shared_url else '?'}max_session_bytes=4000"
    chance = random.Random(7)
    memory = open_memory(url)
    for n in range(5):
        writer = Writer(url, f"w{n}", 1_000, tmp_path)
        writer.wait_for(1)
        time.sleep(chance.random() * 0.1)
        writer.kill()
        loaded = await memory.load("shared")
        assert loaded.damaged == ()
        numbers = [int(each.split()[1]) for each in said(loaded) if each.startswith(f"w{n} ")]
        last = writer.acknowledged()[-1]
        assert numbers == list(range(numbers[0], last + 1)) or numbers[-1] == last + 1
        # One that was killed may just not have come to shorten it.
        assert sum(map(size, loaded)) <= 4_500
    await memory.delete("shared")
    assert not [each for each in tmp_path.rglob("*.new") if each.is_file()]


FINDER = """
import asyncio, sys
from aof_nb.memory import open_memory
from aof_nb.messages import Message
asyncio.run(open_memory(sys.argv[1]).append("s", [Message.user(sys.argv[2])]))
"""


async def test_processes_that_find_the_same_damage(tmp_path: Path) -> None:
    url = f"disk:{tmp_path / 'm'}"
    await open_memory(url).append("before", exchange(1))
    (tmp_path / "m" / "cache.db").write_bytes(b"spoilt" * 1_000)
    finders = [
        subprocess.Popen([sys.executable, "-c", FINDER, url, str(n)], stderr=subprocess.DEVNULL)
        for n in range(4)
    ]
    assert [finder.wait(60) for finder in finders] == [0] * 4
    assert sorted(said(await open_memory(url).load("s"))) == ["0", "1", "2", "3"]
    assert len(list((tmp_path / "m").glob("damaged-*"))) == 1


async def test_two_threads_lose_nothing() -> None:
    memory = InMemory()

    def write(name: str) -> None:
        async def append() -> None:
            for n in range(MANY):
                await memory.append("shared", [Message.user(f"{name} {n}")])

        asyncio.run(append())

    await asyncio.gather(*(asyncio.to_thread(write, name) for name in "ab"))
    kept = said(await memory.load("shared"))
    for name in "ab":
        assert [each for each in kept if each[0] == name] == [f"{name} {n}" for n in range(MANY)]
