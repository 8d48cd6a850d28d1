"""A map of two prompts by batches, which dies at the line of its record that it is told.

Started as a program, it reads jobs as lines of JSON, and answers each with what came of it. It does
the first one itself, and so has imported all there is; for each of the others it forks a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from aof_nb import Agent, resolve_model, tool
from aof_nb.models import batching
from aof_nb.models.batch_record import BatchRecord, Entry


class Job(msgspec.Struct):
    """One map: whom it asks, where it keeps its state, the file its tool writes to, where it dies.

    Lines are counted from 1; at line 0 it does not die.
    """

    model: str
    base_url: str
    state: str
    effects: str
    when: Literal["before", "after"]
    line: int = 0


class Outcome(msgspec.Struct):
    """How the process ended, and the texts of its results, if it lived to have some."""

    code: int
    texts: list[str]


@contextmanager
def _dying(job: Job) -> Iterator[None]:
    lines = 0
    write = BatchRecord.write

    def counted(record: BatchRecord, *entries: Entry) -> None:
        nonlocal lines
        for entry in entries:
            lines += 1
            if lines == job.line and job.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            write(record, entry)
            if lines == job.line:
                os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchRecord, "write", counted)
        patch.setattr(batching, "_FIRST_LOOK", 0.01)
        patch.setenv("AOF_STATE_DIR", job.state)
        yield


async def _texts(job: Job) -> list[str]:
    @tool(effect="write")
    def restart(service: str) -> str:
        """Restart a service."""
        with Path(job.effects).open("a") as file:
            file.write(f"{service}\n")
        return f"restarted {service}"

    model = resolve_model(job.model, base_url=job.base_url, api_key="k")
    agent = Agent(name="sre", model=model, tools=[restart])
    results = await agent.map(["mend cart", "mend pay"], batch=True, approve="all")
    return [result.text for result in results]


def _mapped(job: Job) -> list[str]:
    with _dying(job):
        return asyncio.run(_texts(job))


def _in_child(job: Job) -> Outcome:
    answers, answer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answers)
        os.write(answer, msgspec.json.encode(_mapped(job)))
        # As any process ends, so that what it has covered is counted.
        sys.exit()
    os.close(answer)
    with os.fdopen(answers, "rb") as file:
        texts = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(code, msgspec.json.decode(texts, type=list[str]) if texts else [])


def main() -> None:
    """Does the jobs."""
    warm = False
    for line in sys.stdin:
        job = msgspec.json.decode(line, type=Job)
        outcome = _in_child(job) if warm else Outcome(0, _mapped(job))
        warm = True
        print(msgspec.json.encode(outcome).decode(), flush=True)


if __name__ == "__main__":
    main()
