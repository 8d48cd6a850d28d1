"""The four memories, the Redis one on a real server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from aof_nb.memory.disk import DiskMemory
from aof_nb.memory.file import FileMemory
from aof_nb.memory.in_memory import InMemory
from aof_nb.memory.redis import RedisMemory
from tests.memory.conversations import Make
from tests.redis_server import redis_server

SHARED = ("file", "disk", "redis")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4)


@pytest.fixture(params=["in_memory", *SHARED])
def make(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Make:
    """Opens the same store again each time, but for `in_memory`, which has no other place."""
    return opener(request.param, request, tmp_path, prefix)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Make:
    """The memories that several processes share."""
    return opener(request.param, request, tmp_path, prefix)


@pytest.fixture(params=SHARED)
def shared_url(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> str:
    """The same, by their URLs."""
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}?prefix={prefix}"
    return f"{request.param}:{tmp_path / 'memory'}"


def opener(kind: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Make:
    if kind == "in_memory":
        return InMemory
    if kind == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda **options: RedisMemory(url, prefix=prefix, **options)
    of = FileMemory if kind == "file" else DiskMemory
    return lambda **options: of(tmp_path / "memory", **options)
