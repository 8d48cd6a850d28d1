"""Appends messages one by one, and writes down the number of each that is kept.

`python -m tests.memory.writer URL NAME COUNT ACKNOWLEDGED`
"""

from __future__ import annotations

import asyncio
import os
import sys

from aof_nb.memory import open_memory
from aof_nb.messages import Message


async def main(url: str, name: str, count: int, acknowledged: str) -> None:
    memory = open_memory(url)
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for n in range(count):
        await memory.append("shared", [Message.user(f"{name} {n}")])
        os.write(log, b"%d\n" % n)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
