"""`python -m benchmarks.memory`: how long memories take, as a section of docs/benchmarks.md."""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

from aof_nb.memory import Memory, open_memory
from aof_nb.messages import Message, ToolCall, ToolResult
from benchmarks.sections import parser, put, written

NEWEST = 20
TEXT = """\
## Conversations: append and load

Milliseconds of wall time for one call from an event loop that has nothing else to do, p50 / p99: an
append of one exchange of four messages, a load of the {newest} newest messages, a load of all. A
message takes {size} bytes of JSON on average. Redis is a server on loopback that keeps everything
in memory. No append waits for the disk (`fsync`). Each figure is the least of {rounds} rounds of up
to 200 calls: whatever else the machine does can only add to it, most of all to a p99 of what waits
for another thread or process.

Measured on {date}, on {cores} cores at a load average of {load:.0f}, Python {python}: {libraries}.

{table}
"""


@dataclass(frozen=True)
class Size:
    """How long the sessions are, and what is measured of them.

    Args:
        messages: In each session.
        sessions: How many there are.
        appends: To each of them in a round.
        wholes: Loads of all messages in a round.
    """

    messages: int
    sessions: int
    appends: int
    wholes: int


SIZES = (Size(10, 200, 1, 200), Size(1_000, 20, 10, 60), Size(100_000, 1, 200, 6))
ROUNDS = 4
QUICK = (Size(10, 2, 2, 2), Size(1_000, 1, 2, 2), Size(2_000, 1, 2, 2))


def exchange(n: int) -> list[Message]:
    """What a run appends: a question, a call, its output, an answer."""
    return [
        Message.user(f"Why is checkout slow? Look at the last {n} minutes."),
        Message("assistant", (ToolCall(f"call_{n}", "read_log", {"service": "checkout", "n": n}),)),
        Message("tool", (ToolResult(f"call_{n}", "read_log", f"{n} ERROR pool exhausted\n" * 40),)),
        Message.assistant("The pool is full: twelve requests wait for a lock of the report."),
    ]


@contextmanager
def redis_server() -> Iterator[str | None]:
    """A server of our own on loopback; None if the program is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        command += ["--save", "", "--appendonly", "no"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            for _ in range(500):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


async def timed(calls: list[Callable[[], Awaitable[object]]]) -> tuple[float, float]:
    """Milliseconds of the calls, one after the other: p50 and p99."""
    taken = []
    for call in calls:
        begun = time.perf_counter()
        await call()
        taken.append(1_000 * (time.perf_counter() - begun))
    return statistics.median(taken), sorted(taken)[int(0.99 * len(taken))]


async def measure(memory: Memory, size: Size) -> list[tuple[float, float]]:
    """Append, load of the newest, load of all."""
    names = [f"session-{size.messages}-{n}" for n in range(size.sessions)]
    exchanges = [exchange(n) for n in range(250)]
    for name in names:
        left = size.messages
        while left:
            some = [each for one in exchanges for each in one][:left]
            await memory.append(name, some)
            left -= len(some)
    await memory.load(names[0], limit=1)
    appends = [
        lambda name=name, n=n: memory.append(name, exchanges[n % 250])
        for n in range(size.appends)
        for name in names
    ]
    newest = [
        lambda name=name: memory.load(name, limit=NEWEST)
        for _ in range(size.appends)
        for name in names
    ]
    turns = itertools.islice(itertools.cycle(names), size.wholes)
    wholes = [lambda name=name: memory.load(name) for name in turns]
    rounds = [[await timed(calls) for calls in (appends, newest, wholes)] for _ in range(ROUNDS)]
    found = [
        (min(p50 for p50, _ in each), min(p99 for _, p99 in each))
        for each in zip(*rounds, strict=True)
    ]
    for name in names:
        await memory.delete(name)
    return found


def table(rows: list[list[str]]) -> str:
    """The figures as Markdown."""
    head = ["memory", "messages", "append", f"load {NEWEST}", "load all"]
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(sizes: tuple[Size, ...]) -> str:
    """Measures all memories and says what was found."""
    rows = []
    with tempfile.TemporaryDirectory() as directory, redis_server() as redis:
        urls = {"in_memory": "in_memory", "file": f"file:{directory}/file"}
        urls |= {"disk": f"disk:{directory}/disk"} | ({"redis": redis} if redis else {})
        for name, url in urls.items():
            for size in sizes:
                sys.stderr.write(f"{name}, {size.messages:,} messages\n")
                found = asyncio.run(measure(open_memory(url), size))
                figures = [f"{_shown(p50)} / {_shown(p99)}" for p50, p99 in found]
                rows.append([name, f"{size.messages:,}", *figures])
    import msgspec

    libraries = ("aof-nb", "diskcache", "msgspec", "redis")
    sizes_of = [len(msgspec.json.encode(each)) for each in exchange(30)]
    text = TEXT.format(
        newest=NEWEST,
        rounds=ROUNDS,
        size=round(statistics.mean(sizes_of)),
        date=date.today().isoformat(),  # noqa: DTZ011  the reader's day
        cores=os.cpu_count(),
        load=os.getloadavg()[2],
        python=platform.python_version(),
        libraries=", ".join(f"{name} {version(name)}" for name in libraries),
        table=table(rows),
    )
    return written("memory", "`python -m benchmarks.memory`", text)


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 1 else f"{milliseconds:,.1f}"


def main() -> None:
    """Parse the command line, measure and write the section."""
    options = parser("python -m benchmarks.memory", __doc__).parse_args()
    found = section(QUICK if options.quick else SIZES)
    put(options.output, found)
    sys.stdout.write(found)


if __name__ == "__main__":
    main()
