"""A notebook of ten cells whose side effects are counted outside, killed wherever one likes.

Started as a program, it forks a process for each place to kill at, which runs the notebook, and
others that resume it; what came of each is printed as a line of JSON. Every write to a journal is
counted, in this process and in the kernel: `sitecustomize.py` counts there.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aof_nb.errors import AofError
from aof_nb.journal.journal import FILE_NAME
from aof_nb.journal.playbook_recording import PlaybookRecording, read_playbook
from aof_nb.journal.recording import State
from aof_nb.journal.runs import find_run
from aof_nb.runbooks import NotebookResult, engine, report, resume_playbook, run_notebook
from aof_nb.runbooks.summary import summarised
from tests.notebooks import printed, write_notebook
from tests.runbooks.counting import sitecustomize

RUN_ID = "ten-cells"
AGENTS = {"a": 2, "b": 1, "c": 1, "d": 2}
EFFECTS = {f"{agent}{n}" for agent, calls in AGENTS.items() for n in range(calls)}
ONCE = {"c3": "first", "c10": "second"}

SETUP = f"""\
import asyncio, os
from aof_nb import Agent, Policy, tool
from aof_nb.events import ModelResponse
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage
from aof_nb.policy import Action
from aof_nb.ports import Effect

def note(what):
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(f"{{what}}\\n")

@tool(effect=Effect.WRITE)
def change(what: str) -> str:
    "Changes something."
    note(what)
    return f"changed {{what}}"

class Changer:
    name = "test:changer"
    async def stream(self, request):
        name = request.messages[0].text
        turn = sum(each.role == "assistant" for each in request.messages)
        ended = turn == {AGENTS!r}[name]
        part = Text(f"{{name}} is done") if ended else (
            ToolCall(f"{{name}}{{turn}}", "change", {{"what": f"{{name}}{{turn}}"}}))
        reason = StopReason.END_TURN if ended else StopReason.TOOL_USE
        yield ModelResponse(Message("assistant", (part,)), reason, Usage(3, 2), "changer-1")

sre = Agent(name="sre", model=Changer(), tools=[change], policy=Policy(write=Action.ALLOW))
"""
CELLS = [
    "%load_ext aof_nb",
    SETUP,
    "md:## three",
    "note('first')",
    "%%aof sre --out a\na",
    "texts = [a.text]",
    "texts.append((await sre.run('b')).text)",
    "texts += [each.text for each in await asyncio.gather(sre.run('c'), sre.run('d'))]",
    "assert len(texts) == 4",
    "md:## nine",
    "note('second')",
    "print(*texts, sep='; ')",
]
PRINTED = "a is done; b is done; c is done; d is done\n"


def notebook(path: Path) -> Path:
    """Writes the notebook."""
    import nbformat

    write_notebook(path, *CELLS)
    content = nbformat.read(path, as_version=4)
    for place, cell in enumerate(content.cells):
        cell.id = f"c{place}"
        if cell.source.startswith("note("):
            cell.metadata["tags"] = ["once"]
    nbformat.write(content, path)
    return path


def in_child(work: Callable[[], Any]) -> int:
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
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def begin(place: Path, how: str, entry: int) -> None:
    """Runs the notebook, to be ended at a write."""
    os.environ |= {"KILL_HOW": how, "KILL_AT": str(entry), "KILL_COUNT": str(place / "count")}
    sitecustomize.install()
    said = ["failed", ""]
    try:
        result = asyncio.run(
            run_notebook(
                place / "n.ipynb",
                output=place / "out.ipynb",
                report=place / "out.md",
                run_id=RUN_ID,
            )
        )
        said = [result.status, result.error.message if result.error else ""]
    except AofError as error:
        said = ["failed", error.message]
    (place / "begun").write_text(json.dumps(said))


def go_on(place: Path) -> None:
    """Resumes the run until it is done, leaving out what only a person can decide on."""
    skipped: list[str] = []
    while True:
        result: NotebookResult = asyncio.run(
            resume_playbook(RUN_ID, approve="never", skip=skipped[-1:])
        )
        if result.undecided is None:
            break
        skipped.append(result.undecided.id)
    recording = read_playbook(find_run(RUN_ID) / FILE_NAME)
    outcome = {
        "status": str(result.status),
        "skipped": [ONCE[each] for each in skipped],
        "unknown": [each.arguments["what"] for each in summarised(recording).unknown],
        "attempts": recording.attempts,
        "torn": recording.torn,
    }
    (place / "resumed").write_text(json.dumps(outcome))


def recorded() -> PlaybookRecording | None:
    """What was journaled; None if it was nothing."""
    try:
        return read_playbook(find_run(RUN_ID) / FILE_NAME)
    except AofError:
        return None


def outcome_of(here: Path, how: str, entry: int) -> dict[str, Any]:
    """Ends a run at a write, and goes on with it."""
    os.environ |= {"AOF_STATE_DIR": str(here / "state"), "EFFECTS": str(here / "effects")}
    os.chdir(here)
    notebook(here / "n.ipynb")
    code = in_child(functools.partial(begin, here, how, entry))
    begun = here / "begun"
    status, error = json.loads(begun.read_text()) if begun.exists() else (f"exit {code}", "")
    outcome: dict[str, Any] = {"entry": entry, "begun": status, "error": error}
    recording = recorded()
    outcome["journaled"] = None if recording is None else str(recording.state)
    outcome["kernels"] = [recording.kernel.pid] if recording and recording.kernel else []
    if recording is not None and recording.state is not State.COMPLETED:
        again = in_child(functools.partial(go_on, here))
        resumed = here / "resumed"
        outcome |= json.loads(resumed.read_text()) if again == 0 else {"status": f"exit {again}"}
    effects = here / "effects"
    outcome["effects"] = Counter(effects.read_text().split()) if effects.exists() else {}
    output = here / "out.ipynb"
    outcome["printed"] = printed(output) if output.exists() and output.stat().st_size else ""
    return outcome


def main(directory: str, how: str, *entries: str) -> None:
    """Ends a run at each of the entries, goes on with it, and prints what came of it."""
    # What is imported at first use is imported once, not in each process.
    assert engine
    assert report
    for entry in map(int, entries):
        here = Path(directory) / f"{how}-{entry}"
        here.mkdir(parents=True)
        print(json.dumps(outcome_of(here, how, entry)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
