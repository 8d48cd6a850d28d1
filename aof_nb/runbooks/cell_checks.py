"""A notebook's cells, executed one after the other for a test, their outputs compared."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.journal.cassette import Taken
from aof_nb.runbooks.outputs import output_difference
from aof_nb.runbooks.progress import titles
from aof_nb.runbooks.sanitizers import Sanitizers

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NO_RECORDING = "there is no recording"


@dataclass(frozen=True)
class CellProblem:
    """What is wrong with a cell.

    Args:
        cell: Its place among the code cells, counted from 1; 0 if it is about the whole notebook.
        title: Its title.
        message: What is wrong, in a line.
        difference: What changed, as a unified diff; empty where there is nothing to compare.
        remedy: What to do about it.
        traceback: Where it failed, if it did, with terminal colours.
    """

    cell: int
    title: str
    message: str
    difference: str = ""
    remedy: str = ""
    traceback: str = ""

    @property
    def place(self) -> str:
        """The cell, as people find it; empty if it is about the whole notebook."""
        return f"cell {self.cell} ({self.title})" if self.cell else ""

    @property
    def heading(self) -> str:
        """Where it is and what."""
        return f"{self.place}: {self.message}".removeprefix(": ")

    def __str__(self) -> str:
        parts = (self.heading, self.difference, f"→ {self.remedy}" if self.remedy else "")
        return "\n".join(each for each in parts if each)


@dataclass
class CellChecks:
    """A notebook's cells, to be executed in order until one fails.

    Args:
        notebook: The notebook, as nbformat's node; outputs are written into it.
        skipped: The places of cells that are not executed, and keep their outputs.
        expected: The outputs that cells should have, by place; others are not compared.
        sanitizers: What is taken out of outputs before.
        cassette: What agents' runs are taken from, if they are.
        before: What the expected outputs are called.
        remedy: What to do where they are others, or the cassette does not fit.
        failed_remedy: What to do where a cell fails otherwise.
        problems: What is wrong, by place.
        executed: The places of the cells that were executed to their end.
        taken: What became of the cassette.
    """

    notebook: Any
    skipped: Collection[int]
    expected: Mapping[int, Sequence[Mapping[str, Any]]]
    sanitizers: Sanitizers
    cassette: Path | None = None
    before: str = "saved"
    remedy: str = ""
    failed_remedy: str = ""
    problems: dict[int, CellProblem] = field(default_factory=dict)
    executed: list[int] = field(default_factory=list)
    taken: Taken = field(default_factory=lambda: Taken(runs=0, unused=[], mismatches=[]))

    async def run(
        self,
        directory: Path,
        environment: Mapping[str, str],
        timeout: float | None,  # noqa: ASYNC109  the cell that took too long is to be named
    ) -> None:
        """Executes the cells in a kernel of its own.

        Args:
            directory: The kernel's working directory.
            environment: The kernel's environment.
            timeout: Seconds for all of them; None for as long as it takes.

        Raises:
            ConfigurationError: If the kernel does not start.
        """
        from aof_nb.runbooks.kernel import kernel_for

        place = 1
        cells = list(enumerate(titles(self.notebook.cells).items(), start=1))
        if not cells:
            return
        try:
            async with (
                asyncio.timeout(timeout) as within,
                kernel_for(self.notebook, directory, environment) as client,
            ):
                for place, (index, title) in cells:
                    if index in self.skipped:
                        await _count(client)
                        continue
                    problem = await self._checked(client, index, place, title)
                    if problem is not None:
                        self.problems[index] = problem
                    if index not in self.executed:
                        break
                else:
                    await self._look(client, first="__import__('aof_nb.journal.cassette')")
        except TimeoutError:
            if not within.expired():
                raise
            index, title = cells[place - 1][1]
            self.problems[index] = CellProblem(place, title, f"not done after {timeout:g} s")

    async def _checked(
        self, client: NotebookClient, index: int, place: int, title: str
    ) -> CellProblem | None:
        from nbclient.exceptions import CellExecutionError, DeadKernelError

        cell, known = self.notebook.cells[index], len(self.taken.mismatches)
        failure: CellExecutionError | None = None
        try:
            await client.async_execute_cell(cell, index)
            self.executed.append(index)
        except CellExecutionError as error:
            failure = error
        except DeadKernelError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # What nbclient makes of a cancellation.
                raise asyncio.CancelledError from error
            return CellProblem(place, title, "the kernel died while it ran the cell")
        await self._look(client)
        if mismatches := self.taken.mismatches[known:]:
            # Why a run failed; a cell may show it, or not, or fail for what it lacks then.
            return self._of_message(place, title, mismatches[0], self.remedy)
        if failure is not None:
            return self._failed(place, title, failure)
        if index not in self.expected:
            return None
        told = output_difference(
            self.expected[index], cell.outputs, self.sanitizers, before=self.before
        )
        message = f"its output is not the {self.before} one"
        return CellProblem(place, title, message, told, self.remedy) if told else None

    def _failed(self, place: int, title: str, error: CellExecutionError) -> CellProblem:
        panel = error.ename in {"CellFailed", "CellWaiting"}
        name = "" if panel else f"{error.ename}: "
        traceback = "" if panel else error.traceback
        message, remedy = f"{name}{error.evalue}", self.failed_remedy
        if _NO_RECORDING in message:
            remedy = self.remedy
        elif error.ename in {"CellWaiting", "ApprovalPending"}:
            remedy = "answer on a terminal, or decide beforehand: --approve never|all"
        elif error.ename == "NameError" and (skipped := list(self._skipped_before(place))):
            which = f"cell {skipped[0]}" if len(skipped) == 1 else f"cells {', '.join(skipped)}"
            remedy = f"{which}, tagged live, was not executed: set what other cells need elsewhere"
        elif panel:
            remedy = _COLOURS.sub("", error.traceback).partition("→ ")[2].strip()
        return self._of_message(place, title, message, remedy, traceback)

    @staticmethod
    def _of_message(
        place: int, title: str, message: str, remedy: str, traceback: str = ""
    ) -> CellProblem:
        line, _, difference = message.strip().partition("\n")
        return CellProblem(place, title, line, difference, remedy, traceback)

    def _skipped_before(self, place: int) -> Iterator[str]:
        for number, index in enumerate(titles(self.notebook.cells), start=1):
            if number < place and index in self.skipped:
                yield str(number)

    async def _look(self, client: NotebookClient, *, first: str = "None") -> None:
        """Asks the kernel what became of the cassette, if it has opened one."""
        if self.cassette is None:
            return
        module = "__import__('sys').modules.get('aof_nb.journal.cassette')"
        where = json.dumps(str(self.cassette))
        told = await _evaluated(
            client, f"({first}, (lambda found: found and found.taken({where}))({module}))[1]"
        )
        if told is not None:
            self.taken = msgspec.json.decode(told, type=Taken)


async def _count(client: NotebookClient) -> None:
    """Goes on in the numbers of cells, so that those after it have the same as ever."""
    assert client.kc is not None
    await client.async_wait_for_reply(client.kc.execute("pass", store_history=True))


async def _evaluated(client: NotebookClient, expression: str) -> str | None:
    """A text that an expression gives in the kernel; None if it cannot be had."""
    assert client.kc is not None
    asked = client.kc.execute(
        "", silent=True, store_history=False, user_expressions={"told": expression}
    )
    reply = await client.async_wait_for_reply(asked)
    told = (reply or {}).get("content", {}).get("user_expressions", {}).get("told", {})
    if told.get("status") != "ok":
        return None
    text = ast.literal_eval(told["data"]["text/plain"])
    return text if isinstance(text, str) else None
