"""A run of many steps whose side effects are counted outside, killed wherever one likes.

Started as a program, it forks a process for each place to kill at, and one that resumes; what came
of each is printed as a line of JSON.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import os
import signal
import sys
import types
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from aof_nb import Agent, Limits, RunResult, RunStatus, tool
from aof_nb.errors import ConfigurationError, JournalError
from aof_nb.events import ModelEvent, ModelResponse, TextDelta
from aof_nb.journal.entries import RunEnded, encode_line
from aof_nb.journal.journal import Journal
from aof_nb.journal.runs import read_run
from aof_nb.messages import Message, Outcome, StopReason, Text, ToolCall, Usage
from aof_nb.ports import Effect, ModelRequest

STEPS = 30
ANSWER = "all steps are done"


class Stepper:
    """A model that asks for step after step; every third turn for three things at once."""

    name = "test:stepper"

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = steps
        self.requests = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests += 1
        turn = sum(1 for message in request.messages if message.role == "assistant")
        if turn >= self._steps:
            for word in ANSWER.split(" "):
                yield TextDelta(word + " ")
            yield _response(Text(ANSWER), stop=StopReason.END_TURN)
            return
        yield TextDelta(f"step {turn}")
        calls = [ToolCall(f"w{turn}", "change", {"what": f"step-{turn}"})]
        if turn % 3 == 0:
            calls.append(ToolCall(f"r{turn}", "look", {"what": f"look-{turn}"}))
            calls.append(ToolCall(f"x{turn}", "change", {"what": f"extra-{turn}"}))
        yield _response(Text(f"step {turn}"), *calls, stop=StopReason.TOOL_USE)


def _response(*parts: Any, stop: StopReason) -> ModelResponse:
    return ModelResponse(
        message=Message("assistant", parts),
        stop_reason=stop,
        usage=Usage(input_tokens=10, output_tokens=5),
        model="stepper-1",
    )


def stepping_agent(effects: Path, steps: int = STEPS) -> Agent:
    """An agent whose tools append a line to a file each time they are called."""

    def note(line: str) -> None:
        with effects.open("a") as file:
            file.write(f"{line}\n")

    @tool(effect=Effect.WRITE)
    async def change(what: str) -> str:
        """Changes something."""
        note(what)
        await asyncio.sleep(0)
        return f"changed {what}"

    @tool(effect=Effect.READ)
    async def look(what: str) -> str:
        """Looks at something."""
        note(what)
        return f"{what} looks well"

    limits = Limits(max_turns=steps + 2)
    return Agent(name="stepper", model=Stepper(steps), tools=[change, look], limits=limits)


def done(effects: Path) -> Counter[str]:
    """How often each effect has happened."""
    return Counter(effects.read_text().split()) if effects.exists() else Counter()


def unknown_calls(result: RunResult) -> list[str]:
    """The ids of the calls whose outcome the run calls unknown."""
    return [
        each.call_id
        for message in result.messages
        for each in message.tool_results
        if each.outcome is Outcome.INTERRUPTED
    ]


def kill_at(entry: int, how: str) -> None:
    """Ends this process, or the disk's room, at an entry of the journal.

    Args:
        entry: Which, from 1.
        how: ``after`` it is written, ``torn`` in the middle of its line; ``full`` leaves room for
            half of it, and for nothing more.
    """
    if how == "full":
        _fill_at(entry)
        return

    written = 0
    write = Journal.write

    def counted(self: Journal, *entries: Any) -> None:
        nonlocal written
        for each in entries:
            written += 1
            if written == entry and how == "torn":
                data = encode_line(self.elapsed(), each)
                os.write(self._file, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, each)
            if written == entry:
                os.kill(os.getpid(), signal.SIGKILL)

    Journal.write = counted  # type: ignore[method-assign]


def _fill_at(entry: int) -> None:
    import aof_nb.journal.journal as module

    written = 0
    real = os.write

    def write(file: int, data: bytes) -> int:
        nonlocal written
        written += 1
        if written == entry:
            return real(file, data[: len(data) // 2])
        if written > entry:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    module.os = types.SimpleNamespace(**{**vars(os), "write": write})  # type: ignore[attr-defined]


def _in_child(work: Any) -> int:
    """Runs something in a forked process; returns how that ended."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _begin(agent: Agent) -> None:
    result = asyncio.run(agent.run("go through all steps", approve="all", run_id="stepped"))
    if result.status is RunStatus.FAILED:
        raise result.error or RuntimeError("it failed")


def _resume(agent: Agent, report: Path) -> None:
    result = asyncio.run(agent.resume("stepped"))
    report.write_text(json.dumps([result.status, result.text, unknown_calls(result)]))


def main(directory: str, how: str, first: str, step: str) -> None:
    """Kills at every `step`-th entry from the `first` on, resumes, and prints what came of it."""
    entry = int(first)
    # What is imported at first use is imported once, not in each process.
    os.environ["AOF_STATE_DIR"] = str(Path(directory) / "warm")
    asyncio.run(stepping_agent(Path(directory) / "warm.txt", 4).run("warm up", approve="all"))
    while True:
        place = Path(directory) / f"{how}-{entry}"
        place.mkdir(parents=True)
        os.environ["AOF_STATE_DIR"] = str(place / "state")
        effects, report = place / "effects", place / "report"

        def begin(entry: int = entry, effects: Path = effects) -> None:
            kill_at(entry, how)
            _begin(stepping_agent(effects))

        if _in_child(begin) == 0:
            break
        outcome: list[Any] = ["nothing to resume", "", []]
        if (ended := _ended()) is not None:
            outcome = [ended.status, ended.text, []]
        elif _has_run():
            code = _in_child(functools.partial(_resume, stepping_agent(effects), report))
            outcome = json.loads(report.read_text()) if code == 0 else [f"exit {code}", "", []]
        print(json.dumps([entry, *outcome, done(effects)]), flush=True)
        entry += int(step)
    print(json.dumps({"entries": entry}))


def _ended() -> RunEnded | None:
    """How the run has ended, if it came to its end before it was killed."""
    ended = read_run("stepped").ended if _has_run() else None
    return ended if ended is not None and ended.status is RunStatus.COMPLETED else None


def _has_run() -> bool:
    try:
        read_run("stepped")
    except (JournalError, ConfigurationError):
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
