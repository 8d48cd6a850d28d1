"""Memories by their URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from aof_nb.errors import ConfigurationError
from aof_nb.memory import open_memory
from aof_nb.memory.entries import messages_from
from aof_nb.memory.redis import RedisMemory
from tests.memory.conversations import exchange


@pytest.mark.parametrize("url", ["redys://x", "", "in_memory:x", "Disk", "sqlite:x.db", "?ttl=5"])
def test_an_unknown_memory_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no memory") as caught:
        open_memory(url)
    assert repr(url) in str(caught.value)
    for known in ("in_memory", "file:PATH", "disk:PATH", "redis://"):
        assert known in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("disk:x?tll=5", "no option 'tll'"),
        ("in_memory?prefix=a", "no option 'prefix'"),
        ("file:x?ttl=soon", "ttl=soon"),
        ("file:x?ttl=0", "ttl=0"),
        ("file:x?ttl=", "ttl="),
        ("redis://h?ttl=nan", "ttl=nan"),
        ("disk:x?max_session_bytes=-1", "max_session_bytes=-1"),
        ("disk:x?max_session_bytes=1.5", "max_session_bytes=1.5"),
        ("redis://h:port", "address"),
    ],
)
def test_an_option_that_is_wrong_is_named(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_memory(url)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_a_password_is_not_shown() -> None:
    for url in ("reds://me:hunter2@h", "redis://me:hunter2@h?ttl=0", "redis://me:hunter2@h:port"):
        with pytest.raises(ConfigurationError) as caught:
            open_memory(url)
        assert "hunter2" not in str(caught.value)


async def test_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOF_STATE_DIR", str(tmp_path / "state"))
    for url, place in [
        ("disk", "state/memory/cache.db"),
        ("disk:", "state/memory/cache.db"),
        (f"disk://{tmp_path}/far", "far/cache.db"),
        (f"disk:{tmp_path}/near", "near/cache.db"),
        ("file", "state/conversations/sessions/s.jsonl"),
        (f"file:{tmp_path}/here", "here/sessions/s.jsonl"),
        (f"file://{tmp_path}/there", "there/sessions/s.jsonl"),
        (f"file:{tmp_path}/for-a-while?ttl=60", "for-a-while/sessions/s.jsonl"),
    ]:
        await open_memory(url).append("s", exchange(1))
        assert (tmp_path / place).exists(), url


async def test_options_have_an_effect(tmp_path: Path) -> None:
    memory = open_memory(f"file:{tmp_path}?max_session_bytes=2000")
    for n in range(30):
        await memory.append("s", exchange(n))
    assert 4 <= len(await memory.load("s")) < 20


async def test_redis_by_its_variable(
    redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"{redis_url}?socket_timeout=7")
    await open_memory(f"redis?prefix={prefix}&ttl=60").append("s", exchange(1))
    assert await RedisMemory(redis_url, prefix=prefix).load("s") == exchange(1)


async def test_a_session_moves_from_one_memory_to_another(tmp_path: Path) -> None:
    one, other = open_memory(f"disk:{tmp_path / 'a'}"), open_memory(f"file:{tmp_path / 'b'}")
    await one.append("s", exchange(1))
    await other.append("s", messages_from(await one.export("s")))
    assert await other.load("s") == exchange(1)
    assert messages_from((tmp_path / "b/sessions/s.jsonl").read_text()) == exchange(1)
    with pytest.raises(ConfigurationError, match="line 2"):
        messages_from((await one.export("s")).split("\n")[0] + "\nnonsense\n")
