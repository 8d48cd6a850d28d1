"""The first result counts, and nothing of the others goes on."""

from __future__ import annotations

import asyncio

import pytest

from aof_nb.cancellation import first_of


async def test_the_others_have_ended_when_the_first_result_is_there() -> None:
    ended: list[str] = []

    async def slow(name: str) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(name)
        return name

    async def quick() -> str:
        await asyncio.sleep(0)
        return "quick"

    assert await first_of(slow("a"), quick(), slow("b")) == "quick"
    assert sorted(ended) == ["a", "b"]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await first_of(slow("c"), slow("d"))
    assert sorted(ended) == ["a", "b", "c", "d"]


async def test_of_those_that_end_together_the_foremost_counts() -> None:
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    second.set_result("second")
    first.set_result("first")
    assert await first_of(first, second) == "first"


async def test_what_the_first_raises_is_raised() -> None:
    async def fails() -> None:
        raise KeyError("why")

    with pytest.raises(KeyError):
        await first_of(asyncio.sleep(60), fails())
