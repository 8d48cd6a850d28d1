"""Conversations in a real Redis, and what may become of its keys and connections."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from aof_nb.errors import ConfigurationError, MemoryStoreError, MissingExtra
from aof_nb.loop_clients import shared_client
from aof_nb.memory.redis import RedisMemory
from tests.memory.conversations import exchange, is_valid, said
from tests.redis_server import free_port, redis_server


@pytest.fixture
def memory(redis_url: str, prefix: str) -> RedisMemory:
    return RedisMemory(redis_url, prefix=prefix)


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


async def ours(client: Any, prefix: str) -> list[str]:
    return sorted([key.decode() async for key in client.scan_iter(f"{{{prefix}}}:*")])


async def test_the_keys_say_what_they_hold(memory: RedisMemory, client: Any, prefix: str) -> None:
    await memory.append("inc-42", exchange(1))
    await memory.set_fact("shop", "owner", {"team": "shop"})
    keys = [each for each in await ours(client, prefix) if ":once:" not in each]
    assert keys == [
        f"{{{prefix}}}:{each}"
        for each in (
            "fact:4:shop:owner",
            "facts:shop",
            "head:inc-42",
            "log:inc-42",
            "namespaces",
            "sessions",
        )
    ]
    [first, *_] = await client.lrange(f"{{{prefix}}}:log:inc-42", 0, -1)
    assert first.startswith(b'{"n":1,"at":"')
    assert b"question 1" in first


async def test_delete_leaves_nothing_in_the_server(
    memory: RedisMemory, client: Any, prefix: str
) -> None:
    await memory.append("s", exchange(1))
    await client.rpush(f"{{{prefix}}}:log:s", b"damaged")
    await memory.load("s")
    await memory.set_fact("n", "k", 1)
    await memory.delete("s")
    await memory.delete_fact("n", "k")
    assert [each for each in await ours(client, prefix) if ":once:" not in each] == []


async def test_what_expires_does_so_in_the_server(redis_url: str, client: Any, prefix: str) -> None:
    memory = RedisMemory(redis_url, prefix=prefix, ttl=60, max_session_bytes=3_000)
    for n in range(20):
        await memory.append("s", exchange(n))
    await memory.set_fact("n", "k", 1, ttl=60)
    for key in ("head:s", "log:s", "fact:1:n:k"):
        assert 50 < await client.ttl(f"{{{prefix}}}:{key}") <= 60, key
    for key in await ours(client, prefix):
        if ":once:" in key:
            assert 0 < await client.ttl(key) <= 60


async def test_a_damaged_message_is_named_and_set_aside(
    memory: RedisMemory, client: Any, prefix: str
) -> None:
    for n in range(3):
        await memory.append("s", exchange(n))
    await client.lset(f"{{{prefix}}}:log:s", 6, b"\xff not JSON")
    loaded = await memory.load("s")
    assert is_valid(loaded)
    assert said(loaded) == [f"question {n}" for n in range(3)]
    [told] = loaded.damaged
    assert "message 7 of session 's' at redis://127.0.0.1" in told
    assert await client.lrange(f"{{{prefix}}}:damaged:s", 0, -1) == [b"\xff not JSON"]
    again = await memory.load("s", limit=1_000)
    assert again == loaded
    assert again.damaged == ()
    await memory.append("s", exchange(3), expected=again.version)
    assert await memory.load("s") == [*loaded, *exchange(3)]


async def test_messages_that_were_evicted_are_missed(
    memory: RedisMemory, client: Any, prefix: str
) -> None:
    version = await memory.append("s", exchange(1))
    await client.delete(f"{{{prefix}}}:log:s")
    loaded = await memory.load("s", limit=5)
    assert loaded == []
    assert "gone" in loaded.damaged[0]
    await memory.append("s", exchange(2), expected=version)
    assert await memory.load("s") == exchange(2)


async def test_a_head_that_was_evicted_begins_a_new_session(
    memory: RedisMemory, client: Any, prefix: str
) -> None:
    await memory.append("s", exchange(1))
    await client.delete(f"{{{prefix}}}:head:s")
    assert await memory.load("s") == []
    assert await memory.sessions() == []
    await memory.append("s", exchange(2), expected="")
    assert await memory.load("s") == exchange(2)


@pytest.mark.parametrize("kind", ["head", "log", "sessions"])
async def test_a_key_of_another_kind_is_named(
    memory: RedisMemory, client: Any, prefix: str, kind: str
) -> None:
    await memory.append("s", exchange(1))
    key = f"{{{prefix}}}:{kind}" if kind == "sessions" else f"{{{prefix}}}:{kind}:s"
    await client.delete(key)
    await client.set(key, "mine")
    with pytest.raises(MemoryStoreError, match="WRONGTYPE"):
        await (memory.sessions() if kind == "sessions" else memory.load("s"))
    assert await client.get(key) == b"mine"


async def test_a_damaged_fact_is_left_out(
    memory: RedisMemory, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await memory.set_fact("n", "a", 1)
    await memory.set_fact("n", "b", 1)
    await client.set(f"{{{prefix}}}:fact:1:n:a", b"\x80\x04pickle")
    assert [fact.key for fact in await memory.facts("n")] == ["b"]
    assert await memory.get_fact("n", "a") is None
    assert "fact 'a' of 'n'" in caplog.text


async def test_an_append_whose_answer_was_lost_is_not_made_twice(redis_url: str) -> None:
    """A proxy cuts the connection after the server has carried the command out."""
    host, port = "127.0.0.1", port_of(redis_url)
    cut = {"next": False}
    cuts = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cuts
        there, back = await asyncio.open_connection(host, port)

        async def up() -> None:
            while data := await reader.read(65_536):
                back.write(data)

        async def down() -> None:
            nonlocal cuts
            while data := await there.read(65_536):
                if cut["next"]:
                    cut["next"] = False
                    cuts += 1
                    return
                writer.write(data)

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        with suppress(ConnectionError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        back.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        memory = RedisMemory(
            f"redis://{host}:{server.sockets[0].getsockname()[1]}/0", prefix="lost-answers"
        )
        await memory.append("s", exchange(0))
        await memory.set_fact("n", "k", 0)
        for n in range(1, 6):
            cut["next"] = True
            await memory.append("s", exchange(n))
            cut["next"] = True
            await memory.set_fact("n", "k", n, expected=(await memory.get_fact("n", "k")).version)  # type: ignore[union-attr]
        loaded = await memory.load("s")
    assert cuts == 10
    assert said(loaded) == [f"question {n}" for n in range(6)]


async def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    memory = RedisMemory(f"redis://me:hunter2@127.0.0.1:{free_port()}/3?health_check_interval=5")
    for attempt in (memory.load("s"), memory.append("s", exchange(1)), memory.facts("n")):
        with pytest.raises(MemoryStoreError, match=r"redis://127\.0\.0\.1:") as caught:
            await attempt
        assert "hunter2" not in str(caught.value)
        assert "Redis runs" in caught.value.remedy


async def test_a_password() -> None:
    with redis_server("--requirepass", "hunter2") as url:
        with pytest.raises(MemoryStoreError, match="authenticated"):
            await RedisMemory(url).load("s")
        with pytest.raises(MemoryStoreError) as caught:
            await RedisMemory(url.replace("redis://", "redis://:wrong-one@")).load("s")
        assert "wrong-one" not in str(caught.value)
        memory = RedisMemory(url.replace("redis://", "redis://:hunter2@"))
        await memory.append("s", exchange(1))
        assert await memory.load("s") == exchange(1)


async def test_a_server_without_room(prefix: str) -> None:
    with redis_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as url:
        memory = RedisMemory(url, prefix=prefix)
        await memory.append("s", exchange(1))
        with pytest.raises(MemoryStoreError, match="maxmemory"):
            for n in range(100):
                await memory.append("s", exchange(n, output="o" * 100_000))
        kept = await memory.load("s")
        assert is_valid(kept)
        assert kept[:4] == exchange(1)


async def test_a_server_that_went_away_and_came_back(prefix: str) -> None:
    with redis_server() as url:
        memory = RedisMemory(url, prefix=prefix)
        await memory.append("s", exchange(1))
    with pytest.raises(MemoryStoreError):
        await memory.load("s")
    with redis_server(port=port_of(url)):
        await memory.append("s", exchange(2))
        assert await memory.load("s") == exchange(2)


@pytest.mark.parametrize(
    "url", ["http://localhost", "localhost:6379", "redis://localhost:port", "redis://[::1", ""]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="address") as caught:
        RedisMemory(url)
    assert "redis://HOST:PORT" in caught.value.remedy


async def test_an_option_that_is_none(redis_url: str) -> None:
    with pytest.raises((ConfigurationError, MemoryStoreError), match="address"):
        await RedisMemory(f"{redis_url}?socket_timeout=soon").load("s")


async def test_without_the_library_its_extra_is_named(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "redis" or name.startswith("redis.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra) as caught:
        await RedisMemory(redis_url).load("s")
    assert caught.value.extra == "redis"


def test_connections_are_closed_with_their_loop(redis_url: str, prefix: str) -> None:
    memory = RedisMemory(redis_url, prefix=prefix)

    async def connections() -> int:
        await asyncio.gather(*(memory.append("s", exchange(n)) for n in range(5)))
        client = redis.asyncio.Redis.from_url(redis_url)
        found = await client.client_list()
        await client.aclose()
        return len(found)

    counts = [asyncio.run(connections()) for _ in range(6)]
    gc.collect()
    assert counts[-1] <= counts[1] + 1


async def test_one_client_a_loop(memory: RedisMemory, redis_url: str) -> None:
    await memory.append("s", exchange(1))
    made: list[object] = []
    first = await shared_client(("redis", redis_url), lambda: made.append(1))
    await memory.load("s")
    assert await shared_client(("redis", redis_url), lambda: made.append(1)) is first
    assert not made


async def test_a_cluster_takes_it(prefix: str) -> None:
    with redis_server("--cluster-enabled", "yes") as url:
        client = redis.asyncio.Redis.from_url(url)
        await client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        for _ in range(100):
            if b"cluster_state:ok" in await client.execute_command("CLUSTER INFO"):
                break
            await asyncio.sleep(0.05)
        await client.aclose()
        memory = RedisMemory(url, prefix=prefix, max_session_bytes=5_000)
        for n in range(20):
            await memory.append("s", exchange(n))
        await memory.set_fact("n", "k", 1)
        assert await memory.sessions() == ["s"]
        assert await memory.namespaces() == ["n"]
        assert is_valid(await memory.load("s"))
        await memory.delete("s")
        await memory.delete_fact("n", "k")
