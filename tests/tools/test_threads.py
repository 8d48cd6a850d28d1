"""A function that hangs holds up nobody but its caller."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from aof_nb.tools.threads import in_own_thread

HANGS = """
import asyncio, threading
from aof_nb import tool
from aof_nb.ports import ToolContext

@tool
def hangs() -> str:
    threading.Event().wait()
    return ""

async def main() -> None:
    async with asyncio.timeout(0.2):
        await hangs.call({}, ToolContext("r", "c", lambda event: None))

try:
    asyncio.run(main())
except TimeoutError:
    print("left")
"""


def test_neither_the_loop_nor_the_process_waits_for_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("left\n", "", 0)


async def test_however_many_wait_for_each_other_all_go_on() -> None:
    together = threading.Barrier(100)
    places = await asyncio.wait_for(
        asyncio.gather(*(in_own_thread(together.wait) for _ in range(100))), 60
    )
    assert sorted(places) == list(range(100))


async def test_results_exceptions_and_context_come_through() -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")
    assert await in_own_thread(variable.get) == "here"
    with pytest.raises(ZeroDivisionError):
        await in_own_thread(lambda: 1 / 0)


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def late() -> None:
        go_on.wait()
        ended.set()

    call = asyncio.create_task(in_own_thread(late))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0.01)
