"""Processes side by side, one of them killed: the day's costs and the response cache stay right."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from pathlib import Path

import pytest

from aof_nb.messages import Message, Usage
from aof_nb.models.prices import price
from aof_nb.models.response_cache import cached
from aof_nb.ports import ModelRequest
from tests.test_executor import Scripted, Turn

MODEL = "anthropic:claude-sonnet-4-5"
WORST = Usage(10_000, 1000)

SPENDS = """
import asyncio, sys
from pathlib import Path
from aof_nb.messages import Usage
from aof_nb.spending import Spending

async def main(name, file, limit):
    for n in range(30):
        one = Spending(f"{name}-{n}", "anthropic:claude-sonnet-4-5", None, limit, Path(file))
        admitted = (await one.admit(Usage(10_000, 1000), {})).admitted
        print("admitted" if admitted else "refused", flush=True)
        if admitted:
            await one.settle({"anthropic:claude-sonnet-4-5": Usage(5_000, 500)})
    await asyncio.sleep(60 if name == "p0" else 0)

asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""

CACHES = """
import asyncio, sys
from aof_nb.messages import Message
from aof_nb.models.response_cache import cached
from aof_nb.ports import ModelRequest
from tests.test_executor import Scripted, Turn

async def main(name, directory):
    for n in range(40):
        model = cached(Scripted(Turn(f"answer {n} " * 200)), directory=directory)
        request = ModelRequest(messages=(Message.user(f"question {n}"),))
        *_, response = [event async for event in model.stream(request)]
        assert response.message.text == f"answer {n} " * 200, response
        print(n, flush=True)
    await asyncio.sleep(60 if name == "p0" else 0)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def side_by_side(program: str, *arguments: str) -> list[list[str]]:
    """What four processes print; the first is killed when it has printed five lines."""

    async def one(name: str) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            name,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        lines = []
        assert process.stdout is not None
        async for line in process.stdout:
            lines.append(line.decode().strip())
            if name == "p0" and len(lines) == 5:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        assert (await process.wait() == 0) is (name != "p0")
        return lines

    return await asyncio.gather(*(one(f"p{number}") for number in range(4)))


@pytest.mark.timeout(90)
async def test_a_day_s_limit_holds_over_all_processes(tmp_path: Path) -> None:
    file = tmp_path / "costs.sqlite3"
    worst = price(MODEL, WORST) or 0.0
    limit = 20 * worst
    admitted = await side_by_side(SPENDS, str(file), str(limit))
    with contextlib.closing(sqlite3.connect(file)) as ledger:
        [total] = ledger.execute("SELECT sum(dollars) FROM spent").fetchone()
        [checked] = ledger.execute("PRAGMA integrity_check").fetchone()
    assert checked == "ok"
    assert total <= limit
    # All but the last worst case can be spent, and what was admitted was counted.
    assert total > limit - worst
    count = sum(lines.count("admitted") for lines in admitted)
    assert count * worst / 2 <= total + worst / 2


@pytest.mark.timeout(90)
async def test_the_response_cache_serves_all_processes(tmp_path: Path) -> None:
    printed = await side_by_side(CACHES, str(tmp_path / "cache"))
    assert [len(lines) for lines in printed[1:]] == [40, 40, 40]
    for n in range(40):
        inner = Scripted(Turn("asked anew"))
        model = cached(inner, directory=tmp_path / "cache")
        request = ModelRequest(messages=(Message.user(f"question {n}"),))
        *_, response = [event async for event in model.stream(request)]
        assert response.message.text == f"answer {n} " * 200  # type: ignore[union-attr]
        assert inner.requests == []
